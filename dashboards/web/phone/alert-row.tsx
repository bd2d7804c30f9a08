/**
 * One alert in the list: what, how many times the daily average, how long the stock lasts, since when; and two large
 * buttons. A tap elsewhere opens it. What is acknowledged shows by whom instead of the button; what is cleared is one
 * dimmed line.
 */
import { alertNames } from "../alert-text.js";
import { usePage } from "../page-context.js";
import { useAcknowledge } from "./acknowledge.js";
import { alertHash, openFromList } from "./address.js";
import { minutesLeftOf, type PhoneAlert } from "./phone-model.js";

interface AlertRowProps {
  alert: PhoneAlert;
  nowMs: number;
  isLive: boolean;
  onSilence: () => void;
}

/** The figure on the right: the multiple of the daily average, or what takes its place. */
function Multiple({ alert: { rule, hourUnits, dailyAverage } }: { alert: PhoneAlert }) {
  const { text, format } = usePage();
  if (rule !== "depletion" || hourUnits === null) return null;
  const times = format.times(hourUnits, dailyAverage);
  return (
    <span class="row-times">
      {times === undefined ? (
        <small>{text(dailyAverage === null ? "alertCold" : "alertNoSales")}</small>
      ) : (
        <>
          <strong>
            {times}
            <i>{text("timesMark")}</i>
          </strong>
          <small>{text("alertTimesShort")}</small>
        </>
      )}
    </span>
  );
}

/** How long the stock lasts, red when it is less than an hour. */
function StockLeft({ alert }: { alert: PhoneAlert }) {
  const { text, format } = usePage();
  if (alert.sellableUnits === 0) return <span data-tone="alarm">{text("stockNone")}</span>;
  const minutes = minutesLeftOf(alert);
  if (minutes === undefined) return null;
  const duration = minutes < 1 ? text("underMinute") : format.age(minutes * 60_000);
  return <span data-tone={minutes < 60 ? "alarm" : "calm"}>{text("stockLeft", { duration })}</span>;
}

export function AlertRow({ alert, nowMs, isLive, onSilence }: AlertRowProps) {
  const { text, format } = usePage();
  const { name, detail } = alertNames(text, alert);
  const isCleared = alert.state === "cleared";
  const open = (event: MouseEvent) => {
    event.preventDefault();
    openFromList(alertHash(alert.id));
  };
  return (
    <li
      class="alert-card"
      data-testid="alert"
      data-id={alert.id}
      data-state={alert.state}
      data-severity={alert.severity}
    >
      <a class="card-link" href={alertHash(alert.id)} onClick={open}>
        <span class="card-what">
          <b class="sku">{name}</b>
          {alert.rule !== "depletion" && <span class="card-rule">{detail}</span>}
          {!isCleared && (
            <span class="card-figures">
              {alert.hourUnits !== null && (
                <span>{text("hourUnitsShort", { units: format.units(alert.hourUnits) })}</span>
              )}
              <StockLeft alert={alert} />
            </span>
          )}
          <span class="card-when">
            {isCleared ? (
              <span>{text("alertClearedAt", { time: format.minute(alert.clearedMs ?? alert.firedMs) })}</span>
            ) : (
              <>
                <span>{text("alertSince", { time: format.minute(alert.firedMs) })}</span>
                <span>{text("alertFor", { duration: format.age(Math.max(60_000, nowMs - alert.firedMs)) })}</span>
              </>
            )}
          </span>
        </span>
        <Multiple alert={alert} />
      </a>
      {!isCleared && <Buttons alert={alert} name={name} isLive={isLive} onSilence={onSilence} />}
    </li>
  );
}

function Buttons({
  alert,
  name,
  isLive,
  onSilence,
}: Pick<AlertRowProps, "alert" | "isLive" | "onSilence"> & { name: string }) {
  const { text } = usePage();
  const { isSending, fault, acknowledge } = useAcknowledge(alert);
  return (
    <div class="card-buttons">
      {alert.state === "acknowledged" ? (
        <span class="card-done">
          <svg viewBox="0 0 24 24" aria-hidden="true">
            <path d="m5 12.5 4.5 4.5L19 7.5" />
          </svg>
          {alert.acknowledgedBy === null
            ? text("alertAcknowledged")
            : text("acknowledgedBy", { actor: alert.acknowledgedBy })}
        </span>
      ) : (
        <button
          type="button"
          class="button button-strong"
          data-tone="good"
          disabled={isSending || !isLive}
          aria-label={text("acknowledgeNamed", { name })}
          onClick={acknowledge}
        >
          {text(isSending ? "acknowledging" : "acknowledge")}
        </button>
      )}
      <button
        type="button"
        class="button"
        disabled={!isLive}
        aria-label={text("silenceNamed", { name })}
        onClick={onSilence}
      >
        {text("silence")}
      </button>
      {fault !== undefined && (
        <p class="fault" role="alert">
          {text("actionFailed", { detail: fault })}
        </p>
      )}
    </div>
  );
}
