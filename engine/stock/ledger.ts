/**
 * The ledger's client: commands in, replies out. Commands of one turn of the event loop are joined into one function
 * call a partition and stay in the order they came. A call that failed may or may not have been applied; it is safe
 * to send again, because every command carries its id (R3). Guarantees nothing across partitions: that is the work of
 * the order service.
 */
import { chainIdDay } from "../kernel/chain-id.js";
import { type Clock, DEFAULT_CLOCK_BOUND_MS, systemClock } from "../kernel/clock.js";
import { EngineError } from "../kernel/errors.js";
import { ItemFailure, TurnBatcher } from "../kernel/turn-batcher.js";
import { LATEST_FORMAT } from "../stream/format.js";
import { callFunction, callFunctionBuffer, loadLibrary } from "../stream/functions.js";
import { breakersKey, type StockKeys, stockKeys } from "../stream/keys.js";
import { partitionOf } from "../stream/partition.js";
import type { RedisClient } from "../stream/redis.js";
import { isOutOfMemory } from "../stream/redis-errors.js";
import type { ReplicationBarrier } from "../stream/replication-barrier.js";
import { ENTRY_COMMANDS_LIMIT, encodeBatch, IS_UNCOUNTED, REPEATED } from "./batch.js";
import type { BreakerAction, BreakerStatus, DesiredBreaker, OpenBreaker } from "./breaker.js";
import { breakerAt } from "./breaker-rules.js";
import { Breakers, type WantedBreaker } from "./breakers.js";
import {
  type Balances,
  CELL_SEPARATOR,
  cellOf,
  DEFAULT_ID_RETENTION_DAYS,
  emptyBalances,
  LINE_STATES,
  type LineState,
  OUTCOMES,
  type Outcome,
  type Reply,
  type StockCommand,
} from "./model.js";
import { balancesOf, storedRecordOf } from "./records.js";

export interface LedgerOptions {
  redis: RedisClient;
  prefix: string;
  partitions: number;
  /** Commands and breakers are answered when enough replicas have them; left out: when the primary has them. */
  replicas?: ReplicationBarrier;
  /**
   * Left out: the Redis server's clock, one for all processes. Given (replay, demo): this one, and commands' times
   * move it on.
   */
  clock?: Clock;
  /** The server's clock must agree with this one within the bound; left out: this machine's clock, and 10 s. */
  wall?: Clock;
  clockBoundMs?: number;
  /** The deployment's format, read at each write; left out: the latest. */
  format?: () => number;
  idRetentionDays?: number;
  /** Most commands in one call: at 5 µs each, 500 keep Redis busy for 2.5 ms. */
  batchLimit?: number;
  /** Most commands waiting or under way in one partition. */
  queueLimit?: number;
}

export const DEFAULT_BATCH_LIMIT = 500;
/** Lua's `unpack` allows more; the reply time does not, and readers refuse a log entry with more commands. */
export const MAX_BATCH_LIMIT = ENTRY_COMMANDS_LIMIT;
const DEFAULT_QUEUE_LIMIT = 20_000;
/** The first format whose logs may hold the outcome `clocks_disagree`. */
const DISAGREE_FORMAT = 2;
/** Windows end at least this often in a partition without commands. */
export const HEARTBEAT_MS = 60_000;

/**
 * Kinds that are refused when Redis is full: they begin something, and can be sent again. All others continue what has
 * begun.
 */
const WAITS_FOR_MEMORY: ReadonlySet<StockCommand["kind"]> = new Set([
  "reserve",
  "receive",
  "return",
  "correct",
  "move",
]);

/** Replies are immutable and few: one shared object for each pair of outcome and state. */
const replies = new Map<number, Reply>();
function replyOf(outcomeByte: number, state: number): Reply {
  const code = outcomeByte * 256 + state;
  let reply = replies.get(code);
  if (!reply) {
    const outcome = OUTCOMES[outcomeByte & ~REPEATED] as Outcome;
    const lineState = LINE_STATES[state & ~IS_UNCOUNTED] as LineState;
    const mark = state >= IS_UNCOUNTED ? ({ uncounted: true } as const) : undefined;
    reply = Object.freeze({ outcome, repeated: outcomeByte >= REPEATED, state: lineState, ...mark });
    replies.set(code, reply);
  }
  return reply;
}

export interface TickResult {
  /** Number of holds that expired; SWEEP_LIMIT means that more may be due. */
  expired: number;
  offset: number;
  clockMs: number;
}

export class Ledger {
  readonly partitions: number;
  readonly breakers: Breakers;
  readonly #redis: RedisClient;
  readonly #replicas: ReplicationBarrier | undefined;
  readonly #clock: Clock | undefined;
  readonly #wall: Clock;
  readonly #clockBoundMs: number;
  readonly #retentionDays: number;
  readonly #format: () => number;
  readonly #keys: StockKeys[];
  readonly #batchers: TurnBatcher<StockCommand, Reply>[];
  #commands = 0;

  constructor(options: LedgerOptions) {
    const { redis, replicas, prefix, partitions, clock, format, idRetentionDays, batchLimit, queueLimit } = options;
    this.#redis = redis;
    this.#replicas = replicas;
    this.#clock = clock;
    this.#wall = options.wall ?? systemClock;
    this.#clockBoundMs = options.clockBoundMs ?? DEFAULT_CLOCK_BOUND_MS;
    this.partitions = partitions;
    this.#format = format ?? (() => LATEST_FORMAT);
    this.#retentionDays = idRetentionDays ?? DEFAULT_ID_RETENTION_DAYS;
    this.#keys = Array.from({ length: partitions }, (_, partition) => stockKeys(prefix, partition));
    this.breakers = new Breakers({
      redis,
      key: breakersKey(prefix),
      partitions,
      partitionOf: (sku) => this.partitionOf(sku),
      keysOf: (partition) => this.#keysOf(partition),
      format: () => this.#format(),
      setDesired: (scope, action, wanted, ifVersion) =>
        this.#setBreaker(breakersKey(prefix), scope, action, wanted, ifVersion),
      apply: (partition, scope, desired) => this.#applyBreaker(this.#keysOf(partition), scope, desired),
    });
    this.#batchers = this.#keys.map(
      (keys) =>
        new TurnBatcher<StockCommand, Reply>({
          op: "ledger.apply",
          batchLimit: Math.min(batchLimit ?? DEFAULT_BATCH_LIMIT, MAX_BATCH_LIMIT),
          queueLimit: queueLimit ?? DEFAULT_QUEUE_LIMIT,
          send: (commands) => this.#send(keys, commands),
        }),
    );
  }

  /** Loads the function library into Redis; call once before the first command. */
  static load(redis: RedisClient): Promise<void> {
    return loadLibrary(redis, new URL("./ledger.lua", import.meta.url));
  }

  /** Commands decided through this client so far. */
  get commands(): number {
    return this.#commands;
  }

  /** Commands waiting or under way, over all partitions. */
  get depth(): number {
    return this.#batchers.reduce((sum, batcher) => sum + batcher.depth, 0);
  }

  partitionOf(sku: string): number {
    return partitionOf(sku, this.partitions);
  }

  apply(command: StockCommand): Promise<Reply> {
    return this.#batcher(command.sku).addOne(command);
  }

  /** Applies many commands; those of one SKU in the order given. Replies are in the order given. */
  async applyMany(commands: readonly StockCommand[]): Promise<Reply[]> {
    // Most orders have a single line.
    if (commands.length === 1) return [await this.apply(commands[0] as StockCommand)];
    const groups = new Map<number, { commands: StockCommand[]; positions: number[] }>();
    for (let i = 0; i < commands.length; i++) {
      const command = commands[i] as StockCommand;
      const partition = this.partitionOf(command.sku);
      let group = groups.get(partition);
      if (!group) {
        group = { commands: [], positions: [] };
        groups.set(partition, group);
      }
      group.commands.push(command);
      group.positions.push(i);
    }
    const all = new Array<Reply>(commands.length);
    // Waits for every group, also after one has failed: nothing of this call is still under way when it returns.
    const settled = await Promise.allSettled(
      [...groups].map(async ([partition, group]) => {
        const part = await (this.#batchers[partition] as TurnBatcher<StockCommand, Reply>).add(group.commands);
        for (let i = 0; i < part.length; i++) all[group.positions[i] as number] = part[i] as Reply;
      }),
    );
    for (const result of settled) if (result.status === "rejected") throw result.reason;
    return all;
  }

  /**
   * Does what is due by time in a partition: ends due holds, ends breakers whose time is over, ends windows. Safe to
   * repeat.
   */
  async tick(partition: number): Promise<TickResult> {
    const keys = this.#keysOf(partition);
    const [expired, offset, clockMs] = (await callFunction(
      this.#redis,
      "stock_tick",
      [keys.head, keys.cells, keys.holds, keys.breakers, keys.log],
      [this.#now(), this.#retentionDays, keys.linesBase, HEARTBEAT_MS, this.#format()],
    )) as [number, string, string];
    return { expired, offset: Number(offset), clockMs: Number(clockMs) };
  }

  /** Breakers that are open or half-open now, somewhere, or shall be, each once. */
  async openBreakers(): Promise<OpenBreaker[]> {
    const breakers = await this.breakers.open();
    return breakers.flatMap((breaker) => breakerAt(breaker, this.#nowMs()) ?? []);
  }

  /** The breakers with their newest changes, closed ones included: see `Breakers.statuses`. */
  breakerStatuses(): Promise<BreakerStatus[]> {
    return this.breakers.statuses(this.#nowMs());
  }

  /** Whether a breaker refuses one of these lines, as last read: see `Breakers.refuses`. */
  isRefusedByBreaker(lines: readonly { sku: string; location: string }[]): boolean {
    return this.breakers.refuses(lines, this.#nowMs());
  }

  /** All balances of a SKU by location, as the ledger holds them now; undefined for an unknown SKU. */
  async balances(sku: string): Promise<Map<string, Balances> | undefined> {
    const { cells } = this.#keysOf(this.partitionOf(sku));
    const listed = await this.#redis.hget(cells, sku + CELL_SEPARATOR);
    if (listed === null) return undefined;
    const locations = listed.split(CELL_SEPARATOR);
    const packed = (await this.#redis.hmgetBuffer(
      cells,
      ...locations.map((location) => cellOf(sku, location)),
    )) as (Buffer | null)[];
    return new Map(
      locations.map((location, i) => {
        const bytes = packed[i];
        return [location, bytes ? balancesOf(bytes) : emptyBalances()];
      }),
    );
  }

  /**
   * The first answers to order lines, with the lines' present states; undefined for a line that is unknown, or no
   * longer kept.
   */
  async recall(lines: readonly { id: string; sku: string }[]): Promise<(Reply | undefined)[]> {
    const records = await Promise.all(
      lines.map(({ id, sku }) => this.#redis.hgetBuffer(this.#keysOf(this.partitionOf(sku)).lines(chainIdDay(id)), id)),
    );
    return records.map((bytes) => {
      const record = storedRecordOf(bytes);
      if (!record) return undefined;
      const { outcome, state, missingUnits } = record;
      return { outcome, repeated: true, state, ...(missingUnits > 0 && { missingUnits }) };
    });
  }

  /** Every cell of a partition, for audits; `location` is never empty. */
  async *cells(partition: number): AsyncGenerator<{ sku: string; location: string; balances: Balances }> {
    const { cells } = this.#keysOf(partition);
    let cursor = "0";
    do {
      const [next, pairs] = (await this.#redis.hscanBuffer(cells, cursor, "COUNT", 1_000)) as [Buffer, Buffer[]];
      cursor = next.toString("latin1");
      for (let i = 0; i < pairs.length; i += 2) {
        const name = (pairs[i] as Buffer).toString("utf8");
        const at = name.indexOf(CELL_SEPARATOR);
        if (at === name.length - 1) continue;
        yield { sku: name.slice(0, at), location: name.slice(at + 1), balances: balancesOf(pairs[i + 1] as Buffer) };
      }
    } while (cursor !== "0");
  }

  async #setBreaker(
    key: string,
    scope: string,
    action: BreakerAction,
    wanted: WantedBreaker,
    ifVersion: number | undefined,
  ): Promise<DesiredBreaker | undefined> {
    const args = [this.#now(), scope, action, JSON.stringify(wanted), ifVersion ?? ""];
    const recorded = await this.#write("stock_set_breaker", [key], args);
    return recorded === null ? undefined : (JSON.parse(String(recorded)) as DesiredBreaker);
  }

  async #applyBreaker(keys: StockKeys, scope: string, desired: DesiredBreaker): Promise<boolean> {
    const { action, version, sinceMs, untilMs, atEnd = "", ...cause } = desired;
    const times = [version, sinceMs, untilMs];
    const args = [this.#now(), scope, action, JSON.stringify(cause), ...times, this.#format(), atEnd];
    const all = [keys.head, keys.cells, keys.holds, keys.breakers, keys.log];
    return (await this.#write("stock_apply_breaker", all, args)) !== null;
  }

  /**
   * A full Redis refuses a call as a whole. Then the commands that continue what has begun are sent again alone,
   * through a function that is allowed to write.
   */
  async #send(keys: StockKeys, commands: StockCommand[]): Promise<(Reply | ItemFailure)[]> {
    try {
      return await this.#apply("stock_apply", keys, commands);
    } catch (thrown) {
      const begun = isOutOfMemory(thrown) ? commands.filter(({ kind }) => !WAITS_FOR_MEMORY.has(kind)) : [];
      if (begun.length === 0) throw thrown;
      const replies = (await this.#apply("stock_go_on", keys, begun)).values();
      return commands.map(({ kind }) =>
        WAITS_FOR_MEMORY.has(kind) ? new ItemFailure(thrown) : (replies.next().value as Reply),
      );
    }
  }

  async #apply(name: string, keys: StockKeys, commands: StockCommand[]): Promise<Reply[]> {
    const format = this.#format();
    const { bytes, fingerprints, expectations, days } = encodeBatch(commands, format);
    const [outcomes, states, , missing] = (await this.#write(
      name,
      [keys.head, keys.cells, keys.holds, keys.breakers, keys.log, ...days.map(keys.lines)],
      [
        ...[this.#now(), this.#retentionDays, keys.linesBase, bytes, fingerprints, format],
        ...[expectations, keys.corrected, keys.settled],
      ],
    )) as [Buffer, Buffer, Buffer, Buffer[]];
    this.#commands += commands.length;
    const replies = commands.map((_, i) => replyOf(outcomes[i] as number, states[i] as number));
    for (let k = 0; k < missing.length; k += 2) {
      const i = Number(missing[k]) - 1;
      replies[i] = { ...(replies[i] as Reply), missingUnits: Number(missing[k + 1]) };
    }
    return replies;
  }

  #write(name: string, keys: string[], args: (string | number | Buffer)[]): Promise<unknown> {
    return this.#replicas?.call(name, keys, args) ?? callFunctionBuffer(this.#redis, name, keys, args);
  }

  /**
   * The first argument of each function (`time_of` in server-time.lua): the given clock; or this machine's clock, the
   * bound within which the server's must agree, and the outcome of new reservations when it does not.
   */
  #now(): string {
    if (this.#clock) return String(this.#clock.now());
    // Older releases cannot read the outcome `clocks_disagree` in the log.
    const outcome = this.#format() >= DISAGREE_FORMAT ? "clocks_disagree" : "breaker_open";
    return `~${this.#wall.now()},${this.#clockBoundMs},${OUTCOMES.indexOf(outcome)}`;
  }

  /** The time as this process has it, for readings: a decision uses the server's, too. */
  #nowMs(): number {
    return this.#clock?.now() ?? this.#wall.now();
  }

  #keysOf(partition: number): StockKeys {
    const keys = this.#keys[partition];
    if (!keys)
      throw new EngineError(`no partition ${partition}`, { op: "ledger", code: "no_partition", retryable: false });
    return keys;
  }

  #batcher(sku: string): TurnBatcher<StockCommand, Reply> {
    return this.#batchers[this.partitionOf(sku)] as TurnBatcher<StockCommand, Reply>;
  }
}
