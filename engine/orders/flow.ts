/**
 * The steps of an order as a pure state machine (R16): created → paid → stock locked → at the warehouse →
 * label printed → outbound → logistics reported. A step is taken only on evidence. A step is skipped when
 * a later one comes first, and late when it has not come by its deadline: both are exceptions, open until
 * its evidence comes. Reads no clock; the same events and deadlines give the same result.
 */
import { DAY_MS, HOUR_MS, MINUTE_MS } from "../kernel/clock.js";
import { type Evidence, ORDER_STEPS, type OrderStep } from "./model.js";

/** A step that was taken. */
export interface TakenStep extends Evidence {
  step: OrderStep;
  atMs: number;
}

export interface FlowException {
  step: OrderStep;
  kind: (typeof EXCEPTION_KINDS)[number];
  /** Late: the deadline. Skipped: when the later step came. The others: when they were found. */
  sinceMs: number;
  /** Units that no account had. */
  units?: number;
}

/**
 * `cancellation_refused`: the warehouse sends an order that its buyer has cancelled. `unexplained_outbound`: goods left
 * that no account had. `missing_units`: fewer units came back from a cancelled order than had been committed. A stock
 * count resolves the last two.
 */
export const EXCEPTION_KINDS = [
  "late",
  "skipped",
  "cancellation_refused",
  "unexplained_outbound",
  "missing_units",
] as const;

export interface OrderFlow {
  /** In the order in which they came. */
  taken: TakenStep[];
  open: FlowException[];
}

/** What follows from an event or from a moment. */
export type FlowEffect =
  | { kind: "pick" }
  /** `again`: the warehouse has refused a withdrawal before. */
  | { kind: "withdraw"; again?: true }
  | { kind: "opened"; exception: FlowException }
  | { kind: "resolved"; exception: FlowException };

/**
 * How long after the step before it a step may take, in ms. From `picking` on, a step without a deadline is not
 * expected at all.
 */
export type Deadlines = Readonly<Partial<Record<OrderStep, number>>>;

/** @param hasWarehouse whether a warehouse reports `picking`; without one that step is not expected */
export function deadlinesWith(deadlines: Deadlines, hasWarehouse: boolean): Deadlines {
  if (hasWarehouse) return deadlines;
  const { picking: _, ...others } = deadlines;
  return others;
}

/** How long a flow is kept after its last step: a finished one, and one that has stopped before its end. */
const FINISHED_KEPT_MS = DAY_MS;
const UNFINISHED_KEPT_MS = 45 * DAY_MS;
/** How long a warehouse may take to answer a cancellation. */
const WITHDRAWAL_DEADLINE_MS = 30 * MINUTE_MS;
/** Longer than a payment can be under way. */
const UNPAID_KEPT_MS = HOUR_MS;

/** The steps in their order; `waybill` is a side step. */
const MAIN_PATH = ["created", "paid", "locked", "picking", "labelled", "outbound", "reported"] as const;
type MainStep = (typeof MAIN_PATH)[number];
const LOCKED_INDEX = MAIN_PATH.indexOf("locked");
/** Expected of every order, with or without a deadline. They are recorded together, so none is late after another. */
const ALWAYS_EXPECTED: ReadonlySet<OrderStep> = new Set(["created", "paid", "locked"]);
/** Steps beside the main path, and the step that each follows. */
const SIDE_STEPS: Partial<Record<OrderStep, OrderStep>> = { waybill: "labelled" };

export const newFlow = (): OrderFlow => ({ taken: [], open: [] });

/** Takes a step. A step that has been taken already changes nothing, except for those that may come again. */
export function takeStep(flow: OrderFlow, taken: TakenStep, deadlines: Deadlines): FlowEffect[] {
  const { step, atMs, detail } = taken;
  const before = flow.taken.find(
    (each) => each.step === step && (step !== "partly_outbound" || each.detail?.["lines"] === detail?.["lines"]),
  );
  if (before && step !== "counted") return [];
  if (before) flow.taken.splice(flow.taken.indexOf(before), 1, taken);
  else flow.taken.push(taken);
  const effects: FlowEffect[] = resolve(flow, (exception) => isResolvedBy(exception, step));
  const isOut = isDeparture(taken);
  // Each departure reports the missing units of all lines that have left so far: what earlier ones reported is not
  // counted again.
  const reported = isOut ? flow.taken.filter((each) => each !== taken && isDeparture(each)).map(missingOf) : [];
  const units = Math.max(0, missingOf(taken) - Math.max(0, ...reported));
  const known = flow.open.find(({ kind }) => kind === "unexplained_outbound");
  if (isOut && known) known.units = (known.units ?? 0) + units;
  else if (isOut && (units > 0 || stepOf(flow, "cancelled")))
    effects.push(open(flow, { step: "outbound", kind: "unexplained_outbound", sinceMs: atMs, units }));
  if (step === "cancelled") {
    if (units > 0) effects.push(open(flow, { step, kind: "missing_units", sinceMs: atMs, units }));
    // A warehouse that was asked has withdrawn the order already; one that had refused may have got its pick request
    // again since.
    const isRefused = stepOf(flow, "cancellation_refused") !== undefined;
    const isWithdrawn = stepOf(flow, "cancelling") !== undefined && !isRefused;
    if (!isWithdrawn && wasLocked(flow) && !stepOf(flow, "outbound"))
      effects.push(isRefused ? { kind: "withdraw", again: true } : { kind: "withdraw" });
    return effects;
  }
  if (stepOf(flow, "cancelled")) return effects;
  if (step === "cancelling") {
    if (wasLocked(flow) && !stepOf(flow, "outbound")) effects.push({ kind: "withdraw" });
    return effects;
  }
  if (step === "cancellation_refused") {
    if (stepOf(flow, "outbound")) return effects;
    effects.push(open(flow, { step: "cancelling", kind: step, sinceMs: atMs }));
    // The pick request may have been left out while the cancellation was open: a paid order that goes on has to reach
    // the warehouse. A refusal is recorded only for an order that was locked, whether this flow has that step or not.
    if (!stepOf(flow, "picking")) effects.push({ kind: "pick" });
    return effects;
  }
  if (isResumed(flow)) return effects;
  for (const earlier of MAIN_PATH.slice(0, Math.max(0, MAIN_PATH.indexOf(step as MainStep)))) {
    const isExpected = ALWAYS_EXPECTED.has(earlier) || deadlines[earlier] !== undefined;
    if (!isExpected || stepOf(flow, earlier) || exceptionOf(flow, earlier)) continue;
    effects.push(open(flow, { step: earlier, kind: "skipped", sinceMs: atMs }));
  }
  if (step === "locked" && !stepOf(flow, "cancelling")) effects.push({ kind: "pick" });
  return effects;
}

const isDeparture = ({ step }: TakenStep): boolean => step === "outbound" || step === "partly_outbound";

const missingOf = ({ detail }: TakenStep): number => Number(detail?.["missing"] ?? 0);

/**
 * A late or skipped step is resolved by its evidence, a refused cancellation by the goods' departure, missing units by
 * a stock count.
 */
function isResolvedBy({ step: about, kind }: FlowException, step: OrderStep): boolean {
  if (kind === "unexplained_outbound" || kind === "missing_units") return step === "counted";
  if (step === "cancelled") return true;
  if (kind === "cancellation_refused") return step === "outbound";
  if (about === "cancelled") return step === "cancellation_refused" || step === "outbound";
  return about === step;
}

/** Opens what has become late by a moment. */
export function passTime(flow: OrderFlow, nowMs: number, deadlines: Deadlines): FlowEffect[] {
  return due(flow, deadlines)
    .filter(({ sinceMs }) => sinceMs <= nowMs)
    .map((exception) => open(flow, exception));
}

/** When the flow has to be evaluated next. */
export function nextDeadlineMs(flow: OrderFlow, deadlines: Deadlines): number {
  return Math.min(endMs(flow), ...due(flow, deadlines).map(({ sinceMs }) => sinceMs));
}

/** From when on the flow is not needed any more. */
export function endMs(flow: OrderFlow): number {
  const lastMs = flow.taken.reduce((latest, { atMs }) => Math.max(latest, atMs), 0);
  if (stepOf(flow, "cancelled") && !stepOf(flow, "paid")) return lastMs + UNPAID_KEPT_MS;
  return lastMs + (isEnded(flow) ? FINISHED_KEPT_MS : UNFINISHED_KEPT_MS);
}

/** Whether nothing more is expected: the order was cancelled, or its last step was taken, and no exception is open. */
const isEnded = (flow: OrderFlow): boolean =>
  (stepOf(flow, "cancelled") ?? stepOf(flow, "reported")) !== undefined && flow.open.length === 0;

/** Whether a cancellation has been requested and has no answer yet. */
const isCancelling = (flow: OrderFlow): boolean =>
  stepOf(flow, "cancelling") !== undefined &&
  !(["cancelled", "cancellation_refused", "outbound"] as const).some((step) => stepOf(flow, step));

/**
 * Whether this flow began again after an earlier one of the order was deleted: an order is kept for longer than its
 * flow, and the steps before that are not known here.
 */
const isResumed = ({ taken: [first, second] }: OrderFlow): boolean =>
  first?.step === "created" &&
  second !== undefined &&
  second.step !== "paid" &&
  second.atMs - first.atMs > UNFINISHED_KEPT_MS;

/**
 * Whether the warehouse may have the order. If the lock came before the steps that are known here, the cancellation
 * has `after: locked`; an order whose flow began again is cancelled only if it was paid.
 */
const wasLocked = (flow: OrderFlow): boolean =>
  stepOf(flow, "locked") !== undefined ||
  isResumed(flow) ||
  (["cancelling", "cancelled"] as const).some((step) => stepOf(flow, step)?.detail?.["after"] === "locked");

/** The steps that are expected, each as the exception that its absence becomes at `sinceMs`. */
function due(flow: OrderFlow, deadlines: Deadlines): FlowException[] {
  if (stepOf(flow, "cancelled")) return [];
  const requested = isCancelling(flow) ? stepOf(flow, "cancelling") : undefined;
  if (requested) {
    if (!wasLocked(flow) || exceptionOf(flow, "cancelled")) return [];
    return [{ step: "cancelled", kind: "late", sinceMs: requested.atMs + WITHDRAWAL_DEADLINE_MS }];
  }
  const expected: FlowException[] = [];
  for (const step of ORDER_STEPS) {
    const withinMs = deadlines[step];
    if (withinMs === undefined || stepOf(flow, step) || exceptionOf(flow, step)) continue;
    const before = stepOf(flow, stepBefore(step, deadlines));
    if (before) expected.push({ step, kind: "late", sinceMs: before.atMs + withinMs });
  }
  return expected;
}

function stepBefore(step: OrderStep, deadlines: Deadlines): OrderStep {
  const before = SIDE_STEPS[step];
  if (before) return before;
  // From the step before it back to the first after `locked`.
  for (let i = MAIN_PATH.indexOf(step as MainStep) - 1; i > LOCKED_INDEX; i--) {
    const earlier = MAIN_PATH[i] as MainStep;
    if (deadlines[earlier] !== undefined) return earlier;
  }
  return "locked";
}

const stepOf = (flow: OrderFlow, step: OrderStep): TakenStep | undefined =>
  flow.taken.find((taken) => taken.step === step);

const exceptionOf = (flow: OrderFlow, step: OrderStep): FlowException | undefined =>
  flow.open.find((exception) => exception.step === step && (exception.kind === "late" || exception.kind === "skipped"));

function open(flow: OrderFlow, exception: FlowException): FlowEffect {
  flow.open.push(exception);
  return { kind: "opened", exception };
}

function resolve(flow: OrderFlow, which: (exception: FlowException) => boolean): FlowEffect[] {
  const resolved = flow.open.filter(which);
  flow.open = flow.open.filter((exception) => !which(exception));
  return resolved.map((exception) => ({ kind: "resolved", exception }));
}
