/**
 * Notifications on this device: what is missing for them, the button that turns them on, and a test that shows step by
 * step what arrived on which channel.
 */
import { useEffect, useState } from "preact/hooks";
import type { PlainKey } from "../dictionary.js";
import { usePage } from "../page-context.js";
import type { MeAnswer } from "./me.js";
import { type PushState, pushState, turnPushOn } from "./push-subscription.js";
import { TestMessage } from "./test-message.js";

const NOTES: Readonly<Record<PushState, PlainKey | undefined>> = {
  on: undefined,
  off: undefined,
  denied: "pushDenied",
  unsupported: "pushUnsupported",
  install: "pushInstallFirst",
  "no-key": "pushNoKey",
};

export function ThisDevice({ person }: { person: MeAnswer }) {
  const { text } = usePage();
  const [state, setState] = useState<PushState>();
  const [isTurningOn, setTurningOn] = useState(false);
  const [fault, setFault] = useState<string>();
  useEffect(() => {
    pushState().then(setState, () => setState("off"));
  }, []);
  const turnOn = async () => {
    setTurningOn(true);
    setFault(undefined);
    try {
      setState(await turnPushOn());
    } catch (thrown) {
      setFault(thrown instanceof Error ? thrown.message : String(thrown));
    }
    setTurningOn(false);
  };
  const note = state === undefined ? undefined : NOTES[state];
  return (
    <section class="phone-card" data-testid="this-device" data-push={state}>
      <h2>{text("thisDevice")}</h2>
      <p class="push-state" data-tone={state === "on" ? "good" : "calm"}>
        <i class="dot" aria-hidden="true" />
        {text(state === "on" ? "pushOn" : "pushOff")}
      </p>
      {note !== undefined && <p class="quiet">{text(note)}</p>}
      {state === "off" && (
        <button
          type="button"
          class="button button-strong wide"
          data-tone="calm"
          disabled={isTurningOn}
          onClick={() => void turnOn()}
        >
          {text(isTurningOn ? "pushEnabling" : "pushEnable")}
        </button>
      )}
      {fault !== undefined && (
        <p class="fault" role="alert">
          {text("pushFailed", { detail: fault })}
        </p>
      )}
      <TestMessage person={person} />
    </section>
  );
}
