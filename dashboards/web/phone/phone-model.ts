/**
 * What the phone shows, as plain data that can be stored: the alerts with their present figures. Made from the live
 * feeds, or read from the storage of a phone without a network. Pure.
 */
import type { AlertBody } from "../../feeds/alerts.js";
import type { LiveModel } from "../live-model.js";

export interface PhoneAlert {
  id: string;
  rule: string;
  subject: string;
  severity: "critical" | "warning";
  state: AlertBody["state"];
  firedMs: number;
  clearedMs: number | null;
  acknowledgedBy: string | null;
  /** Of depletion; the present ones while it is open, then those of when it fired. */
  hourUnits: number | null;
  /** Null in cold start. */
  dailyAverage: number | null;
  /** Null when it is not known. */
  sellableUnits: number | null;
}

export interface PhoneModel {
  /** IANA name of the shop's zone. */
  zone: string;
  /** The shop's time. */
  nowMs: number;
  alerts: readonly PhoneAlert[];
}

export function phoneModelOf({ engine, alerts, heat }: LiveModel): PhoneModel {
  return { zone: engine.zone, nowMs: engine.nowMs, alerts: alerts.map((alert) => phoneAlertOf(alert, heat.rowOf)) };
}

function phoneAlertOf(alert: AlertBody, rows: LiveModel["heat"]["rowOf"]): PhoneAlert {
  // A server of the previous release has depletion alerts alone and sends no rule.
  const { rule = "depletion", severity = "warning", acknowledgedBy = null } = alert as Partial<AlertBody> & AlertBody;
  const row = alert.state === "cleared" || rule !== "depletion" ? undefined : rows.get(alert.sku);
  return {
    id: alert.id,
    rule,
    subject: alert.subject ?? alert.sku,
    severity,
    state: alert.state,
    firedMs: alert.firedAtMs,
    clearedMs: alert.clearedAtMs,
    acknowledgedBy,
    hourUnits: rule === "depletion" ? (row?.hourUnits ?? alert.hourUnits) : null,
    dailyAverage: row === undefined ? alert.dailyAverage : row.dailyAverage,
    sellableUnits: row?.sellable ?? null,
  };
}

/** Minutes until nothing is sellable at the pace of the trailing hour; undefined: not known, or nothing is sold. */
export function minutesLeftOf({ hourUnits, sellableUnits }: PhoneAlert): number | undefined {
  if (hourUnits === null || sellableUnits === null || hourUnits <= 0) return undefined;
  return (sellableUnits * 60) / hourUnits;
}

export type AlertFilter = "open" | "unacknowledged";

export interface AlertGroups {
  critical: PhoneAlert[];
  warning: PhoneAlert[];
  clearedToday: PhoneAlert[];
}

/** @param day names the day of an instant in the shop's zone */
export function groupsOf({ alerts, nowMs }: PhoneModel, filter: AlertFilter, day: (ms: number) => string): AlertGroups {
  const open = alerts.filter(({ state }) => state === "fired" || (state === "acknowledged" && filter === "open"));
  const newestFirst = (a: PhoneAlert, b: PhoneAlert) => b.firedMs - a.firedMs;
  const of = (severity: PhoneAlert["severity"]) => open.filter((each) => each.severity === severity).sort(newestFirst);
  const clearedToday = alerts
    .filter(({ clearedMs }) => clearedMs !== null && day(clearedMs) === day(nowMs))
    .sort((a, b) => (b.clearedMs as number) - (a.clearedMs as number));
  return { critical: of("critical"), warning: of("warning"), clearedToday };
}
