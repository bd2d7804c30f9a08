/**
 * The alert job with a log's clock, timers and the view. The state of each key is stored and read again after every
 * call, as the runtime does.
 */
import { alertKeyOf } from "../../../engine/alerting/alert.js";
import type { ConditionRule } from "../../../engine/alerting/rules.js";
import {
  ACKNOWLEDGE_EVENT,
  BREAKER_EVENT,
  type BreakerEvent,
  CONDITION_EVENT,
  DEPLETION_EVENT,
  type DepletionEvent,
  REACHABLE_EVENT,
  ROUTED_EVENT,
  type RouteCommand,
  type RoutedEvent,
  SILENCE_EVENT,
} from "../../../engine/jobs/alerts/events.js";
import { alertsJob } from "../../../engine/jobs/alerts/job.js";
import type { AlertsState } from "../../../engine/jobs/alerts/state.js";
import { AlertsView } from "../../../engine/jobs/alerts/view.js";
import type { JobContext } from "../../../engine/stream/job.js";
import { decodeState, encodeState } from "../../../engine/stream/pack.js";

export const START_MS = Date.UTC(2026, 5, 18, 10);
/** Of a report of a condition. */
export const VALID_MS = 180_000;
export const CUP = alertKeyOf({ rule: "depletion", subject: "CUP" });
export const SHOP = alertKeyOf({ rule: "breaker", subject: "shop" });
export const WMS = alertKeyOf({ rule: "receiver_circuit", subject: "wms" });

export class AlertsBed {
  readonly view = new AlertsView();
  nowMs = START_MS;
  readonly #states = new Map<string, Buffer>();
  readonly #timers = new Map<string, number>();
  #routes: RouteCommand[] = [];

  /** Undefined: the key has no state. */
  state(key: string): AlertsState | undefined {
    const packed = this.#states.get(key);
    return packed && (decodeState(packed) as AlertsState);
  }

  timerMs(key: string): number | undefined {
    return this.#timers.get(key);
  }

  /** What was emitted since it was last taken. */
  routes(): RouteCommand[] {
    const taken = this.#routes;
    this.#routes = [];
    return taken;
  }

  /** The same in words: `notify CUP#1 0`. */
  routed = (): string[] => this.routes().map(({ what, alert, level }) => `${what} ${alert.id} ${level}`);

  event(key: string, kind: string, payload: unknown): void {
    const place = { offset: 1, index: 0, atMs: this.nowMs, clockMs: this.nowMs };
    this.#call(key, (state, context) => alertsJob.onEvent(state, { ...place, id: "e", key, kind, payload }, context));
  }

  /** Moves the log's clock on; timers fire on the way. */
  pass(ms: number): void {
    const untilMs = this.nowMs + ms;
    for (;;) {
      const [due] = [...this.#timers].filter(([, atMs]) => atMs <= untilMs).sort(([, one], [, other]) => one - other);
      if (!due) break;
      const [key, atMs] = due;
      this.nowMs = Math.max(this.nowMs, atMs);
      this.#timers.delete(key);
      this.#call(key, (state, context) => alertsJob.onTimer?.(state, atMs, context));
    }
    this.nowMs = untilMs;
  }

  depletion(type: DepletionEvent["type"], number: number, more: Partial<DepletionEvent> = {}): void {
    const figures = { hourUnits: 70, dailyAverage: 20, thresholdUnits: 60 };
    const event: DepletionEvent = {
      ...{ type, alertId: `CUP#${number}`, number, sku: "CUP", atMs: this.nowMs, firedMs: this.nowMs, ...figures },
      acknowledgedBy: type === "acknowledged" ? "li.wei" : null,
      ...more,
    };
    this.event(CUP, DEPLETION_EVENT, event);
  }

  breaker(kind: BreakerEvent["kind"], number: number): void {
    const cause = { actor: "engine", reason: "wms and ledger part", untilMs: this.nowMs + 600_000, divergence: 0.012 };
    const event: BreakerEvent = { number, scope: "shop", kind, atMs: this.nowMs, ...cause };
    this.event(SHOP, BREAKER_EVENT, event);
  }

  condition(isMet: boolean, reporter = "worker-1", rule: ConditionRule = "receiver_circuit", subject = "wms"): void {
    const payload = { rule, subject, reporter, isMet, value: 12, limit: 10, validMs: VALID_MS };
    this.event(alertKeyOf({ rule, subject }), CONDITION_EVENT, payload);
  }

  answer(key: string, alertId: string, more: Partial<RoutedEvent> = {}): void {
    this.event(key, ROUTED_EVENT, { alertId, level: 0, recipients: ["person:li.wei"], ...more });
  }

  acknowledge(key: string, alertId: string, actor = "li.wei"): void {
    this.event(key, ACKNOWLEDGE_EVENT, { alertId, actor });
  }

  silence(key: string): void {
    this.event(key, SILENCE_EVENT, { silenceId: "S1" });
  }

  reachable(key: string): void {
    this.event(key, REACHABLE_EVENT, {});
  }

  #call(key: string, call: (state: AlertsState, context: JobContext) => void): void {
    const stored = this.#states.get(key);
    const state = (stored ? decodeState(stored) : alertsJob.initial(key)) as AlertsState;
    let isCleared = false;
    call(state, {
      key,
      watermarkMs: this.nowMs,
      emit: (_kind, payload) => this.#routes.push(decodeState(encodeState(payload)) as RouteCommand),
      setTimer: (atMs) => {
        if (atMs === undefined) this.#timers.delete(key);
        else this.#timers.set(key, Math.max(atMs, this.nowMs + 1));
      },
      late: () => {},
      clear: () => {
        isCleared = true;
      },
    });
    if (isCleared) {
      this.#states.delete(key);
      this.#timers.delete(key);
      this.view.onClear(key);
      return;
    }
    this.#states.set(key, encodeState(state));
    this.view.onView(key, decodeState(encodeState(alertsJob.view?.(state, key, 0))));
  }
}
