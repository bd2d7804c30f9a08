/**
 * The alerts (R10): open ones first and large, those of depletion with how many times the daily average the trailing
 * hour is now, those of other rules with their rule; cleared ones dimmed below. A wall shows as many as fit and their
 * number, a phone the first few and a button for the rest, a desktop all. Screen readers announce a new alert once, not
 * the whole list.
 */
import { useEffect, useRef, useState } from "preact/hooks";
import type { AlertBody } from "../feeds/alerts.js";
import { alertNames } from "./alert-text.js";
import { useFit } from "./fit.js";
import { nameWidth, shortName } from "./format.js";
import type { LiveModel } from "./live-model.js";
import { usePage } from "./page-context.js";

/** Heights in rem, as in styles/alerts.css. */
const ENTRY_REM = 4.25;
/** The notice that no alert is open is as tall as three entries. */
const EMPTY_ENTRIES = 3;
/** In Latin letters; a longer name loses its middle. */
const WIDEST_NAME = { wall: 30, desktop: 40, phone: 80 } as const;
const CLEARED_SHOWN = { wall: 8, desktop: 8, phone: 3 } as const;
/** A phone shows these first, so that the SKUs below need little scrolling. */
const FIRST_ALERTS = 8;

function Alert({ alert, model }: { alert: AlertBody; model: LiveModel }) {
  const { text, format, layout } = usePage();
  const open = alert.state !== "cleared";
  // An open alert shows the present figures, a cleared one those of when it fired.
  const isDepletion = alert.rule === "depletion";
  const row = open && isDepletion ? model.heat.rowOf.get(alert.sku) : undefined;
  const hourUnits = row?.hourUnits ?? alert.hourUnits;
  const dailyAverage = row === undefined ? alert.dailyAverage : row.dailyAverage;
  const times = format.times(hourUnits, dailyAverage);
  const names = alertNames(text, alert);
  const name = shortName(names.name, WIDEST_NAME[layout]);
  const cold = dailyAverage === null;
  return (
    <li
      class="alert"
      data-testid="alert"
      data-id={alert.id}
      data-sku={alert.sku}
      data-state={alert.state}
      data-long={nameWidth(name) > 17 ? "" : undefined}
    >
      <span class="alert-mark" aria-hidden="true">
        {open ? "▲" : "✓"}
      </span>
      <div class="alert-what">
        <b class="sku" title={names.name}>
          {name}
        </b>
        <span class="alert-when">
          {!isDepletion && <span>{names.detail}</span>}
          {alert.clearedAtMs !== null && !open ? (
            text("alertClearedAt", { time: format.minute(alert.clearedAtMs) })
          ) : (
            <>
              <span>{text("alertSince", { time: format.minute(alert.firedAtMs) })}</span>
              <span>
                {text("alertFor", { duration: format.duration(minutesOnly(model.engine.nowMs - alert.firedAtMs)) })}
              </span>
            </>
          )}
          {alert.state === "acknowledged" && <span class="badge">{text("alertAcknowledged")}</span>}
        </span>
      </div>
      {isDepletion && (
        <>
          <div class="alert-times">
            {times !== undefined ? (
              <>
                <strong>
                  {times}
                  <span class="times-mark">{text("timesMark")}</span>
                </strong>
                <small>{text(layout === "wall" ? "alertTimes" : "alertTimesShort")}</small>
              </>
            ) : (
              <>
                <strong class="alert-word">{text(cold ? "alertCold" : "alertNoSales")}</strong>
                <small>{text(cold ? "alertColdNote" : "alertNoSalesNote")}</small>
              </>
            )}
          </div>
          <div class="alert-units">
            <strong>{format.units(hourUnits)}</strong>
            <small>{text(layout === "phone" ? "alertHourUnitsShort" : "alertHourUnits")}</small>
          </div>
        </>
      )}
    </li>
  );
}

/** Whole minutes, so that the text does not change every second. */
const minutesOnly = (ms: number): number => Math.max(60_000, Math.floor(ms / 60_000) * 60_000);

function Announcer({ open }: { open: readonly AlertBody[] }) {
  const { text, format } = usePage();
  const seen = useRef<Set<string>>(undefined);
  const [announcement, setAnnouncement] = useState("");
  useEffect(() => {
    const fresh = open.find(({ id }) => seen.current !== undefined && !seen.current.has(id));
    seen.current = new Set(open.map(({ id }) => id));
    if (fresh?.rule === "depletion")
      setAnnouncement(text("alertAnnouncement", { sku: fresh.sku, units: format.units(fresh.hourUnits) }));
    else if (fresh) {
      const { name, detail } = alertNames(text, fresh);
      setAnnouncement(text("otherAlertAnnouncement", { rule: name, subject: detail }));
    }
  }, [open, text, format]);
  return (
    <p class="visually-hidden" aria-live="polite">
      {announcement}
    </p>
  );
}

export function Alerts({ model }: { model: LiveModel }) {
  const { text, format, layout } = usePage();
  const [unfolded, setUnfolded] = useState(false);
  const { box, fit } = useFit<HTMLDivElement>(ENTRY_REM, 0, layout === "wall");
  const open = model.alerts.filter(({ state }) => state !== "cleared");
  const cleared = model.alerts.filter(({ state }) => state === "cleared");
  const limit = layout === "phone" && !unfolded ? FIRST_ALERTS : fit;
  const shownOpen = open.slice(0, limit);
  const empty = open.length === 0;
  const freeEntries = fit - (empty ? EMPTY_ENTRIES : open.length) - 1;
  const shownCleared = cleared.slice(0, Math.min(CLEARED_SHOWN[layout], Math.max(0, freeEntries)));
  return (
    <section class="panel alerts" data-open={open.length} aria-labelledby="alerts-title">
      <div class="panel-head">
        <h2 id="alerts-title">{text("alerts")}</h2>
        {!empty && (
          <p class="open-count">
            {shownOpen.length < open.length && (
              <small>{text("alertsShown", { number: format.units(shownOpen.length) })}</small>
            )}
            <strong>{format.units(open.length)}</strong> {text("alertsOpen")}
          </p>
        )}
      </div>
      <Announcer open={open} />
      <div class="alerts-box" ref={box}>
        {empty && (
          <div class="empty" data-testid="alerts-empty">
            <span class="empty-mark" aria-hidden="true">
              ✓
            </span>
            <strong>{text("alertsEmpty")}</strong>
            <span>{text("alertsEmptyNote")}</span>
          </div>
        )}
        <ul class="alert-list">
          {shownOpen.map((alert) => (
            <Alert key={alert.id} alert={alert} model={model} />
          ))}
        </ul>
        {layout === "phone" && open.length > FIRST_ALERTS && (
          <button type="button" class="show-all" aria-expanded={unfolded} onClick={() => setUnfolded(!unfolded)}>
            {unfolded ? text("showFewer") : text("showAll", { number: format.units(open.length) })}
          </button>
        )}
        {shownCleared.length > 0 && (
          <>
            <h3 class="cleared-title">{text("alertsCleared")}</h3>
            <ul class="alert-list">
              {shownCleared.map((alert) => (
                <Alert key={alert.id} alert={alert} model={model} />
              ))}
            </ul>
          </>
        )}
      </div>
    </section>
  );
}
