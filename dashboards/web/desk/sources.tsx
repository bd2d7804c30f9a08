/**
 * The sources and how fresh they are: those of the sources' file and those that send snapshots by themselves, one card
 * each. A snapshot that is being received shows its progress, a refused one its reason. Without any source the panel
 * explains how to connect one.
 */
import { partyName, usePage } from "../page-context.js";
import type { SnapshotList, SourceList } from "./contracts.js";
import { Empty, OldNote, Panel } from "./panel.js";
import { type SourceCard, sourceCards } from "./source-cards.js";
import { useResource } from "./use-resource.js";

const EVERY_MS = 5_000;
/** While a snapshot is being received its progress is read more often. */
const RECEIVING_EVERY_MS = 1_000;

const MEASURES = { on_hand: "measureOnHand", sellable: "measureSellable", display: "measureDisplay" } as const;
const STATES = {
  fresh: ["sourceFresh", "good"],
  receiving: ["sourceReceiving", "calm"],
  old: ["sourceOld", "warn"],
  refused: ["sourceRefused", "alarm"],
  overdue: ["sourceOverdue", "warn"],
  failing: ["sourceFailing", "alarm"],
  waiting: ["sourceWaiting", "calm"],
} as const;

function Progress({ received, rows }: { received: number; rows: number }) {
  const { text, format } = usePage();
  return (
    <p class="progress">
      <progress max={rows} value={received} />
      <span>{text("sourceProgress", { received: format.units(received), rows: format.units(rows) })}</span>
    </p>
  );
}

function Card({ card, nowMs }: { card: SourceCard; nowMs: number }) {
  const { text, format } = usePage();
  const [state, tone] = STATES[card.state];
  const { newest, receiving } = card;
  return (
    <li class="source" data-testid="source" data-source={card.name} data-tone={tone} data-state={card.state}>
      <p class="source-head">
        <b>{partyName(text, card.name)}</b>
        <span class="source-state">
          <i class="dot" aria-hidden="true" />
          {text(state)}
        </span>
      </p>
      {newest !== undefined && (
        <p class="source-age">
          <strong>{text("sourceAge", { age: format.duration(Math.max(0, nowMs - newest.asOfMs)) })}</strong>
          <span>{text("sourceAsOf", { time: format.second(newest.asOfMs) })}</span>
        </p>
      )}
      <p class="quiet source-facts">
        {newest !== undefined && (
          <>
            <span>{text(MEASURES[newest.measure])}</span>
            <span>{text("sourceRows", { rows: format.units(newest.rows) })}</span>
            {newest.skewMs !== undefined && Math.abs(newest.skewMs) >= 1_000 && (
              <span>{text("sourceSkew", { skew: format.duration(Math.abs(newest.skewMs)) })}</span>
            )}
          </>
        )}
        {card.about !== undefined && <span>{card.about}</span>}
      </p>
      {receiving !== undefined && <Progress received={receiving.rowsReceived} rows={receiving.rows} />}
      {card.fault !== undefined && <p class="source-fault">{card.fault}</p>}
    </li>
  );
}

function HowToConnect() {
  const { text } = usePage();
  return (
    <Empty title={text("sourcesEmpty")}>
      <p>{text("sourcesEmptyNote")}</p>
      <code>shuiwei serve --sources sources.json</code>
      <code>shuiwei snapshots send stock.csv --source wms --as-of 2026-06-18T18:00:00+08:00</code>
      <a href="/docs">{text("sourcesEmptyDocs")}</a>
    </Empty>
  );
}

export function Sources({ nowMs, version }: { nowMs: number; version: string }) {
  const { text, format } = usePage();
  const configured = useResource<SourceList>("/v1/sources", EVERY_MS, version);
  const before = useResource<SnapshotList>("/v1/snapshots", EVERY_MS, version);
  const isReceiving = before.answer?.snapshots.some(({ state }) => state === "receiving") === true;
  const faster = useResource<SnapshotList>(isReceiving ? "/v1/snapshots" : undefined, RECEIVING_EVERY_MS);
  const snapshots = faster.answer ?? before.answer;
  // A server of the previous release has no list of sources.
  const listError = configured.error?.status === 404 ? undefined : configured.error;
  const isLoaded = snapshots !== undefined || configured.answer !== undefined;
  const cards = sourceCards(snapshots, configured.answer, nowMs);
  return (
    <Panel
      name="sources"
      title={text("sources")}
      {...(cards.length > 0 && { note: text("sourcesNote", { number: format.units(cards.length) }) })}
    >
      <OldNote error={before.error ?? listError} />
      {!isLoaded ? (
        <div class="desk-empty desk-loading" role="status">
          {text("loading")}
        </div>
      ) : cards.length === 0 ? (
        <HowToConnect />
      ) : (
        <ul class="source-list">
          {cards.map((card) => (
            <Card key={card.name} card={card} nowMs={nowMs} />
          ))}
        </ul>
      )}
    </Panel>
  );
}
