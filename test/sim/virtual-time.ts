/**
 * Time of a simulation: it stands still until the simulation's driver moves it to the next alarm. Sleeping is an
 * alarm, so is everything else that is to happen later. Alarms of the same millisecond ring in the order they were
 * set. A sleeper that is dead is never woken, a frozen one not before it thaws. Nothing here looks at the machine's
 * clock.
 */
import type { Clock } from "../../engine/kernel/clock.js";

/** Whose alarm it is. */
export interface Sleeper {
  readonly isAlive: boolean;
  /** Frozen until then; 0 or the past: awake. */
  readonly frozenUntilMs: number;
}

export interface Alarm {
  readonly atMs: number;
  readonly ring: () => void;
  readonly sleeper: Sleeper | undefined;
}

export class VirtualTime implements Clock {
  #nowMs: number;
  /** In the order they were set: a simulation has a few dozen at most. */
  #alarms: Alarm[] = [];

  constructor(startMs: number) {
    this.#nowMs = startMs;
  }

  now(): number {
    return this.#nowMs;
  }

  /** Rings once, `inMs` from now. */
  after(inMs: number, ring: () => void, sleeper?: Sleeper): Alarm {
    const alarm = { atMs: this.#nowMs + Math.max(0, Math.ceil(inMs)), ring, sleeper };
    this.#alarms.push(alarm);
    return alarm;
  }

  cancel(alarm: Alarm): void {
    const at = this.#alarms.indexOf(alarm);
    if (at >= 0) this.#alarms.splice(at, 1);
  }

  /** Waits on behalf of a sleeper, or less when `signal` aborts; for good when the sleeper is dead. */
  sleep(ms: number, signal?: AbortSignal, sleeper?: Sleeper): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const stop = () => {
        this.cancel(alarm);
        resolve();
      };
      const ring = () => {
        signal?.removeEventListener("abort", stop);
        resolve();
      };
      const alarm = this.after(ms, ring, sleeper);
      signal?.addEventListener("abort", stop, { once: true });
    });
  }

  /** Moves to the next alarm and rings it. Returns false when there is none. */
  advance(): boolean {
    let first: Alarm | undefined;
    let firstMs = Number.POSITIVE_INFINITY;
    for (const alarm of this.#alarms) {
      if (alarm.sleeper?.isAlive === false) continue;
      const dueMs = Math.max(alarm.atMs, alarm.sleeper?.frozenUntilMs ?? 0);
      if (dueMs < firstMs) {
        first = alarm;
        firstMs = dueMs;
      }
    }
    if (!first) return false;
    this.#nowMs = Math.max(this.#nowMs, firstMs);
    this.cancel(first);
    first.ring();
    return true;
  }

  /** Drops the alarms of the dead. */
  forget(sleeper: Sleeper): void {
    this.#alarms = this.#alarms.filter((alarm) => alarm.sleeper !== sleeper);
  }
}
