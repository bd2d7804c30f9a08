/**
 * The sources of a running engine (R29): reads and checks the configuration, makes it known to all processes, and where
 * this process runs jobs pulls every source whose lease it gets. Reports what is overdue as a warning. A faulty
 * configuration stops the start with every fault.
 */
import { badInput, messageOf } from "../../engine/kernel/errors.js";
import type { ConnectorParts, OpenConnector } from "../connector.js";
import { loadSources, type SourceConfiguration } from "./configuration.js";
import { openSource } from "./open-source.js";
import { SourceRunner } from "./runner.js";
import { scheduleText } from "./schedule.js";

export { SourceRegistry, type SourceReport } from "../../engine/reconciliation/source-registry.js";

/** The parts of the engine that pulling needs. */
export type SourcesParts = Pick<
  ConnectorParts,
  | ("redis" | "prefix" | "clock" | "zone" | "worker" | "lease" | "onTrouble")
  | ("environment" | "sourceKinds" | "sources" | "sourceWatch" | "snapshots" | "movements")
>;

/**
 * @param file the configuration
 * @throws EngineError `bad_input` with every fault of it
 */
export async function openSources(file: string, parts: SourcesParts): Promise<OpenConnector> {
  const { redis, prefix, clock, zone, worker, lease, onTrouble } = parts;
  const kinds = await parts.sourceKinds();
  const { sources, conflicts, secrets } = await loadSources(file, { kinds, env: parts.environment });
  for (const source of sources) await assertOpens(file, source, { zone, secrets });
  const registry = parts.sources;
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
  return {
    warnings: () => parts.sourceWatch.warnings(),
    async close() {
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
