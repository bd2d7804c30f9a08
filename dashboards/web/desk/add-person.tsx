/** A dialog that adds a person: id, name, roles and language. At first the phone's push is the only channel. */
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { usePage } from "../page-context.js";
import { PERSON_ROLES, roleText } from "../phone/role-text.js";
import { RequestError, write } from "./api.js";
import { FaultText } from "./panel.js";

/** As the API's pattern. */
const ID_PATTERN = "[a-z0-9][a-z0-9._\\-]{0,31}";

export function AddPerson({ onDone, onClose }: { onDone: () => void; onClose: () => void }) {
  const { text, language } = usePage();
  const dialog = useRef<HTMLDialogElement>(null);
  const [fault, setFault] = useState<RequestError>();
  useLayoutEffect(() => dialog.current?.showModal(), []);
  const send = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const person = {
      name: String(form.get("name")).trim(),
      roles: form.getAll("roles"),
      language: form.get("language"),
      ladder: [["web-push"]],
    };
    try {
      await write("PUT", `/v1/people/${encodeURIComponent(String(form.get("id")))}`, person);
      onDone();
      dialog.current?.close();
    } catch (thrown) {
      setFault(thrown instanceof RequestError ? thrown : new RequestError(0, "", String(thrown)));
    }
  };
  return (
    <dialog ref={dialog} class="desk-dialog" aria-labelledby="person-title" onClose={onClose}>
      <form onSubmit={(event) => void send(event)}>
        <h2 id="person-title">{text("addPerson")}</h2>
        <label class="field">
          <span>{text("personName")}</span>
          <input type="text" name="name" maxLength={64} autocomplete="off" required />
        </label>
        <label class="field">
          <span>{text("personId")}</span>
          <input type="text" name="id" pattern={ID_PATTERN} autocomplete="off" autocapitalize="off" required />
        </label>
        <fieldset class="field choices">
          <legend>{text("personRoles")}</legend>
          {PERSON_ROLES.map((role) => (
            <label key={role}>
              <input type="checkbox" name="roles" value={role} />
              <span>{roleText(text, role)}</span>
            </label>
          ))}
        </fieldset>
        <fieldset class="field choices">
          <legend>{text("languageTitle")}</legend>
          {(["zh", "en"] as const).map((each) => (
            <label key={each}>
              <input type="radio" name="language" value={each} defaultChecked={each === language} />
              <span>{each === "zh" ? "中文" : "English"}</span>
            </label>
          ))}
        </fieldset>
        {fault !== undefined && (
          <p class="desk-note" data-tone="alarm" role="alert">
            <FaultText error={fault} />
          </p>
        )}
        <div class="dialog-buttons">
          <button type="button" class="button" onClick={() => dialog.current?.close()}>
            {text("cancel")}
          </button>
          <button type="submit" class="button button-strong" data-tone="calm">
            {text("addPerson")}
          </button>
        </div>
      </form>
    </dialog>
  );
}
