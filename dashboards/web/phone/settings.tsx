/**
 * The settings of the person whose phone this is: notifications on this device with a test, the order of channels,
 * quiet hours, language, devices, and signing out. A change is saved at once; the server's answer is what is shown.
 */
import { useState } from "preact/hooks";
import { write } from "../desk/api.js";
import { FaultText } from "../desk/panel.js";
import { usePage } from "../page-context.js";
import { Devices } from "./devices.js";
import { Ladder } from "./ladder.js";
import { deleteLastState } from "./last-state.js";
import { type MeAnswer, useMe } from "./me.js";
import { turnPushOff } from "./push-subscription.js";
import { QuietHours } from "./quiet-hours.js";
import { roleText } from "./role-text.js";
import { ThisDevice } from "./this-device.js";

interface SettingsProps {
  onLanguage: () => void;
}

/** Saves a change of the person's own settings. */
export type Save = (change: object) => Promise<void>;

export function Settings({ onLanguage }: SettingsProps) {
  const { text, language } = usePage();
  const me = useMe();
  const [fault, setFault] = useState<string>();
  const save: Save = async (change) => {
    setFault(undefined);
    try {
      await write("PATCH", "/v1/people/me", change);
    } catch (thrown) {
      setFault(thrown instanceof Error ? thrown.message : String(thrown));
    }
    me.reload();
  };
  const person = me.answer;
  return (
    <div class="settings">
      {person === undefined ? <Stranger /> : <Who person={person} />}
      {person !== undefined && <ThisDevice person={person} />}
      {person !== undefined && <Ladder person={person} onSave={save} />}
      {person !== undefined && <QuietHours person={person} onSave={save} />}
      {fault !== undefined && (
        <p class="fault" role="alert">
          {text("actionFailed", { detail: fault })}
        </p>
      )}
      <section class="phone-card setting-row">
        <div>
          <h2>{text("languageTitle")}</h2>
          <p class="quiet">{text("languageNote")}</p>
        </div>
        <button
          type="button"
          class="button"
          lang={language === "zh" ? "en" : "zh-CN"}
          aria-label={text("switchLanguage")}
          onClick={() => {
            onLanguage();
            if (person !== undefined) void save({ language: language === "zh" ? "en" : "zh" });
          }}
        >
          {text("otherLanguage")}
        </button>
      </section>
      {person !== undefined && <Devices />}
      <SignOut />
    </div>
  );
}

function Who({ person: { name, roles, id } }: { person: MeAnswer }) {
  const { text } = usePage();
  return (
    <header class="who">
      <span class="who-mark" aria-hidden="true">
        {[...name][0]}
      </span>
      <div>
        <h1>{name}</h1>
        <p class="quiet">{[id, ...roles.map((role) => roleText(text, role))].join(" · ")}</p>
      </div>
    </header>
  );
}

/** There is no person: a token, an open screen, or an operator's own session. */
function Stranger() {
  const { text } = usePage();
  const { error } = useMe();
  if (error === undefined) return <p class="phone-note">{text("loading")}</p>;
  const isNobody = error.status === 403 || error.status === 404;
  return <p class="phone-note">{isNobody ? text("noPerson") : <FaultText error={error} />}</p>;
}

/** Ends the session, the subscription and what is stored, in this order: the first one decides. */
function SignOut() {
  const { text } = usePage();
  const [fault, setFault] = useState<string>();
  const signOut = async () => {
    try {
      await write("DELETE", "/v1/sessions/current");
      await turnPushOff();
      deleteLastState();
      location.replace("/phone");
      location.reload();
    } catch (thrown) {
      setFault(thrown instanceof Error ? thrown.message : String(thrown));
    }
  };
  return (
    <section class="sign-out">
      <button type="button" class="button" onClick={signOut}>
        {text("signOut")}
      </button>
      <p class="quiet">{text("signOutNote")}</p>
      {fault !== undefined && (
        <p class="fault" role="alert">
          {text("actionFailed", { detail: fault })}
        </p>
      )}
    </section>
  );
}
