/**
 * The order in which a person is reached: steps of contacts, each tried when nothing was displayed before it. Steps are
 * moved up and removed, and a contact that is not in it can be added at its end.
 */
import { useResource } from "../desk/use-resource.js";
import { usePage } from "../page-context.js";
import { contactText } from "./channel-text.js";
import type { MeAnswer } from "./me.js";
import type { Save } from "./settings.js";

/** `GET /v1/endpoints` */
interface EndpointList {
  endpoints: readonly { name: string; channel: string }[];
}

const EVERY_MS = 60_000;
/** As the API's limit. */
const MOST_STEPS = 5;

export function Ladder({ person, onSave }: { person: MeAnswer; onSave: Save }) {
  const { text } = usePage();
  const { ladder } = person;
  const endpoints = useResource<EndpointList>("/v1/endpoints", EVERY_MS).answer?.endpoints ?? [];
  const used = new Set(ladder.flat());
  const others = ["web-push", "wecom", ...endpoints.map(({ name }) => `endpoint:${name}`)].filter(
    (contact) => !used.has(contact),
  );
  const nameOf = (step: readonly string[]) => step.map((contact) => contactText(text, contact)).join(text("listComma"));
  const moveUp = (i: number) => {
    const [before, moved] = [ladder[i - 1], ladder[i]];
    if (before !== undefined && moved !== undefined) void onSave({ ladder: ladder.with(i - 1, moved).with(i, before) });
  };
  return (
    <section class="phone-card" data-testid="ladder">
      <h2>{text("ladder")}</h2>
      <p class="quiet">{text("ladderNote")}</p>
      <ol class="ladder">
        {ladder.map((step, i) => (
          <li key={step.join()}>
            <i aria-hidden="true">{i + 1}</i>
            <span>{nameOf(step)}</span>
            {i > 0 && (
              <button
                type="button"
                class="icon-button"
                aria-label={text("moveUp", { name: nameOf(step) })}
                onClick={() => moveUp(i)}
              >
                <svg viewBox="0 0 24 24" aria-hidden="true">
                  <path d="M12 19V5m-6 6 6-6 6 6" />
                </svg>
              </button>
            )}
            <button
              type="button"
              class="icon-button"
              aria-label={text("removeContact", { name: nameOf(step) })}
              onClick={() => void onSave({ ladder: ladder.filter((_, at) => at !== i) })}
            >
              <svg viewBox="0 0 24 24" aria-hidden="true">
                <path d="m6 6 12 12M18 6 6 18" />
              </svg>
            </button>
          </li>
        ))}
      </ol>
      {others.length > 0 && ladder.length < MOST_STEPS && (
        <select
          class="wide"
          aria-label={text("addContact")}
          value=""
          onChange={({ currentTarget }) => {
            if (currentTarget.value !== "") void onSave({ ladder: [...ladder, [currentTarget.value]] });
            currentTarget.value = "";
          }}
        >
          <option value="">{text("addContact")}…</option>
          {others.map((contact) => (
            <option key={contact} value={contact}>
              {contactText(text, contact)}
            </option>
          ))}
        </select>
      )}
    </section>
  );
}
