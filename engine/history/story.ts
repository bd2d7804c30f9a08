/**
 * The history of a SKU or an order as sentences that a warehouse lead can read, in Chinese or English: what there was,
 * every change with its cause and who did it, what there is, and what does not add up. Pure: the same history gives
 * the same story. Times are those of the shop's zone.
 */
import type { FlowException } from "../orders/flow.js";
import type { Evidence, OrderStep } from "../orders/model.js";
import type { Locations } from "../stock/as-of.js";
import { onHandUnits, POOLS, type Pool, type SettledDifference, type StockEvent } from "../stock/model.js";
import { type Change, lineOf } from "./changes.js";
import { type Language, type TextKey, textOf } from "./dictionary.js";
import type { Missing, OrderHistoryFound } from "./order-history.js";
import type { SkuSpan } from "./sku-history.js";

export interface StoryLine {
  readonly atMs: number;
  /** In the shop's zone. */
  readonly time: string;
  readonly text: string;
}

export interface Story {
  readonly language: Language;
  readonly title: string;
  /** What there was before: a heading and lines. */
  readonly before: readonly string[];
  readonly changes: readonly StoryLine[];
  /** What there is after. */
  readonly after: readonly string[];
  /** What does not add up, or that everything does; and whether something is missing from the story. */
  readonly remarks: readonly string[];
}

export interface StoryOptions {
  readonly language: Language;
  /** IANA name of the shop's time zone. */
  readonly zone: string;
}

/** Formats of instants, by zone: making one takes much longer than using it. There is one zone in a process. */
const formats = new Map<string, Intl.DateTimeFormat>();

/** `2026-06-18 20:00:05` in a zone. */
export function localTime(ms: number, zone: string): string {
  const format =
    formats.get(zone) ??
    new Intl.DateTimeFormat("sv-SE", { timeZone: zone, dateStyle: "short", timeStyle: "medium", hourCycle: "h23" });
  formats.set(zone, format);
  return format.format(ms);
}

/** @param missing what could not be read */
export function skuStory(span: SkuSpan, { language, zone }: StoryOptions, missing: readonly Missing[] = []): Story {
  const [from, to] = [localTime(span.fromMs, zone), localTime(span.toMs, zone)];
  const { sku, changes, next, isFinal } = span;
  const say: typeof textOf = textOf;
  const wrong = [...anomaliesOf(changes, language, zone), ...mismatchText(span, language)];
  const isLast = next === undefined;
  return {
    language,
    title: say(language, "skuTitle", { sku, from, to }),
    before: [
      say(language, "opening", { time: localTime(changes[0]?.event.clockMs ?? span.fromMs, zone) }),
      ...levelsOf(span.opening, language),
    ],
    changes: changes.map(({ event, evidence }) => ({
      atMs: event.clockMs,
      time: localTime(event.clockMs, zone),
      text: sentenceOf(event, evidence, language, zone),
    })),
    after: [
      say(language, isFinal ? "closing" : "closingNow", { time: isLast ? to : lastTime(changes, zone) }),
      ...levelsOf(span.closing, language),
    ],
    remarks: [
      ...(changes.length === 0 ? [say(language, "noChanges")] : []),
      ...(wrong.length > 0 ? [say(language, "addsUpNot"), ...wrong] : []),
      ...(isLast && span.isComplete ? [say(language, "complete")] : []),
      ...(isLast ? [] : [say(language, "moreChanges")]),
      ...(isLast && !isFinal ? [say(language, "notFinal")] : []),
      ...incompleteTexts(missing, language, zone),
    ],
  };
}

const lastTime = (changes: readonly Change[], zone: string): string =>
  localTime(changes.at(-1)?.event.clockMs ?? 0, zone);

/** @param exceptions that are open */
export function orderStory(
  history: OrderHistoryFound,
  exceptions: readonly FlowException[],
  { language, zone }: StoryOptions,
): Story {
  const steps = history.steps.map(({ clockMs, step, source, detail }): StoryLine => {
    const evidence = detail ? { source, detail } : { source };
    const text = textOf(language, "stepTaken", { step: stepName(step, language), source: sourceOf(evidence) });
    return { atMs: clockMs, time: localTime(clockMs, zone), text };
  });
  const stock = history.changes.map(
    (event): StoryLine => ({
      atMs: event.clockMs,
      time: localTime(event.clockMs, zone),
      text: `${event.sku} · ${sentenceOf(event, undefined, language, zone)}`,
    }),
  );
  const wrong = anomaliesOf(
    history.changes.map((event) => ({ event, after: new Map() })),
    language,
    zone,
  );
  return {
    language,
    title: textOf(language, "orderTitle", { order: history.id }),
    before: [
      textOf(language, "ordered"),
      ...(history.lines.length === 0 ? [textOf(language, "notKnown")] : []),
      ...history.lines.map(({ sku, units, location }, i) =>
        textOf(language, "orderedLine", { line: i + 1, sku, units, location }),
      ),
    ],
    // Steps and changes of one instant stay in this order: the sort is stable.
    changes: [...stock, ...steps].sort((a, b) => a.atMs - b.atMs),
    after: [],
    remarks: [
      ...(exceptions.length > 0
        ? [textOf(language, "openExceptions"), ...exceptions.map((each) => exceptionText(each, language, zone))]
        : []),
      ...(wrong.length > 0 ? [textOf(language, "addsUpNot"), ...wrong] : []),
      ...(wrong.length === 0 && history.isComplete ? [textOf(language, "nothingWrong")] : []),
      ...incompleteTexts(history.reasons, language, zone),
    ],
  };
}

const incompleteTexts = (missing: readonly Missing[], language: Language, zone: string): string[] =>
  missingTexts(missing, language, (ms) => localTime(ms, zone)).map((reason) =>
    textOf(language, "incomplete", { reason }),
  );

/** What a history lacks as sentences, each once. @param timeText how instants are written */
export const missingTexts = (
  missing: readonly Missing[],
  language: Language,
  timeText: (ms: number) => string,
): string[] => [
  ...new Set(
    missing.map((each) => {
      const values = "atMs" in each ? { time: timeText(each.atMs) } : each;
      return textOf(language, each.what, values as never);
    }),
  ),
];

/** The story as text, for a terminal. */
export function storyText({ title, before, changes, after, remarks }: Story): string {
  const indented = ([head, ...rest]: readonly string[]): string[] =>
    head === undefined ? [] : ["", head, ...rest.map((line) => `  ${line}`)];
  const listed = changes.map(({ time, text }) => `  ${time}  ${text}`);
  return `${[title, ...indented(before), "", ...listed, ...indented(after), "", ...remarks].join("\n")}\n`;
}

function levelsOf(locations: Locations, language: Language): string[] {
  if (locations.size === 0) return [textOf(language, "noLocations")];
  return [...locations].map(([location, balances]) => {
    const values = { location, ...balances, onHand: onHandUnits(balances) };
    return balances.presale === 0 ? textOf(language, "levels", values) : textOf(language, "levelsWithPresale", values);
  });
}

/** A line's sentences by the type of its event; those with an end of `Presale` are of lines from presale. */
const LINE_TEXTS = {
  StockReserved: "reservedLine",
  LinePaid: "paid",
  LineCancelled: "cancelled",
  LineOutbound: "outbound",
  LineAborted: "aborted",
  LineUnpaid: "unpaid",
  LineAccepted: "accepted",
  LineSuspended: "suspended",
  LineResumed: "resumed",
  LineExpired: "expired",
} as const satisfies Readonly<Record<string, TextKey>>;

const OTHER_TEXTS = {
  SkuConfigured: "configured",
  AlertAcknowledged: "acknowledged",
  BreakerOpened: "breakerOpened",
  BreakerHalfOpened: "breakerHalfOpened",
  BreakerClosed: "breakerClosed",
} as const satisfies Readonly<Record<string, TextKey>>;

const nameOf = (pool: string, language: Language): string =>
  (POOLS as readonly string[]).includes(pool) ? textOf(language, pool as Pool) : pool;

/** Times are shown in seconds. */
const SHOWN_DELAY_MS = 1_000;

/** One event as a sentence, with its cause and who did it. */
function sentenceOf(event: StockEvent, evidence: Evidence | undefined, language: Language, zone: string): string {
  const happened =
    event.type !== "LineAccepted" && event.clockMs - event.atMs >= SHOWN_DELAY_MS
      ? textOf(language, "happenedAt", { time: localTime(event.atMs, zone) })
      : "";
  return whatOf(event, language) + happened + causeOf(event, evidence, language);
}

function whatOf(event: StockEvent, language: Language): string {
  const { type, units, location, toLocation, from, to } = event;
  const pool = nameOf(from === "outside" ? to : from, language);
  const values = { units, location, pool };
  if (type === "StockReceived") return textOf(language, "received", values);
  if (type === "StockReturned") return textOf(language, "returned", values);
  if (type === "StockCorrected") return textOf(language, from === "outside" ? "found" : "lost", values);
  if (type === "StockMoved")
    return toLocation === undefined
      ? textOf(language, "movedPool", { units, location, from: nameOf(from, language), to: nameOf(to, language) })
      : textOf(language, "movedLocation", { units, location, toLocation });
  if (type in OTHER_TEXTS) return textOf(language, OTHER_TEXTS[type as keyof typeof OTHER_TEXTS]);
  if (!(type in LINE_TEXTS)) return textOf(language, "otherChange", { type, units });
  const { order, line } = lineOf(event) ?? { order: event.id, line: 1 };
  const returnedTo = nameOf(to, language);
  return textOf(language, lineTextOf(event), { order, line, units, location, pool: returnedTo } as never);
}

/** Lines that end give back what they hold. */
const ENDS: ReadonlySet<string> = new Set(["LineCancelled", "LineAborted", "LineUnpaid", "LineExpired"]);

/** A line from presale takes nothing from the goods on hand before it is sent. */
function lineTextOf({ type, from, to }: StockEvent): TextKey {
  if (type === "StockReserved" && from === "presale") return "reservedPresale";
  if (type === "LinePaid" && from === "sellable") return "paidAnew";
  if (type === "LinePaid" && to === "outside") return "paidPresale";
  if (ENDS.has(type) && to === "outside") return "endedWithNothing";
  return LINE_TEXTS[type as keyof typeof LINE_TEXTS];
}

const isText = (value: unknown): value is string => typeof value === "string" && value !== "";

function causeOf({ detail = {} }: StockEvent, evidence: Evidence | undefined, language: Language): string {
  const { actor, onBehalfOf, reason, settlement } = detail as Readonly<Record<string, unknown>>;
  let text = settlement === undefined ? "" : textOf(language, "settles", snapshotIn(settlement));
  if (isText(actor) && isText(onBehalfOf)) text += textOf(language, "byOnBehalf", { actor, person: onBehalfOf });
  else if (isText(actor)) text += textOf(language, "by", { actor });
  else if (evidence) text += textOf(language, "reportedBy", { source: sourceOf(evidence) });
  if (isText(reason)) text += textOf(language, "because", { reason });
  return text;
}

/** Of a correction that settled a difference. */
function snapshotIn(settlement: unknown): { source: string; snapshot: string } {
  const { source, snapshot } = settlement as SettledDifference;
  return { source, snapshot };
}

/** `shop (api-token)`: who reported a step, and who was authenticated. */
function sourceOf({ source, detail }: Evidence): string {
  const actor = detail?.["actor"];
  return isText(actor) ? `${source} (${actor})` : source;
}

/** What cannot be explained by the books, as sentences. */
function anomaliesOf(changes: readonly Change[], language: Language, zone: string): string[] {
  return changes.flatMap(({ event, after }) => {
    const time = localTime(event.clockMs, zone);
    const lines: string[] = [];
    const missing = event.detail?.["missingUnits"];
    const what = whatOf(event, language);
    if (typeof missing === "number" && missing > 0)
      lines.push(textOf(language, "missingUnits", { time, what, units: missing }));
    else if (event.detail?.["unexplained"] === true) lines.push(textOf(language, "unexplained", { time, what }));
    for (const [location, balances] of after)
      for (const pool of POOLS) {
        const units = balances[pool];
        if (units < 0)
          lines.push(textOf(language, "belowZero", { time, location, pool: nameOf(pool, language), units }));
      }
    return lines;
  });
}

const mismatchText = ({ mismatches }: SkuSpan, language: Language): string[] =>
  mismatches.map(({ location, pool, countedUnits: counted, storedUnits: stored }) =>
    textOf(language, "mismatch", { location, pool: nameOf(pool, language), counted, stored }),
  );

const STEP_NAMES: Readonly<Record<OrderStep, TextKey>> = {
  created: "created",
  paid: "paidStep",
  locked: "locked",
  picking: "picking",
  labelled: "labelled",
  waybill: "waybill",
  outbound: "outboundStep",
  reported: "reported",
  cancelled: "cancelledStep",
  cancelling: "cancelling",
  cancellation_refused: "cancellationRefused",
  partly_outbound: "partlyOutbound",
  counted: "counted",
};

const stepName = (step: OrderStep, language: Language): string =>
  (textOf as (language: Language, key: TextKey) => string)(language, STEP_NAMES[step]);

function exceptionText({ step: taken, kind, sinceMs, units = 0 }: FlowException, language: Language, zone: string) {
  const values = { step: stepName(taken, language), time: localTime(sinceMs, zone) };
  if (kind === "late") return textOf(language, "exceptionLate", values);
  if (kind === "skipped") return textOf(language, "exceptionSkipped", values);
  if (kind === "cancellation_refused") return textOf(language, "exceptionRefused", values);
  return textOf(language, "exceptionUnits", { ...values, units });
}
