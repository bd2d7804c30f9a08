/**
 * Registers the phone's service worker and gives other parts its registration. A new release of it takes over by
 * itself and serves its files from then on; the open page stays as it is until it is opened again, so that there is no
 * reload that a person did not start.
 */
const WORKER_PATH = "/phone-sw.js";
const SCOPE = "/phone";

/** Undefined where the browser has no service workers or refuses them: the page works without. */
let registration: Promise<ServiceWorkerRegistration | undefined> = Promise.resolve(undefined);

export function registerWorker(): void {
  if (!("serviceWorker" in navigator)) return;
  registration = navigator.serviceWorker
    .register(WORKER_PATH, { scope: SCOPE, updateViaCache: "none" })
    .catch(() => undefined);
  // A click on a notification while the page is open.
  navigator.serviceWorker.addEventListener("message", ({ data }) => {
    if (data?.kind === "open" && typeof data.hash === "string") location.hash = data.hash;
  });
}

/** The registration once its worker is active; undefined without one. */
export async function activeRegistration(): Promise<ServiceWorkerRegistration | undefined> {
  const registered = await registration;
  if (registered === undefined || registered.active !== null) return registered;
  const starting = registered.installing ?? registered.waiting;
  if (starting === null) return undefined;
  await new Promise<void>((resolve) => {
    const check = () => {
      if (starting.state === "activated" || starting.state === "redundant") resolve();
    };
    starting.addEventListener("statechange", check);
    check();
  });
  return registered.active === null ? undefined : registered;
}
