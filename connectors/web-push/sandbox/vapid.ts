/**
 * Checks who sends a push, as push services do (RFC 8292): the token's signature by the key that it names, its
 * audience, its end within 24 hours, and its contact. Independent of the code that signs. Pure.
 */
import { createPublicKey, verify } from "node:crypto";
import { subjectFault } from "../vapid-subject.js";

const LONGEST_SECONDS = 24 * 3_600;
const POINT_BYTES = 65;
const COORDINATE_BYTES = 32;

export interface VapidSender {
  /** Base64url of the sender's public key. */
  readonly publicKey: string;
  readonly subject: string;
}

/** The sender of a push, or why it is refused. @param origin of this push service */
export function vapidSenderOf(authorization: string, origin: string, nowMs: number): VapidSender | string {
  const [, token = "", publicKey = ""] = /^vapid t=([^, ]+), ?k=([A-Za-z0-9_-]+)$/.exec(authorization) ?? [];
  const [head = "", body = "", signature = ""] = token.split(".");
  const point = Buffer.from(publicKey, "base64url");
  if (point.length !== POINT_BYTES || signature === "") return "no VAPID token with its key";
  try {
    const { alg } = parsed(head);
    const { aud, exp, sub } = parsed(body);
    const [x, y] = [point.subarray(1, 1 + COORDINATE_BYTES), point.subarray(1 + COORDINATE_BYTES)];
    const key = createPublicKey({
      format: "jwk",
      key: { kty: "EC", crv: "P-256", x: x.toString("base64url"), y: y.toString("base64url") },
    });
    const signed = Buffer.from(`${head}.${body}`);
    const bytes = Buffer.from(signature, "base64url");
    if (alg !== "ES256" || !verify("sha256", signed, { key, dsaEncoding: "ieee-p1363" }, bytes))
      return "the VAPID token is not signed by its key";
    if (aud !== origin) return `the VAPID token is for ${String(aud)}`;
    const seconds = Number(exp) - nowMs / 1_000;
    if (!(seconds > 0 && seconds <= LONGEST_SECONDS)) return "the VAPID token has expired or lasts more than 24 hours";
    if (typeof sub !== "string" || subjectFault(sub) !== undefined) return "the VAPID token has no usable contact";
    return { publicKey, subject: sub };
  } catch {
    return "the VAPID token cannot be read";
  }
}

const parsed = (part: string): Record<string, unknown> =>
  JSON.parse(Buffer.from(part, "base64url").toString("utf8")) as Record<string, unknown>;
