/**
 * The state of one recipient in the notification job: the alerts that it was notified of, each with its place on the
 * ladder, its addresses with what waits for them, and the messages that were sent with what became of them. It is
 * plain data and every list in it is bounded. A commit rewrites it, so alerts and addresses are referred to by number,
 * a delivery is a list without names of fields, and an alert's content is kept only while it may be sent again.
 */
import type { Alert } from "../../alerting/alert.js";
import type { Address, Message, Recipient } from "../../alerting/notification.js";

/** Open alerts of a recipient; what comes above is counted, and part of the total of the next summary. */
export const MAX_OPEN = 2_000;
/** Alerts that were closed, whose deliveries are kept for readers. */
export const MAX_CLOSED = 500;
export const CLOSED_KEPT_MS = 24 * 3_600_000;
/** Messages of which is kept what became of them: about 40 bytes each. The oldest are removed first. */
export const MAX_DELIVERIES = 3_000;
/** Changes, and tests, that wait for one address. The oldest are removed first. */
export const MAX_CHANGES = MAX_OPEN;
export const MAX_TESTS = 20;

/** An alert, or a test of the channels (`test:<testId>`), that the recipient was notified of. */
export interface RecordedAlert {
  /** Ascends by one with each alert of the recipient. */
  readonly number: number;
  readonly id: string;
  /** The highest level of the alert's own ladder at which the recipient was notified. */
  level: number;
  /** When it was last notified of it, by the log's clock. */
  notifiedMs: number;
  /** Null when it is not sent again. */
  alert: Alert | null;
  /** The step of the recipient's ladder that has begun; -1: none. */
  step: number;
  /** When the next step begins; null: the ladder has ended. */
  nextMs: number | null;
  /** Numbers of the addresses of the step that have not failed. */
  left: number[];
  /** Numbers of the addresses that had it, or for which it waits, since it was last notified. */
  to: number[];
  /** Numbers of the addresses with `sendsChanges` that were sent it. */
  had: number[];
  isAcknowledged: boolean;
  isSilenced: boolean;
  /** 0: open. */
  closedMs: number;
}

/** An alert that an address is sent repeatedly while it is open. */
export type RepeatedAlert = [alert: number, lastMs: number];

export interface AddressState {
  readonly number: number;
  readonly channel: string;
  readonly to: string;
  traits: Address["traits"];
  /** Whether the recipient's newest ladder has it. */
  isListed: boolean;
  /** When it ceased to exist, or to be listed: alerts notified until then are not sent there. 0: never. */
  goneMs: number;
  /** When messages were sent within the last minute, ascending. */
  sentMs: number[];
  /** The same of messages with a single new alert, within `BURST_MS`. */
  singlesMs: number[];
  /** When the last summary was sent: of warnings, and of what is critical. */
  summaryMs: [warning: number, critical: number];
  /** Numbers of the alerts that wait, in the order in which they came. */
  warnings: number[];
  critical: number[];
  /** Of tests. */
  tests: number[];
  /** Newest content of alerts of which a change waits. */
  changes: Alert[];
  repeats: RepeatedAlert[];
  /** Alerts above `MAX_OPEN` that are in no summary yet, and the newest of them. */
  unlisted: number;
  newestUnlisted: Alert | null;
}

/** Steps of a delivery as offsets in ms from `sentMs`; -1: not reached. `failure` is empty unless it has failed. */
export type Delivery = [
  number: number,
  address: number,
  type: Message["type"],
  sentMs: number,
  acceptedAfterMs: number,
  displayedAfterMs: number,
  changedAfterMs: number,
  failure: string,
  alerts: number[],
];
/** Places in a delivery. */
export const DELIVERY = {
  number: 0,
  address: 1,
  sentMs: 3,
  acceptedAfterMs: 4,
  displayedAfterMs: 5,
  changedAfterMs: 6,
  failure: 7,
  alerts: 8,
} as const;

/** Figures of one channel since the deployment began. */
export interface ChannelCounts {
  sent: number;
  accepted: number;
  displayed: number;
  failed: number;
  /** Of `sent`, by type. */
  summaries: number;
  changes: number;
  repeats: number;
  tests: number;
}

export interface NotificationsState {
  /** Null before the first notification. */
  recipient: Recipient | null;
  /** Messages so far. */
  messages: number;
  /** Ascending by number, as the two lists below. */
  alerts: RecordedAlert[];
  alertsRecorded: number;
  addresses: AddressState[];
  addressesRecorded: number;
  deliveries: Delivery[];
  counts: Record<string, ChannelCounts>;
  /** Steps of ladders that began because the step before was not enough. */
  climbs: number;
  /** Ladders whose last step has failed at every address. */
  unreached: number;
  /** Alerts that came above `MAX_OPEN`, and those that were closed early to make room. */
  unlisted: number;
  evicted: number;
  /** Changes that were removed unsent. */
  changesDropped: number;
  /** When old entries are removed next; 0: there are none. */
  pruneMs: number;
}

export const newNotificationsState = (): NotificationsState => ({
  ...{ recipient: null, messages: 0, alerts: [], alertsRecorded: 0, addresses: [], addressesRecorded: 0 },
  ...{ deliveries: [], counts: {}, climbs: 0, unreached: 0, unlisted: 0, evicted: 0, changesDropped: 0, pruneMs: 0 },
});

export const isOpen = ({ closedMs }: RecordedAlert): boolean => closedMs === 0;

/** The entry with a number in a list that ascends by number. */
export function byNumber<Entry extends { readonly number: number }>(
  list: readonly Entry[],
  number: number,
): Entry | undefined {
  const at = placeOf(list, number, (entry) => entry.number);
  return at < 0 ? undefined : list[at];
}

export function deliveryOf({ deliveries }: NotificationsState, number: number): Delivery | undefined {
  const at = placeOf(deliveries, number, (each) => each[DELIVERY.number]);
  return at < 0 ? undefined : deliveries[at];
}

/** -1 when it is not in the list. */
function placeOf<Entry>(list: readonly Entry[], number: number, numberOf: (entry: Entry) => number): number {
  let low = 0;
  let high = list.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const found = numberOf(list[middle] as Entry);
    if (found === number) return middle;
    if (found < number) low = middle + 1;
    else high = middle - 1;
  }
  return -1;
}

export const countsOf = (state: NotificationsState, channel: string): ChannelCounts => {
  state.counts[channel] ??= {
    ...{ sent: 0, accepted: 0, displayed: 0, failed: 0, summaries: 0, changes: 0, repeats: 0, tests: 0 },
  };
  return state.counts[channel];
};

/** The state of an address of the recipient's ladder, with its newest traits; it is added when there is none. */
export function addressOf(state: NotificationsState, { channel, to, traits }: Address): AddressState {
  const known = state.addresses.find((each) => each.channel === channel && each.to === to);
  if (known) {
    known.traits = traits;
    return known;
  }
  const added: AddressState = {
    ...{ number: ++state.addressesRecorded, channel, to, traits, isListed: true, goneMs: 0 },
    ...{ sentMs: [], singlesMs: [] },
    ...{ summaryMs: [0, 0], warnings: [], critical: [], tests: [], changes: [], repeats: [] },
    ...{ unlisted: 0, newestUnlisted: null },
  };
  state.addresses.push(added);
  return added;
}
