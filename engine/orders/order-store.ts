/**
 * What was ordered, by the order's id, and which steps each order has taken. An order is written before its first line
 * is reserved, so that a payment finds the lines whichever process accepted the order, and a repeated order is
 * recognised. A step is recorded once, and appended to the orders' log in the same atomic call. An order is kept for
 * longer than the ledger keeps ids, and until it has ended. No stock is read or written here.
 */
import { chainIdDay } from "../kernel/chain-id.js";
import { DAY_MS } from "../kernel/clock.js";
import { TurnBatcher } from "../kernel/turn-batcher.js";
import { HOLD_MARGIN_DAYS } from "../stock/model.js";
import { LATEST_FORMAT } from "../stream/format.js";
import { loadLibrary } from "../stream/functions.js";
import type { OrderKeys } from "../stream/keys.js";
import { partitionOf } from "../stream/partition.js";
import { readFields } from "../stream/reads.js";
import type { RedisClient } from "../stream/redis.js";
import { addByPartition } from "./by-partition.js";
import { Erasures } from "./erasures.js";
import { eventBeginning } from "./log-entry.js";
import { type Evidence, ORDER_STEPS, type Order, type OrderBody, type OrderStep, shopEvidence } from "./model.js";
import { type Argument, dayNumber, keysBeforeDays, type OrderCallOptions, OrderCalls } from "./order-calls.js";
import { detailsOf } from "./order-details.js";
import {
  attemptOf,
  bodyOf,
  DEAD_LETTER_MARK,
  isErased,
  type OrderStatus,
  pack,
  type StepTest,
  statusOf,
  stepsOf,
  stepTest,
  unpackBody,
} from "./order-record.js";
import { numberOf, WaitingOrders } from "./waiting-orders.js";

export interface OrderStoreOptions extends OrderCallOptions {
  /** The deployment's format, read at each write; left out: the latest. */
  format?: () => number;
  /** How long personal data is kept; left out: the defaults. */
  personalData?: PersonalDataTimes;
  /**
   * For how long ids may be used, in seconds; 0: without end. An order that has ended is kept for so long after its
   * day, and half as long after its end; one that is paid and has not left, without end. In format 1 the previous
   * release, which reads the same data, lets all orders of a day expire.
   */
  keepSeconds: number;
}

/** An attempt at an order: its number, what was ordered, and the steps taken before it. */
export interface OrderAttempt extends OrderBody {
  attempt: number;
  hasStep: StepTest;
  /** The personal data was erased before the warehouse had it. */
  readonly isErased: boolean;
}

/** What was ordered, and the steps taken. */
export interface FoundOrder {
  order: Order;
  hasStep: StepTest;
}

/** How long personal data is kept, in ms. */
export interface PersonalDataTimes {
  /** After the order's end: its goods have left, or it was cancelled after its payment. */
  endedMs: number;
  /** Of an order that is never paid, after it was placed or cancelled. */
  unpaidMs: number;
}

export interface StepRecord extends Evidence {
  id: string;
  step: OrderStep;
}

/**
 * `unknown`: no such order. `late`: the step must not be taken any more; of a payment, because the order's
 * cancellation was requested before.
 */
export type RecordOutcome = "recorded" | "repeated" | "unknown" | "late";

interface Opening {
  order: Order;
  fingerprint: number;
  actor: string | undefined;
}

/** A step, or the mark of a dead letter. */
type Mark = Omit<StepRecord, "step"> & { step: OrderStep | typeof DEAD_LETTER_MARK };

/** From this format on, logs and emits hold no personal data: a sink reads it from the order store. */
const BUYERS_APART = 2;
/** From this format on, a day's orders do not expire as a whole. */
const DAYS_STRIPPED = 2;
const DEFAULT_TIMES: PersonalDataTimes = { endedMs: 30 * DAY_MS, unpaidMs: DAY_MS };
/** Steps whose event holds the order's body, because the order goes to the warehouse after them. */
const WITH_BODY: ReadonlySet<OrderStep> = new Set(["locked", "cancellation_refused"]);
/** Steps that are recorded each time they are reported. */
const REPEATABLE: ReadonlySet<OrderStep> = new Set(["partly_outbound", "counted"]);
/** By the number that `order_record` returns. */
const RECORD_OUTCOMES: ReadonlyMap<number, RecordOutcome> = new Map([
  [1, "recorded"],
  [0, "repeated"],
  [-1, "unknown"],
  [-2, "late"],
]);
/** What a step's event holds: arguments of `order_record`. */
const [NO_BODY, BODY_AS_STORED, BODY_WITHOUT_BUYER, REPEATABLE_STEP] = [0, 1, 2, 3];
/** Bits that a tick returns. */
const [ERASURES_DUE, HAS_WAREHOUSE] = [1, 2];
/**
 * An id's bucket begins up to a day before its day, and the last day counts whole; the ledger too keeps lines longer.
 */
const MARGIN_SECONDS = (2 + HOLD_MARGIN_DAYS) * 86_400;
const BATCH_LIMIT = 200;
const QUEUE_LIMIT = 10_000;
/** Records of one read: a few hundred KiB. */
const READ_LIMIT = 1_000;

export class OrderStore {
  readonly partitions: number;
  /** The erasure of personal data. */
  readonly erasures: Erasures;
  /** Orders that wait for the warehouse. */
  readonly waiting: WaitingOrders;
  readonly #options: OrderStoreOptions;
  readonly #calls: OrderCalls;
  readonly #openings: TurnBatcher<Opening, number>[];
  readonly #records: TurnBatcher<Mark, RecordOutcome>[];
  /** Those of a sink, which do not wait for replicas. */
  readonly #sinkRecords: TurnBatcher<Mark, RecordOutcome>[];
  readonly #statuses: TurnBatcher<string, OrderStatus | undefined>[];

  constructor(options: OrderStoreOptions) {
    const { prefix, partitions } = options;
    this.partitions = partitions;
    this.#options = options;
    this.#calls = new OrderCalls(options);
    this.erasures = new Erasures(this.#calls);
    this.waiting = new WaitingOrders(this.#calls, prefix);
    const limits = { batchLimit: BATCH_LIMIT, queueLimit: QUEUE_LIMIT };
    this.#openings = this.#calls.keys.map(
      (keys) => new TurnBatcher({ op: "orders.open", ...limits, send: (items) => this.#open(keys, items) }),
    );
    const records = (write: OrderCalls["write"]) =>
      this.#calls.keys.map(
        (keys) =>
          new TurnBatcher({
            op: "orders.record",
            ...limits,
            send: (items: Mark[]) => this.#record(keys, items, write),
          }),
      );
    this.#records = records((...call) => this.#calls.write(...call));
    this.#sinkRecords = records((...call) => this.#calls.call(...call));
    this.#statuses = this.#calls.keys.map(
      (keys) => new TurnBatcher({ op: "orders.status", ...limits, send: (ids) => this.#readStatuses(keys, ids) }),
    );
  }

  static load(redis: RedisClient): Promise<void> {
    return loadLibrary(redis, new URL("./orders.lua", import.meta.url));
  }

  /**
   * Writes an order. Returns the number of the attempt at placing it, or undefined when its id came with another body
   * before.
   */
  async open(order: Order, fingerprint: number, actor?: string): Promise<number | undefined> {
    const batcher = this.#openings[this.partitionOf(order.id)] as TurnBatcher<Opening, number>;
    const attempt = await batcher.addOne({ order, fingerprint, actor });
    return attempt === -1 ? undefined : attempt;
  }

  /** What was ordered, and the steps taken, or undefined when the order is not known. */
  async find(id: string): Promise<FoundOrder | undefined> {
    const record = await this.#read(id);
    if (!record) return undefined;
    return { order: { id, ...bodyOf(record) }, hasStep: stepTest(stepsOf(record)) };
  }

  /** Which of these ids are orders. One read for each partition and day, of READ_LIMIT ids at most. */
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
        for (let from = 0; from < fields.length; from += READ_LIMIT) {
          const part = fields.slice(from, from + READ_LIMIT);
          const records = await readFields(this.#calls.redis, bucket, part);
          for (const [i, record] of records.entries()) if (record) known.add(part[i] as string);
        }
      }),
    );
    return known;
  }

  /** Numbers another attempt at an order; undefined when the order is not known. */
  async beginAttempt(id: string): Promise<OrderAttempt | undefined> {
    const begun = (await this.#calls.write("order_begin_attempt", [this.#bucket(id)], [id])) as
      | [number, Buffer, number]
      | null;
    if (!begun) return undefined;
    const [attempt, body, steps] = begun;
    return { ...unpackBody(body), attempt, hasStep: stepTest(steps), isErased: isErased(steps) };
  }

  /** The number of the newest attempt at an order; 0 when the order is not known. */
  async newestAttempt(id: string): Promise<number> {
    const record = await this.#read(id);
    return record ? attemptOf(record) : 0;
  }

  /**
   * The status of an order now, or undefined when the order is not known. All orders that one turn of the event loop
   * asks for are two reads for each partition and day, in one round trip.
   */
  status(id: string): Promise<OrderStatus | undefined> {
    return (this.#statuses[this.partitionOf(id)] as TurnBatcher<string, OrderStatus | undefined>).addOne(id);
  }

  /** Records steps, each once. May be sent again after an unknown result. */
  record(steps: readonly StepRecord[]): Promise<RecordOutcome[]> {
    return addByPartition(this.#records, steps);
  }

  /**
   * The same for what a sink of the orders' topic has delivered, without waiting for replicas: the sink's commit on the
   * same server comes later in replication and does not wait either. A server that has lost these has lost that one.
   */
  recordDelivered(steps: readonly StepRecord[]): Promise<RecordOutcome[]> {
    return addByPartition(this.#sinkRecords, steps);
  }

  /** Records, as `recordDelivered` does, that requests of these orders have become dead letters, each once. */
  async markDeadLetters(ids: readonly string[]): Promise<void> {
    const marks = ids.map((id): Mark => ({ id, step: DEAD_LETTER_MARK, source: "" }));
    await addByPartition(this.#sinkRecords, marks);
  }

  /** How many orders have taken each step since the deployment began; a step that none has taken is left out. */
  async totals(): Promise<Partial<Record<OrderStep, number>>> {
    const fields = ORDER_STEPS.map((_, step) => `s${step}`);
    const heads = await Promise.all(this.#calls.keys.map(({ head }) => readFields(this.#calls.redis, head, fields)));
    const totals: Partial<Record<OrderStep, number>> = {};
    for (const head of heads) {
      for (const [i, step] of ORDER_STEPS.entries()) {
        if (head[i]) totals[step] = (totals[step] ?? 0) + numberOf(head[i]);
      }
    }
    return totals;
  }

  /** The format that the deployment is written in. */
  get format(): number {
    return this.#options.format?.() ?? LATEST_FORMAT;
  }

  /** Whether a warehouse that takes orders is or was connected; read from an order's partition. */
  hasWarehouse(id: string): Promise<boolean> {
    return this.waiting.readHasWarehouse(this.partitionOf(id));
  }

  /**
   * Fires timers of a partition that are due without new events, and deletes orders that have ended. Returns whether
   * personal data is due to be erased.
   */
  async tick(partition: number): Promise<boolean> {
    const { head, log, timers, erasures, orderDays, lateEnds, ordersBase, buyersBase } = this.#calls.keysOf(partition);
    const keys = [head, log, timers, erasures, orderDays, lateEnds];
    const args = [this.#calls.now(), this.#stripAfterMs, ordersBase, buyersBase];
    const bits = (await this.#calls.call("order_tick", keys, args)) as number;
    if ((bits & HAS_WAREHOUSE) !== 0) this.waiting.setHasWarehouse();
    return (bits & ERASURES_DUE) !== 0;
  }

  partitionOf(id: string): number {
    return partitionOf(id, this.partitions);
  }

  async #open({ orders, buyers, ...partitionKeys }: OrderKeys, openings: Opening[]): Promise<number[]> {
    const keys = keysBeforeDays(partitionKeys);
    const { unpaidMs } = this.#times;
    const args: Argument[] = [this.#keepDayMs, this.#calls.now(), unpaidMs, this.#stripAfterMs > 0 ? 1 : 0];
    const isApart = this.#areBuyersApart();
    for (const { order, fingerprint, actor } of openings) {
      const { id, lines, shipTo, holdMs } = order;
      // The release before format 2 reads the buyer from the body.
      const body: OrderBody = shipTo === undefined || isApart ? { lines } : { lines, shipTo };
      // A payment that counts the lines needs it to compute when they were deducted.
      if (lines.length > 1 && holdMs !== undefined) body.holdMs = holdMs;
      Object.assign(body, detailsOf(order));
      const event = eventBeginning(id, "created", shopEvidence(actor));
      args.push(dayNumber(keys, orders, buyers, id), id, fingerprint, pack(body), event);
      if (shipTo === undefined) args.push(0, "");
      else args.push(1, isApart ? pack(shipTo) : "");
    }
    return (await this.#calls.write("order_open", keys, args)) as number[];
  }

  async #record(
    { orders, buyers, ...partitionKeys }: OrderKeys,
    marks: Mark[],
    write: OrderCalls["write"],
  ): Promise<RecordOutcome[]> {
    const keys = keysBeforeDays(partitionKeys);
    const { unpaidMs, endedMs } = this.#times;
    // As long as an order that has ended is kept: one that has not ended by then has been at the warehouse for long,
    // or never goes there.
    const longestMs = this.#options.keepSeconds * 1_000;
    const args: Argument[] = [this.#calls.now(), unpaidMs, endedMs, longestMs, this.#stripAfterMs];
    const body = this.#areBuyersApart() ? BODY_WITHOUT_BUYER : BODY_AS_STORED;
    for (const { id, step, ...evidence } of marks) {
      const day = dayNumber(keys, orders, buyers, id);
      if (step === DEAD_LETTER_MARK) {
        args.push(day, id, step, NO_BODY, "");
        continue;
      }
      const holds = WITH_BODY.has(step) ? body : REPEATABLE.has(step) ? REPEATABLE_STEP : NO_BODY;
      args.push(day, id, ORDER_STEPS.indexOf(step), holds, eventBeginning(id, step, evidence));
    }
    const results = (await write("order_record", keys, args)) as number[];
    return results.map((result) => RECORD_OUTCOMES.get(result) ?? "unknown");
  }

  async #readStatuses({ orders, buyers }: OrderKeys, ids: readonly string[]): Promise<(OrderStatus | undefined)[]> {
    const { redis } = this.#calls;
    const statuses = new Array<OrderStatus | undefined>(ids.length);
    const days = new Map<number, number[]>();
    for (const [i, id] of ids.entries()) {
      const day = chainIdDay(id);
      const indexes = days.get(day);
      if (indexes) indexes.push(i);
      else days.set(day, [i]);
    }
    await Promise.all(
      [...days].map(async ([day, indexes]) => {
        const fields = indexes.map((i) => ids[i] as string);
        // The personal data first: if it is gone, the warehouse has the order, and the record, read after it, has
        // that step.
        const [texts, records] = await Promise.all([
          readFields(redis, buyers(day), fields),
          readFields(redis, orders(day), fields),
        ]);
        for (const [at, record] of records.entries()) {
          if (record) statuses[indexes[at] as number] = statusOf(record, texts[at]);
        }
      }),
    );
    return statuses;
  }

  #read(id: string): Promise<Buffer | null> {
    return this.#calls.redis.hgetBuffer(this.#bucket(id), id);
  }

  /** The key of the orders of an id's day. */
  #bucket(id: string): string {
    return this.#calls.keysOf(this.partitionOf(id)).orders(chainIdDay(id));
  }

  get #times(): PersonalDataTimes {
    return this.#options.personalData ?? DEFAULT_TIMES;
  }

  #areBuyersApart(): boolean {
    return this.format >= BUYERS_APART;
  }

  /** For how long all orders of a day are kept; 0: without end. */
  get #keepDayMs(): number {
    const { keepSeconds } = this.#options;
    return keepSeconds === 0 ? 0 : (keepSeconds + MARGIN_SECONDS) * 1_000;
  }

  /** After how long only the orders of a day that have not ended are kept; 0: never. */
  get #stripAfterMs(): number {
    return this.format >= DAYS_STRIPPED ? this.#keepDayMs : 0;
  }
}
