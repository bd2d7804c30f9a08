/**
 * The HTTP client of channels: one request for each call, with one time limit for everything, a limit for the answer,
 * and no redirect followed. It does not retry and does not limit the rate. A reason that it returns names neither the
 * path nor the query of the URL, where group robots have their secrets. With `reach: "public"` it connects to public
 * addresses only, for URLs that users of the API may set.
 */
import type { LookupFunction } from "node:net";
import { Agent, type Dispatcher } from "undici";
import type { Clock } from "../../engine/kernel/clock.js";
import { messageOf } from "../../engine/kernel/errors.js";
import { retryAfterMsOf } from "../../engine/outbox/retry-after.js";
import type { ChannelOutcome } from "../channel.js";
import { addressOf, isLoopbackHost, isPublicAddress, NO_PUBLIC_ADDRESS, publicLookup } from "./public-address.js";

export interface ChannelHttpOptions {
  /**
   * `any`: the operator has configured the addresses, and may mean a machine beside this one. `public`: somebody else
   * has chosen them.
   */
  readonly reach: "any" | "public";
  /** Hosts with ports (`host:port`) that may have any address in spite of `public`, for tests and own services. */
  readonly trustedHosts?: readonly string[];
  /** Connections to one host at most. */
  readonly connections: number;
  /** Left out: 10 s. */
  readonly timeoutMs?: number;
  /** Certificates of authorities beside the system's, PEM. */
  readonly ca?: string;
  /** Resolves names; left out: the system's resolver. */
  readonly lookup?: LookupFunction;
}

export interface HttpRequest {
  readonly url: string;
  /** Left out: POST. */
  readonly method?: "GET" | "POST" | "PUT" | "DELETE";
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** UTF-8, 64 KiB at most. */
  readonly text: string;
  /** Whether the answer was longer. */
  readonly isCut: boolean;
}

/** No answer came, or no request was sent. */
type Unanswered = Exclude<ChannelOutcome, { outcome: "accepted" }>;

const TIMEOUT_MS = 10_000;
const ANSWER_LIMIT = 64 * 1024;
/** As common servers and load balancers end idle connections after 5 s and more. */
const KEEP_ALIVE_MS = 4_000;
/** Error codes when no connection was made. */
const UNSENT = ["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH", "UND_ERR_CONNECT_TIMEOUT"];

/** What a URL of the configuration must be; undefined: it is that. Without the URL, which may have a secret. */
export function urlFault(text: string, { allowsHttp = false } = {}): string | undefined {
  if (!URL.canParse(text)) return "must be an address such as https://example.com/path";
  const url = new URL(text);
  if (url.username !== "" || url.password !== "") return "must not have a user or a password";
  if (url.protocol === "https:" || (url.protocol === "http:" && (allowsHttp || isLoopbackHost(url)))) return undefined;
  return "must begin with https://";
}

export class ChannelHttp {
  readonly #options: ChannelHttpOptions;
  readonly #public: Agent;
  /** For trusted hosts; the same as `#public` where every address may be reached. */
  readonly #any: Agent;

  constructor(options: ChannelHttpOptions) {
    this.#options = options;
    this.#any = this.#agent(options.lookup);
    this.#public = options.reach === "public" ? this.#agent(publicLookup(options.lookup)) : this.#any;
  }

  /**
   * Sends one request.
   * @returns the answer, whatever its status; otherwise what that means for the message
   */
  async send(request: HttpRequest, signal: AbortSignal): Promise<HttpAnswer | Unanswered> {
    const { url: text, method = "POST", headers = {}, body = null } = request;
    const url = new URL(text);
    const isTrusted = this.#options.reach === "any" || (this.#options.trustedHosts ?? []).includes(hostWithPort(url));
    const address = addressOf(url);
    // Names are checked when they are resolved.
    if (!isTrusted && address !== undefined && !isPublicAddress(address)) return NOT_PUBLIC;
    const { timeoutMs = TIMEOUT_MS } = this.#options;
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
    const end = () => limit.abort(signal.reason);
    signal.addEventListener("abort", end, { once: true });
    if (signal.aborted) end();
    try {
      const answer = await (isTrusted ? this.#any : this.#public).request({
        origin: url.origin,
        path: `${url.pathname}${url.search}`,
        method,
        headers: { ...headers },
        body,
        signal: limit.signal,
      });
      return { status: answer.statusCode, headers: answer.headers, ...(await textOf(answer.body)) };
    } catch (thrown) {
      if ((thrown as { code?: string }).code === NO_PUBLIC_ADDRESS) return NOT_PUBLIC;
      return { outcome: "retry", reason: reasonOf(thrown), mayHaveArrived: !isUnsent(thrown) };
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
    }
  }

  /** Closes all connections; requests under way fail. */
  async close(): Promise<void> {
    await Promise.all([this.#any.destroy(), this.#public.destroy()]);
  }

  #agent(lookup: LookupFunction | undefined): Agent {
    const { connections, timeoutMs = TIMEOUT_MS, ca } = this.#options;
    return new Agent({
      connections,
      pipelining: 1,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
      // Each request has one time limit for everything.
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: { timeout: timeoutMs, ...(ca === undefined ? {} : { ca }), ...(lookup ? { lookup } : {}) },
    });
  }
}

const NOT_PUBLIC: Unanswered = {
  outcome: "refused",
  reason: "the address is not public, and no request is sent to it",
};

const hostWithPort = ({ hostname, port, protocol }: URL): string =>
  `${hostname}:${port === "" ? (protocol === "https:" ? 443 : 80) : port}`;

const isUnsent = (thrown: unknown): boolean => UNSENT.includes((thrown as { code?: string }).code ?? "");

/** Why no answer came. A connection that fails at every address of its host has a code and no message. */
function reasonOf(thrown: unknown): string {
  const message = messageOf(thrown);
  const { code } = thrown as { code?: string };
  return /^(connect .*)?$/.test(message) ? `cannot be reached (${code})` : message;
}

/** A body as text, up to the limit; a longer one ends the connection instead of being read. */
async function textOf(body: Dispatcher.ResponseData["body"]): Promise<{ text: string; isCut: boolean }> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of body as AsyncIterable<Buffer>) {
    parts.push(part);
    length += part.length;
    if (length > ANSWER_LIMIT) break;
  }
  const text = Buffer.concat(parts).subarray(0, ANSWER_LIMIT).toString("utf8");
  return { text, isCut: length > ANSWER_LIMIT };
}

/** Temporary refusals: request timeout, too early. */
const TEMPORARY = [408, 425];
const THROTTLED = [429, 503];

/**
 * What an HTTP status means where nothing in the body says more: 2xx accepted; 408, 425, 429 and 5xx may pass; every
 * other is for good, a redirect included.
 */
export function outcomeOfStatus({ status, headers }: HttpAnswer, clock: Clock): ChannelOutcome {
  if (status >= 200 && status < 300) return { outcome: "accepted" };
  const reason = `HTTP ${status}`;
  if (status < 500 && !TEMPORARY.includes(status) && !THROTTLED.includes(status))
    return { outcome: "refused", reason: status < 400 ? `${reason}: redirects are not followed` : reason };
  const retryAfterMs = retryAfterMsOf(headers["retry-after"], clock.now());
  return {
    outcome: "retry",
    reason,
    throttled: THROTTLED.includes(status) && (status === 429 || retryAfterMs !== undefined),
    // A gateway gives such answers, too, and may have forwarded the request.
    mayHaveArrived: status >= 500,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  };
}
