/**
 * The open alerts of all rules on the desk: what, since when, how many times the daily average, what is left, and
 * whether somebody has acknowledged it; a row opens the alert with its history and its messages. Below are the silences
 * that hold. Who may only read sees no buttons.
 */
import { useState } from "preact/hooks";
import { alertNames } from "../alert-text.js";
import type { LiveModel } from "../live-model.js";
import { usePage } from "../page-context.js";
import { useAcknowledge } from "../phone/acknowledge.js";
import { minutesLeftOf, type PhoneAlert, type PhoneModel, phoneModelOf } from "../phone/phone-model.js";
import { SilenceSheet } from "../phone/silence-sheet.js";
import { AlertDrawer } from "./alert-drawer.js";
import { Empty, Panel } from "./panel.js";
import { Silences } from "./silences.js";

/** The oldest alerts are left out above it; the number is in the title. */
const SHOWN = 30;
const BY_SEVERITY = { critical: 0, warning: 1 } as const;

interface AlertsPanelProps {
  model: LiveModel;
  mayAct: boolean;
}

export function AlertsPanel({ model, mayAct }: AlertsPanelProps) {
  const { text, format } = usePage();
  const alerts: PhoneModel = phoneModelOf(model);
  const open = alerts.alerts
    .filter(({ state }) => state !== "cleared")
    .sort((a, b) => BY_SEVERITY[a.severity] - BY_SEVERITY[b.severity] || b.firedMs - a.firedMs);
  const unacknowledged = open.filter(({ state }) => state === "fired").length;
  const [silencing, setSilencing] = useState<PhoneAlert>();
  const [drawn, setDrawn] = useState<string>();
  const [version, setVersion] = useState(0);
  const shown = alerts.alerts.find(({ id }) => id === drawn);
  return (
    <Panel
      name="alerts"
      title={text("deskAlerts")}
      note={
        open.length > 0 &&
        text("deskAlertsNote", { open: format.units(open.length), unacknowledged: format.units(unacknowledged) })
      }
    >
      {open.length === 0 ? (
        <Empty title={text("alertsEmpty")}>{text("alertsEmptyNote")}</Empty>
      ) : (
        <ul class="desk-alert-list">
          {open.slice(0, SHOWN).map((alert) => (
            <AlertLine
              key={alert.id}
              alert={alert}
              nowMs={alerts.nowMs}
              mayAct={mayAct}
              onOpen={() => setDrawn(alert.id)}
              onSilence={() => setSilencing(alert)}
            />
          ))}
        </ul>
      )}
      <Silences nowMs={alerts.nowMs} mayAct={mayAct} version={String(version)} />
      {silencing !== undefined && (
        <SilenceSheet
          alert={silencing}
          nowMs={alerts.nowMs}
          onClose={() => {
            setSilencing(undefined);
            setVersion(version + 1);
          }}
        />
      )}
      {shown !== undefined && <AlertDrawer alert={shown} nowMs={alerts.nowMs} onClose={() => setDrawn(undefined)} />}
    </Panel>
  );
}

interface AlertLineProps {
  alert: PhoneAlert;
  nowMs: number;
  mayAct: boolean;
  onOpen: () => void;
  onSilence: () => void;
}

function AlertLine({ alert, nowMs, mayAct, onOpen, onSilence }: AlertLineProps) {
  const { text, format } = usePage();
  const { name, detail } = alertNames(text, alert);
  const times = alert.hourUnits === null ? undefined : format.times(alert.hourUnits, alert.dailyAverage);
  const minutes = minutesLeftOf(alert);
  const lasts =
    alert.sellableUnits === 0
      ? text("stockNone")
      : minutes === undefined
        ? ""
        : text("stockLeft", { duration: minutes < 1 ? text("underMinute") : format.age(minutes * 60_000) });
  return (
    <li
      class="desk-alert"
      data-testid="desk-alert"
      data-id={alert.id}
      data-state={alert.state}
      data-severity={alert.severity}
    >
      <span class="desk-alert-what">
        <button type="button" class="link" aria-label={text("openChart", { name })} onClick={onOpen}>
          {name}
        </button>
        <small>{detail}</small>
      </span>
      <span class="desk-alert-when">
        {format.minute(alert.firedMs)}
        <small>{format.age(Math.max(60_000, nowMs - alert.firedMs))}</small>
      </span>
      <span class="desk-alert-times">
        {times !== undefined && (
          <>
            {times}
            <i>{text("timesMark")}</i>
          </>
        )}
      </span>
      <span class="desk-alert-stock" data-tone={minutes !== undefined && minutes < 60 ? "alarm" : "calm"}>
        {alert.sellableUnits !== null && <b>{format.units(alert.sellableUnits)}</b>}
        <small>{lasts}</small>
      </span>
      <AlertActions alert={alert} name={name} mayAct={mayAct} onSilence={onSilence} />
    </li>
  );
}

function AlertActions({
  alert,
  name,
  mayAct,
  onSilence,
}: Pick<AlertLineProps, "alert" | "mayAct" | "onSilence"> & { name: string }) {
  const { text } = usePage();
  const { isSending, fault, acknowledge } = useAcknowledge(alert);
  return (
    <span class="desk-alert-actions">
      {alert.state === "acknowledged" && (
        <span class="done">
          {alert.acknowledgedBy === null
            ? text("alertAcknowledged")
            : text("acknowledgedBy", { actor: alert.acknowledgedBy })}
        </span>
      )}
      {mayAct && alert.state === "fired" && (
        <button
          type="button"
          class="button"
          disabled={isSending}
          aria-label={text("acknowledgeNamed", { name })}
          onClick={acknowledge}
        >
          {text(isSending ? "acknowledging" : "acknowledge")}
        </button>
      )}
      {mayAct && (
        <button type="button" class="button" aria-label={text("silenceNamed", { name })} onClick={onSilence}>
          {text("silence")}
        </button>
      )}
      {fault !== undefined && (
        <span class="fault" role="alert">
          {text("actionFailed", { detail: fault })}
        </span>
      )}
    </span>
  );
}
