/**
 * Routes: who is notified of an alert, and who next when nobody acknowledges it. The first route that matches is used.
 * Pure; the configuration file has the routes, and without one `DEFAULT_LADDER` applies: the roles of the rule first,
 * everybody after five minutes.
 */
import type { Alert } from "./alert.js";
import type { QuietHours } from "./people.js";
import type { AlertRuleName, Severity } from "./rules.js";

/** `role:<role>`, `person:<id>`, `endpoint:<name>`, or `everybody`. */
export type RouteTarget = string;

export interface RouteLevel {
  /** After the alert has fired and nobody has acknowledged it; 0 for the first level. */
  readonly afterMs: number;
  readonly to: readonly RouteTarget[];
}

export interface AlertRoute {
  readonly name: string;
  /** Every field that is given must match; a list matches when one of its entries does. */
  readonly match: {
    readonly rules?: readonly AlertRuleName[];
    readonly severities?: readonly Severity[];
    readonly categories?: readonly string[];
    readonly locations?: readonly string[];
    /** Of the day, in the shop's zone. */
    readonly hours?: QuietHours;
  };
  /** By `afterMs`, the first with 0. */
  readonly levels: readonly RouteLevel[];
}

/** The default time without an acknowledgement after which the next level is notified. */
export const ESCALATE_MS = 5 * 60_000;

/** The first route that matches at a minute of the shop's day; undefined: none. */
export function routeOf(alert: Alert, routes: readonly AlertRoute[], minuteOfDay: number): AlertRoute | undefined {
  const has = (list: readonly string[] | undefined, value: string | undefined) =>
    list === undefined || (value !== undefined && list.includes(value));
  return routes.find(
    ({ match: { rules, severities, categories, locations, hours } }) =>
      has(rules, alert.rule) &&
      has(severities, alert.severity) &&
      has(categories, alert.category) &&
      (locations === undefined || (alert.locations ?? []).some((location) => locations.includes(location))) &&
      (hours === undefined || isWithin(hours, minuteOfDay)),
  );
}

/** Whether a minute of the day is in [from, to), which may go over midnight. */
export const isWithin = ({ fromMinute, toMinute }: QuietHours, minuteOfDay: number): boolean =>
  fromMinute <= toMinute
    ? minuteOfDay >= fromMinute && minuteOfDay < toMinute
    : minuteOfDay >= fromMinute || minuteOfDay < toMinute;
