/**
 * What the topic `notifications` holds, and what its job emits. Its keys are recipients: `person:<id>` or
 * `endpoint:<name>`, so each has its own queue, limits and ladder of channels. The alert job's sink appends what people
 * are notified of; channels append what became of it. A delivery goes through the steps sent, accepted, displayed,
 * acknowledged (R11). Shapes and constructors only.
 */
import type { Alert } from "./alert.js";
import type { PersonLanguage, QuietHours } from "./people.js";

export const NOTIFICATIONS_TOPIC = "notifications";

/** What a channel offers; the job applies its limit, so that a summary takes the place of messages above it. */
export interface ChannelTraits {
  /** Messages to one address in a minute; above it alerts wait for a summary. */
  readonly perMinute: number;
  /** The channel reports that a person has seen a message; otherwise `accepted` is its last step. */
  readonly confirmsDisplay: boolean;
  /**
   * It is sent acknowledgements and ends of alerts, too; otherwise only what fires. Such a channel leads to a system,
   * not a person: its summaries list every alert, in as many messages as that takes.
   */
  readonly sendsChanges: boolean;
  /** An open alert is sent again after this time, because the receiving system ends it otherwise. */
  readonly repeatMs?: number;
}

/** Where a message goes: the channel's name, and a device's id, a user id or an endpoint's name. */
export interface Address {
  readonly channel: string;
  readonly to: string;
  readonly traits: ChannelTraits;
}

/** A recipient as it was when it was notified; the newest one counts. */
export interface Recipient {
  /** `person:<id>` or `endpoint:<name>`. */
  readonly key: string;
  readonly language: PersonLanguage;
  /** Addresses of one step are used together. Never empty. */
  readonly ladder: readonly (readonly Address[])[];
  readonly quietHours?: QuietHours;
}

/** A person or endpoint is to be notified of an alert. Repeating it for the same alert and level changes nothing. */
export const NOTIFY_EVENT = "notify";
export interface NotifyEvent {
  readonly alert: Alert;
  /** Of the alert's own ladder: 0 for those who are notified first. */
  readonly level: number;
  readonly recipient: Recipient;
}

/** An alert that the recipient was notified of is acknowledged or cleared, or a silence has begun. */
export const CHANGED_EVENT = "changed";
export interface ChangedEvent {
  readonly alert: Alert;
  /** A silence: nothing further is sent of it. */
  readonly isSilenced?: true;
}

/** A message that arrives as every other: `shuiwei alerts test` reports what becomes of it. */
export const TEST_EVENT = "test";
export interface TestEvent {
  readonly testId: string;
  readonly actor: string;
  readonly recipient: Recipient;
}

/** What a channel reports of a message. May come more than once, and late. */
export const DELIVERED_EVENT = "delivered";
export interface DeliveredEvent {
  readonly messageId: string;
  readonly address: Pick<Address, "channel" | "to">;
  readonly result: "accepted" | "displayed" | "failed";
  /** Of `failed`: why, without secrets. */
  readonly reason?: string;
  /** Of `failed`: the address does not exist any more. */
  readonly isGone?: boolean;
}

/** What is sent at once. */
export interface Message {
  /** `<recipient>/<n>`, the same whenever it is sent again; `n` counts the messages of the recipient. */
  readonly id: string;
  /** `summary`: several alerts at once; `change`: an alert was acknowledged or cleared; `repeat`: see ChannelTraits. */
  readonly type: "alert" | "summary" | "change" | "repeat" | "test";
  /** The newest first, 20 at most. */
  readonly alerts: readonly Alert[];
  /** How many there are; greater than `alerts.length` when some are left out. */
  readonly total: number;
  readonly language: PersonLanguage;
}

/** The emit of one message to one address; its kind is `send-<channel>`. */
export interface SendRequest {
  readonly recipient: string;
  readonly address: Pick<Address, "channel" | "to">;
  readonly message: Message;
  /** It is of no use later: a channel that cannot deliver by then reports `failed`. */
  readonly expiresMs: number;
}

export const sendKindOf = (channel: string): string => `send-${channel}`;

/** One delivery of an alert to one address, with the time of each step that it has reached. */
export interface DeliveryFunnel {
  readonly alertId: string;
  readonly recipient: string;
  readonly channel: string;
  readonly to: string;
  readonly messageId: string;
  readonly sentMs: number;
  readonly acceptedMs?: number;
  readonly displayedMs?: number;
  readonly failure?: string;
}
