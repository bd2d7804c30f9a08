/**
 * Receipts on their way (R7): what was ordered from a supplier, and what of it has arrived. They are in one Redis hash.
 * A process has them in memory: it changes there what it writes itself, and reads all again when another process has
 * written, at most once a second. An arrival is a `receive` command of the ledger whose id is stored before it is sent,
 * so an arrival that is repeated after a crash is booked once. What arrives above the ordered units is a fact and is
 * booked, too. A receipt itself changes no stock.
 */
import { chainId } from "../kernel/chain-id.js";
import { type Clock, DAY_MS, monotonicClock, sleep } from "../kernel/clock.js";
import { EngineError } from "../kernel/errors.js";
import { inboundKeys } from "../stream/keys.js";
import type { RedisClient } from "../stream/redis.js";
import type { Ledger } from "./ledger.js";
import type { Cause, Outcome } from "./model.js";
import { arrivalField, type Receipt, ReceiptList, type ReceiptStatus, type StoredArrival } from "./receipt-list.js";

/** `arrival_differs`: the arrival was recorded with other units. `refused`: by the ledger. */
export type ArrivalOutcome =
  | { readonly outcome: "arrived" | "repeated"; readonly receipt: ReceiptStatus }
  | { readonly outcome: "unknown" }
  | { readonly outcome: "arrival_differs" }
  | { readonly outcome: "too_many_arrivals" }
  | { readonly outcome: "refused"; readonly refusal: Outcome };

/** With the arrivals 6 MB, which are read again after another process has written. */
const MAX_RECEIPTS = 10_000;
/** Part deliveries of one receipt. */
const MAX_ARRIVALS = 100;
const MAX_ARRIVALS_IN_ALL = 20_000;
/** When many are stored, those are removed of which everything arrived so long ago. */
const KEPT_MS = 3 * DAY_MS;
const FRESH_MS = 1_000;
/** Fields that are decoded in one turn of the event loop: some milliseconds. */
const SLICE = 1_000;
/** A reading during which this process has written is repeated so often. */
const READINGS = 3;
const CHANNEL = "IN";

export interface InboundOptions {
  readonly redis: RedisClient;
  readonly prefix: string;
  readonly ledger: Pick<Ledger, "apply">;
  /** The shop's. */
  readonly clock: Clock;
}

export class InboundReceipts {
  readonly #options: InboundOptions;
  readonly #keys: ReturnType<typeof inboundKeys>;
  #list = new ReceiptList();
  /** What the list has; undefined: it is read again. */
  #version: number | undefined;
  #reading: { atMs: number; done: Promise<ReceiptList> } | undefined;
  #writes = 0;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: InboundOptions) {
    this.#options = options;
    this.#keys = inboundKeys(options.prefix);
  }

  /**
   * Adds a receipt or changes its units, time and reference. Safe to repeat.
   * @returns `differs` when it is there with another SKU or location
   */
  put(receipt: Receipt): Promise<"created" | "replaced" | "differs" | "too_many"> {
    // One after the other, so that many at once do not pass the limit together.
    const turn = this.#turn.then(() => this.#put(receipt));
    this.#turn = turn.catch(() => {});
    return turn;
  }

  /** As it was within the last second. */
  async get(id: string): Promise<ReceiptStatus | undefined> {
    return (await this.#read()).statuses.get(id);
  }

  /** Receipts of a SKU, or all, of which units are on their way, the earliest first; `limit` at most. */
  async list(sku: string | undefined, limit: number): Promise<ReceiptStatus[]> {
    return [...(await this.#read()).statuses.values()]
      .filter((each) => each.remainingUnits > 0 && (sku === undefined || each.sku === sku))
      .sort((a, b) => a.expectedMs - b.expectedMs || (a.id < b.id ? -1 : 1))
      .slice(0, limit);
  }

  /** By SKU, the units on their way; as they were within the last second. */
  async units(): Promise<ReadonlyMap<string, number>> {
    return (await this.#read()).units;
  }

  /** Units of a SKU on their way. */
  async inboundUnits(sku: string): Promise<number> {
    return (await this.units()).get(sku) ?? 0;
  }

  /** Removes a receipt; what has arrived stays in stock. Returns false when there is none. */
  async remove(id: string): Promise<boolean> {
    const isKnown = (await this.#options.redis.hexists(this.#keys.records, id)) === 1;
    const list = await this.#read();
    await this.#write({}, [id, ...list.fieldsOf(id)]);
    return isKnown;
  }

  /**
   * Books an arrival of a receipt. The same arrival again is booked once.
   * @param arrival names it among the arrivals of the receipt
   * @throws EngineError when the ledger or Redis fails: send it again
   */
  async arrive(id: string, arrival: string, units: number, cause: Cause): Promise<ArrivalOutcome> {
    const { redis, clock, ledger } = this.#options;
    const { records } = this.#keys;
    const list = await this.#read();
    const field = arrivalField(id, arrival);
    const [receiptText, known] = await redis.hmget(records, id, field);
    if (!receiptText) return { outcome: "unknown" };
    const isFull = list.arrivalsOf(id).length >= MAX_ARRIVALS || list.arrivalCount >= MAX_ARRIVALS_IN_ALL;
    if (!known && isFull) return { outcome: "too_many_arrivals" };
    const atMs = clock.now();
    const wanted: StoredArrival = { units, commandId: chainId(CHANNEL, atMs), atMs };
    // Who comes second continues with the id that the first one has stored.
    await redis.hsetnx(records, field, JSON.stringify(wanted));
    const text = await redis.hget(records, field);
    if (text === null) throw beingChanged(id);
    this.#list.set(field, text);
    const stored = JSON.parse(text) as StoredArrival;
    const receipt = (): ReceiptStatus => this.#list.statuses.get(id) ?? statusOf(receiptText, stored);
    if (stored.units !== units) return { outcome: "arrival_differs" };
    if (stored.isBooked) return { outcome: "repeated", receipt: receipt() };
    const { sku, location } = JSON.parse(receiptText) as Receipt;
    const reply = await ledger.apply({ kind: "receive", id: stored.commandId, sku, location, units, ...cause });
    if (reply.outcome !== "accepted") {
      // Nothing was booked. After other refusals an earlier attempt of the same command may have been.
      if (reply.outcome === "limit_exceeded") await this.#write({}, [field]);
      return { outcome: "refused", refusal: reply.outcome };
    }
    await this.#write({ [field]: JSON.stringify({ ...stored, isBooked: true }) });
    return { outcome: reply.repeated ? "repeated" : "arrived", receipt: receipt() };
  }

  async #put(receipt: Receipt): Promise<"created" | "replaced" | "differs" | "too_many"> {
    const text = await this.#options.redis.hget(this.#keys.records, receipt.id);
    const known = text === null ? undefined : (JSON.parse(text) as Receipt);
    if (known && (known.sku !== receipt.sku || known.location !== receipt.location)) return "differs";
    let removed: string[] = [];
    if (!known) {
      const list = await this.#read();
      const hasRoom = list.statuses.size < MAX_RECEIPTS && list.arrivalCount < MAX_ARRIVALS_IN_ALL / 2;
      const over = hasRoom ? [] : this.#over(list);
      if (list.statuses.size - over.length >= MAX_RECEIPTS) return "too_many";
      // An arrival that was booked while its receipt was removed must not count for this one.
      removed = [receipt.id, ...over].flatMap((id) => list.fieldsOf(id));
    }
    await this.#write({ [receipt.id]: JSON.stringify(receipt) }, removed);
    return known ? "replaced" : "created";
  }

  /** Ids of receipts of which everything arrived KEPT_MS ago. */
  #over(list: ReceiptList): string[] {
    const beforeMs = this.#options.clock.now() - KEPT_MS;
    return [...list.statuses.values()]
      .filter(({ id, remainingUnits }) => {
        return remainingUnits === 0 && list.arrivalsOf(id).every(({ atMs }) => atMs < beforeMs);
      })
      .map(({ id }) => id);
  }

  async #write(fields: Readonly<Record<string, string>>, removed: readonly string[] = []): Promise<void> {
    const { records, version } = this.#keys;
    const calls = this.#options.redis.multi().incr(version);
    if (removed.length > 0) calls.hdel(records, ...removed);
    if (Object.keys(fields).length > 0) calls.hset(records, fields);
    this.#writes++;
    try {
      const replies = await calls.exec();
      const fault = replies?.find(([error]) => error)?.[0];
      if (fault) throw fault;
      for (const field of removed) this.#list.delete(field);
      for (const [field, text] of Object.entries(fields)) this.#list.set(field, text);
      const newest = Number(replies?.[0]?.[1]);
      // Otherwise another process has written, too.
      this.#version = this.#version === newest - 1 ? newest : undefined;
    } catch (thrown) {
      this.#version = undefined;
      this.#reading = undefined;
      throw thrown;
    } finally {
      this.#writes++;
    }
  }

  /** Concurrent readers share one call. */
  #read(): Promise<ReceiptList> {
    const atMs = monotonicClock.now();
    if (!this.#reading || atMs - this.#reading.atMs >= FRESH_MS) {
      const reading = { atMs, done: this.#load() };
      this.#reading = reading;
      reading.done.catch(() => {
        if (this.#reading === reading) this.#reading = undefined;
      });
    }
    return this.#reading.done.then(() => this.#list);
  }

  async #load(): Promise<ReceiptList> {
    const { redis } = this.#options;
    const { records, version } = this.#keys;
    for (let reading = 1; ; reading++) {
      const writes = this.#writes;
      // Before the records: a change between the two is read again.
      const newest = Number((await redis.get(version)) ?? 0);
      if (newest === this.#version) return this.#list;
      const list = new ReceiptList();
      let decoded = 0;
      for (const [field, text] of Object.entries(await redis.hgetall(records))) {
        list.set(field, text);
        if (++decoded % SLICE === 0) await sleep(0);
      }
      if (writes !== this.#writes && reading < READINGS) continue;
      this.#list = list;
      this.#version = writes === this.#writes ? newest : undefined;
      return list;
    }
  }
}

const statusOf = (receiptText: string, { units, isBooked }: StoredArrival): ReceiptStatus => {
  const receipt = JSON.parse(receiptText) as Receipt;
  const arrivedUnits = isBooked ? units : 0;
  return { ...receipt, arrivedUnits, remainingUnits: Math.max(0, receipt.units - arrivedUnits) };
};

const beingChanged = (id: string): EngineError =>
  new EngineError(`the receipt ${id} is being changed by another request`, {
    ...{ op: "inbound.arrive", code: "unavailable", retryable: true, retryAfterMs: 1_000 },
  });
