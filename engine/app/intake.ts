/**
 * Decides whether new orders are accepted. Once a second it reads how far the jobs are behind the log, how full Redis
 * is and how many orders wait for the warehouse (R22). Past a limit new orders are refused with a reason, while
 * payments, cancellations and parcels are still accepted, so that what has begun can end. It opens again only well
 * below the limit, so that it does not flap. It does not check stock: that is the breaker's task. When Redis does not
 * report its memory, memory is not limited here.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { type Clock, DEFAULT_CLOCK_BOUND_MS, monotonicClock, sleep, stopwatch, systemClock } from "../kernel/clock.js";
import { messageOf, type TemporaryRefusal } from "../kernel/errors.js";
import { defineOptions } from "../kernel/options.js";
import { RepeatedTurns } from "../kernel/repeated-turns.js";
import type { Follower, PartitionStats } from "../stream/follower.js";
import type { LogEvent } from "../stream/job.js";
import { knownPrimaries, type RedisClient } from "../stream/redis.js";
import { explainRedisErrors } from "../stream/redis-errors.js";
import { type RedisMemory, readMemory, shareOf } from "../stream/server-memory.js";

export const intakeOptions = defineOptions({
  maxLagMs: {
    type: "duration",
    default: 20_000,
    min: 1_000,
    max: 3_600_000,
    about: "how far jobs and views may be behind before new orders are refused; longer than the lease",
  },
  maxWaitMs: {
    type: "duration",
    default: 200,
    min: 10,
    max: 60_000,
    about: "how long new orders may wait for their answer before further ones are refused with Retry-After",
  },
  maxMemoryShare: {
    type: "number",
    default: 0.85,
    min: 0.1,
    max: 0.98,
    about: "share of Redis' maxmemory past which new orders are refused; the rest is for orders that exist",
  },
  maxBacklog: {
    type: "integer",
    default: 500_000,
    min: 1_000,
    max: 100_000_000,
    unit: "orders",
    about: "paid orders that may wait for the WMS before new orders are refused (R22)",
  },
});

export interface IntakeSettings {
  redis: RedisClient;
  /** The clock that Redis' clock is compared with, and the allowed difference; left out: this machine's, and 10 s. */
  wall?: Clock | undefined;
  clockBoundMs?: number;
  /** One per topic; the one that is furthest behind counts. */
  followers: readonly Pick<Follower<LogEvent>, "topic" | "oldestAgeMs" | "unowned" | "stats">[];
  maxLagMs: number;
  maxMemoryShare: number;
  /** Left out: this process has no warehouse. */
  warehouse?: Warehouse & {
    /** New orders are refused when more than this wait. */
    maxBacklog: number;
  };
}

/** The receiver of paid orders. */
export interface Warehouse {
  /** Reads how many paid orders it does not have yet. */
  backlog(): Promise<number>;
  limitPerSecond: number;
}

const CHECK_EVERY_MS = 1_000;
/**
 * After this long without an answer Redis, or the network, is reported as not answering. The client fails after 10 s.
 */
const SILENT_MS = 1_000;
/**
 * The wait is cut into parts with a turn of the event loop after each: a busy process is late itself, and reads the
 * answer in such a turn.
 */
const SILENT_TURNS = 4;
/** Opens again at half the lag. */
const REOPEN_LAG_SHARE = 0.5;
/** Opens again when this much of the memory is free below the limit. */
const REOPEN_MEMORY_SHARE = 0.05;
/** Opens again at four fifths of the backlog. */
const REOPEN_BACKLOG_SHARE = 0.8;
const LONGEST_RETRY_MS = 300_000;
/** Checks over the limit in a row: after an outage the views need a moment until their freshness is known. */
const CHECKS_BEHIND = 2;
/** The jobs process hundreds of thousands of events in this time. */
const RETRY_LAG_MS = 5_000;
/** Memory becomes free when the log is trimmed (every 30 s) or an operator raises maxmemory. */
const RETRY_MEMORY_MS = 30_000;
/** Past this age of its views the process is not ready. */
const READY_AGE_MS = 10_000;

export class Intake {
  readonly #settings: IntakeSettings;
  readonly #startedMs = monotonicClock.now();
  readonly #turns = new RepeatedTurns(() => this.#check(), CHECK_EVERY_MS);
  #memory: RedisMemory | undefined;
  /** Why Redis cannot be reached, as text. */
  #unreachable: string | undefined;
  /** Time since the question that Redis has not answered, once it is longer than SILENT_MS. */
  #silent: (() => number) | undefined;
  #checksBehind = 0;
  #isBehind = false;
  #isFull = false;
  /** The server's clock that differs most, and this machine's at the same moment. */
  #clocks: { serverMs: number; wallMs: number } | undefined;
  #backlog = 0;
  #isBackedUp = false;
  #refused = 0;

  constructor(settings: IntakeSettings) {
    this.#settings = settings;
  }

  start(): void {
    void this.#turns.start();
  }

  stop(): Promise<void> {
    return this.#turns.stop();
  }

  get isOpen(): boolean {
    return !this.#isBehind && !this.#isFull && !this.#isBackedUp;
  }

  /** Paid orders that the warehouse did not have at the last check; 0 without a warehouse. */
  get backlog(): number {
    return this.#backlog;
  }

  /** Requests refused so far. */
  get refused(): number {
    return this.#refused;
  }

  /** At the last check; undefined when Redis does not report it. */
  get memory(): RedisMemory | undefined {
    return this.#memory;
  }

  /**
   * How far the server clock that differs most is ahead of this machine's, in ms; exact to the duration of the call.
   */
  get serverAheadMs(): number {
    return this.#clocks ? this.#clocks.serverMs - this.#clocks.wallMs : 0;
  }

  /** Refuses a request for new work and counts it; undefined: the request is accepted. */
  refuse(): TemporaryRefusal | undefined {
    if (this.isOpen) return undefined;
    this.#refused++;
    const again = "send it again later with the same ids; payments, cancellations and outbound are accepted";
    if (this.#isFull)
      return { code: "store_full", reason: `${this.#fullText()}; ${again}`, retryAfterMs: RETRY_MEMORY_MS };
    return this.#isBehind
      ? { code: "overloaded", reason: `${this.#behindText()}; ${again}`, retryAfterMs: RETRY_LAG_MS }
      : { code: "overloaded", reason: `${this.#backlogText()}; ${again}`, retryAfterMs: this.#drainMs() };
  }

  /** Why this process is not ready, as texts; empty: it is ready. */
  wrong(): string[] {
    if (this.#unreachable !== undefined) return [this.#unreachable];
    if (this.#silent) return [`Redis has not answered for ${Math.floor(this.#silent() / 1_000)} s`];
    const wrong: string[] = [];
    const { usedBytes, limitBytes } = this.#memory ?? { usedBytes: 0, limitBytes: 0 };
    if (limitBytes > 0 && usedBytes >= limitBytes)
      wrong.push(
        `Redis has no memory left: ${mebibytes(usedBytes)} of ${mebibytes(limitBytes)} MiB are used; it accepts nothing new until some is freed or maxmemory is raised`,
      );
    // Until the views are complete for the first time their age is infinite.
    if (this.#oldestAgeMs() > READY_AGE_MS) wrong.push(this.#behindText());
    return wrong;
  }

  /** What an operator should see although the process is ready. */
  warnings(): string[] {
    const warnings: string[] = [...this.#clockTexts()];
    if (this.#isFull) warnings.push(`${this.#fullText()}: new orders are refused`);
    if (this.#isBehind) warnings.push(`${this.#behindText()}: new orders are refused`);
    if (this.#isBackedUp) warnings.push(`${this.#backlogText()}: new orders are refused`);
    if (!this.#isBehind) warnings.push(...this.#unownedTexts());
    const deadLetters = this.#sum(({ deadLetters }) => deadLetters);
    if (deadLetters > 0) warnings.push(`${deadLetters} records could not be processed and are dead letters`);
    return warnings;
  }

  /** Never fails. */
  async #check(): Promise<void> {
    const { redis, maxLagMs } = this.#settings;
    try {
      const { wall = systemClock } = this.#settings;
      const nodes = await this.#answerOf(knownPrimaries(redis));
      const clocks = await this.#answerOf(
        Promise.all(
          nodes.map(async (node) => {
            const askedMs = wall.now();
            const [seconds, micros] = await node.time();
            // Read at some moment between question and answer.
            return { serverMs: timeMs(seconds, micros), wallMs: Math.round((askedMs + wall.now()) / 2) };
          }),
        ),
      );
      this.#clocks = clocks.sort((a, b) => differenceMs(b) - differenceMs(a))[0];
      this.#unreachable = undefined;
    } catch (thrown) {
      this.#unreachable = explainRedisErrors(messageOf(thrown));
      return;
    }
    // Without an answer the last value stays, so that a full Redis does not open the intake by not answering.
    this.#memory = (await this.#answerOf(readMemory(redis))) ?? this.#memory;
    const share = this.#memory === undefined ? 0 : shareOf(this.#memory);
    this.#isFull = share >= this.#memoryBound(this.#isFull);
    await this.#answerOf(this.#readBacklog());
    const lagMs = this.#lagMs();
    this.#checksBehind =
      lagMs >= (this.#isBehind ? maxLagMs * REOPEN_LAG_SHARE : maxLagMs) ? this.#checksBehind + 1 : 0;
    this.#isBehind = this.#checksBehind >= (this.#isBehind ? 1 : CHECKS_BEHIND);
  }

  #clockTexts(): string[] {
    const { clockBoundMs = DEFAULT_CLOCK_BOUND_MS } = this.#settings;
    if (!this.#clocks || differenceMs(this.#clocks) <= clockBoundMs) return [];
    const { serverMs, wallMs } = this.#clocks;
    const iso = (ms: number) => new Date(ms).toISOString();
    return [
      `Redis' clock shows ${iso(serverMs)} and this machine's ${iso(wallMs)}: they differ by ${Math.round(differenceMs(this.#clocks) / 1_000)} s, and ${clockBoundMs / 1_000} s are allowed; new orders are refused and no hold ends until they agree; payments, cancellations and outbound are accepted. Correct the wrong clock`,
    ];
  }

  /** Waits for an answer of Redis; while it is late, `wrong` reports it. */
  async #answerOf<T>(asked: Promise<T>): Promise<T> {
    const answered = new AbortController();
    void this.#reportSilence(answered.signal);
    try {
      return await asked;
    } finally {
      answered.abort();
      this.#silent = undefined;
    }
  }

  async #reportSilence(answered: AbortSignal): Promise<void> {
    const elapsed = stopwatch();
    for (let turn = 0; turn < SILENT_TURNS; turn++) {
      await sleep(SILENT_MS / SILENT_TURNS, answered);
      await nextTurn();
      if (answered.aborted) return;
    }
    this.#silent = elapsed;
  }

  async #readBacklog(): Promise<void> {
    const { warehouse } = this.#settings;
    if (!warehouse) return;
    // Without an answer the last value stays.
    this.#backlog = await warehouse.backlog().catch(() => this.#backlog);
    this.#isBackedUp = this.#backlog >= warehouse.maxBacklog * (this.#isBackedUp ? REOPEN_BACKLOG_SHARE : 1);
  }

  /** How long a working warehouse needs until new orders are accepted again. */
  #drainMs(): number {
    const { maxBacklog, limitPerSecond } = this.#settings.warehouse as NonNullable<IntakeSettings["warehouse"]>;
    const seconds = (this.#backlog - maxBacklog * REOPEN_BACKLOG_SHARE) / limitPerSecond;
    return Math.min(LONGEST_RETRY_MS, Math.max(RETRY_LAG_MS, seconds * 1_000));
  }

  #backlogText(): string {
    return `${this.#backlog} paid orders wait for the warehouse`;
  }

  /** How far jobs and views are behind, at most the age of this process: earlier lag is unknown here. */
  #lagMs(): number {
    return Math.min(this.#oldestAgeMs(), monotonicClock.now() - this.#startedMs);
  }

  #oldestAgeMs(): number {
    return Math.max(...this.#settings.followers.map((follower) => follower.oldestAgeMs()));
  }

  #sum(of: (stats: PartitionStats) => number): number {
    let sum = 0;
    for (const follower of this.#settings.followers) for (const stats of follower.stats()) sum += of(stats);
    return sum;
  }

  #unownedTexts(): string[] {
    return this.#settings.followers.flatMap((follower) => {
      const unowned = follower.unowned();
      return unowned.length > 0 ? [unownedText(follower.topic, unowned)] : [];
    });
  }

  #memoryBound(isFull: boolean): number {
    const { maxMemoryShare } = this.#settings;
    return isFull ? maxMemoryShare - REOPEN_MEMORY_SHARE : maxMemoryShare;
  }

  #fullText(): string {
    const memory = this.#memory ?? { usedBytes: 0, limitBytes: 0 };
    const { usedBytes, limitBytes } = memory;
    return `Redis is nearly full: ${mebibytes(usedBytes)} of ${mebibytes(limitBytes)} MiB are used, and new orders need it below ${Math.round(this.#memoryBound(true) * 100)} %`;
  }

  #behindText(): string {
    const entries = this.#sum(({ lagEntries }) => lagEntries);
    const events = this.#sum(({ lagEvents }) => lagEvents);
    const seconds = Math.round(this.#lagMs() / 1_000);
    const behind = `the views are ${seconds} s behind the ledger: ${entries} log entries with ${events} events wait for the jobs`;
    return [behind, ...this.#unownedTexts()].join("; ");
  }
}

const timeMs = (seconds: number | string = 0, micros: number | string = 0): number =>
  Number(seconds) * 1_000 + Math.floor(Number(micros) / 1_000);

const differenceMs = ({ serverMs, wallMs }: { serverMs: number; wallMs: number }): number =>
  Math.abs(serverMs - wallMs);

const mebibytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);

const unownedText = (topic: string, partitions: readonly number[]): string =>
  `no process runs the ${topic} jobs of partition${partitions.length === 1 ? "" : "s"} ${rangesOf(partitions)}`;

/** `0-3, 7` for ascending numbers. */
function rangesOf(numbers: readonly number[]): string {
  const ranges: [first: number, last: number][] = [];
  for (const n of numbers) {
    const range = ranges.at(-1);
    if (range && range[1] === n - 1) range[1] = n;
    else ranges.push([n, n]);
  }
  return ranges.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(", ");
}
