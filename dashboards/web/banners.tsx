/**
 * What must not be overlooked, between the header and everything else: that the figures below are old, and that the
 * breaker refuses orders. The first says since when and when the page tries again; the second says what is stopped,
 * until when, by whom and why.
 */
import type { BreakerFrame } from "../protocol.js";
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
    <div class="banner" data-mood={phase === "stale" ? "warn" : "alarm"} role="alert">
      <strong>{text(phase === "stale" ? "bannerStale" : "bannerOffline")}</strong>
      <span>{text("bannerAsOf", { time: format.second(model.engine.nowMs) })}</span>
      <span>{text("bannerStaleFor", { seconds: silent })}</span>
      {phase === "offline" && <span>{text("bannerRetryIn", { seconds: retry })}</span>}
      {phase === "reconnecting" && <span>{text("bannerReconnecting")}</span>}
    </div>
  );
}

function BreakerLine({ breaker, nowMs }: { breaker: BreakerFrame; nowMs: number }) {
  const { text, format } = usePage();
  const [kind, name = ""] = breaker.scope.split(/:(.*)/s, 2);
  const scope =
    kind === "location"
      ? text("breakerLocation", { name })
      : kind === "sku"
        ? text("breakerSku", { name })
        : text("breakerShop");
  const leftMs = breaker.untilMs - nowMs;
  return (
    <p class="gate">
      <b>{scope}</b>
      <span class="gate-until">
        {text("breakerUntil", { time: format.second(breaker.untilMs) })}
        {" · "}
        {leftMs > 0 ? text("breakerLeft", { left: format.countdown(leftMs) }) : text("breakerRechecking")}
      </span>
      <span>{text("breakerBy", { actor: breaker.actor })}</span>
      <span>{breaker.reason}</span>
    </p>
  );
}

export function BreakerBanner({ breakers, nowMs }: { breakers: readonly BreakerFrame[]; nowMs: number }) {
  const { text, format } = usePage();
  if (breakers.length === 0) return null;
  return (
    <div class="banner breaker" data-mood="alarm" data-testid="breaker" role="alert">
      <strong>{text("breakerOpen")}</strong>
      <div class="gates">
        {breakers.slice(0, SHOWN_BREAKERS).map((breaker) => (
          <BreakerLine key={breaker.scope} breaker={breaker} nowMs={nowMs} />
        ))}
        {breakers.length > SHOWN_BREAKERS && (
          <p class="gate">{text("breakerMore", { number: format.units(breakers.length - SHOWN_BREAKERS) })}</p>
        )}
      </div>
    </div>
  );
}
