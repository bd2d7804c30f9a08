/**
 * One alert, or one SKU: why it fired, how long the stock lasts and what to buy, its history, its stock by location,
 * and who was notified. The buttons stay at the bottom, under the thumb. Figures in the explanation are those of when
 * it fired; the large ones are the present ones.
 */
import { useState } from "preact/hooks";
import { alertNames } from "../alert-text.js";
import { SkuChart } from "../charts/sku-chart.js";
import { useResource } from "../desk/use-resource.js";
import { usePage } from "../page-context.js";
import { useAcknowledge } from "./acknowledge.js";
import type { Screen } from "./address.js";
import type { AlertDetails } from "./alert-details.js";
import { Balances } from "./balances.js";
import { Explanation } from "./explanation.js";
import { Funnel } from "./funnel.js";
import type { PhoneAlert, PhoneModel } from "./phone-model.js";
import { SilenceSheet } from "./silence-sheet.js";

const DETAILS_EVERY_MS = 5_000;

interface AlertScreenProps {
  screen: Extract<Screen, { name: "alert" | "sku" }>;
  model: PhoneModel;
  isLive: boolean;
}

export function AlertScreen({ screen, model, isLive }: AlertScreenProps) {
  const { text } = usePage();
  const [isSilencing, setSilencing] = useState(false);
  const alert =
    screen.name === "alert"
      ? model.alerts.find(({ id }) => id === screen.id)
      : model.alerts.find(
          ({ subject, rule, state }) => subject === screen.sku && rule === "depletion" && state !== "cleared",
        );
  const path = alert && `/v1/alerts/${encodeURIComponent(alert.id)}`;
  const details = useResource<AlertDetails>(path, DETAILS_EVERY_MS, alert?.state);
  const sku = screen.name === "sku" ? screen.sku : alert?.rule === "depletion" ? alert.subject : undefined;
  if (alert === undefined && sku === undefined)
    return (
      <div class="phone-empty" role="status">
        <strong>{text("alertGone")}</strong>
        <span>{text("alertGoneNote")}</span>
      </div>
    );
  return (
    <article class="alert-screen">
      <Title alert={alert} sku={sku} silencedUntil={details.answer?.silencedUntil} />
      {alert !== undefined && <Explanation alert={alert} details={details.answer} />}
      {sku !== undefined && (
        <section class="phone-card">
          <h2>{text("chartTitle")}</h2>
          <SkuChart sku={sku} nowMs={model.nowMs} />
        </section>
      )}
      {sku !== undefined && <Balances sku={sku} />}
      {alert !== undefined && <Funnel alert={alert} details={details.answer} />}
      {alert !== undefined && alert.state !== "cleared" && (
        <ActionBar alert={alert} isLive={isLive} onSilence={() => setSilencing(true)} />
      )}
      {isSilencing && alert !== undefined && (
        <SilenceSheet alert={alert} nowMs={model.nowMs} onClose={() => setSilencing(false)} />
      )}
    </article>
  );
}

interface TitleProps {
  alert: PhoneAlert | undefined;
  sku: string | undefined;
  silencedUntil: string | undefined;
}

function Title({ alert, sku, silencedUntil }: TitleProps) {
  const { text, format } = usePage();
  const { name, detail } = alert === undefined ? { name: sku, detail: "" } : alertNames(text, alert);
  return (
    <header class="alert-title">
      <h1 class="sku">{name}</h1>
      {alert !== undefined && (
        <p>
          <span class="pill" data-severity={alert.severity} data-state={alert.state}>
            {detail}
          </span>
          <span>
            {alert.clearedMs === null
              ? text("alertSince", { time: format.minute(alert.firedMs) })
              : text("alertClearedAt", { time: format.minute(alert.clearedMs) })}
          </span>
          {alert.acknowledgedBy !== null && (
            <span class="done">{text("acknowledgedBy", { actor: alert.acknowledgedBy })}</span>
          )}
          {silencedUntil !== undefined && (
            <span>{text("silencedUntil", { time: format.minute(Date.parse(silencedUntil)) })}</span>
          )}
        </p>
      )}
    </header>
  );
}

function ActionBar({ alert, isLive, onSilence }: { alert: PhoneAlert; isLive: boolean; onSilence: () => void }) {
  const { text } = usePage();
  const { isSending, fault, acknowledge } = useAcknowledge(alert);
  return (
    <div class="action-bar">
      {fault !== undefined && (
        <p class="fault" role="alert">
          {text("actionFailed", { detail: fault })}
        </p>
      )}
      <button type="button" class="button" disabled={!isLive} onClick={onSilence}>
        {text("silence")}
      </button>
      {alert.state === "fired" && (
        <button
          type="button"
          class="button button-strong"
          data-tone="good"
          data-testid="acknowledge"
          disabled={isSending || !isLive}
          onClick={acknowledge}
        >
          {text(isSending ? "acknowledging" : "acknowledge")}
        </button>
      )}
    </div>
  );
}
