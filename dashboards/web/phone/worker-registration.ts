/**
 * Registers the phone's service worker. A new release of it takes over by
 * itself and serves its files from then on; the open page stays as it is until it is opened again, so that there is no
 * reload that a person did not start.
 */
const WORKER_PATH = "/phone-sw.js";
const SCOPE = "/phone";

export function registerWorker(): void {
  if (!("serviceWorker" in navigator)) return;
  // Where the browser refuses it the page works without.
  navigator.serviceWorker.register(WORKER_PATH, { scope: SCOPE, updateViaCache: "none" }).catch(() => {});
}
