/**
 * Which lines an order has, by its id. An order is written here before its first line is reserved, so a payment finds the lines whichever
 * process took the order, and a second placing is known as one. Remembers for as long as the ledger remembers ids; knows no stock.
 */
import { Packr, Unpackr } from "msgpackr";
import { chainIdDay } from "../kernel/chain-id.js";
import { TurnBatcher } from "../kernel/turn-batcher.js";
import { HOLD_MARGIN_DAYS } from "../stock/model.js";
import { orderKeys } from "../stream/keys.js";
import { partitionOf } from "../stream/partition.js";
import { callFunctionBuffer, loadLibrary, type RedisClient } from "../stream/redis.js";
import type { ReplicaGate } from "../stream/replicas.js";
import type { Order, OrderLine } from "./model.js";

export interface OrderBookOptions {
  redis: RedisClient;
  prefix: string;
  partitions: number;
  /** For how long ids may be used, in seconds; 0: for good. An order is remembered as long as its lines may still be held. */
  keepSeconds: number;
  /** Given: an order counts as noted only when replicas have it. */
  replicas?: ReplicaGate;
}

interface Opening {
  order: Order;
  fingerprint: number;
}

const packr = new Packr({ useRecords: false });
const unpackr = new Unpackr({ useRecords: false });
/** Attempts (4 bytes) and fingerprint (8): as orders.lua packs them. */
const HEADER_BYTES = 12;
/** A bucket is begun up to a day before its day, and the last day counts whole; the ledger keeps lines for longer, too. */
const MARGIN_SECONDS = (2 + HOLD_MARGIN_DAYS) * 86_400;
const BATCH_LIMIT = 200;
const QUEUE_LIMIT = 10_000;

export class OrderBook {
  readonly #redis: RedisClient;
  readonly #replicas: ReplicaGate | undefined;
  readonly #prefix: string;
  readonly #partitions: number;
  readonly #batchers: TurnBatcher<Opening, number>[];

  constructor({ redis, prefix, partitions, keepSeconds, replicas }: OrderBookOptions) {
    this.#redis = redis;
    this.#replicas = replicas;
    this.#prefix = prefix;
    this.#partitions = partitions;
    this.#batchers = Array.from(
      { length: partitions },
      (_, partition) =>
        new TurnBatcher<Opening, number>({
          op: "orders.open",
          batchLimit: BATCH_LIMIT,
          queueLimit: QUEUE_LIMIT,
          send: async (openings) => {
            const keys: string[] = [];
            const args: (string | number | Buffer)[] = [keepSeconds === 0 ? 0 : keepSeconds + MARGIN_SECONDS];
            for (const { order, fingerprint } of openings) {
              const key = this.#key(order.id, partition);
              let position = keys.indexOf(key);
              if (position < 0) position = keys.push(key) - 1;
              args.push(position + 1, order.id, fingerprint, packr.pack(order.lines));
            }
            return (await this.#write("order_open", keys, args)) as number[];
          },
        }),
    );
  }

  static load(redis: RedisClient): Promise<void> {
    return loadLibrary(redis, new URL("./orders.lua", import.meta.url));
  }

  /** Remembers an order. Returns which attempt at placing it this is, or undefined when its id came with another body before. */
  async open(order: Order, fingerprint: number): Promise<number | undefined> {
    const batcher = this.#batchers[partitionOf(order.id, this.#partitions)] as TurnBatcher<Opening, number>;
    const [attempt] = await batcher.add([{ order, fingerprint }]);
    return attempt === -1 ? undefined : attempt;
  }

  /** The lines of an order, or undefined when it is not known. */
  async lines(id: string): Promise<OrderLine[] | undefined> {
    const record = await this.#redis.hgetBuffer(this.#key(id, partitionOf(id, this.#partitions)), id);
    return record ? (unpackr.unpack(record.subarray(HEADER_BYTES)) as OrderLine[]) : undefined;
  }

  /** Numbers another try at an order; undefined when it is not known. */
  async begin(id: string): Promise<{ attempt: number; lines: OrderLine[] } | undefined> {
    const key = this.#key(id, partitionOf(id, this.#partitions));
    const begun = (await this.#write("order_try", [key], [id])) as [number, Buffer] | null;
    return begun ? { attempt: begun[0], lines: unpackr.unpack(begun[1]) as OrderLine[] } : undefined;
  }

  #write(name: string, keys: string[], args: (string | number | Buffer)[]): Promise<unknown> {
    return this.#replicas ? this.#replicas.call(name, keys, args) : callFunctionBuffer(this.#redis, name, keys, args);
  }

  /** The number of the newest try at an order; 0 when it is not known. */
  async attempts(id: string): Promise<number> {
    const record = await this.#redis.hgetBuffer(this.#key(id, partitionOf(id, this.#partitions)), id);
    return record?.readUInt32LE(0) ?? 0;
  }

  #key(id: string, partition: number): string {
    return orderKeys(this.#prefix, partition).orders(chainIdDay(id));
  }
}
