/**
 * What was ordered, by the order's id, and which steps it has taken. An order is written here before its first line
 * is reserved, so a payment finds the lines whichever process took the order, and a second placing is known as one. A
 * step is noted once, and with it the log is told in the same atomic call. Remembers an order for longer than the
 * ledger remembers ids, and for as long as it is not over; knows no stock.
 */
import { Packr, Unpackr } from "msgpackr";
import { chainIdDay } from "../kernel/chain-id.js";
import { type Clock, DAY_MS, DEFAULT_CLOCK_BOUND_MS, HOUR_MS, systemClock } from "../kernel/clock.js";
import { EngineError } from "../kernel/errors.js";
import { TurnBatcher } from "../kernel/turn-batcher.js";
import { HOLD_MARGIN_DAYS } from "../stock/model.js";
import { LATEST_FORMAT } from "../stream/format.js";
import { callFunctionBuffer, loadLibrary } from "../stream/functions.js";
import { type OrderKeys, orderKeys, sinkKeys } from "../stream/keys.js";
import { partitionOf } from "../stream/partition.js";
import { readFields } from "../stream/reads.js";
import type { RedisClient } from "../stream/redis.js";
import type { ReplicationBarrier } from "../stream/replication-barrier.js";
import { eventBeginning } from "./log-entry.js";
import {
  type Evidence,
  ORDER_STEPS,
  type Order,
  type OrderBody,
  type OrderStep,
  type ShipTo,
  shopEvidence,
} from "./model.js";

export interface OrderStoreOptions {
  redis: RedisClient;
  prefix: string;
  partitions: number;
  /** The deployment's format, asked for at each write; left out: the latest. */
  format?: () => number;
  /** How long a buyer's text is kept; left out: the defaults. */
  personalData?: PersonalDataTimes;
  /**
   * For how long ids may be used, in seconds; 0: for good. An order that is over is remembered for so long after its
   * day, and half as long after its end; one that is paid and has not left, for good. In format 1 the previous
   * release, which reads along, lets all orders of a day expire.
   */
  keepSeconds: number;
  /** Given: an order counts as noted only when replicas have it. */
  replicas?: ReplicationBarrier;
  /** Left out: the Redis server's. */
  clock?: Clock;
  /** Which the server's clock must agree with, within a bound; left out: this machine's, and 10 s. */
  wall?: Clock;
  clockBoundMs?: number;
}

/** A try at an order: its number, what was ordered, and the steps taken before it. */
export interface OrderAttempt extends OrderBody {
  attempt: number;
  hasStep(step: OrderStep): boolean;
  /** Whom the goods go to was taken away before the warehouse had it. */
  readonly isErased: boolean;
}

/** What was ordered, and the steps taken. */
export interface FoundOrder {
  order: Order;
  hasStep(step: OrderStep): boolean;
}

/** Where an order stands: what its record tells, whatever the jobs have seen of it. */
export interface OrderStatus {
  hasStep(step: OrderStep): boolean;
  /** Whom the goods go to, as long as the warehouse has yet to be told. */
  shipTo?: ShipTo;
}

/** How long a buyer's text is kept, in ms. */
export interface PersonalDataTimes {
  /** After the order's end: its goods have left, or it was cancelled after its payment. */
  endedMs: number;
  /** Of an order that is never paid, after it was placed or cancelled. */
  unpaidMs: number;
}

/** `not_due`: it is to be kept for now. `on_its_way`: the warehouse has yet to be told. */
export type EraseOutcome = "erased" | "not_due" | "unknown" | "on_its_way";

export interface StepRecord extends Evidence {
  id: string;
  step: OrderStep;
}

/**
 * `unknown`: no such order. `late`: the step must not be taken any more; of a payment, because the order's
 * cancellation was asked for before.
 */
export type RecordOutcome = "noted" | "repeated" | "unknown" | "late";

interface Opening {
  order: Order;
  fingerprint: number;
  actor: string | undefined;
}

/** Fields of a partition's head, beside those that orders.lua writes: `s<step>`. */
const LOCKED = `s${ORDER_STEPS.indexOf("locked")}`;
const PICKING = `s${ORDER_STEPS.indexOf("picking")}`;
const WAITING_BASE = "waiting-base";
const LEFT = "left";
/**
 * In a record, beside the steps: the order's request to the warehouse is a dead letter. As orders.lua knows it; no
 * step may have this number.
 */
const SET_ASIDE = 14;

/** A step, or the mark beside the steps. */
type Mark = Omit<StepRecord, "step"> & { step: OrderStep | typeof SET_ASIDE };
type Argument = string | number | Buffer;

const packr = new Packr({ useRecords: false });
const unpackr = new Unpackr({ useRecords: false });
/** Attempts (4 bytes), fingerprint (8), steps (2), created (8): as orders.lua packs them. */
const HEADER_BYTES = 22;
const STEPS_AT = 12;
/** Of the steps: see orders.lua. */
const ERASED_BIT = 0x8000;
/** In a format from this one on, logs and emits do not name the buyer: whoever delivers asks the book. */
const BUYERS_APART = 2;
/** In a format from this one on, a day's orders do not expire as a whole. */
const DAYS_STRIPPED = 2;
const DEFAULT_TIMES: PersonalDataTimes = { endedMs: 30 * DAY_MS, unpaidMs: DAY_MS };
/** An erasure that was begun and not ended, because a storage is away or a process died, is gone on with after this. */
const ERASE_AGAIN_MS = HOUR_MS;
/**
 * Steps with which the event takes the order's body along: the order goes to the warehouse from here on, or goes on
 * its way there.
 */
const BODY_GOES_WITH: ReadonlySet<OrderStep> = new Set(["locked", "cancellation_refused"]);
/** Steps that are noted as often as they are told. */
const REPEATABLE: ReadonlySet<OrderStep> = new Set(["partly_outbound", "counted"]);
const NOTE_OUTCOMES: ReadonlyMap<number, RecordOutcome> = new Map([
  [1, "noted"],
  [0, "repeated"],
  [-1, "unknown"],
  [-2, "late"],
]);
/**
 * A bucket is begun up to a day before its day, and the last day counts whole; the ledger keeps lines for longer,
 * too.
 */
const MARGIN_SECONDS = (2 + HOLD_MARGIN_DAYS) * 86_400;
const BATCH_LIMIT = 200;
const QUEUE_LIMIT = 10_000;
/** Records of one read: a few hundred KiB. */
const KNOWN_AT_ONCE = 1_000;

export class OrderStore {
  readonly partitions: number;
  readonly #options: OrderStoreOptions;
  readonly #keys: OrderKeys[];
  readonly #openings: TurnBatcher<Opening, number>[];
  readonly #notes: TurnBatcher<Mark, RecordOutcome>[];
  readonly #standings: TurnBatcher<string, OrderStatus | undefined>[];
  #isWarehouseKnown = false;

  constructor(options: OrderStoreOptions) {
    const { prefix, partitions } = options;
    this.partitions = partitions;
    this.#options = options;
    this.#keys = Array.from({ length: partitions }, (_, partition) => orderKeys(prefix, partition));
    const limits = { batchLimit: BATCH_LIMIT, queueLimit: QUEUE_LIMIT };
    this.#openings = this.#keys.map(
      (keys) => new TurnBatcher({ op: "orders.open", ...limits, send: (items) => this.#open(keys, items) }),
    );
    this.#notes = this.#keys.map(
      (keys) => new TurnBatcher({ op: "orders.note", ...limits, send: (items) => this.#note(keys, items) }),
    );
    this.#standings = this.#keys.map(
      (keys) => new TurnBatcher({ op: "orders.standing", ...limits, send: (ids) => this.#readStandings(keys, ids) }),
    );
  }

  static load(redis: RedisClient): Promise<void> {
    return loadLibrary(redis, new URL("./orders.lua", import.meta.url));
  }

  /**
   * Remembers an order. Returns which attempt at placing it this is, or undefined when its id came with another body
   * before.
   */
  async open(order: Order, fingerprint: number, actor?: string): Promise<number | undefined> {
    const batcher = this.#openings[this.partitionOf(order.id)] as TurnBatcher<Opening, number>;
    const attempt = await batcher.addOne({ order, fingerprint, actor });
    return attempt === -1 ? undefined : attempt;
  }

  /** What was ordered, and the steps taken, or undefined when the order is not known. */
  async find(id: string): Promise<FoundOrder | undefined> {
    const record = await this.#record(id);
    if (!record) return undefined;
    const body = unpackr.unpack(record.subarray(HEADER_BYTES)) as OrderBody;
    return { order: { id, ...body }, hasStep: stepTest(record.readUInt16LE(STEPS_AT)) };
  }

  /** Which of these orders are known. A read for each partition and day, of KNOWN_AT_ONCE at most. */
  async known(ids: ReadonlySet<string>): Promise<Set<string>> {
    const buckets = new Map<string, string[]>();
    for (const id of ids) {
      const bucket = this.#bucket(id);
      const fields = buckets.get(bucket);
      if (fields) fields.push(id);
      else buckets.set(bucket, [id]);
    }
    const known = new Set<string>();
    await Promise.all(
      [...buckets].map(async ([bucket, fields]) => {
        for (let from = 0; from < fields.length; from += KNOWN_AT_ONCE) {
          const part = fields.slice(from, from + KNOWN_AT_ONCE);
          const records = await readFields(this.#options.redis, bucket, part);
          for (const [i, record] of records.entries()) if (record) known.add(part[i] as string);
        }
      }),
    );
    return known;
  }

  /** Numbers another try at an order; undefined when it is not known. */
  async beginAttempt(id: string): Promise<OrderAttempt | undefined> {
    const begun = (await this.#write("order_try", [this.#bucket(id)], [id])) as [number, Buffer, number] | null;
    if (!begun) return undefined;
    const [attempt, body, steps] = begun;
    return {
      ...(unpackr.unpack(body) as OrderBody),
      attempt,
      hasStep: stepTest(steps),
      isErased: (steps & ERASED_BIT) !== 0,
    };
  }

  /**
   * Where an order stands now, or undefined when it is not known. What one turn of the event loop asks for are two
   * reads a partition and day, in one round trip.
   */
  status(id: string): Promise<OrderStatus | undefined> {
    return (this.#standings[this.partitionOf(id)] as TurnBatcher<string, OrderStatus | undefined>).addOne(id);
  }

  /** Notes steps, each once. May be sent again after an unknown result. */
  record(notes: readonly StepRecord[]): Promise<RecordOutcome[]> {
    return this.#noteAll(notes);
  }

  async #noteAll(notes: readonly Mark[]): Promise<RecordOutcome[]> {
    const outcomes = new Array<RecordOutcome>(notes.length);
    const parts = new Map<number, number[]>();
    for (let i = 0; i < notes.length; i++) {
      const partition = this.partitionOf((notes[i] as Mark).id);
      const part = parts.get(partition);
      if (part) part.push(i);
      else parts.set(partition, [i]);
    }
    await Promise.all(
      [...parts].map(async ([partition, positions]) => {
        const batcher = this.#notes[partition] as TurnBatcher<Mark, RecordOutcome>;
        const told = await batcher.add(positions.map((i) => notes[i] as Mark));
        for (let i = 0; i < told.length; i++) outcomes[positions[i] as number] = told[i] as RecordOutcome;
      }),
    );
    return outcomes;
  }

  /** The number of the newest try at an order; 0 when it is not known. */
  async newestAttempt(id: string): Promise<number> {
    return (await this.#record(id))?.readUInt32LE(0) ?? 0;
  }

  /** How many orders have taken each step since the deployment began; a step that none has taken is left out. */
  async totals(): Promise<Partial<Record<OrderStep, number>>> {
    const fields = ORDER_STEPS.map((_, step) => `s${step}`);
    const heads = await Promise.all(this.#keys.map(({ head }) => readFields(this.#options.redis, head, fields)));
    const totals: Partial<Record<OrderStep, number>> = {};
    for (const head of heads) {
      for (const [i, step] of ORDER_STEPS.entries()) {
        if (head[i]) totals[step] = (totals[step] ?? 0) + countOf(head[i]);
      }
    }
    return totals;
  }

  /** What the deployment may be written in. */
  get format(): number {
    return this.#options.format?.() ?? LATEST_FORMAT;
  }

  /** Whether a warehouse is connected that takes orders from here, or has been. */
  hasWarehouse(id: string): Promise<boolean> {
    return this.hasWarehouseAt(this.partitionOf(id));
  }

  /** The same of a partition; every one of them tells it. */
  async hasWarehouseAt(partition: number): Promise<boolean> {
    if (this.#isWarehouseKnown) return true;
    const [base] = await readFields(this.#options.redis, this.#keysOf(partition).head, [WAITING_BASE]);
    if (base !== null) this.#isWarehouseKnown = true;
    return base !== null;
  }

  /** The same as far as this process has seen it: by the ticks, or because it was asked. It never ends. */
  get isWarehouseKnown(): boolean {
    return this.#isWarehouseKnown;
  }

  /**
   * From now on `waiting` counts: what was paid before anybody took orders to a warehouse never goes there. Done once
   * in a deployment's life.
   */
  async beginWaiting(): Promise<void> {
    const { redis } = this.#options;
    for (const { head } of this.#keys) {
      const [locked, picking, left] = await readFields(redis, head, [LOCKED, PICKING, LEFT]);
      await redis.hsetnx(head, WAITING_BASE, countOf(locked) - countOf(picking) - countOf(left));
    }
  }

  /**
   * How many orders wait for the warehouse: their stock is locked, and they are neither there nor cancelled, nor have
   * their goods left, nor are they set aside as dead letters. Each order is counted by its own record, so neither a
   * repeat nor the removal of a letter counts twice.
   */
  async waiting(): Promise<number> {
    const fields = [LOCKED, PICKING, WAITING_BASE, LEFT];
    const heads = await Promise.all(this.#keys.map(({ head }) => readFields(this.#options.redis, head, fields)));
    return heads.reduce((sum, head) => {
      const [locked, picking, base, left] = head.map(countOf) as [number, number, number, number];
      return sum + Math.max(0, locked - picking - base - left);
    }, 0);
  }

  /** Notes that requests of orders to the warehouse have become dead letters, each once. */
  async markDeadLetters(ids: readonly string[]): Promise<void> {
    await this.#noteAll(ids.map((id) => ({ id, step: SET_ASIDE, source: "" })));
  }

  /**
   * Sets right what older releases have counted wrong, if no order of a partition waits for the warehouse now.
   * @param cursors fields of the tasks of the jobs and of the sink that tell how far they are
   */
  async correctWaiting(partition: number, sink: string, cursors: { job: string; sink: string }): Promise<boolean> {
    const { head, task } = this.#keysOf(partition);
    const keys = [head, task, sinkKeys(this.#options.prefix, "orders", partition, sink).task];
    return (await this.#write("order_none_waits", keys, [cursors.job, cursors.sink])) === 1;
  }

  /**
   * Lets time pass in a partition where a deadline has come, and forgets what need not be known. Returns whether a
   * buyer's text is to go now.
   */
  async tick(partition: number): Promise<boolean> {
    const { head, log, timers, erasures, orderDays, lateEnds, ordersBase, buyersBase } = this.#keysOf(partition);
    const keys = [head, log, timers, erasures, orderDays, lateEnds];
    const args = [this.#now(), this.#stripAfterMs, ordersBase, buyersBase];
    const told = (await callFunctionBuffer(this.#options.redis, "order_tick", keys, args)) as number;
    if ((told & HAS_WAREHOUSE) !== 0) this.#isWarehouseKnown = true;
    return (told & ERASURES_DUE) !== 0;
  }

  /** Orders of a partition whose buyer's text is to go now, and has been for `dueForMs`; `count` at most. */
  async dueErasures(partition: number, count: number, dueForMs = 0): Promise<string[]> {
    const { head, erasures } = this.#keysOf(partition);
    const args = [this.#now(), count, dueForMs];
    const ids = (await callFunctionBuffer(this.#options.redis, "order_due", [head, erasures], args)) as Buffer[];
    return ids.map((id) => id.toString("latin1"));
  }

  /**
   * Takes away what the book holds of buyers; stock, lines and steps stay. May be repeated. An order comes up again
   * among the due ones until `erasedElsewhere` is told.
   * @param ids of one partition
   * @param onlyDue false: somebody asks for it
   */
  async erase(partition: number, ids: readonly string[], onlyDue: boolean): Promise<EraseOutcome[]> {
    const { orders, buyers, ...of } = this.#keysOf(partition);
    const keys = keysBeforeDays(of);
    // Asked for, the rest follows at once: whoever works on the partition may reach what this process cannot.
    const args: Argument[] = [this.#now(), onlyDue ? 1 : 0, onlyDue ? ERASE_AGAIN_MS : 0];
    for (const id of ids) args.push(dayIn(keys, orders, buyers, id), id);
    const told = (await this.#write("order_erase", keys, args)) as number[];
    return told.map((result) => ERASE_OUTCOMES.get(result) as EraseOutcome);
  }

  /** Nothing is kept of these orders' buyers anywhere: they do not come up again. */
  async confirmErased(partition: number, ids: readonly string[]): Promise<void> {
    if (ids.length > 0) await this.#options.redis.zrem(this.#keysOf(partition).erasures, ...ids);
  }

  partitionOf(id: string): number {
    return partitionOf(id, this.partitions);
  }

  async #open({ orders, buyers, ...of }: OrderKeys, openings: Opening[]): Promise<number[]> {
    const keys = keysBeforeDays(of);
    const { unpaidMs } = this.#times;
    const args: Argument[] = [this.#keepDayMs, this.#now(), unpaidMs, this.#stripAfterMs > 0 ? 1 : 0];
    const isApart = this.#areBuyersApart();
    for (const { order, fingerprint, actor } of openings) {
      const { id, lines, shipTo, holdMs } = order;
      // The release before format 2 looks for the buyer in the body.
      const body: OrderBody = shipTo === undefined || isApart ? { lines } : { lines, shipTo };
      // A payment that has to count the lines asks when they had been deducted.
      if (lines.length > 1 && holdMs !== undefined) body.holdMs = holdMs;
      const event = eventBeginning(id, "created", shopEvidence(actor));
      args.push(dayIn(keys, orders, buyers, id), id, fingerprint, packr.pack(body), event);
      if (shipTo === undefined) args.push(0, "");
      else args.push(1, isApart ? packr.pack(shipTo) : "");
    }
    return (await this.#write("order_open", keys, args)) as number[];
  }

  async #note({ orders, buyers, ...of }: OrderKeys, notes: Mark[]): Promise<RecordOutcome[]> {
    const keys = keysBeforeDays(of);
    const { unpaidMs, endedMs } = this.#times;
    // For as long as an order is remembered that is over: one that is not by then has been with the warehouse for
    // long, or never will be.
    const longestMs = this.#options.keepSeconds * 1_000;
    const args: Argument[] = [this.#now(), unpaidMs, endedMs, longestMs, this.#stripAfterMs];
    const body = this.#areBuyersApart() ? WITHOUT_BUYER : AS_IT_IS;
    for (const { id, step, ...evidence } of notes) {
      const event = step === SET_ASIDE ? "" : eventBeginning(id, step, evidence);
      const number = step === SET_ASIDE ? step : ORDER_STEPS.indexOf(step);
      const how =
        step === SET_ASIDE ? NOTHING : BODY_GOES_WITH.has(step) ? body : REPEATABLE.has(step) ? AGAIN : NOTHING;
      args.push(dayIn(keys, orders, buyers, id), id, number, how, event);
    }
    const told = (await this.#write("order_note", keys, args)) as number[];
    return told.map((result) => NOTE_OUTCOMES.get(result) ?? "unknown");
  }

  async #readStandings({ orders, buyers }: OrderKeys, ids: readonly string[]): Promise<(OrderStatus | undefined)[]> {
    const standings = new Array<OrderStatus | undefined>(ids.length);
    const days = new Map<number, number[]>();
    for (const [i, id] of ids.entries()) {
      const day = chainIdDay(id);
      const positions = days.get(day);
      if (positions) positions.push(i);
      else days.set(day, [i]);
    }
    await Promise.all(
      [...days].map(async ([day, positions]) => {
        const fields = positions.map((i) => ids[i] as string);
        // The buyers first: whoever is not there any more is with the warehouse, and the record, read after it, says
        // so.
        const [texts, records] = await Promise.all([
          readFields(this.#options.redis, buyers(day), fields),
          readFields(this.#options.redis, orders(day), fields),
        ]);
        for (const [at, record] of records.entries()) {
          if (record) standings[positions[at] as number] = standingOf(record, texts[at]);
        }
      }),
    );
    return standings;
  }

  #write(name: string, keys: string[], args: Argument[]): Promise<unknown> {
    const { redis, replicas } = this.#options;
    return replicas ? replicas.call(name, keys, args) : callFunctionBuffer(redis, name, keys, args);
  }

  #record(id: string): Promise<Buffer | null> {
    return this.#options.redis.hgetBuffer(this.#bucket(id), id);
  }

  #bucket(id: string): string {
    return this.#keysOf(this.partitionOf(id)).orders(chainIdDay(id));
  }

  #keysOf(partition: number): OrderKeys {
    const keys = this.#keys[partition];
    if (keys) return keys;
    throw new EngineError(`no partition ${partition}`, { op: "orders", code: "no_partition", retryable: false });
  }

  get #times(): PersonalDataTimes {
    return this.#options.personalData ?? DEFAULT_TIMES;
  }

  #areBuyersApart(): boolean {
    return this.format >= BUYERS_APART;
  }

  /** For how long all orders of a day are kept; 0: for good. */
  get #keepDayMs(): number {
    const { keepSeconds } = this.#options;
    return keepSeconds === 0 ? 0 : (keepSeconds + MARGIN_SECONDS) * 1_000;
  }

  /** After how long a day keeps only orders that are not over; 0: it does not. */
  get #stripAfterMs(): number {
    return this.format >= DAYS_STRIPPED ? this.#keepDayMs : 0;
  }

  #now(): string {
    const { clock, wall = systemClock, clockBoundMs = DEFAULT_CLOCK_BOUND_MS } = this.#options;
    return clock ? String(clock.now()) : `~${wall.now()},${clockBoundMs}`;
  }
}

const stepTest =
  (steps: number) =>
  (step: OrderStep): boolean =>
    (steps & (1 << ORDER_STEPS.indexOf(step))) !== 0;

const countOf = (bytes: Buffer | null | undefined): number => Number(bytes?.toString("latin1") ?? 0);

/** What a tick tells. */
const [ERASURES_DUE, HAS_WAREHOUSE] = [1, 2];

/** What a step's event takes along. */
const [NOTHING, AS_IT_IS, WITHOUT_BUYER, AGAIN] = [0, 1, 2, 3];

const ERASE_OUTCOMES = new Map<number, EraseOutcome>([
  [1, "erased"],
  [0, "not_due"],
  [-1, "unknown"],
  [-2, "on_its_way"],
]);

function standingOf(record: Buffer, buyer: Buffer | null | undefined): OrderStatus {
  const hasStep = stepTest(record.readUInt16LE(STEPS_AT));
  if (buyer) return { hasStep, shipTo: unpackr.unpack(buyer) as ShipTo };
  const body = record.subarray(HEADER_BYTES);
  // Only a record of format 1 has it inside.
  if (!body.includes("shipTo")) return { hasStep };
  const { shipTo } = unpackr.unpack(body) as OrderBody;
  return shipTo === undefined ? { hasStep } : { hasStep, shipTo };
}

/** Keys of a call that stand before those of its days, and how many each day has. */
const [KEYS_BEFORE, KEYS_A_DAY] = [5, 2];

const keysBeforeDays = (of: Omit<OrderKeys, "orders" | "buyers">): string[] => [
  of.head,
  of.log,
  of.erasures,
  of.orderDays,
  of.lateEnds,
];

/** Which of a call's days an order's is, from 1. */
function dayIn(keys: string[], orders: (day: number) => string, buyers: (day: number) => string, id: string): number {
  const day = chainIdDay(id);
  const position = keys.indexOf(orders(day), KEYS_BEFORE);
  const at = position < 0 ? keys.push(orders(day), buyers(day)) - KEYS_A_DAY : position;
  return (at - KEYS_BEFORE) / KEYS_A_DAY + 1;
}
