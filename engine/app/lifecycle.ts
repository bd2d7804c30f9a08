/**
 * The parts of a process that were started, so that they are stopped in the opposite order. A part that cannot be
 * stopped does not keep the others from being stopped. It does not restart parts and sets no time limit.
 */

/** A part that is started and stopped once. It may be stopped after its start has failed. */
export interface Part {
  start(): unknown;
  stop(): unknown;
}

export class Lifecycle {
  readonly #stops: (() => unknown)[] = [];

  /**
   * Starts a part; does nothing for a part that this process does not have. The part is also stopped when its start
   * fails, and when another start fails while this one is under way: then once it has ended, so that no part needs a
   * stop that interrupts its start.
   */
  async start(part: Part | undefined): Promise<void> {
    if (!part) return;
    const starting = (async () => await part.start())();
    this.onStop(async () => {
      await starting.catch(() => {}); // reported to the caller of `start`
      await part.stop();
    });
    await starting;
  }

  /** Starts several parts, one after the other. */
  async startEach(parts: readonly (Part | undefined)[]): Promise<void> {
    for (const part of parts) await this.start(part);
  }

  /** Adds what is done when the process stops, before everything that was added earlier. */
  onStop(stop: () => unknown): void {
    this.#stops.push(stop);
  }

  /**
   * Stops every part, the last added first. A second call stops only what was added since.
   * @throws the first failure, once every part was asked to stop
   */
  async stop(): Promise<void> {
    const failures: unknown[] = [];
    for (const stop of this.#stops.splice(0).reverse()) {
      try {
        await stop();
      } catch (thrown) {
        failures.push(thrown);
      }
    }
    if (failures.length > 0) throw failures[0];
  }
}

/** Runs `work`; however it ends, everything it has added is stopped. */
export async function withLifecycle(work: (lifecycle: Lifecycle) => Promise<void>): Promise<void> {
  const lifecycle = new Lifecycle();
  try {
    await work(lifecycle);
  } finally {
    await lifecycle.stop();
  }
}
