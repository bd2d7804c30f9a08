/**
 * What the page shows, put together from its copies of four feeds. Before the first snapshot of each there is no model.
 * The parts change at their own times: the figures of one tick arrive one after the other.
 */
import type { AlertBody, AlertsBody } from "../feeds/alerts.js";
import type { BreakerBody, BreakersBody } from "../feeds/breakers.js";
import type { EngineBody } from "../feeds/engine.js";
import type { HeatDelta, HeatSnapshot } from "../feeds/stock-heat/body.js";
import { changeHeat, type HeatModel, heatOf } from "../feeds/stock-heat/store.js";
import type { FeedRequest } from "../protocol.js";
import { FeedCopy, type FeedStore, wholeStore } from "./feed-copy.js";

export interface LiveModel {
  engine: EngineBody;
  /** When `engine` came, on `performance.now`'s scale. */
  engineAtMs: number;
  breakers: readonly BreakerBody[];
  alerts: readonly AlertBody[];
  heat: HeatModel;
}

/** How much a layout shows. */
export type Size = "wall" | "phone";

/** The feeds of the page. */
export const feedsOf = (size: Size): FeedRequest[] => [
  { name: "engine" },
  { name: "breakers" },
  { name: "alerts", size },
  { name: "stock-heat", size },
];

const heatStore: FeedStore<HeatModel> = {
  snapshot: (body, before) => heatOf(body as HeatSnapshot, before),
  delta: (heat, body) => changeHeat(heat, body as HeatDelta),
};

/** The page's copies, by the feeds' names. */
export class LiveCopies {
  readonly #engine = new FeedCopy(wholeStore<EngineBody>());
  readonly #breakers = new FeedCopy(wholeStore<BreakersBody>());
  readonly #alerts = new FeedCopy(wholeStore<AlertsBody>());
  readonly #heat = new FeedCopy(heatStore);
  readonly byName: ReadonlyMap<string, FeedCopy<unknown>> = new Map<string, FeedCopy<unknown>>([
    ["engine", this.#engine],
    ["breakers", this.#breakers],
    ["alerts", this.#alerts],
    ["stock-heat", this.#heat],
  ]);

  /** Undefined until every feed has sent a snapshot. */
  model(): LiveModel | undefined {
    const [engine, breakers, alerts, heat] = [
      this.#engine.model,
      this.#breakers.model,
      this.#alerts.model,
      this.#heat.model,
    ];
    if (engine === undefined || breakers === undefined || alerts === undefined || heat === undefined) return undefined;
    return { engine, engineAtMs: this.#engine.atMs, breakers: breakers.breakers, alerts: alerts.alerts, heat };
  }
}

/** SKUs with an alert that has not cleared. */
export function alertedSkus(alerts: readonly AlertBody[]): Set<string> {
  const skus = new Set<string>();
  for (const alert of alerts) if (alert.state !== "cleared") skus.add(alert.sku);
  return skus;
}
