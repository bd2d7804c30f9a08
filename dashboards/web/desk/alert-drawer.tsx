/**
 * One alert beside the desk: why it fired, its history, its stock by location, and who was notified. The browser's own
 * dialog keeps the focus inside and closes on Escape.
 */
import { useLayoutEffect, useRef } from "preact/hooks";
import { alertNames } from "../alert-text.js";
import { SkuChart } from "../charts/sku-chart.js";
import { usePage } from "../page-context.js";
import type { AlertDetails } from "../phone/alert-details.js";
import { Balances } from "../phone/balances.js";
import { Explanation } from "../phone/explanation.js";
import { Funnel } from "../phone/funnel.js";
import type { PhoneAlert } from "../phone/phone-model.js";
import { useResource } from "./use-resource.js";

const DETAILS_EVERY_MS = 5_000;

interface AlertDrawerProps {
  alert: PhoneAlert;
  /** The shop's time. */
  nowMs: number;
  onClose: () => void;
}

export function AlertDrawer({ alert, nowMs, onClose }: AlertDrawerProps) {
  const { text, format } = usePage();
  const { name, detail } = alertNames(text, alert);
  const dialog = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => dialog.current?.showModal(), []);
  const details = useResource<AlertDetails>(
    `/v1/alerts/${encodeURIComponent(alert.id)}`,
    DETAILS_EVERY_MS,
    alert.state,
  ).answer;
  return (
    <dialog ref={dialog} class="drawer" aria-labelledby="drawer-title" onClose={onClose} data-testid="drawer">
      <header class="drawer-head">
        <div>
          <h2 id="drawer-title">{name}</h2>
          <p class="quiet">
            {detail} · {text("alertSince", { time: format.minute(alert.firedMs) })}
          </p>
        </div>
        <button type="button" class="button" onClick={() => dialog.current?.close()}>
          {text("close")}
        </button>
      </header>
      <Explanation alert={alert} details={details} />
      {alert.rule === "depletion" && (
        <section class="phone-card">
          <SkuChart sku={alert.subject} nowMs={nowMs} />
        </section>
      )}
      {alert.rule === "depletion" && <Balances sku={alert.subject} />}
      <Funnel alert={alert} details={details} />
    </dialog>
  );
}
