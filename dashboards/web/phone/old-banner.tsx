/** Shows that the phone's content is old, with its age; and that the phone is not paired. */
import { useTicks } from "../environment.js";
import type { LiveState } from "../live-connection.js";
import { usePage } from "../page-context.js";
import { realNowMs } from "./last-state.js";
import { useMe } from "./me.js";

interface OldBannerProps {
  state: LiveState<unknown>;
  /** When the state that is shown was stored; undefined: it came over the present connection. */
  savedMs: number | undefined;
}

export function OldBanner({ state: { phase, model, frameAtMs, attempts }, savedMs }: OldBannerProps) {
  const { text, format } = usePage();
  const me = useMe();
  const isOld = phase === "stale" || phase === "offline" || phase === "reconnecting" || attempts > 0;
  useTicks(1_000, isOld || savedMs !== undefined);
  if (me.error?.status === 401)
    return (
      <div class="phone-banner" data-tone="warn" role="status">
        <strong>{text("unpaired")}</strong>
        <span>{text("unpairedNote")}</span>
      </div>
    );
  const isShown = model !== undefined ? isOld : savedMs !== undefined && attempts > 0;
  if (!isShown) return null;
  const ageMs = savedMs === undefined ? performance.now() - frameAtMs : realNowMs() - savedMs;
  // Whole minutes, or whole seconds in the first: a time in tenths would flicker.
  const steady = ageMs < 60_000 ? Math.max(1_000, Math.floor(ageMs / 1_000) * 1_000) : ageMs;
  return (
    <div class="phone-banner" data-tone={phase === "stale" ? "warn" : "alarm"} role="alert" data-testid="old">
      <strong>{text(phase === "stale" ? "bannerStale" : "oldState")}</strong>
      <span>{text("oldStateSince", { age: text("ageAgo", { duration: format.age(steady) }) })}</span>
    </div>
  );
}
