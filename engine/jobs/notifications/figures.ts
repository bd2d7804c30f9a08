/**
 * What views get of a recipient: the deliveries that have changed, which deliveries there still are, and figures. All
 * values are absolute, so a record that a reader has missed does no harm after the next.
 */
import type { Message } from "../../alerting/notification.js";
import { waitingOf } from "./queue.js";
import { byNumber, type ChannelCounts, DELIVERY, type Delivery, isOpen, type NotificationsState } from "./state.js";

/** A message to one address, with the alerts in it. */
export interface ViewedDelivery {
  readonly number: number;
  readonly channel: string;
  readonly to: string;
  readonly type: Message["type"];
  /** Ids of alerts, and of tests as `test:<testId>`. */
  readonly alertIds: readonly string[];
  readonly sentMs: number;
  readonly acceptedMs?: number;
  readonly displayedMs?: number;
  readonly failure?: string;
}

export interface RecipientFigures
  extends Pick<NotificationsState, "climbs" | "unreached" | "unlisted" | "evicted" | "changesDropped"> {
  /** Those that have changed. */
  readonly deliveries: readonly ViewedDelivery[];
  /** Numbers of the deliveries that there are, as ranges: first, last, first, last, …. */
  readonly kept: readonly number[];
  readonly counts: Readonly<Record<string, Readonly<ChannelCounts>>>;
  readonly openAlerts: number;
  /** Alerts, tests and changes that wait for an address, by channel. */
  readonly waiting: Readonly<Record<string, number>>;
  /** Alerts that wait for the end of quiet hours. */
  readonly quiet: number;
}

export function figuresOf(state: NotificationsState, _key: string, sinceMs: number): RecipientFigures {
  const { deliveries, climbs, unreached, unlisted, evicted, changesDropped, counts, addresses, alerts } = state;
  const waiting: Record<string, number> = {};
  for (const address of addresses) waiting[address.channel] = (waiting[address.channel] ?? 0) + waitingOf(address);
  let openAlerts = 0;
  let quiet = 0;
  for (const recorded of alerts) {
    if (isOpen(recorded)) openAlerts++;
    if (recorded.nextMs !== null && recorded.step < 0) quiet++;
  }
  return {
    ...{ climbs, unreached, unlisted, evicted, changesDropped, counts, waiting, openAlerts, quiet },
    deliveries: deliveries
      .filter((delivery) => delivery[DELIVERY.sentMs] + delivery[DELIVERY.changedAfterMs] >= sinceMs)
      .map((delivery) => viewed(state, delivery)),
    kept: rangesOf(deliveries.map((delivery) => delivery[DELIVERY.number])),
  };
}

function viewed(state: NotificationsState, delivery: Delivery): ViewedDelivery {
  const [number, address, type, sentMs, acceptedAfterMs, displayedAfterMs, , failure, alerts] = delivery;
  const { channel = "", to = "" } = byNumber(state.addresses, address) ?? {};
  return {
    ...{ number, channel, to, type, sentMs },
    alertIds: alerts.flatMap((each) => byNumber(state.alerts, each)?.id ?? []),
    ...(acceptedAfterMs >= 0 && { acceptedMs: sentMs + acceptedAfterMs }),
    ...(displayedAfterMs >= 0 && { displayedMs: sentMs + displayedAfterMs }),
    ...(failure !== "" && { failure }),
  };
}

/** Ascending numbers as ranges. */
function rangesOf(numbers: readonly number[]): number[] {
  const ranges: number[] = [];
  for (const number of numbers) {
    if (ranges.at(-1) === number - 1) ranges[ranges.length - 1] = number;
    else ranges.push(number, number);
  }
  return ranges;
}
