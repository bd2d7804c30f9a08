/**
 * The state of the alert job for one rule and subject: the alert that is open, those that have cleared within a day,
 * and who reports its condition. It is plain data, and every list in it is bounded.
 */
import type { Alert } from "../../alerting/alert.js";
import { DAY_MS } from "../../kernel/clock.js";

/** An alert and who was notified of it, as state and views hold it. */
export interface AlertRecord {
  readonly alert: Alert;
  /** The level that is notified, or was last. */
  readonly level: number;
  /** Keys of all who were notified so far, of every level. */
  readonly recipients: readonly string[];
  /** When the next level is notified; undefined: there is none. */
  readonly nextMs?: number;
  /** Nobody is notified until it ends. */
  readonly silence?: { readonly id: string; readonly untilMs: number };
}

export interface AlertsState {
  /**
   * Of depletion: the number of its newest alert; of breakers: of the newest change; of conditions: alerts so far. What
   * is not newer is a repetition.
   */
  newest: number;
  /** When `newest` changed, or an alert ended; from then on a number of depletion or of breakers is kept for a time. */
  changedMs?: number;
  open: AlertRecord | null;
  /** The latest first. */
  cleared: AlertRecord[];
  /** Of a condition that is met: who reports it, and until when each report is valid, by the log's clock. */
  reporters: [reporter: string, untilMs: number][];
}

export const newAlertsState = (): AlertsState => ({ newest: 0, open: null, cleared: [], reporters: [] });

/** What views get. */
export type AlertsFigures = Pick<AlertsState, "open" | "cleared">;

/** How long an alert is kept after it has cleared. */
export const CLEARED_KEPT_MS = DAY_MS;
/**
 * How long the number of the newest alert of a SKU or a breaker is kept after it has ended; what is older than that is
 * ignored. So a dead letter that is replayed opens no alert that has ended. It has some 50 bytes.
 */
export const NUMBER_KEPT_MS = 30 * DAY_MS;
/** Of one rule and subject: 0.7 KB each without recipients, written with every change of the subject's alerts. */
export const CLEARED_KEPT = 20;
/** Everybody (500 people) and the endpoints: some 30 KB. Who comes beyond that is notified, but not of changes. */
export const MAX_RECIPIENTS = 1_000;
/** Processes of a deployment that run jobs; beyond that the one that reported first is left out. */
export const MAX_REPORTERS = 64;

/** Orders of lists: the newest first, then by id. */
export const newestFired = (a: AlertRecord, b: AlertRecord): number => b.alert.firedMs - a.alert.firedMs || byId(a, b);
export const newestCleared = (a: AlertRecord, b: AlertRecord): number =>
  (b.alert.clearedMs ?? 0) - (a.alert.clearedMs ?? 0) || byId(a, b);

const byId = (a: AlertRecord, b: AlertRecord): number => (a.alert.id < b.alert.id ? -1 : 1);
