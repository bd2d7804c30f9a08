/**
 * One recipient in a seeded world: alerts fire in bursts, are acknowledged, cleared and silenced; channels accept,
 * display and fail, late, repeated and out of order; addresses vanish, hours pass. Beside the notification job stands a
 * plain model of which alerts are open, and every message is compared with it. What the job is given is recorded as a
 * log, so that it can be read again in other pieces.
 */
import type { Alert } from "../../engine/alerting/alert.js";
import {
  type Address,
  CHANGED_EVENT,
  DELIVERED_EVENT,
  type DeliveredEvent,
  type DeliveryFunnel,
  NOTIFY_EVENT,
  type Recipient,
  TEST_EVENT,
} from "../../engine/alerting/notification.js";
import { HOUR_MS, MINUTE_MS } from "../../engine/kernel/clock.js";
import { type Random, seededRandom } from "../../engine/kernel/random.js";
import { alertOf, NotificationsBed, phone, recipientOf, robot, type Sent, system } from "../jobs/notifications/bed.js";

/** An alert as the model has it. */
interface ModelAlert {
  readonly alert: Alert;
  /** Since when it has to be sent: since it was notified, or is not silenced any more. */
  sinceMs: number;
  level: number;
  isAcknowledged: boolean;
  isSilenced: boolean;
  isCleared: boolean;
  /** Of the ladder as it was notified; addresses that have vanished since are left out. */
  firstStep: readonly string[];
  /** Addresses that have had it since `sinceMs`. */
  readonly had: Set<string>;
  /** Systems that ever had it, and of which the end has been sent. */
  readonly systems: Set<string>;
  readonly ended: Set<string>;
  /** A channel has displayed it, or failed, since `sinceMs`. */
  isDisplayed: boolean;
  hasFailed: boolean;
}

interface Report {
  readonly atMs: number;
  readonly event: DeliveredEvent;
}

export interface LoggedEvent {
  readonly clockMs: number;
  readonly kind: string;
  readonly payload: unknown;
}

/** An alert that may leave leaves within a minute for the limit, ten seconds for a burst, and as much for others. */
const LONGEST_WAIT_MS = 2 * MINUTE_MS;
/** No event is delivered later than that. */
const LATEST_REPORT_MS = 5 * MINUTE_MS;
const QUIET = { fromMinute: 22 * 60, toMinute: 7 * 60 };

const isQuietAt = (ms: number): boolean => {
  const minute = Math.floor((ms + 8 * HOUR_MS) / MINUTE_MS) % 1_440;
  return minute >= QUIET.fromMinute || minute < QUIET.toMinute;
};

export class NotificationsWorld {
  readonly bed: NotificationsBed;
  readonly log: LoggedEvent[] = [];
  readonly faults: string[] = [];
  /** What the run has come across. */
  readonly seen = new Map<string, number>();
  readonly #random: Random;
  readonly #hasQuietHours: boolean;
  readonly #alerts = new Map<string, ModelAlert>();
  readonly #reports: Report[] = [];
  readonly #funnels = new Map<string, DeliveryFunnel>();
  #fired = 0;
  #devices = 0;
  #tests = 0;
  #checked = 0;

  constructor(seed: number) {
    this.#random = seededRandom(seed);
    const { pick, below } = this.#random;
    this.#hasQuietHours = below(3) === 0;
    const perMinute = pick([2, 5, 20, 60]);
    const robots = [robot(), { ...robot("second-robot"), traits: { ...robot().traits, perMinute } }];
    const systems = [system(), system("alertmanager", { perMinute: 600, repeatMs: 4 * MINUTE_MS })];
    const ladder = pick<Address[][]>([
      [[phone("p0", perMinute)], robots, systems],
      [[phone("p0", perMinute), robots[0] as Address, ...systems]],
      [[phone("p0"), phone("p1", perMinute)], [robots[1] as Address]],
      [systems],
    ]);
    this.bed = new NotificationsBed();
    this.bed.recipient = this.#recipient(ladder);
  }

  /** One step of the world. */
  step(): void {
    const { below } = this.#random;
    const chance = below(100);
    if (chance < 30) this.#pass(below(3) === 0 ? below(90_000) : below(2_000));
    else if (chance < 31) this.#pass(below(10 * HOUR_MS));
    else if (chance < 60) this.#fire(below(12) === 0 ? below(50) : 1);
    else if (chance < 63) this.#repeatNotify();
    else if (chance < 66) this.#raise();
    else if (chance < 76) this.#end();
    else if (chance < 78) this.#silence();
    else if (chance < 79)
      this.#give(TEST_EVENT, { testId: `t${++this.#tests}`, actor: "a", recipient: this.bed.recipient });
    else if (chance < 80) this.#renewDevice();
    else this.#report();
  }

  /** Every open alert has left by the end, and systems have had every end. */
  settle(): void {
    // To the end of quiet hours, and of what waits for limits.
    if (this.#hasQuietHours) this.#pass(10 * HOUR_MS);
    this.#pass(30 * MINUTE_MS);
    for (const model of this.#alerts.values())
      if (model.isCleared) for (const to of model.systems) if (!model.ended.has(to)) this.#fault(`${to} lacks an end`);
  }

  #pass(ms: number): void {
    const untilMs = this.bed.nowMs + ms;
    // Reports arrive on the way.
    this.#reports.sort((a, b) => a.atMs - b.atMs);
    while (this.#reports[0] && this.#reports[0].atMs <= untilMs) {
      const { atMs, event } = this.#reports.shift() as Report;
      this.#moveTo(Math.max(atMs, this.bed.nowMs));
      this.#give(DELIVERED_EVENT, event);
    }
    this.#moveTo(untilMs);
  }

  #moveTo(ms: number): void {
    this.bed.pass(ms - this.bed.nowMs);
    this.#check();
  }

  #give(kind: string, payload: unknown): void {
    this.#count(kind);
    if (kind === DELIVERED_EVENT) this.#onReport(payload as DeliveredEvent);
    this.log.push({ clockMs: this.bed.nowMs, kind, payload: JSON.parse(JSON.stringify(payload)) });
    this.bed.event(kind, payload);
    this.#check();
  }

  #fire(number: number): void {
    for (let i = 0; i < number; i++) {
      const isCritical = this.#random.below(8) === 0;
      const alert = alertOf(`S${++this.#fired}`, isCritical ? { severity: "critical" } : {});
      this.#alerts.set(alert.id, {
        ...{ alert, sinceMs: this.bed.nowMs, level: 0, isAcknowledged: false, isSilenced: false, isCleared: false },
        ...{ firstStep: this.#firstStep(), had: new Set(), systems: new Set(), ended: new Set() },
        ...{ isDisplayed: false, hasFailed: false },
      });
      this.#notify(alert, 0);
    }
  }

  #notify(alert: Alert, level: number): void {
    this.#give(NOTIFY_EVENT, { alert, level, recipient: this.bed.recipient });
  }

  #repeatNotify(): void {
    const model = this.#some((each) => !each.isSilenced);
    if (model) this.#notify(model.alert, this.#random.below(model.level + 1));
  }

  #raise(): void {
    const model = this.#some((each) => !each.isAcknowledged && !each.isCleared);
    if (!model) return;
    model.level++;
    this.#again(model);
    this.#notify(model.alert, model.level);
  }

  #again(model: ModelAlert): void {
    Object.assign(model, { sinceMs: this.bed.nowMs, isSilenced: false, isDisplayed: false, hasFailed: false });
    model.firstStep = this.#firstStep();
    model.had.clear();
  }

  #end(): void {
    const model = this.#some((each) => !each.isCleared);
    if (!model) return;
    if (this.#random.below(3) === 0) model.isAcknowledged = true;
    else model.isCleared = true;
    const alert: Alert = { ...model.alert, state: model.isCleared ? "cleared" : "acknowledged" };
    for (let i = this.#random.below(2); i >= 0; i--) this.#give(CHANGED_EVENT, { alert });
  }

  #silence(): void {
    const model = this.#some((each) => !each.isCleared && !each.isAcknowledged);
    if (!model) return;
    if (model.isSilenced) {
      this.#again(model);
      this.#notify(model.alert, model.level);
    } else {
      model.isSilenced = true;
      this.#give(CHANGED_EVENT, { alert: model.alert, isSilenced: true });
    }
  }

  /** A phone is paired anew: its address has another name. */
  #renewDevice(): void {
    const { ladder } = this.bed.recipient;
    const name = `n${++this.#devices}`;
    const renewed = ladder.map((step) =>
      step.map((each) => (each.channel === "web-push" ? { ...each, to: name } : each)),
    );
    this.bed.recipient = this.#recipient(renewed);
    this.#remove((to) => /^[np]\d/.test(to));
    this.#fire(1);
  }

  /** Something happens to a message of late. */
  #report(): void {
    const { below, pick } = this.#random;
    const sent = this.bed.sent.at(-1 - below(Math.min(20, this.bed.sent.length)));
    if (!sent) return;
    const result = pick(["accepted", "accepted", "displayed", "displayed", "failed"] as const);
    const isGone = result === "failed" && sent.channel === "web-push" && below(10) === 0;
    const { message, address } = sent.request;
    const event = {
      messageId: message.id,
      address,
      result,
      ...(isGone && { isGone }),
      ...(result === "failed" && { reason: "x" }),
    };
    this.#reports.push({ atMs: this.bed.nowMs + below(below(2) === 0 ? 1_000 : LATEST_REPORT_MS), event });
  }

  #onReport({ messageId, address, result, isGone }: DeliveredEvent): void {
    if (isGone) this.#remove((to) => to === address.to);
    for (const model of this.#inMessage(messageId)) {
      if (result === "displayed") model.isDisplayed = true;
      if (result === "failed") model.hasFailed = true;
    }
  }

  /** Addresses that nothing has to arrive at any more. */
  #remove(isGone: (to: string) => boolean): void {
    for (const model of this.#alerts.values()) {
      if (model.firstStep.some(isGone)) model.hasFailed = true;
      model.firstStep = model.firstStep.filter((to) => !isGone(to));
    }
  }

  /** Compares what has left since the last call, and what should have left by now. */
  #check(): void {
    for (const sent of this.bed.sent.slice(this.#checked)) this.#checkMessage(sent);
    this.#checked = this.bed.sent.length;
    const { nowMs } = this.bed;
    const systemsWait = this.#systemsWaitMs();
    for (const model of this.#alerts.values()) {
      const { alert, sinceMs, isAcknowledged, isCleared, isSilenced, firstStep, had } = model;
      if (isAcknowledged || isCleared || isSilenced) continue;
      const isHeld = this.#hasQuietHours && alert.severity === "warning";
      if (isHeld && (isQuietAt(nowMs) || isQuietAt(nowMs - LONGEST_WAIT_MS) || isQuietAt(sinceMs))) continue;
      const lateMs = nowMs - sinceMs - LONGEST_WAIT_MS - systemsWait;
      for (const to of firstStep)
        if (lateMs > 0 && !had.has(to) && lateMs > this.#precedenceMs(to, sinceMs))
          this.#fault(`${alert.id} is missing at ${to}`);
    }
    this.#checkFunnels();
    this.#checkBounds();
  }

  /** Critical alerts and tests leave first: each takes up to a minute of what a low limit allows. */
  #precedenceMs(to: string, sinceMs: number): number {
    const first = this.bed.sent.filter(
      ({ to: each, type, atMs, request }) =>
        each === to &&
        atMs >= sinceMs &&
        (type === "test" || request.message.alerts.some(({ severity }) => severity === "critical")),
    );
    return first.length * MINUTE_MS;
  }

  #checkMessage(sent: Sent): void {
    const { to, type, total, atMs, request } = sent;
    this.#count(type);
    const traits = this.bed.recipient.ladder.flat().find((each) => each.to === to)?.traits;
    // The limit bounds how many of them may matter: 600 a minute, over five addresses.
    const at = this.bed.sent.lastIndexOf(sent);
    const ofAddress = this.bed.sent.slice(Math.max(0, at - 3_000), at + 1).filter((each) => each.to === to);
    const inMinute = ofAddress.filter((each) => each.atMs > atMs - MINUTE_MS);
    if (!traits) {
      this.#fault(`${request.message.id} left for ${to}, which is not in the ladder`);
      return;
    }
    const isCritical = request.message.alerts.some(({ severity }) => severity === "critical");
    const isNew = type === "alert" || type === "summary";
    const limit = isNew && isCritical ? traits.perMinute : Math.max(1, traits.perMinute - 1);
    if (inMinute.length > limit) this.#fault(`${inMinute.length} messages to ${to} in a minute`);
    const singles = ofAddress.filter((each) => each.type === "alert" && each.atMs > atMs - 10_000);
    if (singles.length > 5) this.#fault(`${singles.length} single alerts to ${to} in ten seconds`);
    const models = this.#inMessage(request.message.id);
    if (isNew && models.length !== total)
      this.#fault(`${request.message.id} has ${models.length} alerts, not ${total}`);
    for (const model of models) this.#checkAlert(sent, model);
    if (type !== "change") return;
    for (const { id, state } of request.message.alerts) if (state === "cleared") this.#alerts.get(id)?.ended.add(to);
  }

  #checkAlert({ to, type, atMs, channel }: Sent, model: ModelAlert): void {
    const { alert, isAcknowledged, isCleared, isSilenced, sinceMs } = model;
    if (type !== "alert" && type !== "summary") return;
    if (isAcknowledged || isCleared || isSilenced) this.#fault(`${alert.id} left for ${to} after its end`);
    if (this.#hasQuietHours && alert.severity === "warning" && isQuietAt(atMs))
      this.#fault(`${alert.id} broke the quiet`);
    const step = this.bed.recipient.ladder.findIndex((each) => each.some((address) => address.to === to));
    const isEarly = step > 0 && atMs < sinceMs + step * MINUTE_MS;
    if (isEarly && !model.hasFailed) this.#fault(`${alert.id} left for step ${step} after ${atMs - sinceMs} ms`);
    if (step > 0) this.#count("later step");
    model.had.add(to);
    if (channel === "webhook") model.systems.add(to);
  }

  /** A step that was reached stays as it was. */
  #checkFunnels(): void {
    const newest = this.bed.sent.at(-1)?.request.recipient ?? "";
    for (const funnel of this.bed.view.funnelsTo(newest, 30)) {
      const key = `${funnel.messageId} ${funnel.alertId}`;
      const before = this.#funnels.get(key);
      this.#funnels.set(key, funnel);
      const { sentMs, acceptedMs, displayedMs } = funnel;
      if (displayedMs !== undefined && acceptedMs === undefined) this.#fault(`${key} was displayed and not accepted`);
      if ((acceptedMs ?? sentMs) < sentMs || (displayedMs ?? Infinity) < (acceptedMs ?? 0))
        this.#fault(`${key} goes back`);
      for (const step of ["sentMs", "acceptedMs", "displayedMs"] as const)
        if (before?.[step] !== undefined && before[step] !== funnel[step]) this.#fault(`${key} has another ${step}`);
    }
  }

  #checkBounds(): void {
    const { alerts, deliveries, addresses } = this.bed.state;
    const open = alerts.filter(({ closedMs }) => closedMs === 0).length;
    if (open > 2_000 || alerts.length - open > 550 || deliveries.length > 3_000 || addresses.length > 300)
      this.#fault(
        `${open} open, ${alerts.length} alerts, ${deliveries.length} deliveries, ${addresses.length} addresses`,
      );
  }

  /** Alerts in a message, by what the job has recorded. */
  #inMessage(messageId: string): ModelAlert[] {
    const number = Number(messageId.slice(messageId.lastIndexOf("/") + 1));
    const { deliveries, alerts } = this.bed.state;
    const numbers = deliveries.find(([each]) => each === number)?.[8] ?? [];
    return numbers.flatMap((each) => this.#alerts.get(alerts.find((one) => one.number === each)?.id ?? "") ?? []);
  }

  /** Systems are sent every alert, 20 with a message, and their changes, too. */
  #systemsWaitMs(): number {
    const open = [...this.#alerts.values()].filter(({ isCleared }) => !isCleared).length;
    return Math.ceil(open / 20) * MINUTE_MS;
  }

  #firstStep = (): string[] => this.bed.recipient.ladder[0]?.map(({ to }) => to) ?? [];

  #recipient = (ladder: readonly (readonly Address[])[]): Recipient =>
    recipientOf(ladder, this.#hasQuietHours ? { quietHours: QUIET } : {});

  #some(isFit: (model: ModelAlert) => boolean): ModelAlert | undefined {
    const fit = [...this.#alerts.values()].slice(-200).filter((each) => isFit(each));
    return fit.length === 0 ? undefined : this.#random.pick(fit);
  }

  #count(what: string): void {
    this.seen.set(what, (this.seen.get(what) ?? 0) + 1);
  }

  #fault(fault: string): void {
    this.faults.push(`at ${this.bed.nowMs}: ${fault}`);
  }
}
