/**
 * An order's way through the shop as a pure state machine (R16): created → paid → stock locked → with the warehouse →
 * label printed → outbound → logistics reported. A step is taken only on evidence. One that is overtaken by a later
 * step has been skipped, one that has not come when its time is over is late: both are exceptions, open until the
 * evidence comes after all. Reads no clock; the same events and deadlines give the same answers.
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
  /** When the step ought to have been there, or when a later one was; of the others, when they came to light. */
  sinceMs: number;
  /** Units that the books have nowhere. */
  units?: number;
}

/**
 * `cancellation_refused`: the warehouse keeps an order that its buyer does not want any more. `unexplained_outbound`:
 * goods left that the books could not explain. `missing_units`: less came back from a cancelled order than had been
 * committed. A stock count settles the last two.
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
  /** `again`: the warehouse had refused to let go before. */
  | { kind: "withdraw"; again?: true }
  | { kind: "opened"; exception: FlowException }
  | { kind: "resolved"; exception: FlowException };

/**
 * How long after the step before it a step may take, in ms. From `picking` on, one without a deadline need not come
 * at all.
 */
export type Deadlines = Readonly<Partial<Record<OrderStep, number>>>;

/** @param hasWarehouse whether somebody tells that the warehouse has an order; otherwise that step is not waited for */
export function deadlinesWith(deadlines: Deadlines, hasWarehouse: boolean): Deadlines {
  if (hasWarehouse) return deadlines;
  const { picking: _, ...others } = deadlines;
  return others;
}

/**
 * A finished order is shown for a day; one that has stopped on its way for as long as anybody may still look for it.
 */
const FINISHED_KEPT_MS = DAY_MS;
const UNFINISHED_KEPT_MS = 45 * DAY_MS;
/** How long a warehouse may take to say whether it lets go of an order. */
const SETTLING_MS = 30 * MINUTE_MS;
/** Longer than a payment may be under way. */
const UNPAID_KEPT_MS = HOUR_MS;

/** The steps that one way leads through; `waybill` is an errand beside it. */
const WAY = ["created", "paid", "locked", "picking", "labelled", "outbound", "reported"] as const;
/** Noted together, so one cannot be late after the other. */
const ALWAYS_OWED: ReadonlySet<OrderStep> = new Set(["created", "paid", "locked"]);
const ERRANDS: Partial<Record<OrderStep, OrderStep>> = { waybill: "labelled" };

export const newFlow = (): OrderFlow => ({ taken: [], open: [] });

/** Takes a step. A step that has been taken already changes nothing, but for those that may come again. */
export function takeStep(flow: OrderFlow, taken: TakenStep, deadlines: Deadlines): FlowEffect[] {
  const { step, atMs, detail } = taken;
  const before = flow.taken.find(
    (each) => each.step === step && (step !== "partly_outbound" || each.detail?.["lines"] === detail?.["lines"]),
  );
  if (before && step !== "counted") return [];
  if (before) flow.taken.splice(flow.taken.indexOf(before), 1, taken);
  else flow.taken.push(taken);
  const effects: FlowEffect[] = resolve(flow, (exception) => isSettledBy(exception, step));
  const isOut = isDeparture(taken);
  // Each departure tells of all lines that have left so far: what the ones before it told is not missing once more.
  const told = isOut ? flow.taken.filter((each) => each !== taken && isDeparture(each)).map(missingOf) : [];
  const units = Math.max(0, missingOf(taken) - Math.max(0, ...told));
  const known = flow.open.find(({ kind }) => kind === "unexplained_outbound");
  if (isOut && known) known.units = (known.units ?? 0) + units;
  else if (isOut && (units > 0 || stepOf(flow, "cancelled")))
    effects.push(open(flow, { step: "outbound", kind: "unexplained_outbound", sinceMs: atMs, units }));
  if (step === "cancelled") {
    if (units > 0) effects.push(open(flow, { step, kind: "missing_units", sinceMs: atMs, units }));
    // A warehouse that was asked has let go already; one that had refused may have been asked for the order once more
    // since.
    const isRefused = stepOf(flow, "cancellation_refused") !== undefined;
    const isAsked = stepOf(flow, "cancelling") !== undefined && !isRefused;
    if (!isAsked && wasLocked(flow) && !stepOf(flow, "outbound"))
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
    // Its request may have been left out while the cancellation was open: a paid order that goes on has to reach the
    // warehouse. Only of an order that was locked is it told, whether that was seen here or not.
    if (!stepOf(flow, "picking")) effects.push({ kind: "pick" });
    return effects;
  }
  if (isResumed(flow)) return effects;
  for (const earlier of WAY.slice(0, Math.max(0, WAY.indexOf(step as (typeof WAY)[number])))) {
    const isOwed = ALWAYS_OWED.has(earlier) || deadlines[earlier] !== undefined;
    if (!isOwed || stepOf(flow, earlier) || exceptionOf(flow, earlier)) continue;
    effects.push(open(flow, { step: earlier, kind: "skipped", sinceMs: atMs }));
  }
  if (step === "locked" && !stepOf(flow, "cancelling")) effects.push({ kind: "pick" });
  return effects;
}

const isDeparture = ({ step }: TakenStep): boolean => step === "outbound" || step === "partly_outbound";

const missingOf = ({ detail }: TakenStep): number => Number(detail?.["missing"] ?? 0);

/**
 * What is late or skipped waits for its step; a refused cancellation for the goods to leave; what only a count can
 * tell for the count.
 */
function isSettledBy({ step: about, kind }: FlowException, step: OrderStep): boolean {
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

/** When the flow has to be looked at next. */
export function nextDeadlineMs(flow: OrderFlow, deadlines: Deadlines): number {
  return Math.min(endMs(flow), ...due(flow, deadlines).map(({ sinceMs }) => sinceMs));
}

/** From when on nobody needs the flow any more. */
export function endMs(flow: OrderFlow): number {
  const lastMs = flow.taken.reduce((latest, { atMs }) => Math.max(latest, atMs), 0);
  if (stepOf(flow, "cancelled") && !stepOf(flow, "paid")) return lastMs + UNPAID_KEPT_MS;
  return lastMs + (isEnded(flow) ? FINISHED_KEPT_MS : UNFINISHED_KEPT_MS);
}

/** Nothing more is owed of it: it was cancelled, or its way is behind it, and its errands are done. */
const isEnded = (flow: OrderFlow): boolean =>
  (stepOf(flow, "cancelled") ?? stepOf(flow, "reported")) !== undefined && flow.open.length === 0;

/** Whether the warehouse has been asked to let go of the order, and has not answered. */
const isSettling = (flow: OrderFlow): boolean =>
  stepOf(flow, "cancelling") !== undefined &&
  !(["cancelled", "cancellation_refused", "outbound"] as const).some((step) => stepOf(flow, step));

/**
 * An order is kept for longer than its way is: which steps came before the way was given up is not known here any
 * more.
 */
const isResumed = ({ taken: [first, second] }: OrderFlow): boolean =>
  first?.step === "created" &&
  second !== undefined &&
  second.step !== "paid" &&
  second.atMs - first.atMs > UNFINISHED_KEPT_MS;

/**
 * Whether the warehouse may have the order. The lock may lie before what is known here: then its cancellation tells,
 * and of an order that is so old nobody asks for one unless it was paid.
 */
const wasLocked = (flow: OrderFlow): boolean =>
  stepOf(flow, "locked") !== undefined ||
  isResumed(flow) ||
  (["cancelling", "cancelled"] as const).some((step) => stepOf(flow, step)?.detail?.["after"] === "locked");

/** What is owed and when. */
function due(flow: OrderFlow, deadlines: Deadlines): FlowException[] {
  if (stepOf(flow, "cancelled")) return [];
  const asked = isSettling(flow) ? stepOf(flow, "cancelling") : undefined;
  if (asked) {
    if (!wasLocked(flow) || exceptionOf(flow, "cancelled")) return [];
    return [{ step: "cancelled", kind: "late", sinceMs: asked.atMs + SETTLING_MS }];
  }
  const owed: FlowException[] = [];
  for (const step of ORDER_STEPS) {
    const withinMs = deadlines[step];
    if (withinMs === undefined || stepOf(flow, step) || exceptionOf(flow, step)) continue;
    const before = stepOf(flow, stepBefore(step, deadlines));
    if (before) owed.push({ step, kind: "late", sinceMs: before.atMs + withinMs });
  }
  return owed;
}

function stepBefore(step: OrderStep, deadlines: Deadlines): OrderStep {
  const errandAfter = ERRANDS[step];
  if (errandAfter) return errandAfter;
  const position = WAY.indexOf(step as (typeof WAY)[number]);
  for (let i = position - 1; i > 2; i--) if (deadlines[WAY[i] as OrderStep] !== undefined) return WAY[i] as OrderStep;
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
