/**
 * A push subscription as a browser gives it (`PushSubscription.toJSON()`), checked before it is stored and again before
 * it is used: an https address of an allowed push service, the browser's public key as a point of the curve P-256, and
 * its 16 bytes of authentication secret (RFC 8291 §2). Pure.
 */
import { ECDH } from "node:crypto";
import type { PushHostPolicy } from "./push-hosts.js";

export interface PushSubscription {
  readonly endpoint: string;
  readonly keys: { readonly p256dh: string; readonly auth: string };
}

export interface SubscriptionFault {
  readonly field: "endpoint" | "keys.p256dh" | "keys.auth";
  readonly message: string;
}

/** Of an address; the vendors' have up to 600. */
const MAX_ENDPOINT_LENGTH = 2_048;
const POINT_BYTES = 65;
const AUTH_BYTES = 16;
const UNCOMPRESSED = 4;

/** What is wrong with a subscription; the first fault of each field. */
export function subscriptionFaults({ endpoint, keys }: PushSubscription, hosts: PushHostPolicy): SubscriptionFault[] {
  const faults: [SubscriptionFault["field"], string | undefined][] = [
    ["endpoint", endpointFault(endpoint, hosts)],
    ["keys.p256dh", pointFault(keys.p256dh)],
    ["keys.auth", bytesOf(keys.auth)?.length === AUTH_BYTES ? undefined : `is not base64url of ${AUTH_BYTES} bytes`],
  ];
  return faults.flatMap(([field, message]) => (message === undefined ? [] : [{ field, message }]));
}

function endpointFault(endpoint: string, hosts: PushHostPolicy): string | undefined {
  if (endpoint.length > MAX_ENDPOINT_LENGTH) return `is longer than ${MAX_ENDPOINT_LENGTH} characters`;
  // A parser drops line breaks and turns backslashes into slashes: such a text is not what a browser sends.
  if (/[^\x21-\x7e]|\\/.test(endpoint) || !URL.canParse(endpoint)) return "is not an address";
  const url = new URL(endpoint);
  if (url.protocol !== "https:") return "is not an https address";
  if (url.username !== "" || url.password !== "") return "contains a user name";
  if (url.hash !== "") return "contains a #";
  return hosts(url) === undefined ? "is not an address of a push service that this server allows" : undefined;
}

function pointFault(text: string): string | undefined {
  const bytes = bytesOf(text);
  if (bytes?.length !== POINT_BYTES || bytes[0] !== UNCOMPRESSED)
    return `is not base64url of a point of ${POINT_BYTES} bytes`;
  try {
    ECDH.convertKey(bytes, "prime256v1");
    return undefined;
  } catch {
    return "is not a point of the curve P-256";
  }
}

/** The bytes of a text in base64url without padding; undefined when it is another text. */
function bytesOf(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, "base64url");
  return bytes.toString("base64url") === text ? bytes : undefined;
}

/** What is stored as a device's address, read again; undefined when it is not a subscription. */
export function storedSubscription(address: unknown): PushSubscription | undefined {
  const { endpoint, keys } = (address ?? {}) as Partial<PushSubscription>;
  const isComplete = typeof endpoint === "string" && typeof keys?.p256dh === "string" && typeof keys.auth === "string";
  return isComplete ? { endpoint, keys: { p256dh: keys.p256dh, auth: keys.auth } } : undefined;
}
