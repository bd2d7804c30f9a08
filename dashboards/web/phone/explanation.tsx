/**
 * Why an alert fired, in a sentence with its figures, and what helps to decide: what is sellable, how long it lasts,
 * what is on its way, what to buy (R7).
 */
import { type Page, usePage } from "../page-context.js";
import type { AlertDetails } from "./alert-details.js";
import { minutesLeftOf, type PhoneAlert } from "./phone-model.js";

interface ExplanationProps {
  alert: PhoneAlert;
  details: AlertDetails | undefined;
}

export function Explanation({ alert, details }: ExplanationProps) {
  const page = usePage();
  const { text, format } = page;
  if (alert.rule !== "depletion") return <ConditionText rule={alert.rule} details={details} />;
  const minutes = minutesLeftOf(alert);
  const outlook = details?.outlook;
  const units = (value: number | null | undefined) => (value == null ? text("factNone") : format.units(value));
  const sellable = alert.sellableUnits ?? outlook?.sellableUnits;
  const left = minutes ?? (sellable === outlook?.sellableUnits ? (outlook?.minutesLeft ?? undefined) : undefined);
  const lasts =
    sellable === 0
      ? text("stockNone")
      : left === undefined
        ? text("factNone")
        : left < 1
          ? text("underMinute")
          : format.age(left * 60_000);
  const suggested = outlook?.suggestedUnits;
  return (
    <section class="phone-card explanation">
      <p class="why">{whyText(page, { alert, details })}</p>
      {alert.state === "cleared" && (
        <p class="facts-then">{text("factsThen", { time: format.minute(alert.firedMs) })}</p>
      )}
      <dl class="facts">
        <div data-tone={sellable === 0 ? "alarm" : undefined}>
          <dt>{text("factSellable")}</dt>
          <dd>{units(sellable)}</dd>
        </div>
        <div data-tone={left !== undefined && left < 60 ? "alarm" : undefined}>
          <dt>{text("factLeft")}</dt>
          <dd>{lasts}</dd>
        </div>
        <div>
          <dt>{text("factInbound")}</dt>
          <dd>{units(outlook?.inboundUnits)}</dd>
        </div>
        <div data-tone={suggested != null && suggested > 0 ? "accent" : undefined}>
          <dt>{text("factSuggested")}</dt>
          <dd>{suggested === 0 ? text("noPurchase") : units(suggested)}</dd>
        </div>
      </dl>
    </section>
  );
}

/** The sentence of a depletion alert. */
function whyText({ text, format }: Page, { alert, details }: ExplanationProps): string {
  const hourUnits = alert.hourUnits ?? details?.hourUnits ?? 0;
  const { dailyAverage } = alert;
  const times = format.times(hourUnits, dailyAverage);
  const units = format.units(hourUnits);
  if (times === undefined || dailyAverage === null) return text("explainCold", { units });
  const values = { units, times, average: format.units(dailyAverage) };
  const threshold = details?.thresholdUnits;
  return threshold === undefined
    ? text("explainDepletionShort", values)
    : text("explainDepletion", { ...values, threshold: format.units(threshold) });
}

/** Rules whose figures are seconds; the others count something, or are a share. */
const IN_SECONDS: ReadonlySet<string> = new Set(["jobs_behind", "receiver_circuit"]);

/** Of the other rules: the figure that has passed its limit, and the reason in the engine's words. */
function ConditionText({ rule, details }: { rule: string; details: AlertDetails | undefined }) {
  const { text, format } = usePage();
  const { reason, value, limit } = details ?? {};
  if (reason === undefined && value === undefined) return null;
  const figure = (each: number) => {
    if (IN_SECONDS.has(rule)) return format.age(each * 1_000);
    return rule === "redis_full" ? format.share(each) : format.units(each);
  };
  return (
    <section class="phone-card explanation">
      {value !== undefined && limit !== undefined && (
        <p class="why">{text("conditionValue", { value: figure(value), limit: figure(limit) })}</p>
      )}
      {reason !== undefined && <p class="why">{reason}</p>}
    </section>
  );
}
