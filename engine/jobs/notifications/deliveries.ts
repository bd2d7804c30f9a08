/**
 * What becomes of the messages: each goes through sent, accepted and displayed, whatever order and however often the
 * channels report it. A step that was reached stays; displayed implies accepted, and a failure counts only for a
 * message that was not accepted. Reports of unknown messages change nothing. Times are the log's clock.
 */
import type { DeliveredEvent } from "../../alerting/notification.js";
import { abandon, end, failed } from "./ladder.js";
import {
  type AddressState,
  byNumber,
  CLOSED_KEPT_MS,
  countsOf,
  DELIVERY,
  type Delivery,
  deliveryOf,
  isOpen,
  MAX_CLOSED,
  type NotificationsState,
  type RecordedAlert,
} from "./state.js";

const REASON_CHARACTERS = 120;
/** Half a surrogate pair, as a cut may leave it. */
const LONE_SURROGATE = /\p{Cs}/gu;
/** How often old entries are removed, and how many closed alerts more than `MAX_CLOSED` there may be until then. */
const PRUNE_MS = 3_600_000;
const PRUNE_EXTRA = 50;
/** Messages that belong to no alert of the list: changes and repeats. */
const OTHERS_KEPT_MS = 3_600_000;

/** Records what a channel reports of a message. */
export function onDelivered(state: NotificationsState, event: DeliveredEvent, key: string, nowMs: number): void {
  const { messageId, result, address: reported } = event;
  const number = messageId.startsWith(`${key}/`) ? Number(messageId.slice(key.length + 1)) : Number.NaN;
  const delivery = deliveryOf(state, number);
  const address = delivery && byNumber(state.addresses, delivery[DELIVERY.address]);
  if (!delivery || address?.channel !== reported.channel || address.to !== reported.to) return;
  if (result === "failed") onFailed(state, delivery, address, event, nowMs);
  else onArrived(state, delivery, address, result === "displayed" && address.traits.confirmsDisplay, nowMs);
}

function onArrived(
  state: NotificationsState,
  delivery: Delivery,
  address: AddressState,
  isDisplayed: boolean,
  nowMs: number,
): void {
  const afterMs = nowMs - delivery[DELIVERY.sentMs];
  const counts = countsOf(state, address.channel);
  if (delivery[DELIVERY.acceptedAfterMs] < 0) {
    delivery[DELIVERY.acceptedAfterMs] = afterMs;
    delivery[DELIVERY.changedAfterMs] = afterMs;
    delivery[DELIVERY.failure] = "";
    counts.accepted++;
  }
  if (!isDisplayed || delivery[DELIVERY.displayedAfterMs] >= 0) return;
  delivery[DELIVERY.displayedAfterMs] = afterMs;
  delivery[DELIVERY.changedAfterMs] = afterMs;
  counts.displayed++;
  for (const recorded of alertsIn(state, delivery)) end(recorded);
}

function onFailed(
  state: NotificationsState,
  delivery: Delivery,
  address: AddressState,
  { reason = "", isGone }: DeliveredEvent,
  nowMs: number,
): void {
  if (delivery[DELIVERY.acceptedAfterMs] >= 0 || delivery[DELIVERY.failure] !== "") return;
  delivery[DELIVERY.changedAfterMs] = nowMs - delivery[DELIVERY.sentMs];
  delivery[DELIVERY.failure] = shortened(reason) || "failed";
  countsOf(state, address.channel).failed++;
  if (isGone) abandon(state, address, nowMs);
  else for (const recorded of alertsIn(state, delivery)) failed(state, recorded, address, nowMs);
}

const alertsIn = (state: NotificationsState, delivery: Delivery): RecordedAlert[] =>
  delivery[DELIVERY.alerts].flatMap((number) => {
    const recorded = byNumber(state.alerts, number);
    return recorded && isOpen(recorded) ? [recorded] : [];
  });

const shortened = (reason: string): string => reason.slice(0, REASON_CHARACTERS).replace(LONE_SURROGATE, "");

/** Removes what is old, once an hour or when there is too much of it. */
export function prune(state: NotificationsState, nowMs: number): void {
  const closed = state.alerts.reduce((sum, { closedMs }) => (closedMs > 0 ? sum + 1 : sum), 0);
  if (closed <= MAX_CLOSED + PRUNE_EXTRA && (state.pruneMs === 0 || nowMs < state.pruneMs)) {
    if (state.pruneMs === 0 && closed + state.deliveries.length > 0) state.pruneMs = nowMs + PRUNE_MS;
    return;
  }
  let surplus = closed - MAX_CLOSED;
  state.alerts = state.alerts.filter(
    ({ closedMs }) => closedMs === 0 || (surplus-- <= 0 && closedMs > nowMs - CLOSED_KEPT_MS),
  );
  const kept = new Set(state.alerts.map(({ number }) => number));
  state.deliveries = state.deliveries.filter((delivery) => {
    const alerts = delivery[DELIVERY.alerts];
    if (alerts.length === 0) return delivery[DELIVERY.sentMs] > nowMs - OTHERS_KEPT_MS;
    return alerts.some((number) => kept.has(number));
  });
  const used = new Set(state.deliveries.map((delivery) => delivery[DELIVERY.address]));
  state.addresses = state.addresses.filter(({ isListed, number }) => isListed || used.has(number));
  state.pruneMs = state.deliveries.length + kept.size > 0 ? nowMs + PRUNE_MS : 0;
}
