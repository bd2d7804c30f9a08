/**
 * What the wall shows, put together from its copies of five feeds. Before the first snapshots there is no model.
 * The parts change at their own times: the figures of one tick arrive one after the other.
 */
import type { AlertBody, AlertsBody } from "../feeds/alerts.js";
import type { HeatDelta, HeatSnapshot } from "../feeds/stock-heat/body.js";
import { changeHeat, type HeatModel, heatOf } from "../feeds/stock-heat/store.js";
import type { FeedRequest } from "../protocol.js";
import { FeedCopy, type FeedStore, wholeStore } from "./feed-copy.js";
import { OPTIONAL_FEEDS, SHOP_FEEDS, ShopCopies, type ShopModel } from "./shop-model.js";

export interface LiveModel extends ShopModel {
  alerts: readonly AlertBody[];
  heat: HeatModel;
}

/** How much a layout shows. */
type Size = "wall" | "phone";

/** The feeds of the page. */
export const feedsOf = (size: Size): FeedRequest[] => [
  ...SHOP_FEEDS,
  { name: "alerts", size },
  { name: "stock-heat", size },
];

const heatStore: FeedStore<HeatModel> = {
  snapshot: (body, before) => heatOf(body as HeatSnapshot, before),
  delta: (heat, body) => changeHeat(heat, body as HeatDelta),
};

/** The page's copies, by the feeds' names. */
export class LiveCopies {
  readonly #shop = new ShopCopies();
  readonly #alerts = new FeedCopy(wholeStore<AlertsBody>());
  readonly #heat = new FeedCopy(heatStore);
  readonly byName: ReadonlyMap<string, FeedCopy<unknown>> = new Map<string, FeedCopy<unknown>>([
    ...this.#shop.byName,
    ["alerts", this.#alerts],
    ["stock-heat", this.#heat],
  ]);
  readonly optional = OPTIONAL_FEEDS;

  model(): LiveModel | undefined {
    const [shop, alerts, heat] = [this.#shop.model(), this.#alerts.model, this.#heat.model];
    if (shop === undefined || alerts === undefined || heat === undefined) return undefined;
    return { ...shop, alerts: alerts.alerts, heat };
  }
}

/** SKUs with an alert that has not cleared. */
export function alertedSkus(alerts: readonly AlertBody[]): Set<string> {
  const skus = new Set<string>();
  for (const { rule, state, subject } of alerts) if (rule === "depletion" && state !== "cleared") skus.add(subject);
  return skus;
}
