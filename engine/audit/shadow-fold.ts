/**
 * The shadow fold: for the partitions that this process owns, a few SKUs a second are compared with the fold of the
 * log, over and over for as long as it runs. A mismatch is an alarm: one line that names cell, numbers and the first
 * differing event, reported once until the difference changes. It stops nothing: whether to close the shop is for an
 * operator to decide. A whole partition is compared in one cycle, so a fault is found within that time.
 */
import { sleep, stopwatch } from "../kernel/clock.js";
import { messageOf } from "../kernel/errors.js";
import type { OnTrouble } from "../kernel/logger.js";
import type { RedisClient } from "../stream/redis.js";
import { PartitionAudit } from "./audit.js";
import type { Mismatch } from "./comparison.js";

export interface ShadowFoldOptions {
  redis: RedisClient;
  prefix: string;
  partitions: number;
  /** Whether this process runs a partition's jobs now. */
  owned(partition: number): boolean;
  /** Gets alarms, and errors after which the loop goes on, as text. */
  onTrouble: OnTrouble;
  /** The pause between two rounds, in ms; left out: a second. */
  everyMs?: number;
}

const EVERY_MS = 1_000;
/**
 * A slice costs Redis about 0.25 ms: 16 of them in a second are 0.4 % of its time. Who owns more partitions takes
 * them in turn.
 */
const SLICES_EACH = 16;
/** Alarms in quick succession are reported together. */
const REPORT_EVERY_MS = 15_000;
const REPORTED_AT_ONCE = 10;
const TOO_FAR_BEHIND_MS = 60_000;

interface Watched {
  audit: PartitionAudit;
  cycleSeconds: number;
  /** Since when nothing could be compared. */
  behindSince: (() => number) | undefined;
}

export class ShadowFold {
  readonly #options: ShadowFoldOptions;
  readonly #watched = new Map<number, Watched>();
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;
  #cells = 0;
  #next = 0;
  #unreported: Mismatch[] = [];
  #sinceReport: (() => number) | undefined;

  constructor(options: ShadowFoldOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    this.#report(true);
  }

  /** Cells compared since the start, each time counted. */
  get cellsChecked(): number {
    return this.#cells;
  }

  /** Cells that differ now, of those compared so far. */
  get mismatches(): readonly Mismatch[] {
    return [...this.#watched.values()].flatMap(({ audit }) => [...audit.mismatches.values()]);
  }

  /** How long the last cycle took in the slowest partition, in seconds; 0 before the first has ended. */
  get cycleSeconds(): number {
    return Math.max(0, ...[...this.#watched.values()].map(({ cycleSeconds }) => cycleSeconds));
  }

  /** What an operator ought to know, in words. */
  warnings(): string[] {
    const { mismatches } = this;
    const warnings = mismatches.slice(0, REPORTED_AT_ONCE).map(({ words }) => words);
    if (mismatches.length > REPORTED_AT_ONCE)
      warnings.push(`${mismatches.length - REPORTED_AT_ONCE} more cells differ: run shuiwei audit`);
    for (const [partition, { behindSince }] of this.#watched)
      if (behindSince && behindSince() > TOO_FAR_BEHIND_MS)
        warnings.push(`partition ${partition} is not compared: its jobs are too far behind the log`);
    return warnings;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await sleep(this.#options.everyMs ?? EVERY_MS, signal);
      try {
        await this.#round();
      } catch (thrown) {
        if (!signal.aborted) this.#options.onTrouble(`shadow fold: ${messageOf(thrown)}`);
      }
    }
  }

  async #round(): Promise<void> {
    const { partitions, owned } = this.#options;
    for (const partition of this.#watched.keys()) if (!owned(partition)) this.#watched.delete(partition);
    const mine = Array.from({ length: partitions }, (_, i) => (this.#next + i) % partitions).filter(owned);
    for (const partition of mine.slice(0, SLICES_EACH)) {
      if (this.#stop.signal.aborted) return;
      this.#next = (partition + 1) % partitions;
      await this.#compare(partition);
    }
    this.#report();
  }

  async #compare(partition: number): Promise<void> {
    const { redis, prefix } = this.#options;
    let watched = this.#watched.get(partition);
    if (!watched) {
      watched = { audit: new PartitionAudit(redis, prefix, partition), cycleSeconds: 0, behindSince: undefined };
      this.#watched.set(partition, watched);
    }
    const { cells, newMismatches, cycleSeconds, lagEntries } = await watched.audit.slice();
    this.#cells += cells;
    if (cycleSeconds !== undefined) watched.cycleSeconds = cycleSeconds;
    watched.behindSince = lagEntries === undefined ? undefined : (watched.behindSince ?? stopwatch());
    this.#unreported.push(...newMismatches);
  }

  /** Reports what is new, at once if nothing was reported lately. */
  #report(last = false): void {
    if (this.#unreported.length === 0) return;
    if (!last && this.#sinceReport && this.#sinceReport() < REPORT_EVERY_MS) return;
    this.#sinceReport = stopwatch();
    const reported = this.#unreported.slice(0, REPORTED_AT_ONCE).map(({ words }) => words);
    const more = this.#unreported.length - reported.length;
    this.#unreported = [];
    this.#options.onTrouble(
      `ALARM: the balances do not follow from the log: ${reported.join(" | ")}${more > 0 ? ` | and ${more} more: run shuiwei audit` : ""}`,
      { level: "error", topic: "stock" },
    );
  }
}
