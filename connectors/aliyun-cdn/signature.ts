/**
 * The signature of Alibaba Cloud's API, version 3 (ACS3-HMAC-SHA256): an HMAC over the hash of a canonical request,
 * which has the method, the query, the signed headers and the hash of the body. All operations of the RPC style have
 * the path `/`. Pure; the sandbox computes the same from what it has received. It does not encode a query: the caller
 * gives it sorted and percent-encoded.
 */
import { createHash, createHmac } from "node:crypto";

const ALGORITHM = "ACS3-HMAC-SHA256";

export interface SignedParts {
  readonly method: string;
  /** Without `?`, sorted by name, percent-encoded; empty when the body has the parameters. */
  readonly query: string;
  /** Those that are signed, by lower-case name: `host`, `content-type` if there is one, and all `x-acs-…`. */
  readonly headers: Readonly<Record<string, string>>;
}

export interface AliyunKey {
  readonly keyId: string;
  readonly secret: string;
}

/** Lower-case hexadecimal SHA-256, as in the header `x-acs-content-sha256`. */
export const hashOf = (body: string): string => createHash("sha256").update(body, "utf8").digest("hex");

/** The value of the header `Authorization`. `headers` must have `x-acs-content-sha256`. */
export function authorizationOf({ method, query, headers }: SignedParts, { keyId, secret }: AliyunKey): string {
  const names = Object.keys(headers).sort();
  const canonicalHeaders = names.map((name) => `${name}:${headers[name]?.trim()}\n`).join("");
  const signedHeaders = names.join(";");
  const request = [method, "/", query, canonicalHeaders, signedHeaders, headers["x-acs-content-sha256"]].join("\n");
  const signature = createHmac("sha256", secret)
    .update(`${ALGORITHM}\n${hashOf(request)}`)
    .digest("hex");
  return `${ALGORITHM} Credential=${keyId},SignedHeaders=${signedHeaders},Signature=${signature}`;
}
