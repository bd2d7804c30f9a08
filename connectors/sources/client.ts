/**
 * Sends the requests of one source (contract: SourceClient in `connectors/source.ts`). Guarantee: requests leave more
 * than 1/R apart, and no more than R reach the source in a second, repeats included; an answer takes no longer and is
 * no larger than allowed; what may succeed later is repeated with a growing wait, or the one that the source asks for.
 * Errors name the address without its query, which may hold a key, and never the headers or the body that were sent.
 */
import { type Dispatcher, Pool } from "undici";
import type { Scheduler } from "../../engine/kernel/clock.js";
import { EngineError, messageOf } from "../../engine/kernel/errors.js";
import { withoutSecrets } from "../../engine/kernel/logger.js";
import type { Refusal, SourceAnswer, SourceClient, SourceRequest } from "../source.js";

export interface ClientOptions {
  readonly perSecond: number;
  readonly timeoutMs: number;
  /** Repeats of one request at most. */
  readonly retries: number;
  readonly clock: Scheduler;
  /** Texts that no error may show. */
  readonly secrets: readonly string[];
}

/** What the client has done, for `sources list` and metrics. */
export interface ClientFigures {
  readonly requests: number;
  readonly throttled: number;
  readonly repeated: number;
}

export interface ClosableClient extends SourceClient {
  readonly figures: ClientFigures;
  close(): Promise<void>;
}

/** A page of 5,000 rows of 1 KB is 5 MB; some sources have larger ones. */
const MAX_JSON_BYTES = 64 * 1024 * 1024;
/** The part of a refusal that is shown. */
const REASON_LENGTH = 200;
/** It may begin with the longest secret, of 16 KiB. */
const READ_LENGTH = 17 * 1024;
const BACKOFF_FIRST_MS = 500;
const BACKOFF_MAX_MS = 60_000;
/** Longer waits that a source asks for are cut to this. */
const LONGEST_WAIT_MS = 600_000;
/** An idle connection is ended before common servers end it (5 s and more). */
const KEEP_ALIVE_MS = 4_000;
/** `Date` has whole seconds: a smaller skew cannot be distinguished from none. */
const SKEW_RESOLUTION_MS = 1_000;
/** Clocks run differently, and timers end early: by less. */
const PACE_MARGIN = 1.04;
const AGAIN = [408, 425, 429];
const OP = "source.request";

export function sourceClient(options: ClientOptions): ClosableClient {
  return new HttpSourceClient(options);
}

/** An answer that is no success, and whether to ask again. */
interface Failure {
  readonly message: string;
  readonly code: string;
  readonly retryable: boolean;
  readonly retryAfterMs?: number;
}

class HttpSourceClient implements ClosableClient {
  readonly figures = { requests: 0, throttled: 0, repeated: 0 };
  readonly #options: ClientOptions;
  readonly #pools = new Map<string, Pool>();
  #nextMs = 0;
  /** When the newest requests, as many as may reach the source in a second, were answered; the oldest first. */
  readonly #answeredMs: number[] = [];
  #skewMs: number | undefined;
  /** The newest answer that was given as a stream; its connection is busy until its end. */
  #streamed: Dispatcher.ResponseData["body"] | undefined;

  constructor(options: ClientOptions) {
    this.#options = options;
  }

  skewMs(): number | undefined {
    return this.#skewMs;
  }

  json(
    request: () => SourceRequest,
    signal: AbortSignal,
    refusalOf: (body: unknown, status: number) => Refusal | undefined = () => undefined,
  ): Promise<unknown> {
    return this.#repeat(request, signal, async (made, answer, limit) => {
      const text = await textOf(answer.body, limit);
      const failure = this.#failureOf(answer, text);
      const body = parsed(text);
      const refusal = body === undefined ? undefined : refusalOf(body, answer.statusCode);
      if (refusal) return this.#fail(made, refusalFailure(refusal));
      if (failure) return this.#fail(made, failure);
      if (body === undefined)
        return this.#fail(made, { message: "the answer is no JSON", code: "unreadable_answer", retryable: true });
      return { value: body };
    });
  }

  stream(request: () => SourceRequest, signal: AbortSignal): Promise<SourceAnswer> {
    return this.#repeat(request, signal, async (made, answer, limit) => {
      if (answer.statusCode < 200 || answer.statusCode >= 300) {
        const failure = this.#failureOf(answer, await textOf(answer.body, limit));
        return this.#fail(made, failure as Failure);
      }
      this.#streamed = answer.body;
      const value = {
        status: answer.statusCode,
        headers: headersOf(answer),
        body: this.#chunks(made, answer.body, signal),
      };
      return { value };
    });
  }

  async close(): Promise<void> {
    await Promise.all([...this.#pools.values()].map((pool) => pool.destroy()));
  }

  async *#chunks(
    made: SourceRequest,
    body: Dispatcher.ResponseData["body"],
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array> {
    const end = () => body.destroy();
    signal.addEventListener("abort", end, { once: true });
    try {
      yield* body as AsyncIterable<Uint8Array>;
    } catch (thrown) {
      signal.throwIfAborted();
      throw this.#error(made, { message: `ended half-way (${silenceOf(thrown)})`, code: "cut_off", retryable: true });
    } finally {
      signal.removeEventListener("abort", end);
    }
  }

  /** @param read returns the value, or the error to throw or to repeat after */
  async #repeat<Value>(
    request: () => SourceRequest,
    signal: AbortSignal,
    read: (
      made: SourceRequest,
      answer: Dispatcher.ResponseData,
      limit: AbortSignal,
    ) => Promise<{ value: Value } | { error: EngineError }>,
  ): Promise<Value> {
    const { clock, retries } = this.#options;
    for (let attempt = 0; ; attempt++) {
      await this.#waitForTurn(signal);
      const made = request();
      const outcome = await this.#send(made, signal, read);
      if ("value" in outcome) return outcome.value;
      signal.throwIfAborted();
      const { error } = outcome;
      if (!error.retryable || attempt >= retries) throw error;
      this.figures.repeated++;
      await clock.sleep(error.retryAfterMs ?? Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** attempt), signal);
    }
  }

  async #send<Value>(
    made: SourceRequest,
    signal: AbortSignal,
    read: (
      made: SourceRequest,
      answer: Dispatcher.ResponseData,
      limit: AbortSignal,
    ) => Promise<{ value: Value } | { error: EngineError }>,
  ): Promise<{ value: Value } | { error: EngineError }> {
    const { clock, timeoutMs } = this.#options;
    const { origin, pathname, search } = new URL(made.url);
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
    const end = () => limit.abort(signal.reason);
    signal.addEventListener("abort", end, { once: true });
    const sentMs = clock.now();
    this.figures.requests++;
    this.#endStream();
    try {
      const sent = this.#poolOf(origin).request({
        path: pathname + search,
        method: made.method ?? "GET",
        headers: { ...made.headers },
        ...(made.body === undefined ? {} : { body: made.body }),
        signal: limit.signal,
      });
      const answer = await unlessAborted(sent, limit.signal).finally(() => this.#answered());
      this.#measureSkew(answer, sentMs);
      return await read(made, answer, limit.signal);
    } catch (thrown) {
      if (thrown instanceof EngineError) return { error: thrown };
      return this.#fail(made, { message: silenceOf(thrown), code: "no_answer", retryable: true });
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
    }
  }

  /** Whoever asks again has no use for the rest of an answer; the next request would wait for its connection. */
  #endStream(): void {
    const body = this.#streamed;
    this.#streamed = undefined;
    if (body === undefined || body.readableEnded || body.destroyed) return;
    body.on("error", () => {});
    body.destroy();
  }

  #poolOf(origin: string): Pool {
    const { timeoutMs } = this.#options;
    const known = this.#pools.get(origin);
    if (known) return known;
    const pool = new Pool(origin, {
      connections: 1,
      pipelining: 1,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
      connect: { timeout: timeoutMs },
      headersTimeout: timeoutMs,
      // Between two pieces of a long body.
      bodyTimeout: timeoutMs,
    });
    this.#pools.set(origin, pool);
    return pool;
  }

  /**
   * Waits until the next request may leave. A request has reached the source when it is answered, however late it was:
   * of N a second, the one after the Nth leaves a second after the first was answered.
   */
  async #waitForTurn(signal: AbortSignal): Promise<void> {
    const { clock, perSecond } = this.#options;
    const apartMs = (1_000 / perSecond) * PACE_MARGIN;
    const atOnce = Math.max(1, Math.floor(perSecond));
    const answeredMs = this.#answeredMs.length < atOnce ? Number.NEGATIVE_INFINITY : (this.#answeredMs[0] as number);
    const nowMs = clock.now();
    const dueMs = Math.max(nowMs, this.#nextMs, answeredMs + (1_000 * atOnce) / perSecond);
    // Further ahead than two turns: the clock was set back.
    const turnMs = dueMs > nowMs + 2 * apartMs ? nowMs + apartMs : dueMs;
    this.#nextMs = turnMs + apartMs;
    if (turnMs > nowMs) await clock.sleep(Math.ceil(turnMs - nowMs), signal);
    signal.throwIfAborted();
  }

  #answered(): void {
    this.#answeredMs.push(this.#options.clock.now());
    if (this.#answeredMs.length > Math.max(1, Math.floor(this.#options.perSecond))) this.#answeredMs.shift();
  }

  #measureSkew({ headers }: Dispatcher.ResponseData, sentMs: number): void {
    const theirsMs = Date.parse(String(headers["date"] ?? ""));
    if (Number.isNaN(theirsMs)) return;
    const nowMs = this.#options.clock.now();
    // Of the second that `Date` names, its middle; of the time that the answer took, the middle, too.
    const skewMs = theirsMs + 500 - (sentMs + nowMs) / 2;
    this.#skewMs = Math.abs(skewMs) <= SKEW_RESOLUTION_MS + (nowMs - sentMs) / 2 ? 0 : Math.round(skewMs);
  }

  #fail(made: SourceRequest, failure: Failure): { error: EngineError } {
    if (failure.code === "throttled") this.figures.throttled++;
    return { error: this.#error(made, failure) };
  }

  #failureOf({ statusCode, headers }: Dispatcher.ResponseData, text: string): Failure | undefined {
    if (statusCode >= 200 && statusCode < 300) return undefined;
    // Secrets go first: half of one would not be recognised.
    const reason = withoutSecrets(text.slice(0, READ_LENGTH), this.#options.secrets).slice(0, REASON_LENGTH).trim();
    const retryable = statusCode >= 500 || AGAIN.includes(statusCode);
    const retryAfterMs = retryable ? waitOf(headers["retry-after"]) : undefined;
    return {
      message: reason === "" ? `HTTP ${statusCode}` : `HTTP ${statusCode}: ${reason}`,
      code: statusCode === 429 || statusCode === 503 ? "throttled" : "refused",
      retryable,
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    };
  }

  #error({ url }: SourceRequest, { message, code, retryable, retryAfterMs }: Failure): EngineError {
    const { origin, pathname } = new URL(url);
    const place = origin + pathname;
    return new EngineError(withoutSecrets(`${place}: ${message}`, this.#options.secrets), {
      ...{ op: OP, code, retryable, input: place },
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    });
  }
}

/** While its connection is being made, a request does not heed its signal: undici ends it when it would be sent. */
function unlessAborted<Value>(work: Promise<Value>, signal: AbortSignal): Promise<Value> {
  return new Promise((resolve, reject) => {
    const end = () => reject(signal.reason);
    signal.addEventListener("abort", end, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", end));
  });
}

function refusalFailure({ reason, again, retryAfterMs }: Refusal): Failure {
  return {
    message: reason,
    code: again === "throttled" ? "throttled" : "refused",
    retryable: again !== "final",
    ...(retryAfterMs === undefined ? {} : { retryAfterMs: Math.min(LONGEST_WAIT_MS, retryAfterMs) }),
  };
}

/** `Retry-After` in seconds; a date would need the source's clock. */
function waitOf(header: string | string[] | undefined): number | undefined {
  const text = String(header ?? "").trim();
  return /^\d{1,9}$/.test(text) ? Math.min(LONGEST_WAIT_MS, Number(text) * 1_000) : undefined;
}

function headersOf({ headers }: Dispatcher.ResponseData): SourceAnswer["headers"] {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name.toLowerCase(), Array.isArray(value) ? value[0] : value]),
  );
}

/** Why no answer came. A connection that fails at every address of its host has a code and no message. */
function silenceOf(thrown: unknown): string {
  const { code, cause } = thrown as { code?: string; cause?: unknown };
  const message = messageOf(cause ?? thrown);
  return /^(connect .*)?$/.test(message) ? `cannot be reached (${code})` : message;
}

/** A whole body; a longer one is an error, and closes the connection. */
async function textOf(body: Dispatcher.ResponseData["body"], limit: AbortSignal): Promise<string> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of body as AsyncIterable<Buffer>) {
    limit.throwIfAborted();
    parts.push(part);
    length += part.length;
    if (length > MAX_JSON_BYTES)
      throw new EngineError(`the answer is larger than ${MAX_JSON_BYTES} bytes; ask for smaller pages`, {
        ...{ op: OP, code: "too_large", retryable: false },
      });
  }
  return Buffer.concat(parts).toString("utf8");
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
