/**
 * The notification job of one recipient with a log's clock, a timer and a view. The state is stored and read again
 * after every event, as the runtime does, and the view is filled from what a commit would publish.
 */
import type { Alert } from "../../../engine/alerting/alert.js";
import {
  type Address,
  CHANGED_EVENT,
  DELIVERED_EVENT,
  type DeliveredEvent,
  NOTIFY_EVENT,
  type Recipient,
  type SendRequest,
  TEST_EVENT,
} from "../../../engine/alerting/notification.js";
import type { RecipientFigures } from "../../../engine/jobs/notifications/figures.js";
import { notificationsJob } from "../../../engine/jobs/notifications/job.js";
import type { NotificationsState } from "../../../engine/jobs/notifications/state.js";
import { NotificationsView } from "../../../engine/jobs/notifications/view.js";
import { zoneOf } from "../../../engine/kernel/zone.js";
import type { JobContext } from "../../../engine/stream/job.js";
import { decodeState, encodeState } from "../../../engine/stream/pack.js";

/** 10:00 in the shop. */
export const START_MS = Date.UTC(2026, 5, 18, 2);
const ZONE = zoneOf("Asia/Shanghai");
export const KEY = "person:li";

/** Pushes to a phone: 30 a minute, and the phone confirms what it displays. */
export const phone = (to = "phone", perMinute = 30): Address => ({
  ...{ channel: "web-push", to },
  traits: { perMinute, confirmsDisplay: true, sendsChanges: false },
});
/** A group robot: 20 a minute, nothing is confirmed. */
export const robot = (to = "robot"): Address => ({
  ...{ channel: "dingtalk", to },
  traits: { perMinute: 20, confirmsDisplay: false, sendsChanges: false },
});
/** A system that keeps alerts of its own. */
export const system = (to = "system", traits: Partial<Address["traits"]> = {}): Address => ({
  ...{ channel: "webhook", to },
  traits: { perMinute: 60, confirmsDisplay: false, sendsChanges: true, ...traits },
});

export const recipientOf = (ladder: readonly (readonly Address[])[], more: Partial<Recipient> = {}): Recipient => ({
  ...{ key: KEY, language: "zh", ladder, ...more },
});

export const alertOf = (sku: string, more: Partial<Alert> = {}): Alert => ({
  ...{ id: `${sku}#1`, rule: "depletion", subject: sku, severity: "warning", state: "fired", firedMs: START_MS },
  figures: { hourUnits: 120, dailyAverage: 30, thresholdUnits: 90 },
  ...more,
});

/** A message that left: when, where to, and what is in it. */
export interface Sent {
  readonly atMs: number;
  readonly request: SendRequest;
  readonly channel: string;
  readonly to: string;
  readonly type: string;
  /** Subjects of the alerts that are listed. */
  readonly listed: readonly string[];
  readonly total: number;
}

export class NotificationsBed {
  readonly sent: Sent[] = [];
  nowMs = START_MS;
  recipient: Recipient;
  readonly #job = notificationsJob(ZONE);
  /** Left out by the long tests, whose log is read again by the runtime. */
  readonly #isStored: boolean;
  #state: NotificationsState = this.#job.initial(KEY);
  #timerMs: number | undefined;
  #taken = 0;
  readonly #view = new NotificationsView();
  /** When the state was changed first since it was published; undefined: it was not. */
  #changedMs: number | undefined;

  constructor(...ladder: readonly (readonly Address[])[]) {
    this.recipient = recipientOf(ladder);
    this.#isStored = ladder.length > 0;
  }

  /** As of the last event: all events since it was read last are one commit. */
  get view(): NotificationsView {
    if (this.#changedMs !== undefined) {
      const view = this.#job.view?.(this.#state, KEY, this.#changedMs);
      this.#changedMs = undefined;
      this.#view.onView(KEY, decodeState(encodeState(view)) as RecipientFigures);
    }
    return this.#view;
  }

  get state(): NotificationsState {
    return this.#state;
  }

  get stateBytes(): number {
    return encodeState(this.#state).length;
  }

  get timerMs(): number | undefined {
    return this.#timerMs;
  }

  event(kind: string, payload: unknown): void {
    const place = { offset: 1, index: 0, atMs: this.nowMs, clockMs: this.nowMs, id: "e", key: KEY };
    this.#call((state, context) => this.#job.onEvent(state, { ...place, kind, payload }, context));
  }

  /** Notifies the recipient of alerts, one after the other. */
  notify(...alerts: readonly (Alert | string)[]): void {
    for (const alert of alerts) this.notifyAt(0, alert);
  }

  notifyAt(level: number, alert: Alert | string): void {
    const whole = typeof alert === "string" ? alertOf(alert) : alert;
    this.event(NOTIFY_EVENT, { alert: whole, level, recipient: this.recipient });
  }

  acknowledge(sku: string): void {
    const acknowledged = { state: "acknowledged", acknowledgedBy: "wang" } as const;
    this.event(CHANGED_EVENT, { alert: alertOf(sku, { ...acknowledged, acknowledgedMs: this.nowMs }) });
  }

  clear(sku: string): void {
    this.event(CHANGED_EVENT, { alert: alertOf(sku, { state: "cleared", clearedMs: this.nowMs }) });
  }

  silence(sku: string): void {
    this.event(CHANGED_EVENT, { alert: alertOf(sku), isSilenced: true });
  }

  test(testId: string): void {
    this.event(TEST_EVENT, { testId, actor: "wang", recipient: this.recipient });
  }

  /** A channel reports what became of a message. */
  report({ request }: Sent, result: DeliveredEvent["result"], more: Partial<DeliveredEvent> = {}): void {
    const { message, address } = request;
    this.event(DELIVERED_EVENT, { messageId: message.id, address, result, ...more } satisfies DeliveredEvent);
  }

  /** Moves the log's clock on; timers fire on the way. */
  pass(ms: number): void {
    const untilMs = this.nowMs + ms;
    while (this.#timerMs !== undefined && this.#timerMs <= untilMs) {
      const atMs = this.#timerMs;
      if (atMs <= this.nowMs) throw new Error(`a timer of ${atMs - this.nowMs} ms is not in the future`);
      this.nowMs = atMs;
      this.#timerMs = undefined;
      this.#call((state, context) => this.#job.onTimer?.(state, atMs, context));
    }
    this.nowMs = untilMs;
  }

  /** What has left since this was called last. */
  news(): readonly Sent[] {
    const news = this.sent.slice(this.#taken);
    this.#taken = this.sent.length;
    return news;
  }

  /** The same, each as `<to> <type> <alerts that are listed>`. */
  texts(): readonly string[] {
    return this.news().map(({ to, type, listed, total }) => {
      const more = total > listed.length ? [`+${total - listed.length}`] : [];
      return [to, type, ...listed, ...more].join(" ");
    });
  }

  #call(call: (state: NotificationsState, context: JobContext) => void): void {
    call(this.#state, {
      key: KEY,
      watermarkMs: this.nowMs,
      emit: (kind, payload) => this.#emitted(kind, payload as SendRequest),
      setTimer: (atMs) => {
        this.#timerMs = atMs;
      },
      late: () => undefined,
      clear: () => undefined,
    });
    if (this.#isStored) this.#state = decodeState(encodeState(this.#state)) as NotificationsState;
    this.#changedMs ??= this.nowMs;
  }

  #emitted(kind: string, request: SendRequest): void {
    const { channel, to } = request.address;
    if (kind !== `send-${channel}`) throw new Error(`the kind ${kind} is not that of ${channel}`);
    const { type, alerts, total } = request.message;
    const listed = alerts.map(({ subject }) => subject);
    this.sent.push({ atMs: this.nowMs, request, channel, to, type, listed, total });
  }
}
