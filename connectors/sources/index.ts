/**
 * The sources of a running engine (R29): reads and checks the configuration, makes it known to all processes, and where
 * this process runs jobs pulls every source whose lease it gets. Reports what is overdue as a warning, and figures as
 * metrics. A faulty configuration stops the start with every fault.
 */
import { Gauge } from "prom-client";
import { systemClock } from "../../engine/kernel/clock.js";
import { badInput, messageOf } from "../../engine/kernel/errors.js";
import { SourceRegistry, type SourceReport } from "../../engine/reconciliation/source-registry.js";
import type { ConnectorParts, OpenConnector } from "../connector.js";
import { loadSources, type SourceConfiguration } from "./configuration.js";
import { openSource } from "./open-source.js";
import { SourceRunner } from "./runner.js";
import { scheduleText } from "./schedule.js";

/** How often warnings and metrics are read again. */
const READ_EVERY_MS = 5_000;

/**
 * @param file the configuration
 * @throws EngineError `bad_input` with every fault of it
 */
export async function openSources(file: string, parts: ConnectorParts): Promise<OpenConnector> {
  const { redis, prefix, clock, zone, worker, lease, onTrouble } = parts;
  const kinds = await parts.sourceKinds();
  const { sources, conflicts, secrets } = await loadSources(file, { kinds, env: parts.environment });
  for (const source of sources) await assertOpens(file, source, { zone, secrets });
  const registry = new SourceRegistry(redis, prefix);
  if (worker) await registry.configure(sources.map(summaryOf), conflicts);
  const runners = worker
    ? sources.map(
        (configuration) =>
          new SourceRunner({
            ...{ configuration, redis, prefix, registry, clock, zone, secrets, onTrouble },
            ...lease,
            snapshots: parts.snapshots,
            movements: parts.movements,
          }),
      )
    : [];
  for (const runner of runners) runner.start();
  const watch = new SourceWatch(registry, clock);
  watch.start();
  return {
    warnings: () => watch.warnings(),
    metrics: metricsOf(watch),
    async close() {
      await watch.stop();
      await Promise.all(runners.map((runner) => runner.stop()));
    },
  };
}

/** What a kind finds in its settings only when it opens them. */
async function assertOpens(
  file: string,
  source: SourceConfiguration,
  options: { readonly zone: string; readonly secrets: readonly string[] },
): Promise<void> {
  try {
    await (await openSource(source, options)).close();
  } catch (thrown) {
    throw badInput("sources.configuration", `${file} source ${source.name}`, messageOf(thrown), thrown);
  }
}

const summaryOf = ({ name, kind, about, measure, pulls, freshnessMs }: SourceConfiguration) => ({
  ...{ name, kind: kind.name, about, measure, freshnessMs },
  pulls: Object.fromEntries(Object.entries(pulls).map(([pulled, { schedule }]) => [pulled, scheduleText(schedule)])),
});

/** The newest reports of all sources, for warnings and metrics. */
class SourceWatch {
  readonly #registry: SourceRegistry;
  readonly #clock: { now(): number };
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;
  #reports: readonly SourceReport[] = [];

  constructor(registry: SourceRegistry, clock: { now(): number }) {
    this.#registry = registry;
    this.#clock = clock;
  }

  get reports(): readonly SourceReport[] {
    return this.#reports;
  }

  ageSeconds(reachedMs: number): number {
    return Math.max(0, this.#clock.now() - reachedMs) / 1_000;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

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

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      // While Redis cannot be reached, the last reports stand; the engine reports that itself.
      this.#reports = await this.#registry.list().catch(() => this.#reports);
      await systemClock.sleep(READ_EVERY_MS, signal);
    }
  }
}

function metricsOf(watch: SourceWatch): Gauge[] {
  const gauge = (name: string, help: string, read: (state: Required<SourceReport["states"]>["snapshot"]) => number) =>
    new Gauge({
      name: `shuiwei_source_${name}`,
      help,
      labelNames: ["source", "pulled"],
      registers: [],
      collect() {
        this.reset();
        for (const { name: source, states } of watch.reports)
          for (const [pulled, state] of Object.entries(states)) this.set({ source, pulled }, read(state));
      },
    });
  return [
    gauge("lag_seconds", "Age of the newest instant that a source has brought", ({ reachedMs, lastAttemptMs }) =>
      watch.ageSeconds(reachedMs ?? lastAttemptMs),
    ),
    gauge("rows", "Rows of a source's last successful pull", ({ rows }) => rows),
    gauge(
      "failures",
      "Pulls of a source that failed or were refused since the last success",
      ({ failures }) => failures,
    ),
    gauge("requests", "Requests to a source since it was first pulled", ({ requests }) => requests),
  ];
}
