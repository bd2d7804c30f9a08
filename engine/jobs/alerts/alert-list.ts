/**
 * The alerts of all rules as people see them. Of depletion alerts the depletion job's own view counts: it is a step
 * ahead of the alert job, and it has alerts that fired before the deployment had the topic `alerts`. All else comes
 * from the alert job. Reads memory only.
 */
import type { Alert } from "../../alerting/alert.js";
import { ALERT_RULES } from "../../alerting/rules.js";
import { type AlertRecord, newestCleared, newestFired } from "./state.js";
import type { AlertsView } from "./view.js";

/** An alert as the depletion job's view has it. */
export interface DepletionAlert {
  readonly id: string;
  readonly sku: string;
  readonly state: Alert["state"];
  readonly firedAtMs: number;
  readonly clearedAtMs: number | undefined;
  readonly hourUnits: number;
  readonly dailyAverage: number | undefined;
  readonly acknowledgedBy: string | undefined;
}

/** The part of the depletion job's view that is needed. */
export interface DepletionAlerts {
  openAlerts(): readonly DepletionAlert[];
  clearedAlerts(): readonly DepletionAlert[];
}

export class AlertList {
  readonly #alerts: Pick<AlertsView, "open" | "cleared" | "get">;
  readonly #depletion: DepletionAlerts;

  constructor(alerts: Pick<AlertsView, "open" | "cleared" | "get">, depletion: DepletionAlerts) {
    this.#alerts = alerts;
    this.#depletion = depletion;
  }

  /** Open alerts, the newest first. */
  open(): AlertRecord[] {
    const ahead = this.#depletion.openAlerts();
    const cleared = new Set(this.#depletion.clearedAlerts().map(({ id }) => id));
    const records = new Map(this.#alerts.open().map((record) => [record.alert.id, record]));
    for (const alert of ahead) records.set(alert.id, joined(alert, records.get(alert.id)));
    return [...records.values()].filter(({ alert }) => !cleared.has(alert.id)).sort(newestFired);
  }

  /** Alerts that have cleared within a day, those that cleared last first; a limited number. */
  cleared(): AlertRecord[] {
    const records = new Map(this.#alerts.cleared().map((record) => [record.alert.id, record]));
    for (const alert of this.#depletion.clearedAlerts())
      records.set(alert.id, joined(alert, records.get(alert.id) ?? this.#alerts.get(alert.id)));
    return [...records.values()].sort(newestCleared);
  }

  /** An alert by its id, open or cleared within a day. */
  get(id: string): AlertRecord | undefined {
    const ahead =
      this.#depletion.openAlerts().find((alert) => alert.id === id) ??
      this.#depletion.clearedAlerts().find((alert) => alert.id === id);
    const record = this.#alerts.get(id);
    return ahead ? joined(ahead, record) : record;
  }
}

/** Of two sources about one alert the depletion job's state counts. */
function joined(ahead: DepletionAlert, record: AlertRecord | undefined): AlertRecord {
  const { id, sku: subject, state, firedAtMs: firedMs, clearedAtMs, acknowledgedBy, hourUnits, dailyAverage } = ahead;
  const rule = "depletion";
  const figures = { ...record?.alert.figures, hourUnits, dailyAverage: dailyAverage ?? null };
  return {
    level: 0,
    recipients: [],
    ...record,
    alert: {
      severity: ALERT_RULES[rule].severity,
      ...record?.alert,
      ...{ id, rule, subject, state, firedMs, figures },
      ...(clearedAtMs === undefined ? {} : { clearedMs: clearedAtMs }),
      ...(acknowledgedBy === undefined ? {} : { acknowledgedBy }),
    },
  };
}
