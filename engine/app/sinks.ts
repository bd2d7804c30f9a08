/**
 * The sinks of the tables in a running engine: each that the options name is opened and gets an outbox. It does not
 * start them: the composition root does.
 */
import type { Metric } from "prom-client";
import type { ConnectorParts, Sink } from "../../connectors/connector.js";
import { assert } from "../kernel/errors.js";
import { valuesOf } from "../kernel/options.js";
import { DEFAULT_EMIT_BOUNDS, type EmitBounds } from "../outbox/emit-bounds.js";
import { EmitKeeper, type EmitKeeperOptions } from "../outbox/emit-keeper.js";
import { Outbox, type OutboxOptions } from "../outbox/outbox.js";
import type { EngineSettings } from "./engine-settings.js";
import type { Lifecycle } from "./lifecycle.js";
import type { RunningTopic } from "./running-topics.js";
import { type OwnSinkParts, sinksOf, type Tables } from "./tables.js";

export interface RunningSink {
  readonly name: string;
  readonly topic: string;
  readonly outbox: Outbox;
  readonly metrics: readonly Metric[];
  /** What an operator should look into although the process is ready. */
  warnings(): string[];
}

/** How much of a partition's emits a sink may hold back. */
export const emitBoundsOf = ({ emitMaxBytes, emitMaxAgeMs }: EngineSettings): EmitBounds => ({
  maxBytes: emitMaxBytes ?? DEFAULT_EMIT_BOUNDS.maxBytes,
  maxAgeMs: emitMaxAgeMs ?? DEFAULT_EMIT_BOUNDS.maxAgeMs,
});

type Options = EngineSettings["options"] & {};

/** The sinks whose outside system the options name. */
const configuredSinks = (tables: Tables, options: Options): readonly Sink[] =>
  sinksOf(tables).filter((sink) => sink.isConfigured(valuesOf(sink.options, options)));

/** The requests a second of the sink that takes the paid orders; undefined without one. */
export function orderLimitPerSecond(tables: Tables, options: Options): number | undefined {
  const sink = configuredSinks(tables, options).find(({ takesOrders }) => takesOrders);
  return sink?.limits(valuesOf(sink.options, options)).perSecond;
}

/**
 * Opens the sinks that the options name, without starting them; what they have opened is closed with `lifecycle`.
 */
export async function openSinks(
  tables: Tables,
  options: Options,
  parts: ConnectorParts,
  shared: Omit<OutboxOptions, "receiver" | "topic" | "limitPerSecond" | "inFlight">,
  lifecycle: Lifecycle,
): Promise<readonly RunningSink[]> {
  const sinks: RunningSink[] = [];
  for (const sink of configuredSinks(tables, options)) {
    const { name, topic } = sink;
    const values = valuesOf(sink.options, options);
    const open = await sink.open(values, parts);
    if (open === undefined) continue;
    const { receiver, metrics = [] } = open;
    lifecycle.onStop(() => open.close?.());
    assert(receiver.name === name, `the receiver of the sink ${name} is named ${receiver.name}`);
    const { perSecond: limitPerSecond, inFlight } = open.limits ?? sink.limits(values);
    const outbox = new Outbox({ ...shared, receiver, topic, limitPerSecond, inFlight });
    const warnings = () => [...outbox.warnings(), ...(open.warnings?.() ?? [])];
    sinks.push({ name, topic, metrics, outbox, warnings });
  }
  return sinks;
}

/** Opens the sinks of the engine itself, without starting them. */
export const openOwnSinks = (
  { ownSinks }: Tables,
  parts: OwnSinkParts,
  shared: Omit<OutboxOptions, "receiver" | "topic" | "limitPerSecond" | "inFlight">,
): readonly RunningSink[] =>
  ownSinks.map(({ name, topic, limits, open }) => {
    const receiver = open(parts);
    const outbox = new Outbox({
      ...shared,
      ...{ receiver, topic, limitPerSecond: limits.perSecond, inFlight: limits.inFlight },
    });
    return { name, topic, metrics: [], outbox, warnings: () => [...outbox.warnings(), ...receiver.warnings()] };
  });

/** What holds the bounds for sinks that no process runs: one for each topic whose jobs this process runs. */
export const emitKeepersOf = (
  topics: readonly RunningTopic[],
  shared: Omit<EmitKeeperOptions, "topic" | "isOwned">,
): readonly EmitKeeper[] =>
  topics.flatMap(({ name, worker }) => {
    if (!worker) return [];
    const isOwned = (partition: number): boolean => worker.stats()[partition]?.owned === true;
    return [new EmitKeeper({ ...shared, topic: name, isOwned })];
  });
