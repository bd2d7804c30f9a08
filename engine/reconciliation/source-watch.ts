/**
 * The newest reports of the sources that are pulled, in memory, for whoever asks often: how fresh a source's snapshots
 * have to be, which report wins a conflict, and what is overdue. Values are a few seconds old; while Redis cannot be
 * reached the last ones stand.
 */
import type { Clock } from "../kernel/clock.js";
import { RepeatedTurns } from "../kernel/repeated-turns.js";
import { ASK_ALWAYS, type ConflictPolicies } from "./settlement/conflict-policy.js";
import type { SourceRegistry, SourceReport } from "./source-registry.js";

const READ_EVERY_MS = 5_000;

export class SourceWatch {
  readonly #registry: SourceRegistry;
  readonly #clock: Clock;
  readonly #turns = new RepeatedTurns(() => this.#read(), READ_EVERY_MS);
  #reports: readonly SourceReport[] = [];
  #conflicts: ConflictPolicies = ASK_ALWAYS;

  /** @param clock the shop's */
  constructor(registry: SourceRegistry, clock: Clock) {
    this.#registry = registry;
    this.#clock = clock;
  }

  get reports(): readonly SourceReport[] {
    return this.#reports;
  }

  /** Which report wins for each measure. */
  get conflicts(): ConflictPolicies {
    return this.#conflicts;
  }

  /** How old a snapshot of a source may be to be compared; undefined: the source is not configured. */
  freshnessMs(source: string): number | undefined {
    return this.#reports.find(({ name }) => name === source)?.freshnessMs;
  }

  /** What has not been brought in time, each as a sentence. */
  warnings(): string[] {
    const nowMs = this.#clock.now();
    return this.#reports.flatMap(({ name, states }) =>
      Object.entries(states)
        .filter(([, { overdueMs }]) => nowMs > overdueMs)
        .map(([pulled, { faults, lastSuccessMs }]) => {
          const since = lastSuccessMs === undefined ? "never brought" : "has not brought";
          return `source ${name} ${since} ${pulled} in time${faults[0] ? `: ${faults[0].message}` : ""}`;
        }),
    );
  }

  /** Reads once before it returns, if Redis answers. */
  start(): Promise<void> {
    return this.#turns.start();
  }

  stop(): Promise<void> {
    return this.#turns.stop();
  }

  async #read(): Promise<void> {
    try {
      [this.#reports, this.#conflicts] = await Promise.all([this.#registry.list(), this.#registry.conflicts()]);
    } catch {
      // The engine itself reports that Redis cannot be reached.
    }
  }
}
