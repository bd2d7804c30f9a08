/**
 * Reports to the server that a notification was displayed. A report that does not reach it is tried once more, then
 * kept in the browser's cache and sent when the network is back, the next push comes or the page is opened. The server
 * counts a repeated report once.
 */
import type { WorkerScope } from "./scope.js";

const QUEUE = "phone-beacons";
export const SYNC_TAG = "phone-beacons";
/** The oldest reports are deleted above it: what is older than so many messages no longer matters. */
const MOST_QUEUED = 50;
const TIMEOUT_MS = 8_000;

export interface Beacon {
  messageId: string;
  device: string;
}

const pathOf = ({ messageId }: Beacon): string => `/v1/notifications/${encodeURIComponent(messageId)}/displayed`;

/** @returns whether no further attempt is useful: it has arrived, or the server refuses it for good */
async function send(path: string, body: string): Promise<boolean> {
  try {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
      keepalive: true,
      credentials: "same-origin",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    return answer.ok || (answer.status >= 400 && answer.status < 500 && answer.status !== 429);
  } catch {
    return false;
  }
}

/** Sends one report; never fails. */
export async function reportDisplayed(beacon: Beacon, scope: WorkerScope): Promise<void> {
  const path = pathOf(beacon);
  const body = JSON.stringify({ device: beacon.device });
  if ((await send(path, body)) || (await send(path, body))) return flushBeacons(scope.caches);
  try {
    const queue = await scope.caches.open(QUEUE);
    await queue.put(path, new Response(body));
    const queued = await queue.keys();
    for (const oldest of queued.slice(0, Math.max(0, queued.length - MOST_QUEUED))) await queue.delete(oldest);
    await scope.registration.sync?.register(SYNC_TAG);
  } catch {
    // no storage, or no permission to run later: the funnel then ends with "accepted"
  }
}

/** Sends what is queued, the oldest first, and stops at the first that does not arrive. */
export async function flushBeacons(caches: CacheStorage): Promise<void> {
  const queue = await caches.open(QUEUE);
  for (const request of await queue.keys()) {
    const stored = await queue.match(request);
    if (stored !== undefined && !(await send(new URL(request.url).pathname, await stored.text()))) return;
    await queue.delete(request);
  }
}
