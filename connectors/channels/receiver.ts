/**
 * A channel as the receiver of a sink: sends each message to its address, and appends what became of it to the topic
 * `notifications` before the cursor moves on. A message that cannot be delivered before it expires is reported as
 * failed, so that the recipient's next channel follows; it does not become a dead letter, because hours later it would
 * be of no use. Every address has a circuit of its own: one that fails holds up neither the others nor the sink. An
 * address gets a message twice only when its answer was lost, or when the process ended between answer and record.
 */
import {
  DELIVERED_EVENT,
  type DeliveredEvent,
  type Message,
  NOTIFICATIONS_TOPIC,
  type SendRequest,
  sendKindOf,
} from "../../engine/alerting/notification.js";
import type { Clock } from "../../engine/kernel/clock.js";
import { messageOf } from "../../engine/kernel/errors.js";
import type { OnTrouble } from "../../engine/kernel/logger.js";
import { Circuit } from "../../engine/outbox/circuit.js";
import type { Delivered, Delivery, DeliveryOutcome, Receiver } from "../../engine/outbox/receiver.js";
import type { NewEvent } from "../../engine/stream/event-entry.js";
import type { ChannelOutcome, OpenChannel, OutgoingMessage } from "../channel.js";
import type { AddressedMessage, Addresses } from "./addresses.js";
import { hideSecrets } from "./hide-secrets.js";
import { messageUrl } from "./message-url.js";

export interface ChannelReceiverOptions {
  /** The channel's name, which is the sink's. */
  readonly name: string;
  readonly channel: OpenChannel;
  readonly addresses: Pick<Addresses, "take" | "accepted" | "hold">;
  /** As `ConnectorParts.append`. */
  append(topic: string, events: readonly NewEvent[]): Promise<void>;
  /** By which messages expire. */
  readonly clock: Clock;
  /** By which circuits pause: it cannot be set. */
  readonly timer: Clock;
  /** Of links in messages. */
  readonly publicUrl: string | undefined;
  /** Texts that no reason may have. */
  readonly secrets: readonly string[];
  readonly onTrouble: OnTrouble;
  /** Called with each message that the channel has just accepted. */
  onAccepted?(message: Message): void;
}

/** Three failures in a row are no chance; a minute later the address may be back. */
const CIRCUIT = { failures: 3, firstPauseMs: 1_000, longestPauseMs: 60_000 };
/** A receiving system that throttles without a time: the groups' limits are per minute. */
const THROTTLED_MS = 60_000;
/** While another message is the probe of a circuit. */
const PROBE_WAIT_MS = 1_000;
/** Addresses in trouble that are kept; beyond it the oldest is dropped, and starts with a closed circuit. */
const MOST_IN_TROUBLE = 1_000;
const MOST_WARNINGS = 10;
const MOST_REASON_LENGTH = 300;

type Report = Pick<DeliveredEvent, "result" | "reason" | "isGone">;

interface Trouble {
  readonly circuit: Circuit;
  reason: string;
}

export class ChannelReceiver implements Receiver {
  readonly name: string;
  readonly #options: ChannelReceiverOptions;
  /** Of addresses whose last message was not accepted. */
  readonly #troubles = new Map<string, Trouble>();

  constructor(options: ChannelReceiverOptions) {
    this.name = options.name;
    this.#options = options;
  }

  wants(kind: string): boolean {
    return kind === sendKindOf(this.name);
  }

  /** A recipient's messages to one address are in order; one that fails does not hold up the others. */
  orderOf({ key, payload }: Delivery): string {
    return `${key}\n${(payload as Partial<SendRequest>).address?.to}`;
  }

  async deliver({ payload }: Delivery, signal: AbortSignal): Promise<DeliveryOutcome> {
    const request = payload as SendRequest;
    const { clock, timer, addresses } = this.#options;
    const { to } = request.address;
    if (clock.now() >= request.expiresMs) return unsent({ result: "failed", reason: this.#expired(to) });
    const pausedMs = this.#troubles.get(to)?.circuit.waitMs(timer.now()) ?? 0;
    if (pausedMs > 0) return this.#later(request, Math.min(pausedMs, PROBE_WAIT_MS), this.#reasonOf(to));
    let permission: Awaited<ReturnType<Addresses["take"]>>;
    try {
      permission = await addresses.take(to, addressed(request));
    } catch (thrown) {
      return { outcome: "retry", reason: `the limits of ${this.name} cannot be read: ${messageOf(thrown)}` };
    }
    if (permission === "accepted_before") return unsent({ result: "accepted" });
    if (permission !== "send") return this.#later(request, permission.waitMs, "as many messages as it takes were sent");
    return this.#send(request, signal);
  }

  /** Appends what became of messages. */
  async delivered(_partition: number, done: readonly Delivered[]): Promise<void> {
    const events = done.map(({ delivery, receipt, atMs }) =>
      this.#eventOf(delivery.payload as SendRequest, receipt as Report, atMs),
    );
    await this.#options.append(NOTIFICATIONS_TOPIC, events);
  }

  async deadLettered(_partition: number, deliveries: readonly Delivery[]): Promise<void> {
    const report: Report = { result: "failed", reason: "it waited longer than deliveries are kept" };
    const nowMs = this.#options.clock.now();
    const events = deliveries.map(({ payload }) => this.#eventOf(payload as SendRequest, report, nowMs));
    await this.#options.append(NOTIFICATIONS_TOPIC, events);
  }

  /** Addresses whose last message was not accepted, for an operator. */
  warnings(): string[] {
    const all = [...this.#troubles].map(([to, { reason }]) => `${this.name} does not deliver to ${to}: ${reason}`);
    if (all.length <= MOST_WARNINGS) return all;
    return [...all.slice(0, MOST_WARNINGS), `${this.name} does not deliver to ${all.length - MOST_WARNINGS} more`];
  }

  async #send(request: SendRequest, signal: AbortSignal): Promise<DeliveryOutcome> {
    const { channel, timer } = this.#options;
    const { to } = request.address;
    const isProbe = this.#troubles.get(to)?.circuit.sent() ?? false;
    let outcome: ChannelOutcome;
    try {
      outcome = await channel.send(this.#outgoingOf(request), signal);
    } catch (thrown) {
      outcome = { outcome: "retry", reason: messageOf(thrown), mayHaveArrived: true };
    }
    if (outcome.outcome === "accepted") return this.#accepted(request);
    const reason = hideSecrets(outcome.reason, this.#options.secrets).slice(0, MOST_REASON_LENGTH);
    if (outcome.outcome === "refused") {
      const { isGone = false } = outcome;
      // What does not exist any more needs nobody's attention here.
      if (isGone) this.#troubles.delete(to);
      else this.#troubleOf(to, reason).circuit.answered();
      return { outcome: "done", receipt: { result: "failed", reason, ...(isGone ? { isGone } : {}) } satisfies Report };
    }
    const { throttled = false, mayHaveArrived = false, retryAfterMs } = outcome;
    const { circuit } = this.#troubleOf(to, reason);
    if (throttled) circuit.answered();
    // The process is ending: this is no failure of the address.
    else if (signal.aborted) circuit.abandoned(isProbe);
    else circuit.failed(timer.now(), isProbe);
    const waitMs = retryAfterMs ?? (throttled ? THROTTLED_MS : 0);
    if (waitMs > 0) await this.#hold(to, waitMs);
    return this.#later(request, waitMs, reason, mayHaveArrived);
  }

  async #accepted(request: SendRequest): Promise<DeliveryOutcome> {
    const { address, message, expiresMs } = request;
    const { to } = address;
    const { addresses, clock } = this.#options;
    this.#options.onAccepted?.(message);
    this.#troubles.delete(to);
    try {
      await addresses.accepted(to, addressed(request), expiresMs - clock.now());
    } catch (thrown) {
      this.#report(`a message that ${to} has accepted may be sent again: ${messageOf(thrown)}`);
    }
    return { outcome: "done", receipt: { result: "accepted" } satisfies Report };
  }

  async #hold(to: string, waitMs: number): Promise<void> {
    try {
      await this.#options.addresses.hold(to, waitMs);
    } catch (thrown) {
      this.#report(`other processes may send to ${to} before its pause ends: ${messageOf(thrown)}`);
    }
  }

  /** Tries again after a pause, or reports a failure when the message has expired by then. */
  #later(request: SendRequest, waitMs: number, reason: string, mayHaveArrived = false): DeliveryOutcome {
    const { clock } = this.#options;
    if (clock.now() + waitMs >= request.expiresMs) {
      const report: Report = { result: "failed", reason: `it expires before it can be sent: ${reason}` };
      return mayHaveArrived ? { outcome: "done", receipt: report } : unsent(report);
    }
    return {
      outcome: "retry",
      reason: `${request.address.to}: ${reason}`,
      mayHaveArrived,
      // The circuit and the rate are those of the address: the sink's own are not concerned.
      isUnsent: true,
      ...(waitMs > 0 ? { retryAfterMs: waitMs } : {}),
    };
  }

  #outgoingOf({ address: { to }, message, expiresMs }: SendRequest): OutgoingMessage {
    const { publicUrl, clock } = this.#options;
    return {
      ...{ message, to, url: messageUrl(publicUrl, message), ttlMs: Math.max(0, expiresMs - clock.now()) },
      urgency: message.alerts.some(({ severity }) => severity === "critical") ? "high" : "normal",
    };
  }

  #troubleOf(to: string, reason: string): Trouble {
    const found = this.#troubles.get(to);
    if (found) {
      found.reason = reason;
      return found;
    }
    const made = { circuit: new Circuit(CIRCUIT), reason };
    if (this.#troubles.size >= MOST_IN_TROUBLE) this.#troubles.delete(this.#troubles.keys().next().value as string);
    this.#troubles.set(to, made);
    return made;
  }

  #reasonOf(to: string): string {
    return this.#troubles.get(to)?.reason ?? "";
  }

  #expired(to: string): string {
    const reason = this.#reasonOf(to);
    return reason === "" ? "it has expired" : `it has expired: ${reason}`;
  }

  #eventOf({ recipient, message, address: { to } }: SendRequest, report: Report, atMs: number): NewEvent {
    const address = { channel: this.name, to };
    const payload: DeliveredEvent = { messageId: message.id, address, ...report };
    return { id: `${message.id}~${report.result}`, key: recipient, kind: DELIVERED_EVENT, payload, atMs };
  }

  #report(message: string): void {
    this.#options.onTrouble(message, { sink: this.name });
  }
}

/** A summary that leaves alerts out is sent to every recipient: the address may lack what is left out. */
function addressed({ recipient, message: { id, type, alerts, total } }: SendRequest): AddressedMessage {
  const isNews = (type === "alert" || type === "summary") && total === alerts.length;
  return isNews ? { id, recipient, alertIds: alerts.map((alert) => alert.id) } : { id, recipient };
}

const unsent = (receipt: Report): DeliveryOutcome => ({ outcome: "done", isUnsent: true, receipt });
