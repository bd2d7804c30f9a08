/**
 * Options of the daily comparison and of the breaker that opens by it. They belong to the deployment: every worker has
 * the same, so a verdict does not depend on which process made it, and a changed time of the schedule takes effect
 * once, with the first process that starts with it (`--accept-settings`).
 */
import { defineOptions, type OptionValues } from "../../kernel/options.js";
import type { SharedSettings } from "../../stream/settings.js";
import { BREAKER_MODES } from "./events.js";
import type { BreakerRules } from "./rules.js";

const TIME = /^([01]\d|2[0-3]):[0-5]\d$/;
/** Above this a threshold would never be reached. */
const MAX_PERCENT = 100;
const LEAST_PERCENT = 0.001;

export const consistencyOptions = defineOptions({
  compareAt: {
    type: "string",
    default: "18:00",
    pattern: TIME,
    expects: "a time such as 18:00",
    about: "when sources and ledger are compared each day, in the shop's time zone (R14)",
  },
  breakerMode: {
    type: "choice",
    choices: BREAKER_MODES,
    default: "on",
    about: "whether a divergence above its threshold opens the breaker by itself; dry-run only records that it would",
  },
  divergenceShop: {
    type: "number",
    default: 0.5,
    min: LEAST_PERCENT,
    max: MAX_PERCENT,
    unit: "%",
    about: "the breaker of the whole shop opens above this divergence of any two parties (R13, R14)",
  },
  divergenceLocation: {
    type: "number",
    min: LEAST_PERCENT,
    max: MAX_PERCENT,
    unit: "%",
    about: "the same for a location's breaker; without it locations have no breaker of their own",
  },
  divergenceSku: {
    type: "number",
    min: LEAST_PERCENT,
    max: MAX_PERCENT,
    unit: "%",
    about: "the same for a SKU's breaker; without it SKUs have no breaker of their own",
  },
  divergenceSkuFloor: {
    type: "integer",
    default: 10,
    min: 1,
    max: 1_000_000,
    unit: "units",
    about: "a SKU's breaker opens only when so many units differ",
  },
});

export type ConsistencyOptions = OptionValues<typeof consistencyOptions>;

/** What the engine needs of the options. */
export interface ConsistencySettings extends BreakerRules {
  /** A time of the shop's day, such as 18:00. */
  readonly compareAt: string;
}

const ofPercent = (percent: number | undefined): number | undefined =>
  percent === undefined ? undefined : percent / 100;

export const consistencySettingsOf = (options: ConsistencyOptions): ConsistencySettings => ({
  compareAt: options.compareAt,
  mode: options.breakerMode,
  shopShare: options.divergenceShop / 100,
  locationShare: ofPercent(options.divergenceLocation),
  skuShare: ofPercent(options.divergenceSku),
  skuFloorUnits: options.divergenceSkuFloor,
});

/** They must be the same in every worker. */
export const sharedConsistencySettings = (options: ConsistencyOptions): SharedSettings => ({
  "compare-at": options.compareAt,
  "breaker-mode": options.breakerMode,
  "divergence-shop": String(options.divergenceShop),
  "divergence-location": String(options.divergenceLocation ?? "off"),
  "divergence-sku": String(options.divergenceSku ?? "off"),
  "divergence-sku-floor": String(options.divergenceSkuFloor),
});
