/**
 * An alert (R10, R11): one life from fired over acknowledged to cleared, with what explains it. Plain data, as events,
 * states, views and messages hold it.
 */
import type { AlertRuleName, Severity } from "./rules.js";

export type AlertState = "fired" | "acknowledged" | "cleared";

/** The figures by which a rule fired; which of them an alert has depends on its rule. */
export interface AlertFigures {
  /** Depletion: units of the trailing hour, and the daily average; null in cold start. */
  readonly hourUnits?: number;
  readonly dailyAverage?: number | null;
  /** Depletion: it fires above so many units. */
  readonly thresholdUnits?: number;
  /** Breaker: who changed it, why, when it ends (0: not by itself), and the divergence as a share. */
  readonly actor?: string;
  readonly reason?: string;
  readonly untilMs?: number;
  readonly divergence?: number;
  /** Conditions: the figure and the limit that it has passed: exceptions, seconds, dead letters, a share of memory. */
  readonly value?: number;
  readonly limit?: number;
}

/** What helps a person to decide, as it was when people were notified. Of depletion alone. */
export interface StockOutlook {
  /** Over all locations. */
  readonly sellableUnits: number;
  readonly safetyUnits: number;
  /** Units of receipts on their way (R7). */
  readonly inboundUnits: number;
  /** Minutes until nothing is sellable at the pace of the trailing hour; null: it is not sold now. */
  readonly minutesLeft: number | null;
  /** Units to order by R7; 0: none; null in cold start. */
  readonly suggestedUnits: number | null;
}

export interface Alert {
  /** Of depletion `<sku>#<n>`, of others `<rule>~<subject>#<n>`; `n` counts the alerts of the subject. */
  readonly id: string;
  readonly rule: AlertRuleName;
  readonly subject: string;
  readonly severity: Severity;
  readonly state: AlertState;
  readonly firedMs: number;
  readonly acknowledgedMs?: number;
  readonly acknowledgedBy?: string;
  readonly clearedMs?: number;
  /** As they were when it fired. */
  readonly figures: AlertFigures;
  readonly outlook?: StockOutlook;
  /** Of depletion: the SKU's category and the locations that have units of it. */
  readonly category?: string;
  readonly locations?: readonly string[];
}

/** The key of a rule and subject in the topic `alerts`: alerts of one key are in one partition and in order. */
export const alertKeyOf = ({ rule, subject }: Pick<Alert, "rule" | "subject">): string => `${rule}~${subject}`;
