/**
 * The browser has replaced the phone's push subscription: the new one is reported to the server, so that pushes go on
 * without the person opening the page. If that does not succeed, the page does it when it is opened the next time.
 */
import type { SubscriptionChangeEvent, WorkerScope } from "./scope.js";

export async function subscribeAgain(event: SubscriptionChangeEvent, scope: WorkerScope): Promise<void> {
  try {
    const key = event.oldSubscription?.options.applicationServerKey;
    const subscription =
      event.newSubscription ??
      (await scope.registration.pushManager.subscribe({
        userVisibleOnly: true,
        applicationServerKey: key ?? (await serverKey()),
      }));
    const { endpoint, keys } = subscription.toJSON();
    await fetch("/v1/push/subscriptions", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ endpoint, keys, label: "phone" }),
      credentials: "same-origin",
    });
  } catch {
    // no network, or no permission any more
  }
}

async function serverKey(): Promise<string> {
  const answer: { key?: string; publicKey?: string } = await (await fetch("/v1/push/key")).json();
  return answer.key ?? answer.publicKey ?? "";
}
