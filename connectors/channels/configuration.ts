/**
 * Reads the configuration of alerts and checks all of it: the schema, each channel's connection, names, levels,
 * targets and secrets. Every fault is reported at once, with file, line, JSON pointer and what was expected; a file
 * with a fault is not used at all. People are in a store of the deployment, so a person or role that a route names is
 * not checked.
 */
import { dirname, resolve } from "node:path";
import { type AlertEndpoint, type ChannelDirectory, NO_CHANNELS } from "../../engine/alerting/directory.js";
import type { ChannelTraits } from "../../engine/alerting/notification.js";
import type { QuietHours } from "../../engine/alerting/people.js";
import type { AlertRoute } from "../../engine/alerting/route.js";
import { MINUTE_MS } from "../../engine/kernel/clock.js";
import { badInput, messageOf } from "../../engine/kernel/errors.js";
import type { ChannelKind, ConfiguredEndpoint } from "../channel.js";
import { checkedConnection } from "../configuration/connection.js";
import { readJsonFile } from "../configuration/json-file.js";
import { assertNoFaults, placed, repeatedNames } from "../configuration/placed-faults.js";
import { type ConfigurationFault, schemaFaults } from "../configuration/schema-faults.js";
import { AlertsFile, type AlertsJson, type EndpointJson, type RouteJson } from "./configuration.schema.js";

/** The configuration with what only channels need. */
export interface ChannelsConfiguration {
  /** The deployment's address for links in messages, without a slash at its end. */
  readonly publicUrl: string | undefined;
  readonly directory: ChannelDirectory;
  /** By channel, with the texts of secrets: not to be printed. */
  readonly connections: ReadonlyMap<string, readonly ConfiguredEndpoint[]>;
  /** Texts that no log may show. */
  readonly secrets: readonly string[];
}

export interface ChannelsLookup {
  readonly kinds: readonly ChannelKind[];
  /** A variable of the environment. */
  env(name: string): string | undefined;
}

const OP = "alerts.configuration";

type AddFault = (pointer: string, message: string) => void;

/** Of a deployment without a file. */
export const noChannels = (publicUrl: string | undefined): ChannelsConfiguration => ({
  publicUrl: withoutSlash(publicUrl),
  directory: NO_CHANNELS,
  connections: new Map(),
  secrets: [],
});

/**
 * Reads and checks a file.
 * @param publicUrl the option
 * @throws EngineError `bad_input` with every fault
 */
export async function loadChannels(
  path: string,
  publicUrl: string | undefined,
  lookup: ChannelsLookup,
): Promise<ChannelsConfiguration> {
  const { json, places } = await readJsonFile(OP, path);
  const faults: ConfigurationFault[] = [...repeatedNames(places), ...schemaFaults(AlertsFile, json)];
  const add: AddFault = (pointer, message) => faults.push({ pointer, message });
  // Its shape is sound where there is no fault; checks of single parts need no more than that.
  const file = (typeof json === "object" && json !== null ? json : {}) as AlertsJson;
  const endpoints = listOf(file.endpoints);
  const isSound = (pointer: string) =>
    !faults.some((fault) => fault.pointer === pointer || fault.pointer.startsWith(`${pointer}/`));
  const checked = await Promise.all(
    endpoints.map((endpoint, index) => checkEndpoint(endpoint, `/endpoints/${index}`, dirname(resolve(path)), lookup)),
  );
  for (const { found } of checked) faults.push(...found);
  addRepeated("/endpoints", endpoints, "endpoint", add);
  const isOfPeople = (channel: unknown) => lookup.kinds.some((kind) => kind.name === channel && kind.reachesPeople);
  const addresses = endpoints.filter((endpoint) => !isOfPeople(endpoint?.channel));
  const routes = listOf(file.routes);
  for (const [index, route] of routes.entries())
    if (isSound(`/routes/${index}`)) checkRoute(route as RouteJson, `/routes/${index}`, addresses, add);
  addRepeated("/routes", routes, "route", add);
  assertNoFaults(OP, placed(path, places, faults));
  const connections = new Map<string, ConfiguredEndpoint[]>();
  for (const { endpoint, settings } of checked) {
    if (endpoint === undefined) continue;
    const others = connections.get(endpoint.channel) ?? [];
    connections.set(endpoint.channel, [...others, { name: endpoint.name, settings }]);
  }
  return {
    publicUrl: withoutSlash(publicUrl),
    directory: {
      routes: (routes as RouteJson[]).map(routeOfJson),
      endpoints: checked.flatMap(({ endpoint, reachesPeople }) => (endpoint && !reachesPeople ? [endpoint] : [])),
      personChannels: new Map(
        checked.flatMap(({ endpoint, reachesPeople }): [string, ChannelTraits][] =>
          endpoint && reachesPeople ? [[endpoint.channel, endpoint.traits]] : [],
        ),
      ),
    },
    connections,
    secrets: checked.flatMap(({ texts }) => texts),
  };
}

/**
 * Opens every channel that has endpoints once and closes it, so that a channel's own faults end the start of every
 * process, also of one that sends nothing.
 * @throws EngineError `bad_input`
 */
export async function assertChannelsOpen(
  path: string,
  { connections }: ChannelsConfiguration,
  { kinds }: Pick<ChannelsLookup, "kinds">,
  parts: Omit<Parameters<ChannelKind["open"]>[0], "endpoints">,
): Promise<void> {
  for (const kind of kinds) {
    const endpoints = connections.get(kind.name);
    if (endpoints === undefined) continue;
    try {
      await (await kind.open({ ...parts, endpoints })).close?.();
    } catch (thrown) {
      throw badInput(OP, `${path} channel ${kind.name}`, messageOf(thrown), thrown);
    }
  }
}

const withoutSlash = (url: string | undefined): string | undefined => url?.replace(/\/+$/, "");

const listOf = <Entry>(value: readonly Entry[] | undefined): readonly (Entry | null)[] =>
  Array.isArray(value) ? value : [];

interface CheckedEndpoint {
  readonly found: readonly ConfigurationFault[];
  readonly endpoint?: AlertEndpoint;
  readonly settings?: unknown;
  /** Of its channel. */
  readonly reachesPeople?: boolean;
  readonly texts: readonly string[];
}

async function checkEndpoint(
  json: EndpointJson | null,
  pointer: string,
  folder: string,
  { kinds, env }: ChannelsLookup,
): Promise<CheckedEndpoint> {
  // The schema reports it.
  if (typeof json !== "object" || json === null || typeof json.channel !== "string") return { found: [], texts: [] };
  const kind = kinds.find(({ name }) => name === json.channel);
  if (!kind) {
    const message = `is "${json.channel}", and must be one of ${kinds.map(({ name }) => name).join(", ")}`;
    return { found: [{ pointer: `${pointer}/channel`, message }], texts: [] };
  }
  const place = `${pointer}/connection`;
  const checked = await checkedConnection(kind.connection, json.connection, place, { env, folder });
  const { settings, texts } = checked;
  if (settings === undefined) return { found: checked.faults, texts };
  const { name, channel, language = "zh", sendsChanges = kind.traits.sendsChanges } = json;
  const found = [...checked.faults];
  // What is sent repeatedly until it ends would never end there.
  if (kind.traits.repeatMs !== undefined && !sendsChanges)
    found.push({ pointer: `${pointer}/sendsChanges`, message: `is false, and ${channel} needs the ends of alerts` });
  return {
    found,
    endpoint: { name, channel, language, traits: { ...kind.traits, sendsChanges } },
    settings,
    reachesPeople: kind.reachesPeople ?? false,
    texts,
  };
}

function addRepeated(
  pointer: string,
  entries: readonly ({ readonly name?: unknown } | null)[],
  what: string,
  add: AddFault,
): void {
  const names = entries.map((entry) => entry?.name);
  for (const [index, name] of names.entries())
    if (typeof name === "string" && names.indexOf(name) < index)
      add(`${pointer}/${index}/name`, `is "${name}" as that of another ${what}`);
}

function checkRoute(
  { levels, match: { hours } = {} }: RouteJson,
  pointer: string,
  endpoints: readonly (EndpointJson | null)[],
  add: AddFault,
): void {
  for (const [index, { afterMinutes, to }] of levels.entries()) {
    const place = `${pointer}/levels/${index}`;
    const before = levels[index - 1]?.afterMinutes;
    if (before === undefined && afterMinutes !== 0)
      add(`${place}/afterMinutes`, `is ${afterMinutes}, and must be 0 for the first level`);
    if (before !== undefined && afterMinutes <= before)
      add(`${place}/afterMinutes`, `is ${afterMinutes}, and must be more than ${before}, as of the level before`);
    for (const [at, target] of to.entries()) {
      if (to.indexOf(target) < at) add(`${place}/to/${at}`, `is "${target}" a second time`);
      const [, name] = /^endpoint:(.*)$/.exec(target) ?? [];
      if (name !== undefined && !endpoints.some((endpoint) => endpoint?.name === name))
        add(`${place}/to/${at}`, `is "${target}", and no endpoint has this name`);
    }
  }
  if (hours !== undefined && hours.from === hours.to)
    add(`${pointer}/match/hours/to`, `is "${hours.to}" as "from": no minute of the day would match`);
}

const routeOfJson = ({ name, match: { hours, ...match } = {}, levels }: RouteJson): AlertRoute => ({
  name,
  match: { ...match, ...(hours ? { hours: hoursOf(hours) } : {}) } as AlertRoute["match"],
  levels: levels.map(({ afterMinutes, to }) => ({ afterMs: Math.round(afterMinutes * MINUTE_MS), to })),
});

const hoursOf = ({ from, to }: { from: string; to: string }): QuietHours => ({
  fromMinute: minuteOf(from),
  toMinute: minuteOf(to),
});

const minuteOf = (time: string): number => Number(time.slice(0, 2)) * 60 + Number(time.slice(3));
