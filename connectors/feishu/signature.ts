/**
 * The signature of Feishu's custom bots: HMAC-SHA256 of nothing, with timestamp and secret as key, in base64. A bot
 * accepts it within an hour of its timestamp. It is not the same as DingTalk's, which signs this text with the secret.
 */
import { createHmac } from "node:crypto";

/** @param timestampSeconds seconds since 1970, as sent in the body */
export const signatureOf = (timestampSeconds: number, secret: string): string =>
  createHmac("sha256", `${timestampSeconds}\n${secret}`).digest("base64");
