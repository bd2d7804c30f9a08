/**
 * This browser's push subscription: what is missing for one, making it and registering it with the server. The
 * permission is requested only after a tap. A subscription made with another key of the server is of no use and is
 * replaced.
 */
import { get, post, RequestError } from "../desk/api.js";
import { activeRegistration } from "./worker-registration.js";

/**
 * `install`: iOS and iPadOS allow it only to a page that was added to the home screen. `no-key`: the server has no Web
 * Push. `off`: it can be turned on.
 */
export type PushState = "unsupported" | "install" | "denied" | "no-key" | "off" | "on";

/** `GET /v1/push/key` */
interface PushKey {
  publicKey: string;
}

/** `POST /v1/push/subscriptions` */
export interface PushDevice {
  id: string;
  label: string;
}

const isApple = (): boolean => /iPhone|iPad|iPod/.test(navigator.userAgent);

/** The name that this browser gives itself. */
function deviceLabel(): string {
  const { userAgent } = navigator;
  const names = ["iPhone", "iPad", "Android", "Windows", "Macintosh", "Linux"];
  const found = names.find((name) => userAgent.includes(name)) ?? "browser";
  return found === "Macintosh" ? "Mac" : found;
}

const bytesOf = (base64url: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(atob(base64url.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));

const sameBytes = (a: ArrayBuffer | null, b: Uint8Array): boolean => {
  const own = new Uint8Array(a ?? new ArrayBuffer(0));
  return own.length === b.length && own.every((byte, i) => byte === b[i]);
};

async function serverKey(): Promise<Uint8Array<ArrayBuffer> | undefined> {
  try {
    return bytesOf((await get<PushKey>("/v1/push/key")).publicKey);
  } catch (error) {
    if (error instanceof RequestError && error.status === 404) return undefined;
    throw error;
  }
}

/** @throws RequestError when the server does not answer */
export async function pushState(): Promise<PushState> {
  if (!("PushManager" in window) || !("Notification" in window)) return isApple() ? "install" : "unsupported";
  if (Notification.permission === "denied") return "denied";
  const key = await serverKey();
  if (key === undefined) return "no-key";
  const registration = await activeRegistration();
  if (registration === undefined) return "unsupported";
  const subscription = await registration.pushManager.getSubscription();
  const isCurrent = subscription !== null && sameBytes(subscription.options.applicationServerKey, key);
  return isCurrent && Notification.permission === "granted" ? "on" : "off";
}

async function register(subscription: PushSubscription): Promise<PushDevice> {
  const { endpoint, keys } = subscription.toJSON();
  return post<PushDevice>("/v1/push/subscriptions", { endpoint, keys, label: deviceLabel() });
}

/**
 * Requests the permission, subscribes and registers; call it in the handler of a tap.
 * @throws RequestError, or the browser's own error
 */
export async function turnPushOn(): Promise<PushState> {
  if ((await Notification.requestPermission()) !== "granted") return "denied";
  const registration = await activeRegistration();
  if (registration === undefined) return "unsupported";
  const applicationServerKey = await serverKey();
  if (applicationServerKey === undefined) return "no-key";
  const before = await registration.pushManager.getSubscription();
  if (before !== null && !sameBytes(before.options.applicationServerKey, applicationServerKey))
    await before.unsubscribe();
  await register(await registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey }));
  return "on";
}

/** Registers an existing subscription again, with each start: the server may have lost it. Never fails. */
export async function renewRegistration(): Promise<void> {
  try {
    if ((await pushState()) !== "on") return;
    const registration = await activeRegistration();
    const subscription = await registration?.pushManager.getSubscription();
    if (subscription) await register(subscription);
  } catch {
    // no network, or no session: the next start tries again
  }
}

/** Ends this browser's subscription, when somebody signs out. Never fails. */
export async function turnPushOff(): Promise<void> {
  try {
    const registration = await activeRegistration();
    const subscription = await registration?.pushManager.getSubscription();
    await subscription?.unsubscribe();
  } catch {
    // the server removes it when a push service reports that it has ended
  }
}
