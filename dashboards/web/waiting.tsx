/**
 * What a page shows before its first snapshots: that it is connecting, that the engine cannot be reached and when the
 * next attempt begins, or which feed the server does not send.
 */
import { useTicks } from "./environment.js";
import type { LiveState } from "./live-connection.js";
import { usePage } from "./page-context.js";

export function Waiting({ state }: { state: LiveState<unknown> }) {
  const { text, format } = usePage();
  useTicks(500, true);
  if (state.refused !== undefined)
    return (
      <div class="waiting" role="status" data-tone="alarm">
        <strong>{text("waitingRefused")}</strong>
        <span>{text("waitingRefusedFeed", { feed: state.refused })}</span>
      </div>
    );
  const failed = state.attempts > 0;
  const seconds = Math.max(0, Math.ceil((state.retryAtMs - performance.now()) / 1_000));
  return (
    <div class="waiting" role="status" data-tone={failed ? "alarm" : "calm"}>
      <div class="waiting-wave" aria-hidden="true" />
      <strong>{text(failed ? "waitingFailed" : "waitingTitle")}</strong>
      <span>
        {!failed
          ? ""
          : state.phase === "offline"
            ? text("bannerRetryIn", { seconds: format.units(seconds) })
            : text("bannerReconnecting")}
      </span>
    </div>
  );
}
