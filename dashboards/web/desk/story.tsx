/**
 * The story of a SKU or an order: what there was, every change with its cause and who made it, what there is, and what
 * does not add up. The server writes the sentences in the page's language, a page of changes at a time.
 */
import { useState } from "preact/hooks";
import { usePage } from "../page-context.js";
import type { StoryAnswer } from "./contracts.js";
import { Loaded } from "./panel.js";
import { useResource } from "./use-resource.js";

/** A story of the past changes only at its end. */
const EVERY_MS = 60_000;
const HOURS = [1, 6, 24, 168] as const;
const DAY_HOURS = 24;
const HOUR_MS = 3_600_000;
/** A story's times begin with the year: `2026-06-18 17:59:31`. */
const MONTH_FROM = 5;

/** A heading, and lines below it. */
function Paragraph({ lines: [head, ...rest] }: { lines: readonly string[] }) {
  if (head === undefined) return null;
  return (
    <div class="story-part">
      <p>{head}</p>
      {rest.map((line) => (
        <p key={line} class="quiet">
          {line}
        </p>
      ))}
    </div>
  );
}

/** @param path with its query; the page of changes is added */
function Sentences({ path }: { path: string }) {
  const { text } = usePage();
  const [after, setAfter] = useState<string>();
  const story = useResource<StoryAnswer>(after === undefined ? path : `${path}&after=${after}`, EVERY_MS);
  return (
    <Loaded resource={story}>
      {({ story: { before, changes, after: closing, remarks }, next }) => (
        <>
          <Paragraph lines={before} />
          <ol class="story-lines">
            {changes.map((line, i) => (
              <li key={i}>
                <time>{line.time.slice(MONTH_FROM)}</time>
                <span>{line.text}</span>
              </li>
            ))}
          </ol>
          <Paragraph lines={closing} />
          <Paragraph lines={remarks} />
          <p class="buttons">
            {after !== undefined && (
              <button type="button" class="link" onClick={() => setAfter(undefined)}>
                {text("storyFirst")}
              </button>
            )}
            {next !== undefined && (
              <button type="button" class="link" onClick={() => setAfter(next)}>
                {text("storyNext")}
              </button>
            )}
          </p>
        </>
      )}
    </Loaded>
  );
}

export function SkuStory({ sku, nowMs }: { sku: string; nowMs: number }) {
  const { text, format, language } = usePage();
  // The instant at which the span was chosen: a path that changes all the time would be read all the time.
  const [span, setSpan] = useState<{ hours: number; toMs: number }>({ hours: HOURS[0], toMs: nowMs });
  const from = new Date(span.toMs - span.hours * HOUR_MS).toISOString();
  const path = `/v1/ledger/${encodeURIComponent(sku)}/history?format=story&lang=${language}&from=${from}`;
  return (
    <div class="story" data-testid="story">
      <h3>
        {text("storyTitle")}
        <select
          aria-label={text("storySpan")}
          value={span.hours}
          onChange={(event) => setSpan({ hours: Number(event.currentTarget.value), toMs: nowMs })}
        >
          {HOURS.map((hours) => (
            <option key={hours} value={hours}>
              {hours > DAY_HOURS
                ? text("storyDays", { days: format.units(hours / DAY_HOURS) })
                : text("storyHours", { hours: format.units(hours) })}
            </option>
          ))}
        </select>
      </h3>
      <Sentences key={path} path={path} />
    </div>
  );
}

export function OrderStory({ order }: { order: string }) {
  const { text, language } = usePage();
  return (
    <div class="story" data-testid="story">
      <h3>{text("storyTitle")}</h3>
      <Sentences path={`/v1/orders/${encodeURIComponent(order)}/history?format=story&lang=${language}`} />
    </div>
  );
}
