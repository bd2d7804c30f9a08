/**
 * A form in a dialog that asks for a reason before something is changed. The browser's own dialog keeps the focus
 * inside and closes on Escape; the form stays open with the server's sentence when the change is refused.
 */
import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { usePage } from "../page-context.js";
import { RequestError } from "./api.js";
import { FaultText } from "./panel.js";

/** As the API's limit of a reason. */
const LONGEST_REASON = 200;

interface ReasonDialogProps {
  title: string;
  /** What will happen, in a sentence. */
  about: ComponentChildren;
  confirm: string;
  tone?: "alarm" | "good" | "calm";
  /** Further fields, above the reason. */
  children?: ComponentChildren;
  /** @throws RequestError when it is refused */
  onConfirm: (reason: string) => Promise<unknown>;
  onClose: () => void;
}

export function ReasonDialog({
  title,
  about,
  confirm,
  tone = "calm",
  children,
  onConfirm,
  onClose,
}: ReasonDialogProps) {
  const { text } = usePage();
  const dialog = useRef<HTMLDialogElement>(null);
  const [reason, setReason] = useState("");
  const [isSending, setSending] = useState(false);
  const [fault, setFault] = useState<RequestError>();
  // Before the next frame: a key that is pressed at once must find it open.
  useLayoutEffect(() => dialog.current?.showModal(), []);

  const send = async (event: Event) => {
    event.preventDefault();
    if (reason.trim() === "" || isSending) return;
    setSending(true);
    setFault(undefined);
    try {
      await onConfirm(reason.trim());
      dialog.current?.close();
    } catch (error) {
      setFault(error instanceof RequestError ? error : new RequestError(0, "", String(error)));
      setSending(false);
    }
  };

  return (
    <dialog ref={dialog} class="desk-dialog" aria-labelledby="dialog-title" onClose={onClose}>
      <form onSubmit={send}>
        <h2 id="dialog-title">{title}</h2>
        <div class="dialog-about">{about}</div>
        {children}
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
          <p class="desk-note" data-tone="alarm" role="alert">
            <FaultText error={fault} />
          </p>
        )}
        <div class="dialog-buttons">
          <button type="button" class="button" onClick={() => dialog.current?.close()}>
            {text("cancel")}
          </button>
          <button type="submit" class="button button-strong" data-tone={tone} disabled={isSending}>
            {isSending ? text("sending") : confirm}
          </button>
        </div>
      </form>
    </dialog>
  );
}
