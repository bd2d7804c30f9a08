/**
 * Repeats a turn of work, with a pause after each, from the start to the stop of a process. The next turn begins only
 * after the one before has ended. It does not handle errors: a turn must not reject.
 */
import { monotonicClock, type Scheduler } from "./clock.js";

export class RepeatedTurns {
  readonly #turn: () => Promise<void>;
  readonly #pauseMs: number;
  readonly #clock: Pick<Scheduler, "sleep">;
  readonly #stop = new AbortController();
  #first: Promise<void> | undefined;
  #running: Promise<void> | undefined;

  /** @param clock for the pauses */
  constructor(turn: () => Promise<void>, pauseMs: number, clock: Pick<Scheduler, "sleep"> = monotonicClock) {
    this.#turn = turn;
    this.#pauseMs = pauseMs;
    this.#clock = clock;
  }

  /** Aborts with the stop: a long turn may end early. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** Begins the first turn at once, and resolves when it has ended. */
  start(): Promise<void> {
    if (!this.#first) {
      this.#first = this.#turn();
      this.#running = this.#first.then(() => this.#repeat());
    }
    return this.#first;
  }

  /** Waits for the turn that has begun. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #repeat(): Promise<void> {
    const { signal } = this.#stop;
    for (;;) {
      await this.#clock.sleep(this.#pauseMs, signal);
      if (signal.aborted) return;
      await this.#turn();
    }
  }
}
