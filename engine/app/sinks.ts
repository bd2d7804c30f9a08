/**
 * The table of sinks: the outside systems that get what the jobs of a topic emit. A line says which topic it delivers
 * and how its receiver is opened from the settings; the engine makes and runs the outbox.
 */
import type { Metric } from "prom-client";
import type { OrderService } from "../orders/order-service.js";
import type { OrderStore } from "../orders/order-store.js";
import { Outbox, type OutboxOptions } from "../outbox/outbox.js";
import type { Receiver } from "../outbox/receiver.js";
import type { EngineSettings } from "./engine-settings.js";
import type { Lifecycle } from "./lifecycle.js";
import type { Tables } from "./tables.js";
import { warehouseSink } from "./warehouse.js";

/** What a sink may be opened with. */
export interface SinkParts {
  readonly settings: EngineSettings;
  readonly orderStore: OrderStore;
  readonly orderService: OrderService;
  /** Stops what the sink has opened, after its outbox. */
  readonly lifecycle: Lifecycle;
}

export interface OpenSink {
  readonly receiver: Receiver;
  /** What the receiver takes; all workers together stay below it in every second. */
  readonly limitPerSecond: number;
  /** Requests under way at most, of all workers together. */
  readonly inFlight: number;
  /** Metrics of its own, beside those that every sink has. */
  readonly metrics?: readonly Metric[];
}

/** A line of the table of sinks. */
export interface SinkEntry {
  /** The name of its receiver. */
  readonly name: string;
  /** The topic whose emits it delivers. */
  readonly topic: string;
  /** Opens it, in a process that runs jobs; undefined: the settings name no such system. */
  open(parts: SinkParts): Promise<OpenSink | undefined>;
}

export interface RunningSink {
  readonly name: string;
  readonly topic: string;
  readonly outbox: Outbox;
  readonly metrics: readonly Metric[];
}

export const SINKS: readonly SinkEntry[] = [warehouseSink];

/** Opens the sinks that the settings name, without starting them. */
export async function openSinks(
  tables: Tables,
  parts: SinkParts,
  shared: Omit<OutboxOptions, "receiver" | "topic" | "limitPerSecond" | "inFlight">,
): Promise<readonly RunningSink[]> {
  const sinks: RunningSink[] = [];
  for (const { name, topic, open } of tables.sinks) {
    const opened = await open(parts);
    if (!opened) continue;
    const { metrics = [], ...own } = opened;
    sinks.push({ name, topic, metrics, outbox: new Outbox({ ...shared, ...own, topic }) });
  }
  return sinks;
}
