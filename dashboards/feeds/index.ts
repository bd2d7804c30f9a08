/** The feeds of the product. Each takes its data from an interface of its own; a source may implement several. */
import type { Feed } from "../feed.js";
import { type AlertsSource, alertsFeed } from "./alerts.js";
import { type BreakersSource, breakersFeed } from "./breakers.js";
import { type ConsistencySource, consistencyFeed } from "./consistency.js";
import { type EngineSource, engineFeed } from "./engine.js";
import { type StockHeatSource, stockHeatFeed } from "./stock-heat/feed.js";

export type FeedSources = EngineSource & BreakersSource & ConsistencySource & AlertsSource & StockHeatSource;

export const FEEDS: readonly ((sources: FeedSources) => Feed)[] = [
  engineFeed,
  breakersFeed,
  consistencyFeed,
  alertsFeed,
  stockHeatFeed,
];
