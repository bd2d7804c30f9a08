/**
 * Divides long work into short turns, between which the event loop answers requests. The work asks at every step, which
 * costs less than a microsecond, and waits only when its turn has taken long. A single step is never interrupted.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { stopwatch } from "../kernel/clock.js";

/** What a request may wait because of this work. */
const TURN_MS = 2;

export class Turns {
  #elapsedMs = stopwatch();

  /** Whether to wait for `next` before the next step. */
  get isOver(): boolean {
    return this.#elapsedMs() >= TURN_MS;
  }

  async next(): Promise<void> {
    await nextTurn();
    this.#elapsedMs = stopwatch();
  }
}
