/**
 * A clock that a test advances: whoever sleeps wakes in the order of time. Between two steps it waits until calls that
 * are under way (to Redis, over HTTP) have ended and nobody reacts any more, so a minute of a rush takes as long as its
 * calls.
 */
import { setImmediate } from "node:timers/promises";
import type { Scheduler } from "../../../engine/kernel/clock.js";

/** Turns of the event loop without a call after which nobody reacts any more. */
const QUIET_TURNS = 4;

interface Sleeper {
  readonly untilMs: number;
  wake(): void;
}

export class VirtualTimer implements Scheduler {
  #nowMs: number;
  #calls = 0;
  #activity = 0;
  readonly #sleepers = new Set<Sleeper>();

  constructor(startMs: number) {
    this.#nowMs = startMs;
  }

  now(): number {
    return this.#nowMs;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        this.#activity++;
        this.#sleepers.delete(sleeper);
        signal?.removeEventListener("abort", wake);
        resolve();
      };
      const sleeper: Sleeper = { untilMs: this.#nowMs + ms, wake };
      this.#sleepers.add(sleeper);
      signal?.addEventListener("abort", wake, { once: true });
      if (signal?.aborted) wake();
    });
  }

  /** A function whose calls are waited for. */
  counted<Arguments extends unknown[], Result>(
    call: (...given: Arguments) => Promise<Result>,
  ): (...given: Arguments) => Promise<Result> {
    return async (...given) => {
      this.#calls++;
      this.#activity++;
      try {
        return await call(...given);
      } finally {
        this.#calls--;
        this.#activity++;
      }
    };
  }

  /** @param stepMs nobody is woken between two multiples of it */
  async advance(ms: number, stepMs = 10): Promise<void> {
    const untilMs = this.#nowMs + ms;
    await this.#quiet();
    while (this.#nowMs < untilMs) {
      this.#nowMs = Math.min(untilMs, this.#nowMs + stepMs);
      const due = [...this.#sleepers].filter((sleeper) => sleeper.untilMs <= this.#nowMs);
      for (const { wake } of due.sort((one, other) => one.untilMs - other.untilMs)) wake();
      if (due.length > 0) await this.#quiet();
    }
  }

  async #quiet(): Promise<void> {
    let seen = -1;
    for (let turns = 0; turns < QUIET_TURNS; turns++) {
      await setImmediate();
      if (this.#calls > 0 || seen !== this.#activity) turns = -1;
      seen = this.#activity;
    }
  }
}
