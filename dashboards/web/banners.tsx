/**
 * Warnings below the header. One appears when the figures are old: since when, and when the page connects again. The
 * other appears when a breaker is open: what it stops, until when, by whom and why.
 */
import type { BreakerBody } from "../feeds/breakers.js";
import { useTicks } from "./environment.js";
import type { LiveState } from "./live-connection.js";
import { usePage } from "./page-context.js";

const SHOWN_BREAKERS = 3;

export function ConnectionBanner({ state }: { state: LiveState }) {
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

function BreakerItem({ breaker, nowMs }: { breaker: BreakerBody; nowMs: number }) {
  const { text } = usePage();
  const [kind, name = ""] = breaker.scope.split(/:(.*)/s, 2);
  const scope =
    kind === "location"
      ? text("breakerLocation", { name })
      : kind === "sku"
        ? text("breakerSku", { name })
        : text("breakerShop");
  return (
    <p class="breaker-item">
      <b>{scope}</b>
      <BreakerEnd breaker={breaker} nowMs={nowMs} />
      <span>{text("breakerBy", { actor: breaker.actor })}</span>
      <span>{breaker.reason}</span>
      {breaker.missing && <span>{text("breakerMissing", { partitions: breaker.missing.join(", ") })}</span>}
    </p>
  );
}

/** Until when the breaker is open, and what follows then; or that it is half-open. */
function BreakerEnd({ breaker, nowMs }: { breaker: BreakerBody; nowMs: number }) {
  const { text, format } = usePage();
  const { state, untilMs, atEnd } = breaker;
  if (state === "half_open") return <span class="breaker-until">{text("breakerHalfOpen")}</span>;
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
