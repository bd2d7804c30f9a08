/**
 * A sheet that silences the SKU of a depletion alert, or all alerts of another rule, for a time and with a reason. The
 * end is an instant of the shop's time. The browser's own dialog keeps the focus inside and closes on Escape.
 */
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { alertNames } from "../alert-text.js";
import { post } from "../desk/api.js";
import { usePage } from "../page-context.js";
import type { PhoneAlert } from "./phone-model.js";
import { nextMorning } from "./shop-day.js";

const MINUTE_MS = 60_000;
/** As the API's limit of a reason. */
const LONGEST_REASON = 200;
const MORNING_HOUR = 8;

interface SilenceSheetProps {
  alert: PhoneAlert;
  /** The shop's time. */
  nowMs: number;
  onClose: () => void;
}

export function SilenceSheet({ alert, nowMs, onClose }: SilenceSheetProps) {
  const { text, format } = usePage();
  const dialog = useRef<HTMLDialogElement>(null);
  const [choice, setChoice] = useState(0);
  const [reason, setReason] = useState("");
  const [isSending, setSending] = useState(false);
  const [fault, setFault] = useState<string>();
  useLayoutEffect(() => dialog.current?.showModal(), []);
  const ends = [
    { label: format.duration(30 * MINUTE_MS), untilMs: nowMs + 30 * MINUTE_MS },
    { label: format.duration(120 * MINUTE_MS), untilMs: nowMs + 120 * MINUTE_MS },
    { label: text("silenceUntilMorning"), untilMs: nextMorning(nowMs, format.zone, MORNING_HOUR) },
  ];
  const send = (event: Event) => {
    event.preventDefault();
    if (isSending || reason.trim() === "") return;
    setSending(true);
    setFault(undefined);
    const matched = alert.rule === "depletion" ? { sku: alert.subject } : { rule: alert.rule };
    const until = new Date(ends[choice]?.untilMs ?? nowMs).toISOString();
    post("/v1/silences", { ...matched, until, reason: reason.trim() }).then(
      () => dialog.current?.close(),
      (thrown) => {
        setSending(false);
        setFault(thrown instanceof Error ? thrown.message : String(thrown));
      },
    );
  };
  return (
    <dialog ref={dialog} class="sheet" aria-labelledby="silence-title" onClose={onClose}>
      <form onSubmit={send}>
        <h2 id="silence-title">{text("silenceTitle", { name: alertNames(text, alert).name })}</h2>
        <p class="sheet-about">{text("silenceNote")}</p>
        <fieldset class="field choices">
          <legend class="visually-hidden">{text("breakerFor")}</legend>
          {ends.map(({ label }, i) => (
            <label key={label}>
              <input type="radio" name="until" checked={choice === i} onChange={() => setChoice(i)} />
              <span>{label}</span>
            </label>
          ))}
        </fieldset>
        <label class="field">
          <span>{text("reason")}</span>
          <input
            type="text"
            name="reason"
            value={reason}
            maxLength={LONGEST_REASON}
            autocomplete="off"
            required
            onInput={(event) => setReason(event.currentTarget.value)}
          />
        </label>
        {fault !== undefined && (
          <p class="fault" role="alert">
            {text("actionFailed", { detail: fault })}
          </p>
        )}
        <div class="sheet-buttons">
          <button type="button" class="button" onClick={() => dialog.current?.close()}>
            {text("cancel")}
          </button>
          <button type="submit" class="button button-strong" data-tone="calm" disabled={isSending}>
            {isSending ? text("sending") : text("silenceDo")}
          </button>
        </div>
      </form>
    </dialog>
  );
}
