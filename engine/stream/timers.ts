/**
 * The timers of one partition in memory: a binary heap by time, then job, then key, so that two replays fire them in
 * the same order. Each (job, key) has at most one timer; setting it again replaces it. The heap is rebuilt without
 * replaced timers before they outnumber the valid ones by far. Up to the horizon all timers are in memory; after it
 * only those that the next commit makes durable.
 */
export interface Timer {
  atMs: number;
  /** Index of the job in the task's list. */
  job: number;
  key: string;
}

const before = (a: Timer, b: Timer): boolean =>
  a.atMs !== b.atMs ? a.atMs < b.atMs : a.job !== b.job ? a.job < b.job : a.key < b.key;

/** Replaced timers that a small heap may hold before it is rebuilt. */
const SLACK = 64;

export class Timers {
  #heap: Timer[] = [];
  /** Every timer up to here is in memory. */
  #horizonMs: number;
  /** How many timers the last `shrink` left. */
  #shrunkTo = 0;
  /** The valid timer of each key, by job; an entry of the heap that is not the valid one is skipped. */
  readonly #valid: Map<string, Timer>[];

  constructor(jobs: number, horizonMs = Number.POSITIVE_INFINITY) {
    this.#horizonMs = horizonMs;
    this.#valid = Array.from({ length: jobs }, () => new Map());
  }

  get size(): number {
    return this.#valid.reduce((sum, timers) => sum + timers.size, 0);
  }

  /** Entries of the heap, replaced timers included: at most about twice the size. */
  get heapSize(): number {
    return this.#heap.length;
  }

  at(job: number, key: string): number | undefined {
    return this.#valid[job]?.get(key)?.atMs;
  }

  get horizonMs(): number {
    return this.#horizonMs;
  }

  /** All timers up to `horizonMs` have been set. */
  loadedTo(horizonMs: number): void {
    this.#horizonMs = horizonMs;
  }

  /** Removes timers after the horizon from memory; call it when they are durable. */
  evict(job: number, keys: Iterable<string>): void {
    if (this.#horizonMs === Number.POSITIVE_INFINITY) return;
    const timers = this.#valid[job] as Map<string, Timer>;
    for (const key of keys) if ((timers.get(key)?.atMs ?? 0) > this.#horizonMs) timers.delete(key);
  }

  /** Removes the latest timers from memory when there are more than `most`, all durable: about `kept` stay. */
  shrink(most: number, kept: number): void {
    // Many timers of one time stay together: when few could be removed, wait until the number has doubled.
    if (this.size <= Math.max(most, 2 * this.#shrunkTo)) return;
    const times = this.#valid.flatMap((timers) => [...timers.values()].map(({ atMs }) => atMs)).sort((a, b) => a - b);
    this.#horizonMs = times[kept - 1] as number;
    for (const [job, timers] of this.#valid.entries()) this.evict(job, [...timers.keys()]);
    this.#shrunkTo = this.size;
    this.#clear();
  }

  /** Sets a key's timer, or removes it. Returns whether that may have changed anything. */
  set(job: number, key: string, atMs: number | undefined): boolean {
    const timers = this.#valid[job] as Map<string, Timer>;
    // A timer that is not in memory may be durable, after the horizon.
    if (atMs === undefined) return timers.delete(key) || this.#horizonMs < Number.POSITIVE_INFINITY;
    if (timers.get(key)?.atMs === atMs) return false;
    const timer = { atMs, job, key };
    timers.set(key, timer);
    if (this.#heap.length > 2 * this.size + SLACK) this.#clear();
    else this.#push(timer);
    return true;
  }

  /** Removes and returns the first timer due at `nowMs`, or returns undefined. */
  take(nowMs: number): Timer | undefined {
    for (let top = this.#heap[0]; top && top.atMs <= nowMs; top = this.#heap[0]) {
      this.#pop();
      const timers = this.#valid[top.job] as Map<string, Timer>;
      if (timers.get(top.key) === top) {
        timers.delete(top.key);
        return top;
      }
    }
    return undefined;
  }

  /** Timers due at `nowMs`, in no order; removes none. */
  *due(nowMs: number): Generator<Timer> {
    // A heap's parents are never later than their children, so whole branches are skipped.
    const pending = [0];
    for (let i = pending.pop(); i !== undefined; i = pending.pop()) {
      const timer = this.#heap[i];
      if (!timer || timer.atMs > nowMs) continue;
      if (this.#valid[timer.job]?.get(timer.key) === timer) yield timer;
      pending.push(2 * i + 1, 2 * i + 2);
    }
  }

  /** Rebuilds the heap from the valid timers; a sorted list is a heap. */
  #clear(): void {
    this.#heap = this.#valid.flatMap((timers) => [...timers.values()]).sort((a, b) => (before(a, b) ? -1 : 1));
  }

  #push(timer: Timer): void {
    const heap = this.#heap;
    let i = heap.push(timer) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      const above = heap[parent] as Timer;
      if (!before(timer, above)) break;
      heap[i] = above;
      i = parent;
    }
    heap[i] = timer;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop() as Timer;
    if (heap.length === 0) return;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1] as Timer, heap[child] as Timer)) child++;
      if (!before(heap[child] as Timer, last)) break;
      heap[i] = heap[child] as Timer;
      i = child;
    }
    heap[i] = last;
  }
}
