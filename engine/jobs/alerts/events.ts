/**
 * What the topic `alerts` holds, and what its job emits. Its keys are rules with their subjects (`alertKeyOf`), so the
 * alerts of one subject are in order. Depletion and breakers come by routes from `stock` and `consistency`; the other
 * rules' conditions come from the workers that watch them. Shapes only.
 */
import type { Alert, StockOutlook } from "../../alerting/alert.js";
import type { ConditionRule } from "../../alerting/rules.js";

export const ALERTS_TOPIC = "alerts";

/** A change of a SKU's depletion alert, as the depletion job made it. Its key is `depletion~<sku>`. */
export const DEPLETION_EVENT = "depletion";
export interface DepletionEvent {
  readonly type: "fired" | "acknowledged" | "cleared";
  /** `<sku>#<number>`. */
  readonly alertId: string;
  /** Ascends with each alert of the SKU. */
  readonly number: number;
  readonly sku: string;
  /** Of the change. */
  readonly atMs: number;
  readonly firedMs: number;
  /** As they were when it fired; the average is null in cold start. */
  readonly hourUnits: number;
  readonly dailyAverage: number | null;
  /** Undefined when a worker of a release without it has emitted the change. */
  readonly thresholdUnits?: number;
  readonly acknowledgedBy: string | null;
}

/** A change of a breaker, as the consistency job observed it. Its key is `breaker~<scope>`. */
export const BREAKER_EVENT = "breaker";
export interface BreakerEvent {
  /** Ascends with each change of any breaker. */
  readonly number: number;
  /** As stored: `shop`, `location:X`, `sku:X`. */
  readonly scope: string;
  readonly kind: "opened" | "extended" | "half_opened" | "closed" | "would_have_opened";
  readonly atMs: number;
  readonly actor: string;
  readonly reason: string;
  /** When it ends; 0: not by itself. */
  readonly untilMs: number;
  /** Of an opening after a comparison: the share that parted. */
  readonly divergence?: number;
}

/** A worker's report of a condition: when it changes, and again before the last report is no longer valid. */
export const CONDITION_EVENT = "condition";
export interface ConditionEvent {
  readonly rule: ConditionRule;
  readonly subject: string;
  /** The process that reports: a condition is met while any of them reports it. */
  readonly reporter: string;
  readonly isMet: boolean;
  readonly value: number;
  readonly limit: number;
  /** For so long, by the log's clock: a reporter that has ended does not hold the alert open. */
  readonly validMs: number;
}

/** Somebody has acknowledged an alert that is not about depletion; those of depletion go through the ledger. */
export const ACKNOWLEDGE_EVENT = "acknowledge";
export interface AcknowledgeEvent {
  readonly alertId: string;
  readonly actor: string;
}

/** Who was notified of an alert at a level, and when the next level is; appended by the sink `alerts`. */
export const ROUTED_EVENT = "routed";
export interface RoutedEvent {
  readonly alertId: string;
  readonly level: number;
  /** Keys of the topic `notifications`. */
  readonly recipients: readonly string[];
  /** When the next level is notified if nobody has acknowledged the alert; undefined: there is none. */
  readonly nextMs?: number;
  /** A silence matches: nobody was notified, and the alert is routed again when it ends. */
  readonly silence?: { readonly id: string; readonly untilMs: number };
  readonly outlook?: StockOutlook;
  readonly category?: string;
  readonly locations?: readonly string[];
}

/** A silence was added or ended: open alerts are routed again. Its key is that of each open alert that it matches. */
export const SILENCE_EVENT = "silence";
export interface SilenceEvent {
  readonly silenceId: string;
}

/** Somebody can be notified now, and nobody could when the alert fired. Its content is empty. */
export const REACHABLE_EVENT = "reachable";

/** Emit to the sink `alerts`: notify people of an alert, or of its change. */
export const ROUTE_EMIT = "route";
export interface RouteCommand {
  readonly alert: Alert;
  /** `notify`: at `level`, of those who are to be notified then; `changed`: those who were notified so far. */
  readonly what: "notify" | "changed";
  readonly level: number;
  /** Keys of those who were notified so far. Of `notify`: when a silence matches, nothing further is sent to them. */
  readonly recipients: readonly string[];
}
