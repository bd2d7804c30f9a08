/**
 * The HTTP client for the WMS: one POST for each call, on keep-alive connections, and the meaning of the answer for the
 * outbox. It does not retry or limit the rate; the outbox does. A request has an idempotency key, so that a WMS which
 * supports it recognises a repeat, also after a lost answer. A refusal comes from the WMS itself, as JSON with a code,
 * or from something in front of it; only the first decides about an order. Bodies of answers are read up to a limit and
 * kept only as the reason of a refusal.
 */
import { type Dispatcher, Pool } from "undici";
import { type Clock, systemClock } from "../../engine/kernel/clock.js";
import { messageOf } from "../../engine/kernel/errors.js";
import type { DeliveryOutcome } from "../../engine/outbox/receiver.js";
import { retryAfterMsOf } from "../../engine/outbox/retry-after.js";

export interface WmsClientOptions {
  /** The base of all paths, without a slash at its end: `https://wms.example/api`. */
  url: string;
  /** Bearer token; left out: none is sent. */
  token?: string;
  /** How long an answer may take, connecting included. */
  timeoutMs: number;
  /** Connections at most; also the limit of concurrent requests. */
  connections: number;
  /** For the HTTP date of a Retry-After; the machine's clock when left out. */
  clock?: Clock;
}

/** A status and the WMS's own code, as `409 already_exists`. */
export type KnownRefusal = `${number} ${string}`;

/** The answer to a completed delivery. */
export interface WmsReceipt {
  readonly status: number;
  /** The WMS's own code of a refusal that completes the delivery. */
  readonly code?: string;
}

export interface WmsClient {
  /**
   * Posts once.
   * @param body JSON, as bytes or text
   * @param key the idempotency key
   * @param signal aborts the request
   * @param done which refusals of the WMS complete the delivery; none when left out
   */
  post(
    path: string,
    body: Buffer | string,
    key: string,
    signal: AbortSignal,
    done?: readonly KnownRefusal[],
  ): Promise<DeliveryOutcome>;
  /** Closes all connections; requests in progress fail. */
  close(): Promise<void>;
}

/** A longer answer is cut: its status is enough. */
const ANSWER_LIMIT = 64 * 1024;
/** The part of a refusal that is kept with the dead letter. */
const REASON_LIMIT = 500;
/**
 * An idle connection is ended before common servers and load balancers end it (5 s and more), so that few requests
 * meet one that is being closed.
 */
const KEEP_ALIVE_MS = 4_000;

const THROTTLED = [429, 503];
/** Temporary refusals: request timeout, too early. */
const TEMPORARY = [408, 425];
/** Access is refused, for every order. */
const NO_ACCESS = [401, 403, 407];
/** Statuses that may be about the payload; when every order gets one, it is about something else. */
const UNCLEAR = [400, 409, 410, 413, 415, 422];
/** With one of the statuses above and this code, the WMS refuses the order permanently. */
const REFUSED_CODE = "invalid_order";
const CODE = /^[A-Za-z0-9_.-]{1,64}$/;

export function wmsClient(options: WmsClientOptions): WmsClient {
  const { url, token, timeoutMs, connections, clock = systemClock } = options;
  const { origin, pathname } = new URL(url);
  const base = pathname.replace(/\/+$/, "");
  const pool = new Pool(origin, {
    connections,
    // One request at a time on each connection: a slow one does not block others.
    pipelining: 1,
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAliveMaxTimeout: KEEP_ALIVE_MS,
    connect: { timeout: timeoutMs },
    // Each request has one time limit for everything.
    headersTimeout: 0,
    bodyTimeout: 0,
  });
  const headers = {
    "content-type": "application/json; charset=utf-8",
    accept: "application/json",
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
  };

  const post = async (
    path: string,
    body: Buffer | string,
    key: string,
    signal: AbortSignal,
    done: readonly KnownRefusal[] = [],
  ): Promise<DeliveryOutcome> => {
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
      return outcomeOf(answer.statusCode, answer.headers, await textOf(answer.body), clock.now(), done);
    } catch (thrown) {
      return { outcome: "retry", reason: silenceOf(thrown), mayHaveArrived: !isUnsent(thrown) };
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
    }
  };
  return { post, close: () => pool.destroy() };
}

/** Error codes when no connection was made. */
const UNSENT = ["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH", "UND_ERR_CONNECT_TIMEOUT"];

const isUnsent = (thrown: unknown): boolean => UNSENT.includes((thrown as { code?: string }).code ?? "");

/** Why no answer came. A connection that fails at every address of its host has a code and no message. */
function silenceOf(thrown: unknown): string {
  const message = messageOf(thrown);
  const { code } = thrown as { code?: string };
  return /^(connect .*)?$/.test(message) ? `cannot be reached (${code})` : message;
}

/**
 * What an answer means.
 * @param done as `post` takes it
 */
export function outcomeOf(
  status: number,
  headers: Record<string, string | string[] | undefined>,
  text: string,
  nowMs: number,
  done: readonly KnownRefusal[] = [],
): DeliveryOutcome {
  const isPage = /^\s*(text\/html|application\/xhtml)/i.test(oneOf(headers["content-type"]));
  // A WMS does not answer with a web page: a login page or gateway in front of it has not accepted the order.
  if (status >= 200 && status < 300 && !isPage) return { outcome: "done", receipt: { status } satisfies WmsReceipt };
  const code = isPage ? undefined : codeOf(text);
  if (code !== undefined && done.includes(`${status} ${code}`)) {
    return { outcome: "done", receipt: { status, code } satisfies WmsReceipt };
  }
  const said = text.slice(0, REASON_LIMIT).trim();
  const brief = code === undefined ? `HTTP ${status}` : `HTTP ${status} ${code}`;
  const reason = said === "" ? brief : `HTTP ${status}: ${said}`;
  const retryAfterMs = retryAfterMsOf(headers["retry-after"], nowMs);
  const again = { outcome: "retry", reason, brief, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) } as const;
  if (status >= 500 || THROTTLED.includes(status)) {
    // A gateway in front of the WMS gives such answers, too, and may have forwarded the request.
    return { ...again, throttled: THROTTLED.includes(status), ...(status === 429 ? {} : { mayHaveArrived: true }) };
  }
  // A request with this key is still in progress, and may fail.
  const isUnderWay = status === 409 && retryAfterMs !== undefined;
  if (isUnderWay || TEMPORARY.includes(status)) return { ...again, throttled: false };
  if (code === REFUSED_CODE && UNCLEAR.includes(status)) return { outcome: "refused", reason, brief };
  return { ...again, throttled: false, fault: faultOf(status, brief) };
}

/** What an operator must check when the connection to the WMS is at fault. */
function faultOf(status: number, brief: string): string {
  if (NO_ACCESS.includes(status)) return `it denies access (HTTP ${status}): check its token`;
  if (status < 300) return `a web page answers in its place (HTTP ${status}): check its URL`;
  if (UNCLEAR.includes(status)) return `it rejects the request (${brief})`;
  return `its URL may be wrong (HTTP ${status}): check it, and the gateway in front of it`;
}

/** The code in a refusal of the WMS; undefined in a refusal of something in front of it. */
function codeOf(text: string): string | undefined {
  try {
    const { code } = JSON.parse(text) as { code?: unknown };
    return typeof code === "string" && CODE.test(code) ? code : undefined;
  } catch {
    return undefined;
  }
}

const oneOf = (header: string | string[] | undefined): string => (Array.isArray(header) ? header[0] : header) ?? "";

/** A body as text, up to the limit; a longer one closes the connection instead of being read. */
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
