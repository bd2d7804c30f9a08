/**
 * The notification job (R11): brings alerts to one recipient, by the channels of its ladder. It is a pure state machine
 * over the topic `notifications`; messages are its emits, and what becomes of them comes back as events. An alert is
 * recorded once, however often it comes; every alert that stays open is in a message of its own or in a summary, within
 * the limits of each address. Warnings wait for the end of quiet hours. Messages leave once each from here; what a
 * channel cannot promise is in its README.
 */
import type { Alert } from "../../alerting/alert.js";
import {
  type Address,
  CHANGED_EVENT,
  type ChangedEvent,
  DELIVERED_EVENT,
  type DeliveredEvent,
  NOTIFY_EVENT,
  type NotifyEvent,
  type Recipient,
  TEST_EVENT,
  type TestEvent,
} from "../../alerting/notification.js";
import type { Zone } from "../../kernel/zone.js";
import type { TopicEvent } from "../../stream/event-entry.js";
import type { Job, JobContext } from "../../stream/job.js";
import { onDelivered, prune } from "./deliveries.js";
import { figuresOf } from "./figures.js";
import { abandon, begin, climb, withdraw } from "./ladder.js";
import { endRepeats, enqueueChange, flush, type SendContext } from "./queue.js";
import { quietUntilMs } from "./quiet-hours.js";
import {
  type AddressState,
  addressOf,
  byNumber,
  isOpen,
  MAX_OPEN,
  MAX_TESTS,
  type NotificationsState,
  newNotificationsState,
  type RecordedAlert,
} from "./state.js";

export const NOTIFICATIONS_JOB = "notifications.1";

type State = NotificationsState;

/** @param zone of the shop: quiet hours are its local times */
export const notificationsJob = (zone: Zone): Job<TopicEvent, State> => ({
  name: NOTIFICATIONS_JOB,
  key: ({ key }) => key,
  initial: newNotificationsState,

  onEvent(state, { kind, payload }, context) {
    const nowMs = context.watermarkMs;
    if (kind === NOTIFY_EVENT) onNotify(state, payload as NotifyEvent, context);
    else if (kind === CHANGED_EVENT) onChanged(state, payload as ChangedEvent, nowMs);
    else if (kind === DELIVERED_EVENT) onDelivered(state, payload as DeliveredEvent, context.key, nowMs);
    else if (kind === TEST_EVENT) onTest(state, payload as TestEvent, context);
    else throw new Error(`the kind of event ${kind} is unknown`);
    proceed(state, context, zone);
  },

  onTimer: (state, _atMs, context) => proceed(state, context, zone),

  view: figuresOf,
});

function onNotify(state: State, { alert, level, recipient }: NotifyEvent, context: JobContext): void {
  take(state, recipient, context);
  const nowMs = context.watermarkMs;
  // Somebody has acknowledged it already.
  if (alert.state !== "fired") return;
  const known = state.alerts.findLast(({ id }) => id === alert.id);
  if (known) {
    const isNew = known.isSilenced || (level > known.level && !known.isAcknowledged);
    if (!isOpen(known) || !isNew) return;
    withdraw(state, known);
    begin(known, alert, Math.max(level, known.level), nowMs);
    return;
  }
  if (makeRoom(state, nowMs)) begin(record(state, alert.id, 0), alert, level, nowMs);
  else count(state, alert);
}

function onChanged(state: State, { alert, isSilenced }: ChangedEvent, nowMs: number): void {
  const known = state.alerts.findLast(({ id }) => id === alert.id);
  if (!known || !isOpen(known)) return;
  const isCleared = alert.state === "cleared";
  if (!isCleared && (isSilenced ? known.isSilenced : known.isAcknowledged)) return;
  withdraw(state, known);
  if (isSilenced || isCleared) for (const address of state.addresses) endRepeats(address, known.number);
  if (isSilenced && !isCleared) {
    known.isSilenced = true;
    return;
  }
  known.isAcknowledged = true;
  if (known.alert) known.alert = alert;
  // Also of one that is silenced: a system would keep it open otherwise.
  for (const number of known.had) {
    const address = byNumber(state.addresses, number);
    if (address?.isListed) enqueueChange(state, address, alert);
  }
  if (isCleared) known.closedMs = nowMs;
}

function onTest(state: State, { testId, recipient }: TestEvent, context: JobContext): void {
  take(state, recipient, context);
  const id = `test:${testId}`;
  if (state.alerts.some((each) => each.id === id)) return;
  const { number } = record(state, id, context.watermarkMs);
  for (const { tests } of listedBy(state, recipient)) {
    tests.push(number);
    if (tests.length > MAX_TESTS) tests.shift();
  }
}

/** Does what is due, and sets the timer for what is due next. */
function proceed(state: State, context: JobContext, zone: Zone): void {
  const { watermarkMs: nowMs, key } = context;
  const quietMs = quietUntilMs(state.recipient?.quietHours, zone, nowMs);
  const sending: SendContext = {
    key,
    nowMs,
    quietUntilMs: quietMs,
    emit: (kind, payload) => context.emit(kind, payload),
  };
  climb(state, sending);
  let nextMs = Number.POSITIVE_INFINITY;
  for (const address of state.addresses) nextMs = Math.min(nextMs, flush(state, address, sending));
  removeContents(state);
  prune(state, nowMs);
  if (state.pruneMs > 0) nextMs = Math.min(nextMs, state.pruneMs);
  for (const recorded of state.alerts) if (recorded.nextMs !== null) nextMs = Math.min(nextMs, recorded.nextMs);
  context.setTimer(Number.isFinite(nextMs) ? nextMs : undefined);
}

/** Takes over what the recipient is now. Addresses that it does not have any more are not used further. */
function take(state: State, recipient: Recipient, { key, watermarkMs }: JobContext): void {
  if (recipient?.key !== key) throw new Error(`the recipient of an event of ${key} is ${recipient?.key}`);
  if (!recipient.ladder.some((step) => step.length > 0)) throw new Error(`the ladder of ${key} is empty`);
  state.recipient = recipient;
  const listed = new Set(listedBy(state, recipient));
  for (const address of state.addresses) {
    const wasListed = address.isListed;
    address.isListed = listed.has(address);
    if (wasListed && !address.isListed) abandon(state, address, watermarkMs);
  }
}

const listedBy = (state: State, { ladder }: Recipient): AddressState[] => [
  ...new Set(ladder.flat().map((address: Address) => addressOf(state, address))),
];

function record(state: State, id: string, closedMs: number): RecordedAlert {
  const recorded: RecordedAlert = {
    ...{ number: ++state.alertsRecorded, id, level: 0, notifiedMs: 0, alert: null, step: -1, nextMs: null },
    ...{ left: [], to: [], had: [], isAcknowledged: false, isSilenced: false, closedMs },
  };
  state.alerts.push(recorded);
  return recorded;
}

/** Makes room for one more open alert: closes the oldest one of which nothing is to be sent. */
function makeRoom(state: State, nowMs: number): boolean {
  if (state.alerts.length < MAX_OPEN || state.alerts.filter(isOpen).length < MAX_OPEN) return true;
  const evicted = state.alerts.find((recorded) => isOpen(recorded) && recorded.alert === null);
  if (!evicted) return false;
  evicted.closedMs = nowMs;
  state.evicted++;
  return true;
}

/** An alert for which there is no room: it is part of the total of the next summary. */
function count(state: State, alert: Alert): void {
  state.unlisted++;
  const [first = []] = state.recipient?.ladder ?? [];
  for (const listed of first) {
    const address = addressOf(state, listed);
    address.unlisted++;
    address.newestUnlisted = alert;
  }
}

/** Removes the contents of alerts that are not sent again. */
function removeContents(state: State): void {
  const ended = state.alerts.filter(({ alert, nextMs }) => alert !== null && nextMs === null);
  if (ended.length === 0) return;
  const needed = new Set<number>();
  for (const { warnings, critical, repeats } of state.addresses) {
    for (const number of warnings) needed.add(number);
    for (const number of critical) needed.add(number);
    for (const [number] of repeats) needed.add(number);
  }
  for (const recorded of ended) if (!needed.has(recorded.number)) recorded.alert = null;
}
