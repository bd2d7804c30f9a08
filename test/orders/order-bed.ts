/**
 * An order service over a real ledger, for tests: a new key prefix and a new clock for each test. Its ledger can be
 * delayed or cut off between two commands.
 */
import { beforeAll, beforeEach } from "vitest";
import { chainIdFromNumber } from "../../engine/kernel/chain-id.js";
import { ManualClock } from "../../engine/kernel/clock.js";
import type { Order, OrderLine } from "../../engine/orders/model.js";
import { OrderService } from "../../engine/orders/order-service.js";
import { OrderStore } from "../../engine/orders/order-store.js";
import { Ledger } from "../../engine/stock/ledger.js";
import type { Reply, StockCommand } from "../../engine/stock/model.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { withRedis } from "../redis/with-redis.js";

export const AT = "SH";
export const HOLD_MS = 30 * 60_000;
const KEEP_SECONDS = 86_400;

export const line = (sku: string, units = 1, more: Partial<OrderLine> = {}): OrderLine => ({
  sku,
  location: AT,
  units,
  ...more,
});

export interface OrderBedOptions {
  nowMs?: number;
  partitions?: number;
  /** The order store uses the test's clock, too. */
  hasStoreClock?: boolean;
}

class OrderBed {
  readonly redis = withRedis();
  readonly partitions: number;
  readonly nowMs: number;
  readonly #hasStoreClock: boolean;
  client!: RedisClient;
  prefix = "";
  clock!: ManualClock;
  ledger!: Ledger;
  orderStore!: OrderStore;
  orderService!: OrderService;
  #rounds = 0;
  #ids = 0;

  constructor({ nowMs = Date.UTC(2026, 5, 18), partitions = 4, hasStoreClock = false }: OrderBedOptions) {
    this.nowMs = nowMs;
    this.partitions = partitions;
    this.#hasStoreClock = hasStoreClock;
  }

  async connect(): Promise<void> {
    this.client = this.redis.connect();
    await Promise.all([Ledger.load(this.client), OrderStore.load(this.client)]);
  }

  /** Begins with empty logs. @param format of the ledger */
  begin(format?: number): void {
    this.prefix = `orders${this.#rounds++}`;
    this.clock = new ManualClock(this.nowMs);
    this.ledger = this.newLedger(format);
    this.orderStore = this.newStore(this.client);
    this.orderService = new OrderService(this.ledger, this.orderStore);
  }

  newLedger(format?: number, redis = this.client): Ledger {
    const { prefix, partitions, clock } = this;
    return new Ledger({ redis, prefix, partitions, clock, ...(format !== undefined && { format: () => format }) });
  }

  newStore(redis: RedisClient, format?: number): OrderStore {
    const { prefix, partitions } = this;
    return new OrderStore({
      redis,
      prefix,
      partitions,
      keepSeconds: KEEP_SECONDS,
      ...(this.#hasStoreClock && { clock: this.clock }),
      ...(format !== undefined && { format: () => format }),
    });
  }

  /** The order service of another process. */
  otherService(): OrderService {
    return new OrderService(this.newLedger(), this.orderStore);
  }

  /** The order service of a process of the previous release. */
  previousRelease(): OrderService {
    return new OrderService(this.newLedger(1), this.newStore(this.client, 1));
  }

  /** An order service that sends its commands one after the other, with something in between. */
  stepwise(between: (command: StockCommand, position: number) => Promise<void> | void): OrderService {
    const { ledger } = this;
    const stub = {
      isRefusedByBreaker: () => false,
      recall: (lines: { id: string; sku: string }[]) => ledger.recall(lines),
      async applyMany(commands: readonly StockCommand[]): Promise<Reply[]> {
        const replies: Reply[] = [];
        for (const [i, command] of commands.entries()) {
          await between(command, i);
          replies.push(await ledger.apply(command));
        }
        return replies;
      },
    };
    return new OrderService(stub as unknown as Ledger, this.orderStore);
  }

  /** An order service whose process stops after so many commands. */
  stoppingAfter(commands: number): OrderService {
    let left = commands;
    return this.stepwise(() => {
      if (left-- <= 0) throw new Error("the process has stopped");
    });
  }

  newId(): string {
    return chainIdFromNumber("S1", this.nowMs, this.#ids++);
  }

  order(...lines: OrderLine[]): Order {
    return { id: this.newId(), lines };
  }

  receive(sku: string, units: number, location = AT, pool: "sellable" | "presale" = "sellable"): Promise<Reply> {
    return this.ledger.apply({ kind: "receive", id: this.newId(), sku, location, units, pool });
  }

  async balances(sku: string, location = AT) {
    return (await this.ledger.balances(sku))?.get(location);
  }

  async statesOf(id: string): Promise<string[] | undefined> {
    return (await this.orderService.read(id))?.lines.map(({ state }) => state);
  }

  /** Advances the clock, and ends the holds that are due. */
  async pass(ms: number): Promise<void> {
    this.clock.moveTo(this.clock.now() + ms);
    for (let partition = 0; partition < this.partitions; partition++) await this.ledger.tick(partition);
  }
}

/** The bed of a test file; it begins anew before each test. */
export function withOrderBed(options: OrderBedOptions = {}): OrderBed {
  const bed = new OrderBed(options);
  beforeAll(() => bed.connect());
  beforeEach(() => bed.begin());
  return bed;
}
