/**
 * One SKU: where its figures part (R15), and its story, which states what changed its stock, by whom and why. A SKU is
 * chosen from the differences or searched for; an order's id shows the order's story.
 */
import { useEffect, useRef, useState } from "preact/hooks";
import { usePage } from "../page-context.js";
import { Empty, Panel } from "./panel.js";
import { OrderStory, SkuStory } from "./story.js";
import { Where } from "./where.js";

export interface Subject {
  /** Or an order's id. */
  sku: string;
  /** The source that differs; left out for a SKU that was searched for. */
  source?: string;
}

/** As engine/kernel/chain-id.ts; no SKU of a shop looks like one. */
const ORDER_ID = /^[0-9A-Z]{2}[0-9A-HJKMNP-TV-Z]{17}[0-9A-Z]$/;

function Search({ subject, onSubject }: { subject: Subject | undefined; onSubject: (subject: Subject) => void }) {
  const { text } = usePage();
  const [typed, setTyped] = useState("");
  useEffect(() => setTyped(subject?.sku ?? ""), [subject?.sku]);
  return (
    <form
      class="search"
      onSubmit={(event) => {
        event.preventDefault();
        if (typed.trim() !== "") onSubject({ sku: typed.trim() });
      }}
    >
      <input
        type="search"
        value={typed}
        placeholder={text("searchSku")}
        aria-label={text("searchSku")}
        autocomplete="off"
        spellcheck={false}
        onInput={(event) => setTyped(event.currentTarget.value)}
      />
      <button type="submit" class="button">
        {text("explain")}
      </button>
    </form>
  );
}

export function Inspector({
  subject,
  onSubject,
  nowMs,
}: {
  subject: Subject | undefined;
  onSubject: (subject: Subject) => void;
  nowMs: number;
}) {
  const { text, layout } = usePage();
  const top = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (subject !== undefined && layout === "phone") top.current?.scrollIntoView({ block: "start" });
  }, [subject, layout]);
  return (
    <Panel name="inspector" title={text("inspector")}>
      <div ref={top} />
      <Search subject={subject} onSubject={onSubject} />
      {subject === undefined ? (
        <Empty title={text("inspectorEmpty")}>{text("inspectorEmptyNote")}</Empty>
      ) : ORDER_ID.test(subject.sku) ? (
        <OrderStory key={subject.sku} order={subject.sku} />
      ) : (
        <>
          <Where sku={subject.sku} source={subject.source} />
          <SkuStory key={subject.sku} sku={subject.sku} nowMs={nowMs} />
        </>
      )}
    </Panel>
  );
}
