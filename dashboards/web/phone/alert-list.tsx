/**
 * The list of alerts: critical ones first, then warnings, each newest first, and below what was cleared today. When no
 * alert is open it shows since when. Screen readers announce a new alert once.
 */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { alertNames } from "../alert-text.js";
import { usePage } from "../page-context.js";
import { AlertRow } from "./alert-row.js";
import { type AlertFilter, groupsOf, type PhoneAlert, type PhoneModel } from "./phone-model.js";
import { Reorder } from "./reorder.js";
import { SilenceSheet } from "./silence-sheet.js";

interface AlertListProps {
  model: PhoneModel;
  isLive: boolean;
}

const CLEARED_SHOWN = 20;
const FILTERS = [
  ["open", "filterOpen"],
  ["unacknowledged", "filterUnacknowledged"],
] as const;

export function AlertList({ model, isLive }: AlertListProps) {
  const { text, format } = usePage();
  const [filter, setFilter] = useState<AlertFilter>("open");
  const [silencing, setSilencing] = useState<PhoneAlert>();
  const groups = useMemo(() => groupsOf(model, filter, format.date), [model, filter, format]);
  const open = model.alerts.filter(({ state }) => state !== "cleared");
  const shown = groups.critical.length + groups.warning.length;
  const rowOf = (alert: PhoneAlert) => (
    <AlertRow key={alert.id} alert={alert} nowMs={model.nowMs} isLive={isLive} onSilence={() => setSilencing(alert)} />
  );
  return (
    <>
      <Announcer alerts={open} />
      {open.length === 0 ? (
        <Quiet model={model} />
      ) : (
        <fieldset class="filter-bar" aria-label={text("filterAlerts")}>
          {FILTERS.map(([value, key]) => (
            <button key={value} type="button" aria-pressed={filter === value} onClick={() => setFilter(value)}>
              {text(key)}
              <b>{open.filter(({ state }) => value === "open" || state === "fired").length}</b>
            </button>
          ))}
        </fieldset>
      )}
      {open.length > 0 && shown === 0 && <p class="phone-note">{text("filterNone")}</p>}
      <Group name="critical" title={text("severityCritical")} alerts={groups.critical} row={rowOf} />
      <Group name="warning" title={text("severityWarning")} alerts={groups.warning} row={rowOf} />
      <Reorder />
      <Group
        name="cleared"
        title={text("clearedToday")}
        alerts={groups.clearedToday}
        limit={CLEARED_SHOWN}
        row={rowOf}
      />
      {silencing !== undefined && (
        <SilenceSheet alert={silencing} nowMs={model.nowMs} onClose={() => setSilencing(undefined)} />
      )}
    </>
  );
}

interface GroupProps {
  name: string;
  title: string;
  alerts: readonly PhoneAlert[];
  limit?: number;
  row: (alert: PhoneAlert) => preact.JSX.Element;
}

function Group({ name, title, alerts, limit = Number.POSITIVE_INFINITY, row }: GroupProps) {
  const { format } = usePage();
  if (alerts.length === 0) return null;
  return (
    <section class="phone-group" data-group={name} aria-labelledby={`group-${name}`}>
      <h2 id={`group-${name}`}>
        {title} <b>{format.units(alerts.length)}</b>
      </h2>
      <ul>{alerts.slice(0, limit).map(row)}</ul>
    </section>
  );
}

/** No alert is open: since the last one was cleared. */
function Quiet({ model: { alerts } }: { model: PhoneModel }) {
  const { text, format } = usePage();
  const sinceMs = Math.max(...alerts.map(({ clearedMs }) => clearedMs ?? 0));
  return (
    <div class="phone-empty quiet-state" data-testid="quiet">
      <svg viewBox="0 0 120 64" aria-hidden="true">
        <path class="quiet-far" d="M0 30c20-16 40-16 60 0s40 16 60 0v34H0z" />
        <path class="quiet-near" d="M0 44c20-16 40-16 60 0s40 16 60 0v20H0z" />
      </svg>
      <strong>{text("quiet")}</strong>
      <span>{sinceMs > 0 ? text("quietSince", { time: format.minute(sinceMs) }) : text("quietNow")}</span>
      <span>{text("quietNote")}</span>
    </div>
  );
}

function Announcer({ alerts }: { alerts: readonly PhoneAlert[] }) {
  const { text } = usePage();
  const seen = useRef<ReadonlySet<string>>(undefined);
  const [announcement, setAnnouncement] = useState("");
  useEffect(() => {
    const fresh = seen.current && alerts.find(({ id }) => !seen.current?.has(id));
    seen.current = new Set(alerts.map(({ id }) => id));
    if (fresh === undefined) return;
    const { name, detail } = alertNames(text, fresh);
    setAnnouncement(`${name}: ${detail}`);
  }, [alerts, text]);
  return (
    <p class="visually-hidden" aria-live="polite">
      {announcement}
    </p>
  );
}
