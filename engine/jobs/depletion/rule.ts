/**
 * When a SKU's depletion is an alert (R8–R10), as pure functions of two figures: units in the trailing hour and the
 * daily average. Firing and clearing have a gap between them, so that an alert does not change state
 * again and again at the threshold. A SKU without one complete day since its first deduction has no average (cold
 * start); absolute thresholds apply to it.
 */
import { MAX_UNITS } from "../../stock/model.js";
import type { SkuSetting } from "../../stock/settings.js";

export const ALERT_FACTOR: SkuSetting = {
  name: "alertFactor",
  default: 3.0,
  min: 0,
  max: 1_000,
  isMinExcluded: true,
  unit: "daily averages",
  about: "an alert fires above this many daily averages in an hour (R10)",
};

export const ALERT_FLOOR_UNITS: SkuSetting = {
  name: "alertFloorUnits",
  default: 50,
  min: 0,
  max: MAX_UNITS,
  integer: true,
  unit: "units",
  about: "an alert fires at this many units in an hour at least (R10)",
};

/** Options of one SKU; defaults as in R10. */
export interface AlertRule {
  /** Fires above this many daily averages in an hour. */
  factor: number;
  /** Fires at this many units in an hour at least. */
  floorUnits: number;
}

const DEFAULT_RULE: AlertRule = {
  factor: ALERT_FACTOR.default,
  floorUnits: ALERT_FLOOR_UNITS.default,
};
const COLD_START_FIRE_UNITS = 100;
const COLD_START_KEEP_UNITS = 80;
/** An open alert stays while the hour is above these shares of the firing figures: 2.4 of 3.0 and 40 of 50. */
const KEEP_FACTOR_SHARE = 0.8;
const KEEP_FLOOR_SHARE = 0.8;
/** Days of R8. */
export const AVERAGE_DAYS = 7;

/** A threshold without the last bits of its products: 0.3 × 70 ÷ 3 is 7 and not 6.999…. */
const threshold = (units: number): number => Math.round(units * 1e9) / 1e9;

/** Whether an alert fires. */
export function fires(hourUnits: number, dailyAverage: number | undefined, rule: AlertRule = DEFAULT_RULE): boolean {
  if (dailyAverage === undefined) return hourUnits >= COLD_START_FIRE_UNITS;
  return hourUnits > threshold(rule.factor * dailyAverage) && hourUnits >= rule.floorUnits;
}

/** Units in an hour above which an alert fires, by whichever part of the rule is higher. */
export const thresholdUnitsOf = (dailyAverage: number | undefined, rule: AlertRule): number =>
  dailyAverage === undefined ? COLD_START_FIRE_UNITS : Math.max(threshold(rule.factor * dailyAverage), rule.floorUnits);

/** Whether an open alert stays open. */
export function stays(hourUnits: number, dailyAverage: number | undefined, rule: AlertRule = DEFAULT_RULE): boolean {
  if (dailyAverage === undefined) return hourUnits >= COLD_START_KEEP_UNITS;
  const keepUnits = threshold(rule.factor * KEEP_FACTOR_SHARE * dailyAverage);
  return hourUnits > keepUnits && hourUnits >= threshold(rule.floorUnits * KEEP_FLOOR_SHARE);
}

/**
 * The daily average (R8): units deducted in the last 7 complete days ÷ 7, or ÷ D for a SKU first deducted D < 7 days
 * ago.
 * @param days `[day, units, …]`, oldest first
 * @returns undefined in cold start
 */
export function dailyAverageOf(days: readonly number[], firstDay: number, today: number): number | undefined {
  const span = Math.min(AVERAGE_DAYS, today - firstDay);
  if (span < 1) return undefined;
  let sum = 0;
  for (let i = 0; i < days.length; i += 2) {
    const day = days[i] as number;
    if (day < today && day >= today - span) sum += days[i + 1] as number;
  }
  return sum / span;
}
