/** The silences that hold: what they match, until when, why and by whom; each can be ended before its time. */
import { useState } from "preact/hooks";
import { ruleText } from "../alert-text.js";
import type { Translate } from "../dictionary.js";
import { usePage } from "../page-context.js";
import { write } from "./api.js";
import { useResource } from "./use-resource.js";

const EVERY_MS = 10_000;

/** `GET /v1/silences` */
interface SilenceList {
  silences: readonly Silence[];
}

interface Silence {
  id: string;
  rule?: string;
  sku?: string;
  category?: string;
  location?: string;
  until: string;
  reason: string;
  actor: string;
  active: boolean;
}

/** What it matches, in a few words. */
function matchText(text: Translate, { rule, sku, category, location }: Silence): string {
  const place = location === undefined ? undefined : text("subjectLocation", { name: location });
  const parts = [sku, rule === undefined ? undefined : ruleText(text, rule), category, place];
  return parts.filter((part) => part !== undefined).join(" · ");
}

export function Silences({ nowMs, mayAct, version }: { nowMs: number; mayAct: boolean; version: string }) {
  const { text, format } = usePage();
  const list = useResource<SilenceList>("/v1/silences", EVERY_MS, version);
  const [fault, setFault] = useState<string>();
  const active = list.answer?.silences.filter(({ active, until }) => active && Date.parse(until) > nowMs) ?? [];
  if (active.length === 0) return null;
  const end = (id: string) => {
    setFault(undefined);
    write("DELETE", `/v1/silences/${encodeURIComponent(id)}`).then(list.reload, (thrown) =>
      setFault(thrown instanceof Error ? thrown.message : String(thrown)),
    );
  };
  return (
    <>
      <h3>{text("silences")}</h3>
      <ul class="silence-list">
        {active.map((silence) => (
          <li key={silence.id} data-testid="silence">
            <b>{matchText(text, silence)}</b>
            <span>{text("breakerUntil", { time: format.minute(Date.parse(silence.until)) })}</span>
            <span class="silence-why">
              {silence.reason} · {silence.actor}
            </span>
            {mayAct && (
              <button type="button" class="button" onClick={() => end(silence.id)}>
                {text("silenceEnd")}
              </button>
            )}
          </li>
        ))}
      </ul>
      {fault !== undefined && (
        <p class="fault" role="alert">
          {text("actionFailed", { detail: fault })}
        </p>
      )}
    </>
  );
}
