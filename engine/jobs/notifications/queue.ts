/**
 * What waits for one address, and when it may leave. Two limits apply: the channel's messages a minute, of which one is
 * reserved for what is critical, and five single alerts within ten seconds. What comes above waits, and leaves as one
 * summary when both allow it, so nothing is dropped. Warnings and critical alerts wait apart, because a critical one
 * passes quiet hours and does not wait for warnings. A system (a channel with `sendsChanges`) is sent every alert of a
 * summary, in as many messages as that takes. Pure; job.ts calls it with the log's clock.
 */
import type { Alert } from "../../alerting/alert.js";
import { type Message, type SendRequest, sendKindOf } from "../../alerting/notification.js";
import { HOUR_MS, MINUTE_MS } from "../../kernel/clock.js";
import type { JobContext } from "../../stream/job.js";
import {
  type AddressState,
  byNumber,
  countsOf,
  MAX_CHANGES,
  MAX_DELIVERIES,
  type NotificationsState,
} from "./state.js";

/** Alerts listed in one message. */
const MAX_LISTED = 20;
/** Single alerts within `BURST_MS`; the last one is for what is critical. */
const BURST_SINGLES = 5;
const BURST_MS = 10_000;
const LIMIT_MS = MINUTE_MS;
/** No channel has a higher limit; it bounds the times that are kept. */
const MOST_PER_MINUTE = 1_000;

const ALERT_USEFUL_MS = HOUR_MS;
const CRITICAL_USEFUL_MS = 4 * HOUR_MS;
const SUMMARY_USEFUL_MS = HOUR_MS;
const CHANGE_USEFUL_MS = 10 * MINUTE_MS;
const TEST_USEFUL_MS = 10 * MINUTE_MS;
/** What is due this share of its period later leaves with the others, so that repeats are few messages. */
const REPEAT_TOGETHER = 0.1;

/** What a call needs beside the state. */
export interface SendContext extends Pick<JobContext, "key" | "emit"> {
  readonly nowMs: number;
  /** When the recipient's quiet hours end; 0: they are not now. */
  readonly quietUntilMs: number;
}

type Severity = "warnings" | "critical";

/** One sort of waiting messages. */
interface Waiting {
  /** When the next one may leave; infinite: none waits. */
  readonly atMs: number;
  send(): void;
}

const NEVER = Number.POSITIVE_INFINITY;
const NOTHING: Waiting = { atMs: NEVER, send: () => undefined };
const earlier = (a: Waiting, b: Waiting): Waiting => (b.atMs < a.atMs ? b : a);

/** Puts an alert into the queue of an address. */
export function enqueue(address: AddressState, number: number, severity: Alert["severity"]): void {
  const queue = severity === "critical" ? address.critical : address.warnings;
  if (!queue.includes(number)) queue.push(number);
}

/** Removes an alert from the queues of an address. */
export function dequeue({ warnings, critical }: AddressState, number: number): void {
  for (const queue of [warnings, critical]) {
    const at = queue.indexOf(number);
    if (at >= 0) queue.splice(at, 1);
  }
}

/** An alert is not sent again to an address. */
export function endRepeats({ repeats }: AddressState, number: number): void {
  const at = repeats.findIndex(([alert]) => alert === number);
  if (at >= 0) repeats.splice(at, 1);
}

/** Puts a change into the queue; a later change of the same alert takes its place. */
export function enqueueChange(state: NotificationsState, { changes }: AddressState, alert: Alert): void {
  const at = changes.findIndex(({ id }) => id === alert.id);
  if (at >= 0) changes.splice(at, 1);
  changes.push(alert);
  if (changes.length <= MAX_CHANGES) return;
  changes.shift();
  state.changesDropped++;
}

/** Messages that wait for an address. */
export const waitingOf = ({ warnings, critical, tests, changes, unlisted }: AddressState): number =>
  warnings.length + critical.length + tests.length + changes.length + unlisted;

/**
 * Sends what may leave now.
 * @returns when the next message may leave; infinite: nothing waits
 */
export function flush(state: NotificationsState, address: AddressState, context: SendContext): number {
  const { nowMs } = context;
  address.sentMs = address.sentMs.filter((ms) => ms > nowMs - LIMIT_MS);
  address.singlesMs = address.singlesMs.filter((ms) => ms > nowMs - BURST_MS);
  // Every turn sends at least one message, and the limit ends it.
  for (;;) {
    const next = nextOf(state, address, context);
    if (next.atMs > nowMs) return next.atMs;
    next.send();
  }
}

function nextOf(state: NotificationsState, address: AddressState, context: SendContext): Waiting {
  const sorts = [
    testsOf(state, address, context),
    alertsOf(state, address, "critical", context),
    alertsOf(state, address, "warnings", context),
    changesOf(state, address, context),
    repeatsOf(state, address, context),
  ];
  // Of those that may leave now, the first in this order.
  return sorts.find(({ atMs }) => atMs <= context.nowMs) ?? sorts.reduce(earlier);
}

/** When the limit a minute allows a message. @param isReserved it may use the place that is reserved */
function allowedMs({ sentMs, traits }: AddressState, isReserved: boolean): number {
  const limit = Math.max(1, Math.min(MOST_PER_MINUTE, traits.perMinute) - (isReserved ? 0 : 1));
  const blocking = sentMs[sentMs.length - limit];
  return blocking === undefined ? 0 : blocking + LIMIT_MS;
}

/** When one more single message is allowed. */
function burstEndMs({ singlesMs }: AddressState, isCritical: boolean): number {
  const blocking = singlesMs[singlesMs.length - (isCritical ? BURST_SINGLES : BURST_SINGLES - 1)];
  return blocking === undefined ? 0 : blocking + BURST_MS;
}

function alertsOf(state: NotificationsState, address: AddressState, severity: Severity, context: SendContext): Waiting {
  const isCritical = severity === "critical";
  const queue = address[severity];
  const unlisted = isCritical ? 0 : address.unlisted;
  if (queue.length + unlisted === 0) return NOTHING;
  const lastSummaryMs = address.summaryMs[isCritical ? 1 : 0];
  const atMs = Math.max(
    allowedMs(address, isCritical),
    burstEndMs(address, isCritical),
    lastSummaryMs === 0 ? 0 : lastSummaryMs + BURST_MS,
    isCritical ? 0 : context.quietUntilMs,
  );
  return { atMs, send: () => sendAlerts(state, address, severity, context) };
}

function sendAlerts(state: NotificationsState, address: AddressState, severity: Severity, context: SendContext): void {
  const { nowMs } = context;
  const isCritical = severity === "critical";
  const { unlisted, newestUnlisted } = isCritical ? { unlisted: 0, newestUnlisted: null } : address;
  if (address[severity].length + unlisted === 1 && !newestUnlisted) {
    const [number] = address[severity].splice(0) as [number];
    address.singlesMs.push(nowMs);
    emitMessage(state, address, { type: "alert", numbers: [number], ...alertsByNumber(state, [number]) }, context);
    noteRepeats(address, [number], nowMs);
    return;
  }
  address.summaryMs[isCritical ? 1 : 0] = nowMs;
  if (!isCritical) [address.unlisted, address.newestUnlisted] = [0, null];
  const listsAll = address.traits.sendsChanges;
  let more = unlisted;
  let first = newestUnlisted ? [newestUnlisted] : [];
  do {
    // The newest first; a system is sent the rest with further messages, as far as the limit allows.
    const room = MAX_LISTED - first.length;
    const queue = address[severity];
    const numbers = (listsAll ? queue.splice(-room) : queue.splice(0)).reverse();
    const alerts = [...first, ...alertsByNumber(state, numbers.slice(0, room)).alerts];
    emitMessage(state, address, { type: "summary", numbers, alerts, total: numbers.length + more }, context);
    noteRepeats(address, numbers, nowMs);
    more = 0;
    first = [];
  } while (address[severity].length > 0 && allowedMs(address, isCritical) <= nowMs);
}

function changesOf(state: NotificationsState, address: AddressState, context: SendContext): Waiting {
  const { changes } = address;
  if (changes.length === 0) return NOTHING;
  const leave = (): void => {
    const alerts = changes.splice(-MAX_LISTED).reverse();
    emitMessage(state, address, { type: "change", numbers: [], alerts, total: alerts.length }, context);
  };
  return { atMs: allowedMs(address, false), send: leave };
}

function testsOf(state: NotificationsState, address: AddressState, context: SendContext): Waiting {
  const { tests } = address;
  if (tests.length === 0) return NOTHING;
  const leave = (): void =>
    emitMessage(state, address, { type: "test", numbers: tests.splice(0, 1), alerts: [], total: 0 }, context);
  return { atMs: allowedMs(address, false), send: leave };
}

function repeatsOf(state: NotificationsState, address: AddressState, context: SendContext): Waiting {
  const { repeats, traits } = address;
  const { repeatMs } = traits;
  if (repeatMs === undefined || repeats.length === 0) return NOTHING;
  const dueMs = repeats.reduce((first, [, lastMs]) => Math.min(first, lastMs), NEVER) + repeatMs;
  const leave = (): void => {
    const untilMs = context.nowMs - repeatMs * (1 - REPEAT_TOGETHER);
    const due = repeats.filter(([, lastMs]) => lastMs <= untilMs).slice(0, MAX_LISTED);
    for (const repeat of due) repeat[1] = context.nowMs;
    const numbers = due.map(([number]) => number);
    emitMessage(state, address, { type: "repeat", numbers, ...alertsByNumber(state, numbers) }, context);
  };
  return { atMs: Math.max(dueMs, allowedMs(address, false)), send: leave };
}

/** Alerts that an address has to be sent again. */
function noteRepeats({ repeats, traits }: AddressState, numbers: readonly number[], nowMs: number): void {
  if (traits.repeatMs === undefined) return;
  for (const number of numbers) {
    const known = repeats.find(([each]) => each === number);
    if (known) known[1] = nowMs;
    else repeats.push([number, nowMs]);
  }
}

const alertsByNumber = (state: NotificationsState, numbers: readonly number[]): Pick<Message, "alerts" | "total"> => {
  const alerts = numbers.flatMap((number) => byNumber(state.alerts, number)?.alert ?? []);
  return { alerts, total: alerts.length };
};

/** A message to be sent, and the numbers of the alerts and tests in it. */
interface Outgoing extends Pick<Message, "type" | "alerts" | "total"> {
  readonly numbers: readonly number[];
}

function emitMessage(state: NotificationsState, address: AddressState, outgoing: Outgoing, context: SendContext): void {
  const { nowMs, key } = context;
  const { numbers, type, alerts, total } = outgoing;
  const number = ++state.messages;
  address.sentMs.push(nowMs);
  state.deliveries.push([number, address.number, type, nowMs, -1, -1, 0, "", type === "repeat" ? [] : [...numbers]]);
  if (state.deliveries.length > MAX_DELIVERIES) state.deliveries.shift();
  if (address.traits.sendsChanges && type !== "test")
    for (const each of numbers) {
      const had = byNumber(state.alerts, each)?.had;
      if (had?.includes(address.number) === false) had.push(address.number);
    }
  const counts = countsOf(state, address.channel);
  counts.sent++;
  if (type === "summary") counts.summaries++;
  else if (type === "change") counts.changes++;
  else if (type === "repeat") counts.repeats++;
  else if (type === "test") counts.tests++;
  const request: SendRequest = {
    recipient: key,
    address: { channel: address.channel, to: address.to },
    message: { id: `${key}/${number}`, type, alerts, total, language: state.recipient?.language ?? "zh" },
    expiresMs: nowMs + usefulMs(address, outgoing),
  };
  context.emit(sendKindOf(address.channel), request);
}

function usefulMs({ traits }: AddressState, { type, alerts }: Outgoing): number {
  if (type === "change") return CHANGE_USEFUL_MS;
  if (type === "test") return TEST_USEFUL_MS;
  if (type === "repeat") return traits.repeatMs ?? CHANGE_USEFUL_MS;
  if (type === "summary") return SUMMARY_USEFUL_MS;
  return alerts.some(({ severity }) => severity === "critical") ? CRITICAL_USEFUL_MS : ALERT_USEFUL_MS;
}
