/**
 * Repeats a turn of work, with a pause after each, from the start to the stop of a process. The next turn begins only
 * after the one before has ended. It does not handle errors: a turn must not reject.
 */
import { sleep } from "../kernel/clock.js";

export class RepeatedTurns {
  readonly #turn: () => Promise<void>;
  readonly #pauseMs: number;
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;

  constructor(turn: () => Promise<void>, pauseMs: number) {
    this.#turn = turn;
    this.#pauseMs = pauseMs;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Waits for the turn that has begun. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await this.#turn();
      await sleep(this.#pauseMs, signal);
    }
  }
}
