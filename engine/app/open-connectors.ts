/**
 * The connectors of the tables in a running engine: the object storage that one of them names, the configuration files
 * that several read, what connectors may use, and what they open beside their sinks. A fault of an option or a file
 * ends the start.
 */
import { channelsOptions } from "../../connectors/channels/options.js";
import type { ConnectorParts, OpenConnector } from "../../connectors/connector.js";
import { purgesOptions } from "../../connectors/purges/options.js";
import type { Clock } from "../kernel/clock.js";
import { assert } from "../kernel/errors.js";
import { valuesOf } from "../kernel/options.js";
import type { EngineRedis } from "./engine-redis.js";
import type { EngineSettings } from "./engine-settings.js";
import type { Lifecycle } from "./lifecycle.js";
import type { EngineReconciliation } from "./reconciliation.js";
import { channelKindsOf, purgerKindsOf, sourceKindsOf, type Tables } from "./tables.js";

/**
 * The object storage that the options name. Nothing is sent to it yet.
 * @throws EngineError `bad_option`
 */
export async function openObjects(
  { objects, options: given = {}, dir }: EngineSettings,
  { connectors }: Tables,
): Promise<ConnectorParts["objects"]> {
  if (objects) return objects;
  const connector = connectors.find(({ objectStore }) => objectStore);
  assert(connector?.objectStore, "no connector of the tables has an object storage");
  return connector.objectStore(valuesOf(connector.options ?? {}, given), dir);
}

/**
 * What the options name as alert routes and endpoints of channels, checked.
 * @throws EngineError `bad_input` with every fault of the file
 */
async function openChannels(
  { options: given = {}, environment = () => undefined }: EngineSettings,
  tables: Pick<Tables, "connectors">,
  clock: Clock,
): Promise<ConnectorParts["channels"]> {
  const { alerts, publicUrl } = valuesOf(channelsOptions, given);
  const { assertChannelsOpen, loadChannels, noChannels } = await import("../../connectors/channels/configuration.js");
  const lookup = { kinds: await channelKindsOf(tables), env: environment };
  const channels = alerts === undefined ? noChannels(publicUrl) : await loadChannels(alerts, publicUrl, lookup);
  if (alerts !== undefined) await assertChannelsOpen(alerts, channels, lookup, { clock });
  const { directory } = channels;
  const withoutEndpoint = tables.connectors.flatMap(({ name, options = {}, personChannel }) => {
    const traits = personChannel?.(valuesOf(options, given));
    return traits === undefined ? [] : [[name, traits] as const];
  });
  return {
    ...channels,
    directory: { ...directory, personChannels: new Map([...directory.personChannels, ...withoutEndpoint]) },
  };
}

/**
 * The CDNs that the options name for purges, checked; undefined: none.
 * @throws EngineError `bad_input` with every fault of the file
 */
async function openCdns(
  { options: given = {}, environment = () => undefined }: EngineSettings,
  tables: Pick<Tables, "connectors">,
  clock: Clock,
): Promise<ConnectorParts["cdns"]> {
  const { cdn } = valuesOf(purgesOptions, given);
  if (cdn === undefined) return undefined;
  const { assertPurgersOpen, loadCdns } = await import("../../connectors/purges/configuration.js");
  const lookup = { kinds: await purgerKindsOf(tables), env: environment };
  const cdns = await loadCdns(cdn, lookup);
  await assertPurgersOpen(cdn, cdns, lookup, clock);
  return cdns;
}

/**
 * The configuration files that the options name, checked, and the texts in them that no log may show.
 * @throws EngineError `bad_input` with every fault of the first one that has any
 */
export async function openConfigurations(given: EngineSettings, tables: Pick<Tables, "connectors">, clock: Clock) {
  const channels = await openChannels(given, tables, clock);
  const cdns = await openCdns(given, tables, clock);
  return { channels, cdns, secrets: [...channels.secrets, ...(cdns?.secrets ?? [])] };
}

/** What connectors may use. */
export const connectorPartsOf = (
  { prefix, partitions, zone, worker, leaseMs, environment = () => undefined, onTrouble }: EngineSettings,
  tables: Tables,
  { redis, owner }: EngineRedis,
  { snapshots, movements, sources, sourceWatch }: EngineReconciliation,
  parts: Pick<
    ConnectorParts,
    | "ledger"
    | "orderStore"
    | "orderService"
    | "objects"
    | "channels"
    | "cdns"
    | "clock"
    | "append"
    | "alerting"
    | "alertRequests"
  >,
): ConnectorParts => ({
  ...parts,
  ...{ snapshots, movements, sources, sourceWatch },
  ...{ redis, prefix, partitions, zone, worker, environment, onTrouble },
  lease: { owner, leaseMs },
  sourceKinds: () => sourceKindsOf(tables),
});

/** Opens what the options ask for; it is closed with `lifecycle`. */
export async function openConnectors(
  { connectors }: Tables,
  given: Readonly<Record<string, unknown>>,
  parts: ConnectorParts,
  lifecycle: Lifecycle,
): Promise<readonly OpenConnector[]> {
  const opened: OpenConnector[] = [];
  for (const connector of connectors) {
    const open = await connector.open?.(valuesOf(connector.options ?? {}, given), parts);
    if (!open) continue;
    lifecycle.onStop(() => open.close?.());
    opened.push(open);
  }
  return opened;
}
