/**
 * What must not be overlooked, between the header and everything else: that the figures below are old, and that the breaker refuses
 * orders. The first says since when and when the page tries again; the second says what is stopped, until when, by whom and why.
 */
import type { GateFrame } from "../protocol.js";
import { useTicks } from "./environment.js";
import type { LiveState } from "./live-connection.js";
import { usePage } from "./page-context.js";

const SHOWN_GATES = 3;

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

function GateLine({ gate, nowMs }: { gate: GateFrame; nowMs: number }) {
  const { text, format } = usePage();
  const [kind, name = ""] = gate.scope.split(/:(.*)/s, 2);
  const scope =
    kind === "location"
      ? text("breakerLocation", { name })
      : kind === "sku"
        ? text("breakerSku", { name })
        : text("breakerShop");
  const leftMs = gate.untilMs - nowMs;
  return (
    <p class="gate">
      <b>{scope}</b>
      <span class="gate-until">
        {text("breakerUntil", { time: format.second(gate.untilMs) })}
        {" · "}
        {leftMs > 0 ? text("breakerLeft", { left: format.countdown(leftMs) }) : text("breakerRechecking")}
      </span>
      <span>{text("breakerBy", { actor: gate.actor })}</span>
      <span>{gate.reason}</span>
    </p>
  );
}

export function BreakerBanner({ gates, nowMs }: { gates: readonly GateFrame[]; nowMs: number }) {
  const { text, format } = usePage();
  if (gates.length === 0) return null;
  return (
    <div class="banner breaker" data-mood="alarm" data-testid="breaker" role="alert">
      <strong>{text("breakerOpen")}</strong>
      <div class="gates">
        {gates.slice(0, SHOWN_GATES).map((gate) => (
          <GateLine key={gate.scope} gate={gate} nowMs={nowMs} />
        ))}
        {gates.length > SHOWN_GATES && (
          <p class="gate">{text("breakerMore", { number: format.units(gates.length - SHOWN_GATES) })}</p>
        )}
      </div>
    </div>
  );
}
