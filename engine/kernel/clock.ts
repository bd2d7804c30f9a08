/**
 * The only source of time. Code that needs the time takes a Clock, so a test or a replay can pass a clock of its own
 * and get the same result every time. Times are milliseconds since the Unix epoch.
 */
export interface Clock {
  now(): number;
}

/** A clock that can also wait. */
export interface Scheduler extends Clock {
  /** Waits `ms`, or less when `signal` aborts; never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const MINUTE_MS = 60_000;
export const HOUR_MS = 3_600_000;
export const DAY_MS = 86_400_000;

/**
 * The machine's wall clock, for people and logs. It may be set back or forward, so it does not measure durations.
 */
export const systemClock: Scheduler = { now: () => Date.now(), sleep };

/** Read once: reading it takes longer than reading the time. */
const TIME_ORIGIN_MS = performance.timeOrigin;

/**
 * A clock that cannot be set: for ages, deadlines and leases. It starts at the wall clock's time at the process's start
 * and means nothing outside the process.
 */
export const monotonicClock: Scheduler = { now: () => Math.floor(TIME_ORIGIN_MS + performance.now()), sleep };

/** By how much a server's clock and this machine's may differ; more means that one of them is wrong. */
export const DEFAULT_CLOCK_BOUND_MS = 10_000;

/** A clock that stands still until it is moved; it refuses to go backwards. */
export class ManualClock implements Clock {
  #nowMs: number;

  constructor(startMs: number) {
    this.#nowMs = startMs;
  }

  now(): number {
    return this.#nowMs;
  }

  moveTo(ms: number): void {
    if (ms > this.#nowMs) this.#nowMs = ms;
  }
}

/** A clock that starts at `originMs` and runs `speed` times as fast as `base`. */
export function acceleratedClock(originMs: number, speed: number, base: Clock = monotonicClock): Clock {
  const startedMs = base.now();
  return { now: () => originMs + Math.floor((base.now() - startedMs) * speed) };
}

/** Returns a function that returns the milliseconds since this call, by the monotonic clock. */
export function stopwatch(): () => number {
  const startedMs = performance.now();
  return () => performance.now() - startedMs;
}

/**
 * The result of a call, or a failure when it has not come within `ms` of real time. The call goes on. What has arrived
 * counts: after a pause of this process (no processor time, a long computation) timers end before sockets are read, so
 * they are read once more first.
 */
export async function within<Result>(call: Promise<Result>, ms: number, late: () => Error): Promise<Result> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => setImmediate(() => reject(late())), ms);
  });
  try {
    return await Promise.race([call, limit]);
  } finally {
    clearTimeout(timer);
  }
}

/** Waits `ms` of real time, or less when `signal` aborts; never rejects. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done, { once: true });
  });
}
