/**
 * A bucket over real HTTP that believes nothing: it works out every request's SigV4 signature by itself, from the
 * published algorithm and node:crypto, and compares it, the body's hash, the time and the region with what the
 * request says. It knows PUT, GET and DELETE of objects by path, and can be told to answer the next requests in
 * another way.
 */
import { createHash, createHmac } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { systemClock } from "../../engine/kernel/clock.js";

export const KEY_ID = "AKIDSTANDIN";
export const SECRET = "a/secret+of=this-test";
export const REGION = "cn-east-1";
export const BUCKET = "orders-test";

const MAX_SKEW_MS = 15 * 60_000;

export interface StoredObject {
  bytes: Buffer;
  contentType: string | undefined;
}

/** Answers one request instead of the bucket; returns nothing to leave it hanging. */
export type Trouble = (request: IncomingMessage, response: ServerResponse) => void;

export class S3Sandbox {
  readonly objects = new Map<string, StoredObject>();
  /** Taken from the front, one a request. */
  readonly troubles: Trouble[] = [];
  requests = 0;
  /** Scheme, host and port. */
  endpoint = "";
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => void this.#answer(request, response));
  }

  static async start(): Promise<S3Sandbox> {
    const standIn = new S3Sandbox();
    await new Promise<void>((resolve) => standIn.#server.listen(0, "127.0.0.1", resolve));
    standIn.endpoint = `http://127.0.0.1:${(standIn.#server.address() as AddressInfo).port}`;
    return standIn;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.requests++;
    const body: Buffer[] = [];
    for await (const part of request) body.push(part as Buffer);
    const trouble = this.troubles.shift();
    if (trouble) return trouble(request, response);
    const bytes = Buffer.concat(body);
    const fault = faultOf(request, bytes);
    if (fault) return xml(response, 403, fault);
    const [, bucket, ...rest] = (request.url ?? "").split("/");
    const key = rest.join("/");
    if (bucket !== BUCKET) return xml(response, 404, "NoSuchBucket");
    if (request.method === "PUT") {
      this.objects.set(key, { bytes, contentType: request.headers["content-type"] });
      response.end();
      return;
    }
    if (request.method === "DELETE") {
      // As S3 does, whether it was there or not.
      this.objects.delete(key);
      response.writeHead(204).end();
      return;
    }
    const object = this.objects.get(key);
    if (object === undefined) return xml(response, 404, "NoSuchKey");
    response.end(object.bytes);
  }
}

export function xml(response: ServerResponse, status: number, code: string): void {
  response.writeHead(status, { "content-type": "application/xml" });
  response.end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>about ${code}</Message></Error>`);
}

const sha256 = (bytes: Buffer | string): string => createHash("sha256").update(bytes).digest("hex");
const hmac = (key: Buffer | string, text: string): Buffer => createHmac("sha256", key).update(text).digest();

/** Why a request is not to be believed, as S3's error codes say it. */
function faultOf(request: IncomingMessage, body: Buffer): string | undefined {
  const header = (name: string): string => String(request.headers[name] ?? "");
  const [, keyId, scope, names = "", signature] =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/([^,]+), SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$/.exec(
      header("authorization"),
    ) ?? [];
  if (keyId === undefined) return "AccessDenied";
  if (keyId !== KEY_ID) return "InvalidAccessKeyId";
  const date = header("x-amz-date");
  const [, y, mo, d, h, mi, s] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(date) ?? [];
  const skewMs = Math.abs(
    Date.UTC(Number(y), Number(mo) - 1, Number(d), Number(h), Number(mi), Number(s)) - systemClock.now(),
  );
  if (!(skewMs <= MAX_SKEW_MS)) return "RequestTimeTooSkewed";
  const day = date.slice(0, 8);
  if (scope !== `${day}/${REGION}/s3/aws4_request`) return "AuthorizationHeaderMalformed";
  if (header("x-amz-content-sha256") !== sha256(body)) return "XAmzContentSHA256Mismatch";
  const signed = names.split(";");
  for (const needed of ["host", "x-amz-content-sha256", "x-amz-date"])
    if (!signed.includes(needed)) return "AccessDenied";
  const [path = "", query = ""] = (request.url ?? "").split("?");
  const canonical = [
    request.method,
    path
      .split("/")
      .map((part) => encodeURIComponent(decodeURIComponent(part)))
      .join("/"),
    query,
    ...signed.map((name) => `${name}:${header(name).trim()}`),
    "",
    names,
    sha256(body),
  ].join("\n");
  const toSign = ["AWS4-HMAC-SHA256", date, scope, sha256(canonical)].join("\n");
  const key = hmac(hmac(hmac(hmac(`AWS4${SECRET}`, day), REGION), "s3"), "aws4_request");
  return hmac(key, toSign).toString("hex") === signature ? undefined : "SignatureDoesNotMatch";
}
