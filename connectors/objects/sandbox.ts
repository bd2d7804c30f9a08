/**
 * A sandbox of a bucket over real HTTP that verifies every request: it computes the SigV4 signature by itself, from
 * the published algorithm and node:crypto, and compares it, the body's hash, the time and the region with those of
 * the request. It serves PUT (also with a condition), GET and DELETE of objects by path, and a test can answer the next
 * requests instead. It keeps objects in memory only, and drops the oldest past a limit.
 */
import { createHash, createHmac } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { systemClock } from "../../engine/kernel/clock.js";

export const KEY_ID = "AKIDSANDBOX";
export const SECRET = "a/secret+of=this-test";
export const REGION = "cn-east-1";
export const BUCKET = "orders-test";

const MAX_SKEW_MS = 15 * 60_000;
const BYTES_KEPT = 256 * 2 ** 20;

export interface StoredObject {
  bytes: Buffer;
  contentType: string | undefined;
  /** Headers that are stored with it and come with it: those of caches, and `x-amz-meta-…`. */
  headers: Readonly<Record<string, string>>;
}

/** Answers one request instead of the bucket, or leaves it without an answer. */
export type Fault = (request: IncomingMessage, response: ServerResponse) => void;

export class S3Sandbox {
  readonly objects = new Map<string, StoredObject>();
  /** Used from the front, one for each request. */
  readonly faults: Fault[] = [];
  requests = 0;
  /** Requests with a wrong signature, hash, time or region. */
  denied = 0;
  /** Scheme, host and port. */
  endpoint = "";
  /** Conditions of a PUT are ignored, as by a bucket that does not know them. */
  ignoresConditions = false;
  readonly #server: Server;
  readonly #bytesKept: number;
  #bytes = 0;

  private constructor(bytesKept: number) {
    this.#bytesKept = bytesKept;
    this.#server = createServer((request, response) => void this.#answer(request, response));
  }

  /** @param port 0 chooses a free port */
  static async start({ port = 0, bytesKept = BYTES_KEPT } = {}): Promise<S3Sandbox> {
    const sandbox = new S3Sandbox(bytesKept);
    sandbox.#server.listen(port, "127.0.0.1");
    await once(sandbox.#server, "listening");
    sandbox.endpoint = `http://127.0.0.1:${(sandbox.#server.address() as AddressInfo).port}`;
    return sandbox;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.requests++;
    const body: Buffer[] = [];
    for await (const part of request) body.push(part as Buffer);
    const fault = this.faults.shift();
    if (fault) return fault(request, response);
    const bytes = Buffer.concat(body);
    const denial = denialOf(request, bytes);
    if (denial) {
      this.denied++;
      return xml(response, 403, denial);
    }
    const [, bucket, ...rest] = (request.url ?? "").split("/");
    const key = rest.join("/");
    if (bucket !== BUCKET) return xml(response, 404, "NoSuchBucket");
    if (request.method === "PUT") {
      const fault = this.ignoresConditions ? undefined : conditionFault(request, this.objects.get(key));
      if (fault) return xml(response, ...fault);
      this.#put(key, { bytes, contentType: request.headers["content-type"], headers: storedHeaders(request) });
      response.writeHead(200, { etag: etagOf(bytes) }).end();
      return;
    }
    if (request.method === "DELETE") {
      // As S3 does, whether it existed or not.
      this.#delete(key);
      response.writeHead(204).end();
      return;
    }
    const object = this.objects.get(key);
    if (object === undefined) return xml(response, 404, "NoSuchKey");
    const type = object.contentType === undefined ? {} : { "content-type": object.contentType };
    response.writeHead(200, { etag: etagOf(object.bytes), ...type, ...object.headers }).end(object.bytes);
  }

  #put(key: string, object: StoredObject): void {
    this.#delete(key);
    this.objects.set(key, object);
    this.#bytes += object.bytes.length;
    for (const oldest of this.objects.keys()) {
      if (this.#bytes <= this.#bytesKept) return;
      this.#delete(oldest);
    }
  }

  #delete(key: string): void {
    this.#bytes -= this.objects.get(key)?.bytes.length ?? 0;
    this.objects.delete(key);
  }
}

/** As S3: a hash of the content. */
const etagOf = (bytes: Buffer): string => `"${createHash("md5").update(bytes).digest("hex")}"`;

const STORED_HEADER = /^(?:cache-control|content-encoding|x-amz-meta-.+)$/;

const storedHeaders = ({ headers }: IncomingMessage): Record<string, string> =>
  Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) => (STORED_HEADER.test(name) ? [[name, String(value)]] : [])),
  );

/** The status and error code for a condition that does not hold; undefined when it does. */
function conditionFault(
  { headers }: IncomingMessage,
  stored: StoredObject | undefined,
): [status: number, code: string] | undefined {
  const { "if-match": match, "if-none-match": none } = headers;
  if (none !== undefined && stored !== undefined) return [412, "PreconditionFailed"];
  if (match === undefined) return undefined;
  if (stored === undefined) return [404, "NoSuchKey"];
  return match === etagOf(stored.bytes) ? undefined : [412, "PreconditionFailed"];
}

export function xml(response: ServerResponse, status: number, code: string): void {
  response.writeHead(status, { "content-type": "application/xml" });
  response.end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>about ${code}</Message></Error>`);
}

const sha256 = (bytes: Buffer | string): string => createHash("sha256").update(bytes).digest("hex");
const hmac = (key: Buffer | string, text: string): Buffer => createHmac("sha256", key).update(text).digest();

/** The S3 error code for a request that is not signed correctly; undefined when it is. */
function denialOf(request: IncomingMessage, body: Buffer): string | undefined {
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
