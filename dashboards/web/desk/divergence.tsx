/**
 * How far the figures part, pair by pair: now, and over the last comparisons against the threshold (R13, R15). Greatest
 * first. An operator can compare now.
 */
import { useMemo, useState } from "preact/hooks";
import type { PairBody } from "../../feeds/consistency.js";
import type { PlainKey } from "../dictionary.js";
import { partyName, usePage } from "../page-context.js";
import type { ShopModel } from "../shop-model.js";
import { post, RequestError } from "./api.js";
import type { ComparisonList } from "./contracts.js";
import { Empty, FaultText, OldNote, Panel } from "./panel.js";
import { Sparkline } from "./sparkline.js";
import { useResource } from "./use-resource.js";

const COMPARISONS_EVERY_MS = 30_000;
/** Comparisons in the small line. */
const HISTORY = 60;
/** Pairs that are shown first, the greatest divergence before the others. */
const SHOWN_PAIRS = { wall: 6, desktop: 6, phone: 3 } as const;

const CAUSES: Readonly<Record<string, PlainKey>> = {
  schedule: "causeSchedule",
  demand: "causeDemand",
  snapshot: "causeSnapshot",
  half_open: "causeHalfOpen",
};

/** Shares, oldest first. */
type Points = number[];

const keyOf = ({ a, b }: { a: string; b: string }): string => `${a}:${b}`;

/** The values of each pair, oldest first. */
function pointsOf(list: ComparisonList | undefined): Map<string, Points> {
  const points = new Map<string, Points>();
  for (const { pairs } of (list?.comparisons ?? []).toReversed())
    for (const pair of pairs) {
      const of = points.get(keyOf(pair)) ?? [];
      of.push(pair.share);
      points.set(keyOf(pair), of);
    }
  return points;
}

function Pair({ pair, points, threshold }: { pair: PairBody; points: Points; threshold: number }) {
  const { text, format } = usePage();
  const name = { a: partyName(text, pair.a), b: partyName(text, pair.b) };
  const isOver = pair.share > threshold;
  return (
    <li class="pair" data-testid="pair" data-pair={keyOf(pair)} data-tone={isOver ? "alarm" : "good"}>
      <span class="pair-name">{text("pairName", name)}</span>
      <strong class="pair-share">{format.share(pair.share)}</strong>
      <Sparkline
        points={points}
        threshold={threshold}
        label={text("sparkLabel", { ...name, share: format.share(pair.share), threshold: format.share(threshold) })}
      />
      <span class="pair-note">
        {pair.differingCells === 0
          ? text("pairEqual", { cells: format.units(pair.cells) })
          : text("pairDiffers", {
              cells: format.units(pair.differingCells),
              units: format.units(pair.differingUnits),
            })}
      </span>
    </li>
  );
}

function CompareNow({ onDone }: { onDone: () => void }) {
  const { text } = usePage();
  const [isSending, setSending] = useState(false);
  const [fault, setFault] = useState<RequestError>();
  const compare = async () => {
    setSending(true);
    setFault(undefined);
    try {
      await post("/v1/comparisons", {});
      onDone();
    } catch (error) {
      setFault(error instanceof RequestError ? error : new RequestError(0, "", String(error)));
    } finally {
      setSending(false);
    }
  };
  return (
    <>
      {fault !== undefined && (
        <span class="fault" role="alert">
          <FaultText error={fault} />
        </span>
      )}
      <button type="button" class="button" data-action="compare" disabled={isSending} onClick={compare}>
        {text(isSending ? "sending" : "compareNow")}
      </button>
    </>
  );
}

export function DivergencePanel({ model, mayOperate }: { model: ShopModel; mayOperate: boolean }) {
  const { text, format, layout } = usePage();
  const { consistency } = model;
  const comparison = consistency?.comparison ?? undefined;
  const list = useResource<ComparisonList>(
    `/v1/comparisons?limit=${HISTORY}`,
    COMPARISONS_EVERY_MS,
    comparison?.id ?? "",
  );
  const points = useMemo(() => pointsOf(list.answer), [list.answer]);
  const [all, setAll] = useState(false);
  const threshold = consistency?.shopThreshold ?? 0;
  const pairs = comparison?.pairs ?? [];
  const shown = all ? pairs : pairs.slice(0, SHOWN_PAIRS[layout]);
  return (
    <Panel
      name="divergence"
      title={text("divergence")}
      note={
        <>
          {consistency !== undefined && (
            <span class="threshold-note">
              <i class="threshold-mark" aria-hidden="true" />
              {text("threshold", { share: format.share(threshold) })}
            </span>
          )}
          {mayOperate && <CompareNow onDone={list.reload} />}
        </>
      }
    >
      <OldNote error={list.error} />
      {comparison === undefined ? (
        <Empty title={text("divergenceEmpty")}>{text("divergenceEmptyNote")}</Empty>
      ) : (
        <>
          <ul class="pairs">
            {shown.map((pair) => (
              <Pair key={keyOf(pair)} pair={pair} points={points.get(keyOf(pair)) ?? []} threshold={threshold} />
            ))}
          </ul>
          {pairs.length > SHOWN_PAIRS[layout] && (
            <button type="button" class="link" aria-expanded={all} onClick={() => setAll(!all)}>
              {all ? text("showFewer") : text("showAll", { number: format.units(pairs.length) })}
            </button>
          )}
          <p class="quiet compared">
            <span>
              {text("comparedAt", {
                time: format.second(comparison.atMs),
                cause: text(CAUSES[comparison.cause] ?? "causeDemand"),
              })}
            </span>
            {consistency?.nextDueMs != null && (
              <span>{text("nextDue", { time: format.minute(consistency.nextDueMs) })}</span>
            )}
          </p>
          {comparison.leftOut.length > 0 && (
            <ul class="left-out">
              {comparison.leftOut.map(([source, reason]) => (
                <li key={source} data-tone="warn">
                  <b>{text("leftOut", { source: partyName(text, source) })}</b> {reason}
                </li>
              ))}
            </ul>
          )}
        </>
      )}
    </Panel>
  );
}
