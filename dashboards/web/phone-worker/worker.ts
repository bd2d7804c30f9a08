/**
 * The phone's service worker: shows every push as a notification and reports that it was displayed, acknowledges from a
 * notification's button, opens the page, and serves the page's files without a network. It controls `/phone` alone.
 * It is built into one file that keeps its name.
 */
import { flushBeacons, SYNC_TAG } from "./beacons.js";
import { onClick } from "./click.js";
import { onPush } from "./push.js";
import type { WorkerScope } from "./scope.js";
import { deleteOldFiles, fileOf, storeFiles } from "./shell.js";
import { subscribeAgain } from "./subscription.js";

const scope = self as unknown as WorkerScope;
scope.openPhone = (url) => scope.clients.openWindow(url);

scope.addEventListener("install", (event) => {
  event.waitUntil(storeFiles(scope.caches).then(() => scope.skipWaiting()));
});

scope.addEventListener("activate", (event) => {
  event.waitUntil(deleteOldFiles(scope.caches).then(() => scope.clients.claim()));
});

scope.addEventListener("fetch", (event) => {
  const answer = fileOf(event.request, scope.caches);
  if (answer === undefined) return;
  event.respondWith(answer);
  if (event.request.mode === "navigate") event.waitUntil(flushBeacons(scope.caches));
});

scope.addEventListener("push", (event) => {
  event.waitUntil(onPush(event, scope));
});

scope.addEventListener("sync", (event) => {
  if ((event as Event & { tag?: string }).tag === SYNC_TAG) event.waitUntil(flushBeacons(scope.caches));
});

scope.addEventListener("notificationclick", (event) => {
  event.waitUntil(onClick(event, scope));
});

scope.addEventListener("pushsubscriptionchange", (event) => {
  event.waitUntil(subscribeAgain(event, scope));
});
