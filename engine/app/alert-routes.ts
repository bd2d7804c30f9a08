/**
 * The routes of the topic `alerts`: changes of depletion alerts from the stock log's jobs, and changes of breakers from
 * the consistency job. Each becomes an event of its rule and subject. Jobs do not import each other, so what one emits
 * is given the form that the other reads here. Pure.
 */
import { alertKeyOf } from "../alerting/alert.js";
import { BREAKER_EVENT, type BreakerEvent, DEPLETION_EVENT, type DepletionEvent } from "../jobs/alerts/events.js";
import { BREAKER_CHANGED_EMIT, CONSISTENCY_TOPIC } from "../jobs/consistency/events.js";
import type { BreakerHistoryEntry } from "../jobs/consistency/state.js";
import { ALERT_EMIT, type AlertChange } from "../jobs/depletion/job.js";
import type { Route, RoutedEvent } from "../stream/route.js";

export const ALERT_ROUTES: readonly Route[] = [
  { from: "stock", kinds: [ALERT_EMIT], event: ({ payload }) => ofDepletion(payload as AlertChange) },
  {
    from: CONSISTENCY_TOPIC,
    kinds: [BREAKER_CHANGED_EMIT],
    event: ({ payload }) => ofBreaker(payload as BreakerHistoryEntry),
  },
];

function ofDepletion({ type, sku, atMs, thresholdUnits, alert }: AlertChange): RoutedEvent {
  const { id, firedAtMs, hourUnits, dailyAverage, acknowledgedBy } = alert;
  const number = Number(id.slice(id.lastIndexOf("#") + 1));
  if (!Number.isSafeInteger(number)) throw new Error(`the alert ${id} has no number`);
  const payload: DepletionEvent = {
    ...{ type, alertId: id, number, sku, atMs, firedMs: firedAtMs, hourUnits, dailyAverage, acknowledgedBy },
    ...(thresholdUnits === undefined ? {} : { thresholdUnits }),
  };
  return { key: alertKeyOf({ rule: "depletion", subject: sku }), kind: DEPLETION_EVENT, payload };
}

function ofBreaker(entry: BreakerHistoryEntry): RoutedEvent {
  const { number, scope, kind, atMs, actor, reason, untilMs = 0, evidence } = entry;
  const payload: BreakerEvent = {
    ...{ number, scope, kind, atMs, actor, reason, untilMs },
    ...(evidence && { divergence: evidence.share }),
  };
  return { key: alertKeyOf({ rule: "breaker", subject: scope }), kind: BREAKER_EVENT, payload };
}
