/**
 * How one loop tells another that there is something to do: whoever waits is woken by a ring, and a ring that comes
 * while nobody waits is kept for the next one who does.
 */
import type { Scheduler } from "../kernel/clock.js";

export class Signal {
  #isRung = false;
  #waiting: AbortController | undefined;

  notify(): void {
    this.#isRung = true;
    this.#waiting?.abort();
  }

  /** Waits for a ring, `ms` at most. For one at a time. */
  async wait(clock: Scheduler, ms: number): Promise<void> {
    if (!this.#isRung) {
      this.#waiting = new AbortController();
      await clock.sleep(ms, this.#waiting.signal);
      this.#waiting = undefined;
    }
    this.#isRung = false;
  }
}
