/**
 * What the receivers of the engine's own sinks are made of: the consistency sink compares sources and changes breakers,
 * the alert sink decides whom an alert notifies. What is known about a SKU comes from the views of this process, which
 * follow the log, so they may lack what happened a moment ago.
 */
import type { AlertingStores } from "../alerting/stores.js";
import type { StockFacts } from "../jobs/alerts/receiver.js";
import { CONSISTENCY_TOPIC } from "../jobs/consistency/events.js";
import type { ConsistencySettings } from "../jobs/consistency/options.js";
import type { Clock } from "../kernel/clock.js";
import { zoneOf } from "../kernel/zone.js";
import { POOLS } from "../stock/model.js";
import { minuteOf } from "../stream/window.js";
import type { Engine, EngineStock } from "./engine.js";
import type { EngineSettings } from "./engine-settings.js";
import { eventTopicNamed } from "./running-topics.js";
import type { OwnSinkParts } from "./tables.js";

/** @param consistency when sources are compared, and what a comparison does to breakers */
export function ownSinkPartsOf(
  { partitions, zone, onTrouble }: EngineSettings,
  consistency: ConsistencySettings,
  parts: Pick<Engine, "stock" | "topics" | "reconciliation" | "clock"> & { readonly alerting: AlertingStores },
): OwnSinkParts {
  const { stock, topics, reconciliation, clock, alerting } = parts;
  const { comparer, sources } = reconciliation;
  const shared = { clock, zone: zoneOf(zone) };
  return {
    consistency: {
      ...{ ...shared, ledger: stock.ledger, comparer, sources, partitions, onTrouble, settings: consistency },
      append: (events) => eventTopicNamed(topics, CONSISTENCY_TOPIC).append(events),
    },
    alerts: {
      ...shared,
      directory: alerting.directory,
      silences: () => alerting.silences.active(),
      stockOf: (sku) => stockFactsOf(stock, sku, clock),
      inboundUnits: (sku) => stock.inbound.inboundUnits(sku),
      append: (topic, events) => eventTopicNamed(topics, topic).append(events),
    },
  };
}

/** Undefined: the views have no such SKU. */
function stockFactsOf(
  { storefrontView, depletionView }: Pick<EngineStock, "storefrontView" | "depletionView">,
  sku: string,
  clock: Clock,
): StockFacts | undefined {
  const levels = storefrontView.get(sku);
  if (!levels) return undefined;
  const { total, category } = levels;
  const withUnits = [...levels.locations].filter(([, balances]) => POOLS.some((pool) => balances[pool] > 0));
  return {
    category,
    locations: withUnits.map(([location]) => location),
    sellableUnits: total.sellable,
    safetyUnits: total.safety,
    hourUnits: depletionView.hourUnits(sku, minuteOf(clock.now())),
    dailyAverage: depletionView.dailyAverage(sku),
  };
}
