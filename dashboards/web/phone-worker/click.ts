/**
 * A click on a notification: its button acknowledges the alert without opening anything; a click elsewhere, or an
 * acknowledgement that did not succeed, opens the page at the alert. An open page is used again.
 */
import type { NotificationData } from "./notification.js";
import type { ClickEvent, WorkerScope } from "./scope.js";

const TIMEOUT_MS = 10_000;

/** Only pages of this server's phone are opened, whatever a payload contains. */
function ownPage(navigate: string, origin: string): URL {
  try {
    const url = new URL(navigate, origin);
    if (url.origin === origin && url.pathname === "/phone") return url;
  } catch {
    // no address: the list
  }
  return new URL("/phone", origin);
}

async function acknowledge(alertId: string): Promise<boolean> {
  try {
    const answer = await fetch(`/v1/alerts/${encodeURIComponent(alertId)}/acknowledgement`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: "{}",
      credentials: "same-origin",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    if (answer.ok) return true;
    // Cleared meanwhile: there is nothing left to acknowledge.
    const problem: { code?: string } = await answer.json().catch(() => ({}));
    return problem.code === "alert_cleared";
  } catch {
    return false;
  }
}

export async function onClick({ notification, action }: ClickEvent, scope: WorkerScope): Promise<void> {
  const { navigate = "/phone", alertId }: Partial<NotificationData> = notification.data ?? {};
  notification.close();
  if (action === "acknowledge" && alertId !== undefined && (await acknowledge(alertId))) return;
  const { origin } = scope.location;
  const url = ownPage(navigate, origin);
  const open = await scope.clients.matchAll({ type: "window", includeUncontrolled: true });
  const phone = open.find((client) => new URL(client.url).pathname === "/phone");
  if (phone === undefined) {
    await scope.openPhone?.(url.href);
    return;
  }
  phone.postMessage({ kind: "open", hash: url.hash });
  // A browser may refuse the focus; a new window is better than nothing.
  await phone.focus().catch(() => scope.openPhone?.(url.href));
}
