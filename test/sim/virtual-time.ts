/**
 * The time of a simulation: it advances only when the simulation's driver moves it to the next alarm. A sleep is an
 * alarm, as is everything else that happens later. Alarms of the same millisecond fire in the order they were set. An
 * alarm of an ended process never fires, and one of a frozen process fires after the freeze. The machine's clock is not
 * read.
 */
import type { Clock } from "../../engine/kernel/clock.js";

/** The owner of an alarm. */
export interface Sleeper {
  readonly isAlive: boolean;
  /** Frozen until this time; 0 or a past time means not frozen. */
  readonly frozenUntilMs: number;
}

export interface Alarm {
  readonly atMs: number;
  readonly fire: () => void;
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

  /** Sets an alarm that fires once, `inMs` from now. */
  after(inMs: number, fire: () => void, sleeper?: Sleeper): Alarm {
    const alarm = { atMs: this.#nowMs + Math.max(0, Math.ceil(inMs)), fire, sleeper };
    this.#alarms.push(alarm);
    return alarm;
  }

  cancel(alarm: Alarm): void {
    const at = this.#alarms.indexOf(alarm);
    if (at >= 0) this.#alarms.splice(at, 1);
  }

  /** Waits on behalf of a sleeper, or until `signal` aborts; never resolves when the sleeper has ended. */
  sleep(ms: number, signal?: AbortSignal, sleeper?: Sleeper): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const stop = () => {
        this.cancel(alarm);
        resolve();
      };
      const fire = () => {
        signal?.removeEventListener("abort", stop);
        resolve();
      };
      const alarm = this.after(ms, fire, sleeper);
      signal?.addEventListener("abort", stop, { once: true });
    });
  }

  /** Moves to the next alarm and fires it. Returns false when there is none. */
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
    first.fire();
    return true;
  }

  /** Removes the alarms of a sleeper. */
  cancelAllOf(sleeper: Sleeper): void {
    this.#alarms = this.#alarms.filter((alarm) => alarm.sleeper !== sleeper);
  }
}
