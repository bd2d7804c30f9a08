/**
 * The timers of one partition's jobs, in memory and in Redis. Timers that are due soon are in memory; later ones are
 * read page by page when their time comes. It records which timers the next commit has to write. A change becomes
 * durable with that commit only.
 */
import { type Timer, Timers } from "./timers.js";

/** Separates job and key in a member of the sorted set of timers. */
const SEPARATOR = "\u001f";
/**
 * When there are more timers than the first number in memory, all but about the second number are evicted and read
 * again when their time comes. Timers of the current commit are not counted.
 */
const MAX_IN_MEMORY = 40_000;
const KEPT_IN_MEMORY = 20_000;

/** A timer as Redis keeps it. */
export type DurableTimer = readonly [member: string, atMs: number];

/** All durable timers after a time, up to another. */
export interface TimerPage {
  timers: readonly DurableTimer[];
  /** Infinity: there are no more. */
  upToMs: number;
}

/** Reads durable timers in the order of their times. */
export type LoadTimers = (afterMs: number) => Promise<TimerPage>;

/** A key's timer as it was before a call. */
export interface TimerBefore {
  timerMs: number | undefined;
  isTimerTouched: boolean;
}

export class DurableTimers {
  readonly #load: LoadTimers | undefined;
  readonly #timers: Timers;
  /** Keys whose timers the next commit has to write, by job. */
  readonly #touched: readonly Set<string>[];
  /** Index of each job by name. */
  readonly #indexes: ReadonlyMap<string, number>;

  /**
   * @param jobs names of the jobs; a job is given by its index in this list elsewhere
   * @param load left out: `timers` are all durable timers
   */
  constructor(jobs: readonly string[], timers: readonly DurableTimer[], load?: LoadTimers) {
    this.#load = load;
    this.#timers = new Timers(jobs.length, load ? Number.NEGATIVE_INFINITY : undefined);
    this.#touched = jobs.map(() => new Set());
    this.#indexes = new Map(jobs.map((job, index) => [job, index]));
    this.#add(timers);
  }

  /** Reads every timer up to a time into memory. */
  async loadTo(endMs: number): Promise<void> {
    while (this.#load && this.#timers.horizonMs < endMs) {
      const { timers, upToMs } = await this.#load(this.#timers.horizonMs);
      this.#add(timers);
      this.#timers.loadedTo(upToMs);
    }
  }

  #add(timers: readonly DurableTimer[]): void {
    for (const [member, atMs] of timers) {
      const at = member.indexOf(SEPARATOR);
      const job = this.#indexes.get(member.slice(0, at));
      // A timer of a job that this process does not run stays in Redis for a process that runs it.
      if (job === undefined) continue;
      const key = member.slice(at + 1);
      // A change of the current batch is not in Redis yet.
      if (!this.#touched[job]?.has(key)) this.#timers.set(job, key, atMs);
    }
  }

  /** Sets a key's only timer; undefined removes it. */
  set(job: number, key: string, atMs: number | undefined): void {
    if (this.#timers.set(job, key, atMs)) this.#touched[job]?.add(key);
  }

  /** Timers due at `nowMs`, in no order; removes none. */
  due(nowMs: number): Generator<Timer> {
    return this.#timers.due(nowMs);
  }

  /** Removes and returns the first timer due at `nowMs`, or returns undefined. */
  takeDue(nowMs: number): Timer | undefined {
    const timer = this.#timers.take(nowMs);
    if (timer) this.#touched[timer.job]?.add(timer.key);
    return timer;
  }

  before(job: number, key: string): TimerBefore {
    return { timerMs: this.#timers.at(job, key), isTimerTouched: this.#touched[job]?.has(key) ?? false };
  }

  undo(job: number, key: string, { timerMs, isTimerTouched }: TimerBefore): void {
    this.#timers.set(job, key, timerMs);
    if (!isTimerTouched) this.#touched[job]?.delete(key);
  }

  /** Adds one job's changed timers to the lists of a commit. */
  changes(job: number, name: string, set: [atMs: number, member: string][], removed: string[]): void {
    for (const key of this.#touched[job] as Set<string>) {
      const atMs = this.#timers.at(job, key);
      const member = name + SEPARATOR + key;
      if (atMs === undefined) removed.push(member);
      else set.push([atMs, member]);
    }
  }

  /** Call this when the commit has been written. */
  committed(): void {
    for (const [job, keys] of this.#touched.entries()) this.#timers.evict(job, keys);
    if (this.#load) this.#timers.shrink(MAX_IN_MEMORY, KEPT_IN_MEMORY);
    for (const keys of this.#touched) keys.clear();
  }
}
