/**
 * The signature of DingTalk's custom robots: HMAC-SHA256 over timestamp and secret with the secret as key, in base64.
 * A robot accepts it within an hour of its timestamp. Pure; the caller encodes it for the query.
 */
import { createHmac } from "node:crypto";

/** @param timestampMs milliseconds since 1970, as sent in the query */
export const signatureOf = (timestampMs: number, secret: string): string =>
  createHmac("sha256", secret).update(`${timestampMs}\n${secret}`).digest("base64");
