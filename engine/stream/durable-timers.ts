/**
 * The timers of one partition's jobs, in memory and in Redis: of each key an unnamed one, and those that its job has
 * declared. Timers that are due soon are in memory; later ones are
 * read page by page when their time comes. It records which timers the next commit has to write. A change becomes
 * durable with that commit only.
 */
import { Timers } from "./timers.js";

/** Separates job, key and, for a named timer, its name in a member of the sorted set of timers. */
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

/** A timer that is due. */
export interface DueTimer {
  /** Index of the job. */
  job: number;
  key: string;
  atMs: number;
  /** Undefined for the unnamed timer. */
  name: string | undefined;
}

/** A key's timers as they were before a call. */
export type TimersBefore = readonly { id: string; timerMs: number | undefined; isTouched: boolean }[];

/** What it needs of a job. */
export interface TimerOwner {
  readonly name: string;
  readonly timers?: readonly string[];
}

export class DurableTimers {
  readonly #load: LoadTimers | undefined;
  /** A timer's key there is its id: the key alone, or the key, the separator and the timer's name. */
  readonly #timers: Timers;
  readonly #jobs: readonly TimerOwner[];
  /** Ids of the timers that the next commit has to write, by job. */
  readonly #touched: readonly Set<string>[];
  /** Index of each job by name. */
  readonly #indexes: ReadonlyMap<string, number>;

  /**
   * @param jobs a job is given by its index in this list elsewhere
   * @param load left out: `timers` are all durable timers
   */
  constructor(jobs: readonly TimerOwner[], timers: readonly DurableTimer[], load?: LoadTimers) {
    this.#load = load;
    this.#jobs = jobs;
    this.#timers = new Timers(jobs.length, load ? Number.NEGATIVE_INFINITY : undefined);
    this.#touched = jobs.map(() => new Set());
    this.#indexes = new Map(jobs.map(({ name }, index) => [name, index]));
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
      const id = member.slice(at + 1);
      const touched = this.#touched[job] as Set<string>;
      // A change of the current batch is not in Redis yet.
      if (touched.has(id)) continue;
      if (this.#isDeclared(job, this.#nameOf(job, id))) this.#timers.set(job, id, atMs);
      else touched.add(id);
    }
  }

  /**
   * Sets a key's timer; undefined removes it.
   * @param name left out: the unnamed timer
   * @throws when the job has no timer of this name
   */
  set(job: number, key: string, atMs: number | undefined, name?: string): void {
    const owner = this.#jobs[job] as TimerOwner;
    if (!this.#isDeclared(job, name))
      throw new Error(`${owner.name} sets the timer ${JSON.stringify(name)}, which is not in its list of timers`);
    if (owner.timers && key.includes(SEPARATOR))
      throw new Error(`${owner.name} has named timers, so a key may not contain U+001F: ${JSON.stringify(key)}`);
    this.#set(job, idOf(key, name), atMs);
  }

  #set(job: number, id: string, atMs: number | undefined): void {
    if (this.#timers.set(job, id, atMs)) this.#touched[job]?.add(id);
  }

  /** Removes all timers of a key. */
  clear(job: number, key: string): void {
    this.#set(job, key, undefined);
    for (const name of this.#jobs[job]?.timers ?? []) this.#set(job, idOf(key, name), undefined);
  }

  /** Job and key of the timers due at `nowMs`, in no order; removes none. */
  *keysDue(nowMs: number): Generator<Pick<DueTimer, "job" | "key">> {
    for (const { job, key: id } of this.#timers.due(nowMs)) yield { job, key: this.#keyOf(job, id) };
  }

  /** Removes and returns the first timer due at `nowMs`: by time, job, key and name, the unnamed one first. */
  takeDue(nowMs: number): DueTimer | undefined {
    const timer = this.#timers.take(nowMs);
    if (!timer) return undefined;
    const { job, key: id, atMs } = timer;
    this.#touched[job]?.add(id);
    return { job, key: this.#keyOf(job, id), atMs, name: this.#nameOf(job, id) };
  }

  before(job: number, key: string): TimersBefore {
    const ids = [key, ...(this.#jobs[job]?.timers ?? []).map((name) => idOf(key, name))];
    return ids.map((id) => ({
      id,
      timerMs: this.#timers.at(job, id),
      isTouched: this.#touched[job]?.has(id) ?? false,
    }));
  }

  undo(job: number, before: TimersBefore): void {
    for (const { id, timerMs, isTouched } of before) {
      this.#timers.set(job, id, timerMs);
      if (!isTouched) this.#touched[job]?.delete(id);
    }
  }

  /** Adds one job's changed timers to the lists of a commit. */
  changes(job: number, set: [atMs: number, member: string][], removed: string[]): void {
    for (const id of this.#touched[job] as Set<string>) {
      const atMs = this.#timers.at(job, id);
      const member = (this.#jobs[job] as TimerOwner).name + SEPARATOR + id;
      if (atMs === undefined) removed.push(member);
      else set.push([atMs, member]);
    }
  }

  /** Call this when the commit has been written. */
  committed(): void {
    for (const [job, ids] of this.#touched.entries()) this.#timers.evict(job, ids);
    if (this.#load) this.#timers.shrink(MAX_IN_MEMORY, KEPT_IN_MEMORY);
    for (const ids of this.#touched) ids.clear();
  }

  #isDeclared(job: number, name: string | undefined): boolean {
    return name === undefined || (this.#jobs[job]?.timers?.includes(name) ?? false);
  }

  #keyOf(job: number, id: string): string {
    const at = this.#nameAt(job, id);
    return at < 0 ? id : id.slice(0, at);
  }

  #nameOf(job: number, id: string): string | undefined {
    const at = this.#nameAt(job, id);
    return at < 0 ? undefined : id.slice(at + 1);
  }

  /** Where the separator before a timer's name is; -1 for the unnamed timer. */
  #nameAt(job: number, id: string): number {
    return this.#jobs[job]?.timers ? id.lastIndexOf(SEPARATOR) : -1;
  }
}

const idOf = (key: string, name: string | undefined): string => (name === undefined ? key : key + SEPARATOR + name);
