/**
 * Receipts on their way (R7): what was ordered from a supplier, and what of it has arrived. They are in one Redis hash;
 * a process reads them again only after a change, at most once a second. An arrival is a `receive` command of the
 * ledger whose id is stored before it is sent, so an arrival that is repeated after a crash is booked once. What
 * arrives above the ordered units is a fact and is booked, too. A receipt itself changes no stock.
 */
import { chainId } from "../kernel/chain-id.js";
import { type Clock, DAY_MS, monotonicClock } from "../kernel/clock.js";
import { inboundKeys } from "../stream/keys.js";
import type { RedisClient } from "../stream/redis.js";
import type { Ledger } from "./ledger.js";
import type { Cause, Outcome } from "./model.js";

export interface Receipt {
  /** 1 to 64 letters, digits and `._-`. */
  readonly id: string;
  readonly sku: string;
  readonly location: string;
  readonly units: number;
  readonly expectedMs: number;
  /** The order's number at the supplier. */
  readonly reference?: string;
}

export interface ReceiptStatus extends Receipt {
  readonly arrivedUnits: number;
  /** Still on their way; 0 when all or more have arrived. */
  readonly remainingUnits: number;
}

/** `arrival_differs`: the arrival was recorded with other units. `refused`: by the ledger. */
export type ArrivalOutcome =
  | { readonly outcome: "arrived" | "repeated"; readonly receipt: ReceiptStatus }
  | { readonly outcome: "unknown" }
  | { readonly outcome: "arrival_differs" }
  | { readonly outcome: "too_many_arrivals" }
  | { readonly outcome: "refused"; readonly refusal: Outcome };

interface StoredArrival {
  readonly units: number;
  readonly commandId: string;
  readonly atMs: number;
  /** The ledger has it. */
  readonly isBooked?: true;
}

/** 200 bytes each are read after a change: 2 MB. */
const MAX_RECEIPTS = 10_000;
/** Part deliveries of one receipt. */
const MAX_ARRIVALS = 100;
/** Receipts of which nothing is on its way any more are kept for repetitions. */
const KEPT_MS = 30 * DAY_MS;
const FRESH_MS = 1_000;
const CHANNEL = "IN";

interface Snapshot {
  readonly receipts: ReadonlyMap<string, ReceiptStatus>;
  /** By SKU, units on their way. */
  readonly units: ReadonlyMap<string, number>;
  readonly arrivals: ReadonlyMap<string, readonly StoredArrival[]>;
}

const EMPTY: Snapshot = { receipts: new Map(), units: new Map(), arrivals: new Map() };

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
  #snapshot = EMPTY;
  #version: string | undefined;
  #reading: { atMs: number; done: Promise<Snapshot> } | undefined;

  constructor(options: InboundOptions) {
    this.#options = options;
    this.#keys = inboundKeys(options.prefix);
  }

  /**
   * Adds a receipt or changes its units, time and reference. Safe to repeat.
   * @returns `differs` when it is there with another SKU or location
   */
  async put(receipt: Receipt): Promise<"created" | "replaced" | "differs" | "too_many"> {
    const { receipts, arrivals } = await this.#readNow();
    const known = receipts.get(receipt.id);
    if (known && (known.sku !== receipt.sku || known.location !== receipt.location)) return "differs";
    const over = known ? [] : this.#over(receipts, arrivals);
    if (!known && receipts.size - over.length >= MAX_RECEIPTS) return "too_many";
    await this.#write({ [receipt.id]: JSON.stringify(receipt) }, await this.#fieldsOf(over));
    return known ? "replaced" : "created";
  }

  /** As it was within the last second. */
  async get(id: string): Promise<ReceiptStatus | undefined> {
    return (await this.#read()).receipts.get(id);
  }

  /** Receipts of a SKU, or all, of which units are on their way, the earliest first; `limit` at most. */
  async list(sku: string | undefined, limit: number): Promise<ReceiptStatus[]> {
    return [...(await this.#read()).receipts.values()]
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
    const known = (await this.#readNow()).receipts.has(id);
    await this.#write({}, await this.#fieldsOf([id]));
    return known;
  }

  /**
   * Books an arrival of a receipt. The same arrival again is booked once.
   * @param arrival names it among the arrivals of the receipt
   * @throws EngineError when the ledger or Redis fails: send it again
   */
  async arrive(id: string, arrival: string, units: number, cause: Cause): Promise<ArrivalOutcome> {
    const { receipts, arrivals } = await this.#readNow();
    const receipt = receipts.get(id);
    if (!receipt) return { outcome: "unknown" };
    const field = `${id}/${arrival}`;
    const { redis, clock, ledger } = this.#options;
    const isKnown = (await redis.hexists(this.#keys.records, field)) === 1;
    if (!isKnown && (arrivals.get(id)?.length ?? 0) >= MAX_ARRIVALS) return { outcome: "too_many_arrivals" };
    const atMs = clock.now();
    const wanted: StoredArrival = { units, commandId: chainId(CHANNEL, atMs), atMs };
    // Who comes second continues with the id that the first one has stored.
    await redis.hsetnx(this.#keys.records, field, JSON.stringify(wanted));
    const stored = JSON.parse((await redis.hget(this.#keys.records, field)) ?? JSON.stringify(wanted)) as StoredArrival;
    if (stored.units !== units) return { outcome: "arrival_differs" };
    if (stored.isBooked) return { outcome: "repeated", receipt };
    const { sku, location } = receipt;
    const reply = await ledger.apply({ kind: "receive", id: stored.commandId, sku, location, units, ...cause });
    if (reply.outcome !== "accepted") {
      // Nothing was booked. After other refusals an earlier attempt of the same command may have been.
      if (reply.outcome === "limit_exceeded") await this.#write({}, [field]);
      return { outcome: "refused", refusal: reply.outcome };
    }
    await this.#write({ [field]: JSON.stringify({ ...stored, isBooked: true }) });
    const changed = (await this.#readNow()).receipts.get(id) ?? receipt;
    return { outcome: reply.repeated ? "repeated" : "arrived", receipt: changed };
  }

  /** Ids of receipts of which everything arrived a month ago. */
  #over(receipts: Snapshot["receipts"], arrivals: Snapshot["arrivals"]): string[] {
    const beforeMs = this.#options.clock.now() - KEPT_MS;
    return [...receipts.values()]
      .filter(({ id, remainingUnits }) => {
        const last = Math.max(0, ...(arrivals.get(id) ?? []).map(({ atMs }) => atMs));
        return remainingUnits === 0 && last < beforeMs;
      })
      .map(({ id }) => id);
  }

  async #fieldsOf(ids: readonly string[]): Promise<string[]> {
    if (ids.length === 0) return [];
    const gone = new Set(ids);
    const fields = await this.#options.redis.hkeys(this.#keys.records);
    return fields.filter((field) => gone.has(field.split("/", 1)[0] as string));
  }

  async #write(fields: Readonly<Record<string, string>>, removed: readonly string[] = []): Promise<void> {
    const { records, version } = this.#keys;
    const calls = this.#options.redis.multi().incr(version);
    if (removed.length > 0) calls.hdel(records, ...removed);
    if (Object.keys(fields).length > 0) calls.hset(records, fields);
    try {
      const fault = (await calls.exec())?.find(([error]) => error)?.[0];
      if (fault) throw fault;
    } finally {
      this.#reading = undefined;
    }
  }

  #readNow(): Promise<Snapshot> {
    this.#reading = undefined;
    return this.#read();
  }

  /** Concurrent readers share one call. */
  #read(): Promise<Snapshot> {
    const atMs = monotonicClock.now();
    if (!this.#reading || atMs - this.#reading.atMs >= FRESH_MS) {
      const reading = { atMs, done: this.#load() };
      this.#reading = reading;
      reading.done.catch(() => {
        if (this.#reading === reading) this.#reading = undefined;
      });
    }
    return this.#reading.done;
  }

  async #load(): Promise<Snapshot> {
    const { records, version } = this.#keys;
    // Before the records: a change between the two is read again.
    const newest = (await this.#options.redis.get(version)) ?? "0";
    if (newest !== this.#version) {
      this.#snapshot = snapshotOf(await this.#options.redis.hgetall(records));
      this.#version = newest;
    }
    return this.#snapshot;
  }
}

function snapshotOf(fields: Readonly<Record<string, string>>): Snapshot {
  const arrivals = new Map<string, StoredArrival[]>();
  for (const [field, text] of Object.entries(fields)) {
    const [id, arrival] = field.split("/", 2) as [string, string?];
    if (arrival === undefined) continue;
    arrivals.set(id, [...(arrivals.get(id) ?? []), JSON.parse(text) as StoredArrival]);
  }
  const receipts = new Map<string, ReceiptStatus>();
  const units = new Map<string, number>();
  for (const [field, text] of Object.entries(fields)) {
    if (field.includes("/")) continue;
    const receipt = JSON.parse(text) as Receipt;
    const booked = (arrivals.get(receipt.id) ?? []).filter(({ isBooked }) => isBooked);
    const arrivedUnits = booked.reduce((sum, each) => sum + each.units, 0);
    const remainingUnits = Math.max(0, receipt.units - arrivedUnits);
    receipts.set(receipt.id, { ...receipt, arrivedUnits, remainingUnits });
    if (remainingUnits > 0) units.set(receipt.sku, (units.get(receipt.sku) ?? 0) + remainingUnits);
  }
  return { receipts, units, arrivals };
}
