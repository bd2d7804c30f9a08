/**
 * The signature of Tencent Cloud's API, version 3 (TC3-HMAC-SHA256): an HMAC over the hash of a canonical request with
 * a key that is derived from the secret for one day (UTC) and one service. Every request is a POST of JSON to the path
 * `/`. Pure; the sandbox computes the same from what it has received.
 */
import { createHash, createHmac } from "node:crypto";

const ALGORITHM = "TC3-HMAC-SHA256";

export interface SignedParts {
  /** The first label of the vendor's host: `cdn`. */
  readonly service: string;
  /** Those that are signed, by lower-case name; values as they are sent. `content-type` and `host` at least. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** Seconds since the epoch, as in the header `X-TC-Timestamp`. */
  readonly timestamp: number;
}

export interface TencentKey {
  readonly secretId: string;
  readonly secretKey: string;
}

/** The value of the header `Authorization`. */
export function authorizationOf(parts: SignedParts, { secretId, secretKey }: TencentKey): string {
  const { service, headers, body, timestamp } = parts;
  const names = Object.keys(headers).sort();
  // Values are signed in lower case, however they are sent.
  const canonicalHeaders = names.map((name) => `${name}:${headers[name]?.trim().toLowerCase()}\n`).join("");
  const signedHeaders = names.join(";");
  const request = ["POST", "/", "", canonicalHeaders, signedHeaders, hashOf(body)].join("\n");
  const date = new Date(timestamp * 1_000).toISOString().slice(0, 10);
  const scope = `${date}/${service}/tc3_request`;
  const key = [date, service, "tc3_request"].reduce<string | Buffer>(hmac, `TC3${secretKey}`);
  const signature = hmac(key, `${ALGORITHM}\n${timestamp}\n${scope}\n${hashOf(request)}`).toString("hex");
  return `${ALGORITHM} Credential=${secretId}/${scope}, SignedHeaders=${signedHeaders}, Signature=${signature}`;
}

const hashOf = (text: string): string => createHash("sha256").update(text, "utf8").digest("hex");

const hmac = (key: string | Buffer, text: string): Buffer => createHmac("sha256", key).update(text, "utf8").digest();
