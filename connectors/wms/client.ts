/**
 * Speaks HTTP to the WMS: one POST a call, on connections that are kept, and what its answer means for the outbox. It tries nothing twice and keeps no
 * pace; the outbox does. A request carries an idempotency key, so that a WMS which knows it takes a repeat for the first one, also after
 * an answer that never came. Bodies of answers are read up to a limit, and thrown away unless they say why something was refused.
 */
import { type Dispatcher, Pool } from "undici";
import { type Clock, systemClock } from "../../engine/kernel/clock.js";
import { messageOf } from "../../engine/kernel/errors.js";
import type { Verdict } from "../../engine/outbox/receiver.js";

export interface WmsClientOptions {
  /** What comes before the paths that are posted to, without a slash at its end: `https://wms.example/api`. */
  url: string;
  /** Bearer token; left out: none is sent. */
  token?: string;
  /** How long an answer may take, connecting included. */
  timeoutMs: number;
  /** At most; as many as requests are under way at once. */
  connections: number;
  /** What an HTTP date that names a wait is held against; left out: the machine's. */
  clock?: Clock;
}

export interface WmsClient {
  /**
   * Posts once.
   * @param body JSON, as bytes or text
   * @param key the idempotency key
   * @param signal aborts the request
   */
  post(path: string, body: Buffer | string, key: string, signal: AbortSignal): Promise<Verdict>;
  /** Ends all connections; requests under way fail. */
  close(): Promise<void>;
}

/** An answer that is longer is cut: its status says what has to be known. */
const ANSWER_LIMIT = 64 * 1024;
/** Of a refusal, kept with the dead letter. */
const REASON_LIMIT = 500;
/** An idle connection is ended before common servers and load balancers end it (5 s and more), so that few requests meet one that is being closed. */
const KEEP_ALIVE_MS = 4_000;
/** Longer waits are asked about again. */
const LONGEST_WAIT_MS = 300_000;

const CONFLICT = 409;
const THROTTLED = [429, 503];
/** Refused for now: timeout on their side, too early. */
const PASSING = [408, 425];
/** It is this side that is refused, not the order: a token has run out. Orders wait until somebody has seen to it. */
const UNKNOWN_CALLER = [401, 403, 407];

export function wmsClient(options: WmsClientOptions): WmsClient {
  const { url, token, timeoutMs, connections, clock = systemClock } = options;
  const { origin, pathname } = new URL(url);
  const base = pathname.replace(/\/+$/, "");
  const pool = new Pool(origin, {
    connections,
    // One answer at a time on each: a slow one holds up no other.
    pipelining: 1,
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAliveMaxTimeout: KEEP_ALIVE_MS,
    connect: { timeout: timeoutMs },
    // Each request has a time limit for the whole of it.
    headersTimeout: 0,
    bodyTimeout: 0,
  });
  const headers = {
    "content-type": "application/json; charset=utf-8",
    accept: "application/json",
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
  };

  const post = async (path: string, body: Buffer | string, key: string, signal: AbortSignal): Promise<Verdict> => {
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
    const end = () => limit.abort(signal.reason);
    signal.addEventListener("abort", end, { once: true });
    if (signal.aborted) end();
    try {
      const answer = await pool.request({
        path: base + path,
        method: "POST",
        headers: { ...headers, "idempotency-key": key },
        body,
        signal: limit.signal,
      });
      return verdictOf(answer.statusCode, answer.headers, await textOf(answer.body), clock.now());
    } catch (thrown) {
      return { outcome: "again", reason: silenceOf(thrown) };
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
    }
  };
  return { post, close: () => pool.destroy() };
}

/** Why no answer came. A connection that fails at every address of its host has a code and no message. */
function silenceOf(thrown: unknown): string {
  const message = messageOf(thrown);
  const { code } = thrown as { code?: string };
  return /^(connect .*)?$/.test(message) ? `cannot be reached (${code})` : message;
}

/** What an answer's status and headers mean. */
export function verdictOf(
  status: number,
  headers: Record<string, string | string[] | undefined>,
  text: string,
  nowMs: number,
): Verdict {
  if (status >= 200 && status < 300) return { outcome: "done", receipt: { status } };
  const retryAfterMs = waitOf(headers["retry-after"], nowMs);
  // It knows the idempotency key: a try before this one has arrived. One that is still being worked on may come to nothing.
  const isUnderWay = status === CONFLICT && retryAfterMs !== undefined;
  if (status === CONFLICT && !isUnderWay) return { outcome: "done", receipt: { status } };
  const said = text.slice(0, REASON_LIMIT).trim();
  const reason = said === "" ? `HTTP ${status}` : `HTTP ${status}: ${said}`;
  const isThrottled = THROTTLED.includes(status);
  const mayPass = isUnderWay || PASSING.includes(status) || UNKNOWN_CALLER.includes(status);
  if (isThrottled || mayPass || status >= 500 || status < 400) {
    return {
      outcome: "again",
      reason,
      throttled: isThrottled,
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    };
  }
  return { outcome: "refused", reason };
}

/** `Retry-After` in milliseconds: seconds, or an HTTP date. Undefined when it says nothing that can be read. */
function waitOf(header: string | string[] | undefined, nowMs: number): number | undefined {
  const value = (Array.isArray(header) ? header[0] : header)?.trim() ?? "";
  const ms = /^\d+$/.test(value)
    ? Number(value) * 1_000
    : /[a-z]/i.test(value)
      ? Date.parse(value) - nowMs
      : Number.NaN;
  return Number.isNaN(ms) ? undefined : Math.min(LONGEST_WAIT_MS, Math.max(0, ms));
}

/** A body as text, up to the limit; what comes after it ends the connection instead of being read. */
async function textOf(body: Dispatcher.ResponseData["body"]): Promise<string> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of body as AsyncIterable<Buffer>) {
    parts.push(part);
    length += part.length;
    if (length >= ANSWER_LIMIT) break;
  }
  return Buffer.concat(parts).subarray(0, ANSWER_LIMIT).toString("utf8");
}
