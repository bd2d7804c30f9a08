/**
 * Options of orders: how long each step may take (R16, R17), how many orders with exceptions raise an alert, and how
 * long personal data is kept. The same in every process of a deployment.
 */
import { DAY_MS, HOUR_MS, MINUTE_MS } from "../kernel/clock.js";
import { defineOptions, type OptionValues } from "../kernel/options.js";
import type { Deadlines } from "./flow.js";
import type { PersonalDataTimes } from "./order-store.js";

const longest = 30 * DAY_MS;

export const orderOptions = defineOptions({
  pickingDeadlineMs: {
    type: "duration",
    default: 5 * MINUTE_MS,
    min: 1_000,
    max: longest,
    about: "from stock locked to the order being at the warehouse; only expected once the deployment has a WMS",
  },
  labelDeadlineMs: {
    type: "duration",
    default: 2 * HOUR_MS,
    min: 1_000,
    max: longest,
    about: "from the order being at the warehouse to the label printed",
  },
  waybillDeadlineMs: {
    type: "duration",
    default: 15 * MINUTE_MS,
    min: 1_000,
    max: longest,
    about: "from the label printed to the waybill number being back (R17)",
  },
  outboundDeadlineMs: {
    type: "duration",
    default: 2 * HOUR_MS,
    min: 1_000,
    max: longest,
    about: "from the label printed to the goods having left",
  },
  logisticsDeadlineMs: {
    type: "duration",
    default: DAY_MS,
    min: 1_000,
    max: longest,
    about: "from the goods having left to the carrier's first report",
  },
  exceptionFloor: {
    type: "integer",
    default: 1,
    min: 1,
    max: 1_000_000,
    unit: "orders",
    about: "how many orders must be late at a step, or have skipped it, for an alert; it clears below 80 % of them",
  },
  personalDataDays: {
    type: "integer",
    default: 30,
    min: 1,
    max: 365,
    unit: "days",
    about: "how long the buyer's personal data is kept after the order's end (goods left, or cancelled)",
  },
  unpaidDataDays: {
    type: "integer",
    default: 1,
    min: 1,
    max: 365,
    unit: "days",
    about:
      "how long the buyer's personal data of an unpaid order is kept after it was placed; then it cannot be paid any more",
  },
});

/** How long personal data is kept. */
export const personalDataTimesOf = (options: OptionValues<typeof orderOptions>): PersonalDataTimes => ({
  endedMs: options.personalDataDays * DAY_MS,
  unpaidMs: options.unpaidDataDays * DAY_MS,
});

/** The deadline of `picking` holds only with a warehouse: see `deadlinesWith`. */
export const deadlinesOf = (options: OptionValues<typeof orderOptions>): Deadlines => ({
  picking: options.pickingDeadlineMs,
  labelled: options.labelDeadlineMs,
  waybill: options.waybillDeadlineMs,
  outbound: options.outboundDeadlineMs,
  reported: options.logisticsDeadlineMs,
});
