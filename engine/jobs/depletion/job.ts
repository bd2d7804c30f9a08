/**
 * The depletion job (R8–R10, R12's data): per SKU, units leaving sellable for orders in one-minute panes, their sum
 * over the trailing hour, the daily average in the shop's zone, and the one alert that may be open. Fires on a
 * deduction that counts or at a minute's end, clears at a minute's end. The panes are the heatmap's cells: one state
 * serves both, because they are the same numbers.
 */
import type { Zone } from "../../kernel/zone.js";
import type { StockEvent } from "../../stock/model.js";
import { configured, type SettingsState, settingOf } from "../../stock/settings.js";
import type { Job, JobContext } from "../../stream/job.js";
import { isInWindow } from "../../stream/watermark.js";
import {
  addToPane,
  dropPanesBefore,
  minuteEndMs,
  minuteOf,
  type Panes,
  panesFrom,
  sumOfPanes,
} from "../../stream/window.js";
import {
  ALERT_FACTOR,
  ALERT_FLOOR_UNITS,
  type AlertRule,
  AVERAGE_DAYS,
  dailyAverageOf,
  fires,
  stays,
  thresholdUnitsOf,
} from "./rule.js";

export const DEPLETION_JOB = "depletion.1";
/** Panes of the trailing hour (R9). */
export const WINDOW_MINUTES = 60;

export interface OpenAlert {
  id: string;
  firedAtMs: number;
  /** As they were when it fired. */
  hourUnits: number;
  dailyAverage: number | null;
  acknowledgedBy: string | null;
}

export interface DepletionState {
  panes: Panes;
  /** `[day, units, …]` of the last 7 days and today, oldest first. */
  days: number[];
  firstDay: number | null;
  alert: OpenAlert | null;
  /** Alerts fired so far: numbers them. */
  fired: number;
  settings: SettingsState | null;
}

/** The figures of a SKU for screens. */
export interface DepletionFigures {
  /** Minute of the figures; older panes than 59 minutes before it are not in the sum. */
  minute: number;
  dailyAverage: number | null;
  panes: Panes;
  alert: OpenAlert | null;
}

/**
 * Emitted when an alert fires, is acknowledged or clears; `atMs` is the log's clock at the deduction, or the minute's
 * end.
 */
export interface AlertChange {
  type: "fired" | "acknowledged" | "cleared";
  sku: string;
  atMs: number;
  /** Now; `dailyAverage` is null in cold start. */
  hourUnits: number;
  dailyAverage: number | null;
  /** Units above which it fires now; undefined in changes by older releases and in acknowledgements. */
  thresholdUnits?: number;
  /** The alert as it fired, and who has acknowledged it so far. */
  alert: OpenAlert;
}

export const ALERT_EMIT = "alert";

/**
 * Whether an event is demand (R9): each line is, once, when its order is accepted as a whole. A line by itself and
 * that of an order with one line are with their reservation; one of several with `LineAccepted`, which comes when all
 * are reserved; a presale line when its goods leave sellable at last. A line paid anew after its hold ended has been
 * counted before.
 */
const isDemand = (event: StockEvent): boolean => {
  if (event.type === "LineAccepted") return true;
  if (event.from !== "sellable") return false;
  return event.type === "StockReserved"
    ? event.uncounted !== true
    : event.type === "LineOutbound" && event.presale === true;
};

/** Evaluates the alert rule of a SKU in the shop's zone. */
class AlertEvaluator {
  readonly #zone: Zone;
  #cachedMinute = Number.NaN;
  #cachedEvaluationMs = 0;

  constructor(zone: Zone) {
    this.#zone = zone;
  }

  averageAt(state: DepletionState, atMs: number): number | undefined {
    return state.firstDay === null ? undefined : dailyAverageOf(state.days, state.firstDay, this.#zone.dayOf(atMs));
  }

  /** Evaluates the rule as of a minute; `atMs` is the time of a change. */
  evaluate(
    state: DepletionState,
    sku: string,
    minute: number,
    atMs: number,
    atMinuteEnd: boolean,
    context: JobContext,
  ): void {
    dropPanesBefore(state.panes, minute - WINDOW_MINUTES + 1);
    const hourUnits = sumOfPanes(state.panes, minute - WINDOW_MINUTES + 1, minute);
    // A minute belongs to the day it begins in.
    const average = this.averageAt(state, minuteEndMs(minute - 1));
    const rule = ruleOf(state);
    const report = (type: AlertChange["type"], alert: OpenAlert): void => {
      const thresholdUnits = thresholdUnitsOf(average, rule);
      const change: AlertChange = { type, sku, atMs, hourUnits, dailyAverage: average ?? null, thresholdUnits, alert };
      context.emit(ALERT_EMIT, change);
    };
    if (!state.alert && fires(hourUnits, average, rule)) {
      state.fired++;
      const id = `${sku}#${state.fired}`;
      state.alert = { id, firedAtMs: atMs, hourUnits, dailyAverage: average ?? null, acknowledgedBy: null };
      report("fired", { ...state.alert });
    } else if (state.alert && atMinuteEnd && !stays(hourUnits, average, rule)) {
      report("cleared", state.alert);
      state.alert = null;
    }
    context.setTimer(this.#nextEvaluationMs(state, minute, atMinuteEnd));
  }

  /**
   * When the SKU has to be evaluated without a deduction. An open alert: at every minute's end. Otherwise the sum of
   * the trailing hour can only fall, so only new settings, or a new day with its new average, can make it fire: at the
   * end of the day's first minute, if a pane is left by then.
   */
  #nextEvaluationMs(state: DepletionState, minute: number, atMinuteEnd: boolean): number | undefined {
    if (state.alert) return minuteEndMs(atMinuteEnd ? minute + 1 : minute);
    const newest = state.panes.at(-2);
    if (newest === undefined) return undefined;
    const evaluationMs = this.#dayEvaluationMs(minute);
    return minuteOf(evaluationMs) - 1 < newest + WINDOW_MINUTES ? evaluationMs : undefined;
  }

  /**
   * The end of the first minute of the next day. Cached, because it is needed at every deduction and mostly for the
   * same minute.
   */
  #dayEvaluationMs(minute: number): number {
    if (minute !== this.#cachedMinute) {
      this.#cachedMinute = minute;
      this.#cachedEvaluationMs = minuteEndMs(minuteOf(this.#zone.nextDayMs(minuteEndMs(minute - 1))));
    }
    return this.#cachedEvaluationMs;
  }
}

export function depletionJob(zone: Zone): Job<StockEvent, DepletionState> {
  const evaluator = new AlertEvaluator(zone);
  return {
    name: DEPLETION_JOB,

    viewedEmits: [ALERT_EMIT],

    key: (event) =>
      isDemand(event) || event.type === "SkuConfigured" || event.type === "AlertAcknowledged" ? event.sku : undefined,

    initial: () => ({ panes: [], days: [], firstDay: null, alert: null, fired: 0, settings: null }),

    onEvent(state, event, context) {
      if (event.type === "SkuConfigured") {
        state.settings = configured(state.settings, event);
        // Units sold before may fire an alert by the new rule.
        if (state.panes.length > 0) context.setTimer(minuteEndMs(minuteOf(event.clockMs)));
        return;
      }
      if (event.type === "AlertAcknowledged") {
        acknowledge(state, event, context);
        return;
      }
      const day = zone.dayOf(event.atMs);
      if (state.firstDay === null || day < state.firstDay) state.firstDay = day;
      addToPane(state.days, day, event.units);
      dropPanesBefore(state.days, zone.dayOf(event.clockMs) - AVERAGE_DAYS);

      // An event that happened earlier counts in its own pane; the rule is evaluated for the hour that ends now.
      if (isInWindow(event.atMs, event.clockMs, WINDOW_MINUTES))
        addToPane(state.panes, minuteOf(event.atMs), event.units);
      else context.late();
      evaluator.evaluate(state, event.sku, minuteOf(event.clockMs), event.clockMs, false, context);
    },

    onTimer(state, atMs, context) {
      evaluator.evaluate(state, context.key, minuteOf(atMs) - 1, atMs, true, context);
    },

    view: (state, _key, sinceMs): DepletionFigures => {
      const newest = state.panes.at(-2) ?? 0;
      return {
        minute: newest,
        dailyAverage: evaluator.averageAt(state, minuteEndMs(newest - 1)) ?? null,
        panes: panesFrom(state.panes, minuteOf(sinceMs)),
        alert: state.alert,
      };
    },
  };
}

function acknowledge(state: DepletionState, event: StockEvent, context: JobContext): void {
  const { alert } = state;
  // An alert that has cleared meanwhile is not acknowledged any more.
  if (!alert || alert.id !== event.detail?.["alertId"] || alert.acknowledgedBy !== null) return;
  alert.acknowledgedBy = String(event.detail["actor"] ?? "");
  const change: AlertChange = {
    type: "acknowledged",
    sku: event.sku,
    atMs: event.atMs,
    hourUnits: alert.hourUnits,
    dailyAverage: alert.dailyAverage,
    alert: { ...alert },
  };
  context.emit(ALERT_EMIT, change);
}

const ruleOf = ({ settings }: DepletionState): AlertRule => ({
  factor: settingOf(settings, ALERT_FACTOR),
  floorUnits: settingOf(settings, ALERT_FLOOR_UNITS),
});
