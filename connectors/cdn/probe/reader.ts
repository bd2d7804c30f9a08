/**
 * Reads an address as a browser or a shop's server would, and keeps what an observer needs: when it was asked and
 * answered, the headers, and the `asOf` of the body. It follows no redirect, adds no header that caches act on, and
 * never throws for what a server does: a failure is a reading, too. For 304 the body is the one that the reader has
 * already, so its `asOf` is given by the caller.
 */
import { Agent } from "undici";
import { systemClock } from "../../../engine/kernel/clock.js";
import { messageOf } from "../../../engine/kernel/errors.js";
import type { Headers } from "./cache-signs.js";

/** A body that the reader has. */
export interface KnownBody {
  readonly etag: string;
  readonly asOfMs: number;
}

export interface Reading {
  /** Milliseconds since the epoch, by the own clock. */
  readonly sentMs: number;
  readonly receivedMs: number;
  /** 0: no answer came; `fault` says why. */
  readonly status: number;
  readonly fault: string | undefined;
  readonly headers: Headers;
  /** As of which instant the body is true; undefined when there is none that says it. */
  readonly asOfMs: number | undefined;
  /** The JSON of a body, if it is an object. */
  readonly body: Readonly<Record<string, unknown>> | undefined;
  /** The ETag that was sent in If-None-Match. */
  readonly known: string | undefined;
}

export interface ReadOptions {
  /** Asks only for what differs from it. */
  readonly known?: KnownBody | undefined;
  /** Left out: GET. */
  readonly method?: string;
  readonly headers?: Headers;
}

export interface EdgeReaderOptions {
  /** Connections to one host at most. */
  readonly connections: number;
  readonly timeoutMs: number;
  /** When it aborts, connections are closed, and requests under way fail. */
  readonly signal: AbortSignal;
}

/** An object of a publication is the largest that is read. */
const BODY_LIMIT = 4 * 1024 * 1024;
/** As common servers end idle connections after 5 s and more. */
const KEEP_ALIVE_MS = 4_000;

export class EdgeReader {
  readonly #agent: Agent;
  readonly #timeoutMs: number;

  constructor({ connections, timeoutMs, signal }: EdgeReaderOptions) {
    this.#timeoutMs = timeoutMs;
    this.#agent = new Agent({
      connections,
      pipelining: 1,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
      // Each request has one time limit for everything.
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: { timeout: timeoutMs },
    });
    signal.addEventListener("abort", () => void this.close(), { once: true });
  }

  async read(url: URL, { known, method = "GET", headers = {} }: ReadOptions = {}): Promise<Reading> {
    const sentMs = systemClock.now();
    const limit = AbortSignal.timeout(this.#timeoutMs);
    const base = { sentMs, known: known?.etag };
    try {
      const answer = await this.#agent.request({
        origin: url.origin,
        path: `${url.pathname}${url.search}`,
        // Also methods of caches, such as PURGE.
        method: method as "GET",
        headers: { ...headers, ...(known === undefined ? {} : { "if-none-match": known.etag }) },
        signal: limit,
      });
      const body = objectOf(await textOf(answer.body));
      const { statusCode: status } = answer;
      const asOfMs = status === 304 ? known?.asOfMs : asOfOf(body);
      const receivedMs = systemClock.now();
      return { ...base, receivedMs, status, fault: undefined, headers: joined(answer.headers), asOfMs, body };
    } catch (thrown) {
      const fault = limit.aborted ? `no answer within ${this.#timeoutMs / 1_000} s` : reasonOf(thrown);
      const receivedMs = systemClock.now();
      return { ...base, receivedMs, status: 0, fault, headers: {}, asOfMs: undefined, body: undefined };
    }
  }

  /** Closes all connections; requests under way fail. */
  close(): Promise<void> {
    return this.#agent.destroy();
  }
}

/** How old a body was when it was received, in milliseconds. */
export const bodyAgeMs = ({ receivedMs, asOfMs }: Reading): number => receivedMs - (asOfMs ?? Number.NaN);

/** The body of a reading as one that a next read may know. */
export function knownBodyOf({ status, headers, asOfMs }: Reading): KnownBody | undefined {
  const etag = headers["etag"];
  return status === 200 && etag !== undefined && asOfMs !== undefined ? { etag, asOfMs } : undefined;
}

async function textOf(body: AsyncIterable<Buffer>): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of body) {
    bytes += part.length;
    if (bytes > BODY_LIMIT) throw new Error(`its body is larger than ${BODY_LIMIT} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

function objectOf(text: string): Reading["body"] {
  try {
    const parsed: unknown = JSON.parse(text);
    return typeof parsed === "object" && parsed !== null && !Array.isArray(parsed)
      ? (parsed as Reading["body"])
      : undefined;
  } catch {
    // An error page of a proxy, for example.
    return undefined;
  }
}

function asOfOf(body: Reading["body"]): number | undefined {
  const ms = typeof body?.["asOf"] === "string" ? Date.parse(body["asOf"]) : Number.NaN;
  return Number.isNaN(ms) ? undefined : ms;
}

const joined = (headers: Readonly<Record<string, string | string[] | undefined>>): Headers =>
  Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) =>
      value === undefined ? [] : [[name.toLowerCase(), Array.isArray(value) ? value.join(", ") : value]],
    ),
  );

/** A connection that fails at every address of its host has a code and no message; one without TLS has both, unread. */
function reasonOf(thrown: unknown): string {
  const { code = "no answer", reason } = thrown as { code?: string; reason?: string };
  if (code.startsWith("ERR_SSL_") && reason !== undefined) return `TLS: ${reason}`;
  return messageOf(thrown) || code;
}
