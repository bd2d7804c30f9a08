/**
 * The alert job (R10, R11, R14): the life of every alert, from fired over acknowledged to cleared, and when people are
 * notified of it. Its key is a rule with its subject, of which one alert at most is open. It is a pure state machine
 * over the topic `alerts`: depletion alerts and changes of breakers arrive as their jobs made them, the other rules'
 * conditions as the workers report them. Whom to notify is decided by the sink `alerts`, which executes what this job
 * emits and answers with `routed`; levels, silences and reporters that stop end by a durable timer. What arrives again,
 * late, or about an alert that does not exist changes nothing.
 */
import { type Alert, alertKeyOf } from "../../alerting/alert.js";
import { ALERT_RULES, type AlertRuleName } from "../../alerting/rules.js";
import { DAY_MS } from "../../kernel/clock.js";
import type { TopicEvent } from "../../stream/event-entry.js";
import type { Job, JobContext } from "../../stream/job.js";
import {
  ACKNOWLEDGE_EVENT,
  type AcknowledgeEvent,
  BREAKER_EVENT,
  type BreakerEvent,
  CONDITION_EVENT,
  type ConditionEvent,
  DEPLETION_EVENT,
  type DepletionEvent,
  REACHABLE_EVENT,
  ROUTE_EMIT,
  ROUTED_EVENT,
  type RouteCommand,
  type RoutedEvent,
  SILENCE_EVENT,
} from "./events.js";
import {
  type AlertRecord,
  type AlertsFigures,
  type AlertsState,
  CLEARED_KEPT,
  CLEARED_KEPT_MS,
  MAX_RECIPIENTS,
  MAX_REPORTERS,
  NUMBER_KEPT_MS,
  newAlertsState,
} from "./state.js";

export const ALERTS_JOB = "alerts.1";

/** A report of a condition is valid for a day at most. */
const MOST_VALID_MS = DAY_MS;

type State = AlertsState;

export const alertsJob: Job<TopicEvent, State> = {
  name: ALERTS_JOB,
  key: ({ key }) => key,
  initial: newAlertsState,

  onEvent(state, { kind, payload }, context) {
    if (kind === DEPLETION_EVENT) onDepletion(state, payload as DepletionEvent, context);
    else if (kind === BREAKER_EVENT) onBreaker(state, payload as BreakerEvent, context);
    else if (kind === CONDITION_EVENT) onCondition(state, payload as ConditionEvent, context);
    else if (kind === ACKNOWLEDGE_EVENT) onAcknowledge(state, payload as AcknowledgeEvent, context);
    else if (kind === ROUTED_EVENT) onRouted(state, payload as RoutedEvent, context);
    else if (kind === SILENCE_EVENT) routeAgain(state, context);
    else if (kind === REACHABLE_EVENT) onReachable(state, context);
    else throw new Error(`the kind of event ${kind} is unknown`);
    finish(state, context);
  },

  onTimer(state, _atMs, context) {
    const nowMs = context.watermarkMs;
    endReporters(state, nowMs, context);
    const { open } = state;
    if (open?.silence && open.silence.untilMs <= nowMs) {
      const { silence: _, ...rest } = open;
      state.open = rest;
      routeAgain(state, context);
    } else if (open?.nextMs !== undefined && open.nextMs <= nowMs) {
      const { nextMs: _, ...rest } = open;
      state.open = { ...rest, level: open.level + 1 };
      route(state.open, "notify", context);
    }
    finish(state, context);
  },

  view: ({ open, cleared }): AlertsFigures => ({ open, cleared }),
  viewedEmits: [ROUTE_EMIT],
};

function onDepletion(state: State, event: DepletionEvent, context: JobContext): void {
  const { type, alertId: id, number, sku: subject, atMs, acknowledgedBy } = event;
  if (number < state.newest || isTooOld(state, atMs, context)) return;
  if (number > state.newest) {
    // The change that cleared the one before is missing.
    if (state.open) clear(state, event.firedMs, context);
    renumber(state, number, context);
    const { hourUnits, dailyAverage, thresholdUnits, firedMs } = event;
    const figures = { hourUnits, dailyAverage, ...(thresholdUnits === undefined ? {} : { thresholdUnits }) };
    fire(state, newAlert({ id, rule: "depletion", subject, firedMs, figures }), type === "fired" ? context : undefined);
  }
  if (state.open?.alert.id !== id) return;
  if (acknowledgedBy !== null) acknowledge(state, acknowledgedBy, atMs, context);
  if (type === "cleared") clear(state, atMs, context);
}

function onBreaker(state: State, event: BreakerEvent, context: JobContext): void {
  const { number, scope: subject, kind, atMs: firedMs, actor, reason, untilMs, divergence } = event;
  if (number <= state.newest || kind === "would_have_opened" || isTooOld(state, firedMs, context)) return;
  renumber(state, number, context);
  if (kind === "closed") {
    if (state.open) clear(state, firedMs, context);
    return;
  }
  // A breaker that is half-open, opens again or gets a new end is the same alert.
  if (state.open) return;
  const rule = "breaker";
  const figures = { actor, reason, untilMs, ...(divergence === undefined ? {} : { divergence }) };
  fire(state, newAlert({ id: idOf(rule, subject, number), rule, subject, firedMs, figures }), context);
}

function renumber(state: State, number: number, { watermarkMs }: JobContext): void {
  state.newest = number;
  state.changedMs = watermarkMs;
}

/** Whether a change is so old that the number of an alert that has ended since may have been deleted. */
const isTooOld = ({ newest }: State, atMs: number, { watermarkMs }: JobContext): boolean =>
  newest === 0 && atMs + NUMBER_KEPT_MS <= watermarkMs;

function onCondition(state: State, event: ConditionEvent, context: JobContext): void {
  const { rule, subject, reporter, isMet, value, limit, validMs } = event;
  const nowMs = context.watermarkMs;
  state.reporters = state.reporters.filter(([name]) => name !== reporter);
  if (!isMet) {
    if (state.reporters.length === 0 && state.open) clear(state, nowMs, context);
    return;
  }
  state.reporters.push([reporter, nowMs + Math.min(validMs, MOST_VALID_MS)]);
  if (state.reporters.length > MAX_REPORTERS) state.reporters.shift();
  if (state.open) return;
  const id = idOf(rule, subject, ++state.newest);
  fire(state, newAlert({ id, rule, subject, firedMs: nowMs, figures: { value, limit } }), context);
}

/** A condition is not met any more when nobody has reported it for a while: its reporters have ended. */
function endReporters(state: State, nowMs: number, context: JobContext): void {
  if (state.reporters.length === 0) return;
  state.reporters = state.reporters.filter(([, untilMs]) => untilMs > nowMs);
  if (state.reporters.length === 0 && state.open) clear(state, nowMs, context);
}

function onAcknowledge(state: State, { alertId, actor }: AcknowledgeEvent, context: JobContext): void {
  const { open } = state;
  // Whether an alert of depletion is acknowledged is decided in the stock log.
  if (open?.alert.id !== alertId || open.alert.rule === "depletion") return;
  acknowledge(state, actor, context.watermarkMs, context);
}

function onRouted(state: State, event: RoutedEvent, context: JobContext): void {
  const { open, cleared } = state;
  if (open?.alert.id === event.alertId) {
    state.open = routed(open, event, context);
    return;
  }
  const index = cleared.findIndex(({ alert }) => alert.id === event.alertId);
  if (index >= 0) cleared[index] = routed(cleared[index] as AlertRecord, event, context);
}

/** The record with the sink's answer. */
function routed(record: AlertRecord, event: RoutedEvent, context: JobContext): AlertRecord {
  const { level, nextMs, silence, outlook, category, locations } = event;
  const added = event.recipients.filter((key) => !record.recipients.includes(key));
  const next: AlertRecord = {
    ...record,
    alert: {
      ...record.alert,
      ...(outlook && { outlook }),
      ...(category === undefined ? {} : { category }),
      ...(locations && { locations }),
    },
    recipients: [...record.recipients, ...added].slice(0, MAX_RECIPIENTS),
  };
  if (record.alert.state !== "fired") {
    // They were notified while it was acknowledged or cleared: the change before did not reach them.
    if (added.length > 0) route({ ...next, recipients: added }, "changed", context);
    return next;
  }
  if (level < record.level) return next;
  const { nextMs: beforeMs, silence: wasSilent, ...rest } = next;
  // An answer that comes again does not delay the next level.
  const isAgain = level === record.level && !wasSilent && beforeMs !== undefined && nextMs !== undefined;
  const dueMs = isAgain ? Math.min(beforeMs, nextMs) : nextMs;
  return {
    ...rest,
    level,
    ...(dueMs === undefined || silence ? {} : { nextMs: dueMs }),
    ...(silence && { silence }),
  };
}

/** Silences have changed: the sink decides again who is notified at the same level. */
function routeAgain({ open }: State, context: JobContext): void {
  if (open?.alert.state === "fired") route(open, "notify", context);
}

/** Somebody can be notified now: an alert that nobody was notified of is routed again, once. */
function onReachable(state: State, context: JobContext): void {
  const { open } = state;
  if (open?.recipients.length === 0 && !open.silence) routeAgain(state, context);
}

const newAlert = (fields: Pick<Alert, "id" | "rule" | "subject" | "firedMs" | "figures">): Alert => ({
  ...fields,
  severity: ALERT_RULES[fields.rule].severity,
  state: "fired",
});

const idOf = (rule: AlertRuleName, subject: string, number: number): string =>
  `${alertKeyOf({ rule, subject })}#${number}`;

/** @param context left out: nobody is notified, because the alert is known only by a later change of it */
function fire(state: State, alert: Alert, context: JobContext | undefined): void {
  state.open = { alert, level: 0, recipients: [] };
  if (context) route(state.open, "notify", context);
}

/** The first acknowledgement counts. */
function acknowledge(state: State, by: string, atMs: number, context: JobContext): void {
  const { open } = state;
  if (open?.alert.state !== "fired") return;
  const { nextMs: _, silence: __, ...rest } = open;
  const alert: Alert = { ...open.alert, state: "acknowledged", acknowledgedMs: atMs, acknowledgedBy: by };
  state.open = { ...rest, alert };
  route(state.open, "changed", context);
}

function clear(state: State, atMs: number, context: JobContext): void {
  if (!state.open) return;
  const { nextMs: _, silence: __, ...rest } = state.open;
  const record: AlertRecord = { ...rest, alert: { ...rest.alert, state: "cleared", clearedMs: atMs } };
  state.open = null;
  state.reporters = [];
  state.changedMs = context.watermarkMs;
  state.cleared = [record, ...state.cleared].slice(0, CLEARED_KEPT);
  route(record, "changed", context);
}

/** A change is sent to those who were notified; nobody yet: `routed` sends it later. */
function route({ alert, level, recipients }: AlertRecord, what: RouteCommand["what"], context: JobContext): void {
  if (what === "changed" && recipients.length === 0) return;
  context.emit(ROUTE_EMIT, { alert, what, level, recipients } satisfies RouteCommand);
}

/** Deletes what is too old, then sets the timer. Conditions have few subjects, so the number of their alerts stays. */
function finish(state: State, context: JobContext): void {
  const { open, reporters, newest, changedMs = 0 } = state;
  state.cleared = state.cleared.filter(({ alert }) => (alert.clearedMs ?? 0) + CLEARED_KEPT_MS > context.watermarkMs);
  const oldest = state.cleared.at(-1)?.alert.clearedMs;
  const times = [
    ...(open?.nextMs === undefined ? [] : [open.nextMs]),
    ...(open?.silence ? [open.silence.untilMs] : []),
    ...reporters.map(([, untilMs]) => untilMs),
    ...(oldest === undefined ? [] : [oldest + CLEARED_KEPT_MS]),
  ];
  if (!open && times.length === 0 && newest > 0 && !isCondition(context.key)) times.push(changedMs + NUMBER_KEPT_MS);
  context.setTimer(times.length === 0 ? undefined : Math.min(...times));
  const isEnded = newest === 0 || (!isCondition(context.key) && changedMs + NUMBER_KEPT_MS <= context.watermarkMs);
  if (!open && reporters.length === 0 && state.cleared.length === 0 && isEnded) context.clear();
}

const isCondition = (key: string): boolean => !key.startsWith("depletion~") && !key.startsWith("breaker~");
