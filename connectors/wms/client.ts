/**
 * Speaks HTTP to the WMS: one POST a call, on connections that are kept, and what its answer means for the outbox. It
 * tries nothing twice and keeps no pace; the outbox does. A request carries an idempotency key, so that a WMS which
 * knows it takes a repeat for the first one, also after an answer that never came. What refuses is either the WMS
 * itself, which says so in JSON with a code of its own, or something on the way to it; only the first is a verdict on
 * an order. Bodies of answers are read up to a limit, and thrown away unless they say why something was refused.
 */
import { type Dispatcher, Pool } from "undici";
import { type Clock, systemClock } from "../../engine/kernel/clock.js";
import { messageOf } from "../../engine/kernel/errors.js";
import type { DeliveryOutcome } from "../../engine/outbox/receiver.js";

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

/** A status and the WMS's own code, as `409 already_exists`. */
export type KnownRefusal = `${number} ${string}`;

/** What was answered to a delivery that is done. */
export interface WmsReceipt {
  readonly status: number;
  /** The WMS's own code, where it refused in a way that means that nothing more is to be done. */
  readonly code?: string;
}

export interface WmsClient {
  /**
   * Posts once.
   * @param body JSON, as bytes or text
   * @param key the idempotency key
   * @param signal aborts the request
   * @param done which of the WMS's own refusals mean that nothing more is to be done; left out: none
   */
  post(
    path: string,
    body: Buffer | string,
    key: string,
    signal: AbortSignal,
    done?: readonly KnownRefusal[],
  ): Promise<DeliveryOutcome>;
  /** Ends all connections; requests under way fail. */
  close(): Promise<void>;
}

/** An answer that is longer is cut: its status says what has to be known. */
const ANSWER_LIMIT = 64 * 1024;
/** Of a refusal, kept with the dead letter. */
const REASON_LIMIT = 500;
/**
 * An idle connection is ended before common servers and load balancers end it (5 s and more), so that few requests
 * meet one that is being closed.
 */
const KEEP_ALIVE_MS = 4_000;
/** Longer waits are asked about again. */
const LONGEST_WAIT_MS = 300_000;

const THROTTLED = [429, 503];
/** Refused for now: timeout on their side, too early. */
const PASSING = [408, 425];
/** This side may not come in, or what was asked for is not there: so it is for every order. */
const NO_ACCESS = [401, 403, 407];
/** Statuses that may be about the payload: one that refuses every order alike is about something else. */
const UNCLEAR = [400, 409, 410, 413, 415, 422];
/** With one of the latter and this code the WMS says that no further try would change anything. */
const REFUSED_CODE = "invalid_order";
const CODE = /^[A-Za-z0-9_.-]{1,64}$/;

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
      return verdictOf(answer.statusCode, answer.headers, await textOf(answer.body), clock.now(), done);
    } catch (thrown) {
      return { outcome: "retry", reason: silenceOf(thrown), mayHaveArrived: !isUnsent(thrown) };
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
    }
  };
  return { post, close: () => pool.destroy() };
}

/** Codes of a connection that never was. */
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
export function verdictOf(
  status: number,
  headers: Record<string, string | string[] | undefined>,
  text: string,
  nowMs: number,
  done: readonly KnownRefusal[] = [],
): DeliveryOutcome {
  const isPage = /^\s*(text\/html|application\/xhtml)/i.test(oneOf(headers["content-type"]));
  // A page is nothing that a WMS answers: a login or a gateway that stands in its place has taken no order.
  if (status >= 200 && status < 300 && !isPage) return { outcome: "done", receipt: { status } satisfies WmsReceipt };
  const code = isPage ? undefined : codeOf(text);
  if (code !== undefined && done.includes(`${status} ${code}`)) {
    return { outcome: "done", receipt: { status, code } satisfies WmsReceipt };
  }
  const said = text.slice(0, REASON_LIMIT).trim();
  const brief = code === undefined ? `HTTP ${status}` : `HTTP ${status} ${code}`;
  const reason = said === "" ? brief : `HTTP ${status}: ${said}`;
  const retryAfterMs = waitOf(headers["retry-after"], nowMs);
  const again = { outcome: "retry", reason, brief, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) } as const;
  if (status >= 500 || THROTTLED.includes(status)) {
    // Whoever stands before the WMS gives such answers, too, and may have let the request through.
    return { ...again, throttled: THROTTLED.includes(status), ...(status === 429 ? {} : { mayHaveArrived: true }) };
  }
  // A request with this key is still being worked on, and may come to nothing.
  const isUnderWay = status === 409 && retryAfterMs !== undefined;
  if (isUnderWay || PASSING.includes(status)) return { ...again, throttled: false };
  if (code === REFUSED_CODE && UNCLEAR.includes(status)) return { outcome: "refused", reason, brief };
  return { ...again, throttled: false, fault: faultOf(status, brief) };
}

/** What has to be looked at when the way to the WMS is at fault, in words. */
function faultOf(status: number, brief: string): string {
  if (NO_ACCESS.includes(status)) return `it does not let this side in (HTTP ${status}): check its token`;
  if (status < 300) return `a web page answers in its place (HTTP ${status}): check its URL`;
  if (UNCLEAR.includes(status)) return `it refuses what it is sent (${brief})`;
  return `its URL leads elsewhere (HTTP ${status}): check its URL and the gateway before it`;
}

/** The code in a refusal of the WMS's own; undefined in anybody else's. */
function codeOf(text: string): string | undefined {
  try {
    const { code } = JSON.parse(text) as { code?: unknown };
    return typeof code === "string" && CODE.test(code) ? code : undefined;
  } catch {
    return undefined;
  }
}

const oneOf = (header: string | string[] | undefined): string => (Array.isArray(header) ? header[0] : header) ?? "";

/** `Retry-After` in milliseconds: seconds, or an HTTP date. Undefined when it says nothing that can be read. */
function waitOf(header: string | string[] | undefined, nowMs: number): number | undefined {
  const value = oneOf(header).trim();
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
