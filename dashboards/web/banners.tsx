/**
 * Warnings below the header. One appears when the figures are old: since when, and when the page connects again. One
 * appears when a breaker is open: what it stops, until when, by whom and why. One appears when a dry run would have
 * opened a breaker.
 */
import type { BreakerBody } from "../feeds/breakers.js";
import type { ConsistencyBody, EvidenceBody } from "../feeds/consistency.js";
import { useTicks } from "./environment.js";
import type { LiveState } from "./live-connection.js";
import { partyName, usePage } from "./page-context.js";
import type { ShopModel } from "./shop-model.js";

const SHOWN_BREAKERS = 3;
/** SKUs that a sentence names; the rest is counted. */
const SHOWN_SKUS = { wall: 3, desktop: 3, phone: 2 } as const;
/** The actor of what the engine does by itself, as in engine/jobs/consistency/decisions.ts. */
export const AUTOMATION = "engine";

export function ConnectionBanner({ state }: { state: LiveState<ShopModel> }) {
  const { text, format } = usePage();
  const { phase, model } = state;
  const shown = model !== undefined && (phase === "stale" || phase === "offline" || phase === "reconnecting");
  useTicks(500, shown);
  if (!shown) return null;
  const nowMs = performance.now();
  const silent = format.units(Math.floor((nowMs - state.frameAtMs) / 1_000));
  const retry = format.units(Math.max(0, Math.ceil((state.retryAtMs - nowMs) / 1_000)));
  return (
    <div class="banner" data-tone={phase === "stale" ? "warn" : "alarm"} role="alert">
      <strong>{text(phase === "stale" ? "bannerStale" : "bannerOffline")}</strong>
      <span>{text("bannerAsOf", { time: format.second(model.engine.nowMs) })}</span>
      <span>{text("bannerStaleFor", { seconds: silent })}</span>
      {phase === "offline" && <span>{text("bannerRetryIn", { seconds: retry })}</span>}
      {phase === "reconnecting" && <span>{text("bannerReconnecting")}</span>}
    </div>
  );
}

/** What the scope of a breaker stops, as a sentence. */
export function ScopeText({ scope }: { scope: string }) {
  const { text } = usePage();
  const [kind, name = ""] = scope.split(/:(.*)/s, 2);
  if (kind === "location") return <>{text("breakerLocation", { name })}</>;
  return <>{kind === "sku" ? text("breakerSku", { name }) : text("breakerShop")}</>;
}

/** Which pair parts by how much, against which threshold, and the SKUs with the greatest differences. */
export function EvidenceText({ evidence }: { evidence: EvidenceBody }) {
  const { text, format, layout } = usePage();
  const { pair, share, threshold, skus = [] } = evidence;
  const shown = skus.slice(0, SHOWN_SKUS[layout]);
  return (
    <span class="evidence">
      <span>
        {text("evidence", {
          a: partyName(text, pair[0]),
          b: partyName(text, pair[1]),
          share: format.share(share),
          threshold: format.share(threshold),
        })}
      </span>
      {shown.length > 0 && (
        <span class="evidence-skus">
          {text("evidenceSkus", { skus: shown.join(text("listComma")) })}
          {skus.length > shown.length && text("evidenceMore", { number: format.units(skus.length - shown.length) })}
        </span>
      )}
    </span>
  );
}

function BreakerItem({ breaker, nowMs }: { breaker: BreakerBody; nowMs: number }) {
  const { text } = usePage();
  const byItself = breaker.actor === AUTOMATION;
  return (
    <p class="breaker-item">
      <b>
        <ScopeText scope={breaker.scope} />
      </b>
      <BreakerEnd breaker={breaker} nowMs={nowMs} />
      {breaker.evidence !== undefined && <EvidenceText evidence={breaker.evidence} />}
      <span>{byItself ? text("breakerByItself") : text("breakerBy", { actor: breaker.actor })}</span>
      {!(byItself && breaker.evidence !== undefined) && <span>{breaker.reason}</span>}
      {breaker.missing && <span>{text("breakerMissing", { partitions: breaker.missing.join(", ") })}</span>}
    </p>
  );
}

/** Until when the breaker is open, and what follows then; or that it is half-open. */
export function BreakerEnd({ breaker, nowMs }: { breaker: BreakerBody; nowMs: number }) {
  const { text, format } = usePage();
  const { state, untilMs, atEnd } = breaker;
  if (state === "half_open")
    return (
      <span class="breaker-until">
        {text(breaker.actor === AUTOMATION ? "breakerHalfOpenCompares" : "breakerHalfOpen")}
      </span>
    );
  if (untilMs === null) return <span class="breaker-until">{text("breakerNoEnd")}</span>;
  const leftMs = untilMs - nowMs;
  return (
    <span class="breaker-until">
      {text("breakerUntil", { time: format.second(untilMs) })}
      {atEnd === "half_open" && text("breakerThenHalfOpen")}
      {" · "}
      {leftMs > 0 ? text("breakerLeft", { left: format.countdown(leftMs) }) : text("breakerEnding")}
    </span>
  );
}

export function BreakerBanner({ breakers, nowMs }: { breakers: readonly BreakerBody[]; nowMs: number }) {
  const { text, format } = usePage();
  if (breakers.length === 0) return null;
  return (
    <div class="banner breaker" data-tone="alarm" data-testid="breaker" role="alert">
      <strong>
        {text(breakers.every(({ state }) => state === "half_open") ? "breakerHalfOpenTitle" : "breakerOpen")}
      </strong>
      <div class="breaker-list">
        {breakers.slice(0, SHOWN_BREAKERS).map((breaker) => (
          <BreakerItem key={breaker.scope} breaker={breaker} nowMs={nowMs} />
        ))}
        {breakers.length > SHOWN_BREAKERS && (
          <p class="breaker-item">{text("breakerMore", { number: format.units(breakers.length - SHOWN_BREAKERS) })}</p>
        )}
      </div>
    </div>
  );
}

/** What a dry run would have opened by the last comparison. */
export function DryRunBanner({ consistency }: { consistency: ConsistencyBody | undefined }) {
  const { text, format } = usePage();
  const wouldOpen = consistency?.mode === "dry-run" ? consistency.wouldOpen : [];
  const [first] = wouldOpen;
  if (first === undefined) return null;
  return (
    <div class="banner breaker" data-tone="warn" data-testid="dry-run" role="status">
      <strong>{text("dryRun")}</strong>
      <div class="breaker-list">
        <p class="breaker-item">
          <b>{text("dryRunWould")}</b>
          <EvidenceText evidence={first} />
          {wouldOpen.length > 1 && <span>{text("breakerMore", { number: format.units(wouldOpen.length - 1) })}</span>}
        </p>
      </div>
    </div>
  );
}
