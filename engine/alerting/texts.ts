/**
 * Messages as people read them: a title, lines, and both as Markdown, in the person's language. An alert explains
 * itself: by which figures it fired and what may be done. Texts from outside (SKUs, names, reasons) are made safe, so
 * none of them can mention anybody, be a link or add a line. Times are durations, so a text does not depend on a zone.
 */
import { DAY_MS, HOUR_MS, MINUTE_MS } from "../kernel/clock.js";
import type { Alert, AlertFigures, StockOutlook } from "./alert.js";
import { type TextKey, type Translate, translatorOf } from "./dictionary.js";
import type { Message } from "./notification.js";
import type { AlertRuleName } from "./rules.js";
import { safeText } from "./safe-text.js";

const SECOND_MS = 1_000;
/** Locations that are named; of more, their number is added. */
const LOCATIONS_NAMED = 5;
const REASON_CHARACTERS = 200;

/** One line for people: what has happened. */
export function titleOf(message: Message): string {
  const text = translatorOf(message.language);
  const [alert] = message.alerts;
  if (message.type === "test") return text("test");
  if (message.total === 1 && alert) return single(message, alert, text);
  const number = numberText(message.total);
  if (message.type === "change") return text("summaryChanges", { number });
  if (message.type === "repeat") return text("summaryRepeats", { number });
  const isCritical = message.alerts.every(({ severity }) => severity === "critical");
  return text(isCritical ? "summaryCritical" : "summaryAlerts", { number });
}

/**
 * What follows the title: the figures of one alert, or the titles of several. What does not fit is left out line by
 * line, and the last line states how many alerts that are.
 * @param options.maxBytes of UTF-8, with the ends of lines; left out: all lines
 */
export const linesOf = (
  message: Message,
  { maxBytes = Number.POSITIVE_INFINITY }: { readonly maxBytes?: number } = {},
): readonly string[] => linesWithin(message, (lines) => Buffer.byteLength(lines.join("\n")) <= maxBytes);

/**
 * Title and lines as Markdown: a bold line and a list. What does not fit is left out as in `linesOf`.
 * @param options.maxBytes of UTF-8, at least 200
 */
export function markdownOf(message: Message, { maxBytes }: { readonly maxBytes: number }): string {
  const title = `**${titleOf(message)}**`;
  const render = (lines: readonly string[]): string =>
    lines.length === 0 ? title : `${title}\n\n${lines.map((line) => `- ${line}`).join("\n")}`;
  return render(linesWithin(message, (lines) => Buffer.byteLength(render(lines)) <= maxBytes));
}

/** As many lines as fit. */
function linesWithin(message: Message, fits: (lines: readonly string[]) => boolean): readonly string[] {
  const { shown, left } = bodyOf(message);
  for (let count = shown.length; ; count--) {
    const leftOut = left + (isSeveral(message) ? shown.length - count : 0);
    const more = leftOut > 0 ? [moreOf(message, leftOut)] : count < shown.length ? ["…"] : [];
    const lines = [...shown.slice(0, count), ...more];
    if (count === 0 || fits(lines)) return lines;
  }
}

const isSeveral = ({ type, total }: Message): boolean => type !== "test" && total !== 1;

/** The lines without the last one of a list, and how many alerts of the list are left out. */
function bodyOf(message: Message): { shown: readonly string[]; left: number } {
  const text = translatorOf(message.language);
  const { alerts, total, type } = message;
  const [alert] = alerts;
  if (type === "test") return { shown: [text("testNote")], left: 0 };
  if (isSeveral(message) || !alert)
    return { shown: alerts.map((each) => single(message, each, text)), left: Math.max(0, total - alerts.length) };
  return { shown: type === "change" ? changeLines(alert, text) : alertLines(alert, text), left: 0 };
}

const moreOf = ({ language }: Message, left: number): string =>
  translatorOf(language)("more", { number: numberText(left) });

function single({ type }: Message, alert: Alert, text: Translate): string {
  const title = alertTitle(alert, text);
  if (type === "repeat") return text("stillOpen", { title });
  if (type !== "change") return title;
  return text(alert.state === "cleared" ? "cleared" : "acknowledged", { title });
}

function changeLines(alert: Alert, text: Translate): readonly string[] {
  const { acknowledgedBy, clearedMs, firedMs } = alert;
  return [
    ...(acknowledgedBy === undefined ? [] : [text("acknowledgedBy", { actor: safeText(acknowledgedBy) })]),
    ...(clearedMs === undefined ? [] : [text("clearedAfter", { duration: durationText(clearedMs - firedMs, text) })]),
  ];
}

/** What the title of an alert is, by its rule. */
const TITLES: Readonly<Record<AlertRuleName, (alert: Alert, text: Translate) => string>> = {
  depletion: ({ subject, figures }, text) =>
    text("depletion", { sku: safeText(subject), units: unitsText(figures.hourUnits ?? 0, text) }),
  breaker: ({ subject }, text) => {
    const name = safeText(subject.slice(subject.indexOf(":") + 1));
    if (subject.startsWith("location:")) return text("breakerLocation", { name });
    return subject.startsWith("sku:") ? text("breakerSku", { name }) : text("breakerShop");
  },
  order_exceptions: ({ subject, figures }, text) => {
    const number = numberText(figures.value ?? 0);
    const [step = "", kind = ""] = subject.split("/");
    const stepKey = STEPS.get(step);
    if (kind === "late" && stepKey) return text("exceptionLate", { step: text(stepKey), number });
    if (kind === "skipped" && stepKey) return text("exceptionSkipped", { step: text(stepKey), number });
    const key = EXCEPTIONS.get(kind);
    return key ? text(key, { number }) : text("exceptionOther", { subject: safeText(subject), number });
  },
  receiver_circuit: ({ subject }, text) => text("receiverCircuit", { subject: safeText(subject) }),
  jobs_behind: ({ subject, figures }, text) =>
    text("jobsBehind", {
      subject: safeText(subject),
      duration: durationText((figures.value ?? 0) * SECOND_MS, text),
    }),
  dead_letters: ({ subject, figures }, text) =>
    text("deadLetters", { subject: safeText(subject), number: numberText(figures.value ?? 0) }),
  redis_full: ({ figures }, text) => text("redisFull", { share: shareText(figures.value ?? 0, text) }),
};

const alertTitle = (alert: Alert, text: Translate): string => TITLES[alert.rule](alert, text);

function alertLines(alert: Alert, text: Translate): readonly string[] {
  const { figures, firedMs } = alert;
  const { actor, reason } = figures;
  return [
    ...LINES[alert.rule](figures, text, firedMs),
    ...(alert.outlook ? outlookLines(alert.outlook, text) : []),
    ...(alert.category === undefined ? [] : [text("category", { category: safeText(alert.category) })]),
    ...locationLines(alert.locations ?? [], text),
    ...(actor === undefined ? [] : [text("actor", { actor: safeText(actor) })]),
    ...(reason === undefined || reason === "" ? [] : [text("reason", { reason: safeText(reason, REASON_CHARACTERS) })]),
  ];
}

/** The figures by which each rule fired. */
const LINES: Readonly<Record<AlertRuleName, (figures: AlertFigures, text: Translate, firedMs: number) => string[]>> = {
  depletion: depletionLines,
  breaker: ({ divergence, untilMs }, text, firedMs) => [
    ...(divergence === undefined ? [] : [text("breakerDivergence", { share: shareText(divergence, text) })]),
    ...(untilMs === undefined
      ? []
      : [
          untilMs === 0
            ? text("breakerNoEnd")
            : text("breakerFor", { duration: durationText(untilMs - firedMs, text) }),
        ]),
  ],
  order_exceptions: () => [],
  receiver_circuit: ({ value }, text) =>
    value === undefined || value < 1 ? [] : [text("receiverFor", { duration: durationText(value * SECOND_MS, text) })],
  jobs_behind: ({ limit }, text) =>
    limit === undefined ? [] : [text("jobsBehindLimit", { duration: durationText(limit * SECOND_MS, text) })],
  dead_letters: (_, text) => [text("deadLettersNote")],
  redis_full: ({ limit }, text) =>
    limit === undefined ? [] : [text("redisFullNote", { share: shareText(limit, text) })],
};

function depletionLines(figures: AlertFigures, text: Translate): string[] {
  const { hourUnits = 0, dailyAverage, thresholdUnits = 0 } = figures;
  const units = unitsText(hourUnits, text);
  const threshold = unitsText(thresholdUnits, text);
  if (dailyAverage === undefined) return [text("depletionHour", { units })];
  if (dailyAverage === null) return [text("depletionCold", { units, threshold })];
  return [
    text("depletionRate", { units, average: unitsText(dailyAverage, text), threshold }),
    ...(dailyAverage > 0 ? [text("depletionTimes", { times: numberText(hourUnits / dailyAverage) })] : []),
  ];
}

function outlookLines(outlook: StockOutlook, text: Translate): string[] {
  const { sellableUnits, safetyUnits, inboundUnits, minutesLeft, suggestedUnits } = outlook;
  const units = unitsText(sellableUnits, text);
  const duration = durationText((minutesLeft ?? 0) * MINUTE_MS, text);
  return [
    sellableUnits <= 0
      ? text("stockGone")
      : minutesLeft === null
        ? text("stockIdle", { units })
        : text("stockLeft", { units, duration }),
    text("stockPlan", { safety: unitsText(safetyUnits, text), inbound: unitsText(inboundUnits, text) }),
    suggestedUnits === null
      ? text("suggestedUnknown")
      : suggestedUnits === 0
        ? text("suggestedNone")
        : text("suggestedUnits", { units: unitsText(suggestedUnits, text) }),
  ];
}

function locationLines(locations: readonly string[], text: Translate): string[] {
  if (locations.length === 0) return [];
  const named = locations.slice(0, LOCATIONS_NAMED).map((location) => safeText(location));
  const left = locations.length - named.length;
  return [text("locations", { locations: named.join(text("listComma")) + (left > 0 ? ` +${left}` : "") })];
}

/** With one decimal where that says more. */
function numberText(value: number): string {
  const digits = Math.abs(value) < 10 ? 1 : 0;
  return Number(value.toFixed(digits)).toLocaleString("en-US");
}

const unitsText = (value: number, text: Translate): string =>
  value === 1 ? text("oneUnit") : text("units", { number: numberText(value) });

const shareText = (share: number, text: Translate): string =>
  text("percent", { number: Number((share * 100).toFixed(share < 0.1 ? 2 : 0)).toString() });

/** Its largest unit, with one decimal below ten hours or days. */
function durationText(ms: number, text: Translate): string {
  if (ms < MINUTE_MS) return text("seconds", { number: numberText(Math.max(0, Math.round(ms / SECOND_MS))) });
  if (ms < 2 * HOUR_MS) return text("minutes", { number: numberText(Math.round(ms / MINUTE_MS)) });
  if (ms < 2 * DAY_MS) return text("hours", { number: numberText(ms / HOUR_MS) });
  return text("days", { number: numberText(ms / DAY_MS) });
}

type StepKey = Extract<TextKey, `step${string}`>;

/** Texts of the steps of an order, and of the exceptions that do not depend on the step. */
const STEPS: ReadonlyMap<string, StepKey> = new Map([
  ["created", "stepCreated"],
  ["paid", "stepPaid"],
  ["locked", "stepLocked"],
  ["picking", "stepPicking"],
  ["labelled", "stepLabelled"],
  ["waybill", "stepWaybill"],
  ["outbound", "stepOutbound"],
  ["reported", "stepReported"],
  ["cancelled", "stepCancelled"],
  ["cancelling", "stepCancelling"],
  ["cancellation_refused", "stepCancellationRefused"],
  ["partly_outbound", "stepPartlyOutbound"],
  ["counted", "stepCounted"],
]);
const EXCEPTIONS: ReadonlyMap<
  string,
  "exceptionCancellationRefused" | "exceptionUnexplainedOutbound" | "exceptionMissingUnits"
> = new Map([
  ["cancellation_refused", "exceptionCancellationRefused"],
  ["unexplained_outbound", "exceptionUnexplainedOutbound"],
  ["missing_units", "exceptionMissingUnits"],
]);
