/**
 * A signal from one loop to another that there is work: it wakes the waiting loop, and a signal that comes while
 * nothing waits is kept for the next wait.
 */
import type { Scheduler } from "../kernel/clock.js";

export class Signal {
  #isSet = false;
  #waiting: AbortController | undefined;

  notify(): void {
    this.#isSet = true;
    this.#waiting?.abort();
  }

  /** Waits for a signal, `ms` at most. Only one waiter at a time. */
  async wait(clock: Scheduler, ms: number): Promise<void> {
    if (!this.#isSet) {
      this.#waiting = new AbortController();
      await clock.sleep(ms, this.#waiting.signal);
      this.#waiting = undefined;
    }
    this.#isSet = false;
  }
}
