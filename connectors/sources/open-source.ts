/** Opens a configured source with a client of its own, as the runner, a check and a dry run use it. */
import { type Scheduler, systemClock } from "../../engine/kernel/clock.js";
import { badInput } from "../../engine/kernel/errors.js";
import { zoneOf } from "../../engine/kernel/zone.js";
import type { Source } from "../source.js";
import { type ClosableClient, sourceClient } from "./client.js";
import type { SourceConfiguration } from "./configuration.js";
import { sourceTimeReader } from "./times.js";

export interface OpenedSource {
  readonly source: Source;
  readonly client: ClosableClient;
  close(): Promise<void>;
}

/**
 * @param secrets texts that no error may show
 * @param clock for the rate and for waits; the machine's when left out
 * @throws EngineError `bad_input` for what the schema of the connection cannot check
 */
export async function openSource(
  configuration: SourceConfiguration,
  { zone, secrets }: { readonly zone: string; readonly secrets: readonly string[] },
  clock: Scheduler = systemClock,
): Promise<OpenedSource> {
  const { name, kind, settings, folder, perSecond, timeoutMs, retries, pulls } = configuration;
  const client = sourceClient({ perSecond, timeoutMs, retries, secrets, clock });
  const readTime = sourceTimeReader((pulls.snapshot ?? pulls.movements)?.timeFormat ?? "iso", zone);
  const timeMs = (value: unknown, place: string): number => {
    const ms = readTime(value);
    if (typeof ms === "string") throw badInput("source.time", place, ms);
    return ms;
  };
  const parts = { name, client, clock, zone: zoneOf(zone), folder, timeMs };
  const source = await kind.open(settings as never, parts);
  return {
    source,
    client,
    async close() {
      await source.close?.();
      await client.close();
    },
  };
}
