/**
 * Signatures of the Standard Webhooks specification: HMAC-SHA256 over id, time and body, so that a receiver can check
 * who has sent a webhook, that it is unchanged, and that it is new. While a secret is replaced, a webhook has a
 * signature by the old and by the new one.
 */
import { createHmac, timingSafeEqual } from "node:crypto";

/** Of a secret: the specification's prefix, and the key in base64, 24 to 64 bytes. */
const SECRET = /^whsec_([A-Za-z0-9+/]+={0,2})$/;
const LEAST_KEY_BYTES = 24;
const MOST_KEY_BYTES = 64;

/** The key of a secret; undefined when the text is no secret of the specification. */
export function keyOf(secret: string): Buffer | undefined {
  const [, text] = SECRET.exec(secret) ?? [];
  const key = Buffer.from(text ?? "", "base64");
  return key.length >= LEAST_KEY_BYTES && key.length <= MOST_KEY_BYTES ? key : undefined;
}

/** What is signed. */
export interface SignedWebhook {
  readonly id: string;
  /** Seconds since 1970. */
  readonly timestamp: number;
  readonly body: string;
}

const signatureOf = ({ id, timestamp, body }: SignedWebhook, key: Buffer): string =>
  `v1,${createHmac("sha256", key).update(`${id}.${timestamp}.${body}`).digest("base64")}`;

/** The header `webhook-signature`. */
export const signaturesOf = (webhook: SignedWebhook, keys: readonly Buffer[]): string =>
  keys.map((key) => signatureOf(webhook, key)).join(" ");

/** Whether one of the header's signatures is by this key. */
export function isSigned(webhook: SignedWebhook, header: string, key: Buffer): boolean {
  const expected = Buffer.from(signatureOf(webhook, key));
  return header.split(" ").some((given) => {
    const bytes = Buffer.from(given);
    return bytes.length === expected.length && timingSafeEqual(bytes, expected);
  });
}
