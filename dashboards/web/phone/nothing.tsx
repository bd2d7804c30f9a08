/** What stands in the place of the alerts while there are none to show: connecting, or offline and nothing stored. */
import type { LiveState } from "../live-connection.js";
import { usePage } from "../page-context.js";
import { Waiting } from "../waiting.js";

export function Nothing({ state }: { state: LiveState<unknown> }) {
  const { text } = usePage();
  if (state.attempts === 0) return <Waiting state={state} />;
  return (
    <div class="phone-empty" role="status">
      <strong>{text("waitingFailed")}</strong>
      <span>{text("noLastState")}</span>
      <span>{text("noLastStateNote")}</span>
    </div>
  );
}
