/**
 * Calls of Youzan's open platform: the access token, which is asked for when it is first needed and again shortly
 * before it expires or when a call is refused because of it; the address and the envelope of a call; what a refusal
 * means. No error shows the token. Codes of refusals are not documented in full, so most are distinguished by their
 * words.
 */
import { EngineError } from "../../engine/kernel/errors.js";
import type { Refusal, SourceParts, SourceRequest } from "../source.js";

export type Row = Readonly<Record<string, unknown>>;

export interface YouzanAccess {
  readonly url: string;
  readonly clientId: string;
  readonly clientSecret: string;
  /** The shop's kdt_id. */
  readonly shop: string;
}

const OP = "source.youzan";
/** A pull of 10,000 items takes longer; the token is then renewed while it runs. */
const RENEW_BEFORE_MS = 5 * 60_000;
/** The gateway's codes for a token that is unknown, expired or missing. Unconfirmed: its words are looked at too. */
const TOKEN_CODES = ["4201", "4202", "4203"];
const TOKEN_WORDS = /token/i;
const TOO_MANY = /限流|频率|频繁|超限|too many|rate.?limit|flow control/i;
/** Words of a refusal that another attempt does not change. */
const FOR_GOOD = /签名|权限|授权|参数|不存在|denied|permission|unauthori[sz]ed|param|invalid|not (found|exist)/i;
/** `source IP denied`. */
const FINAL_CODES = ["4007"];
const REASON_LENGTH = 200;
/** Youzan's times have whole seconds: before the next one there is nothing new. */
const PAUSE_MS = 1_000;
/** March 1973: what is smaller is no instant of today. */
const SHORT_OF_MS = 100_000_000_000;

export class YouzanApi {
  readonly #access: YouzanAccess;
  readonly #parts: SourceParts;
  #token: { readonly text: string; readonly expiresMs: number } | undefined;

  constructor(access: YouzanAccess, parts: SourceParts) {
    this.#access = access;
    this.#parts = parts;
  }

  /** Youzan's clock. */
  now(): number {
    const { clock, client } = this.#parts;
    return clock.now() + (client.skewMs() ?? 0);
  }

  /** Until there may be something new. */
  pause(signal: AbortSignal): Promise<void> {
    return this.#parts.clock.sleep(PAUSE_MS, signal);
  }

  /**
   * The `data` of an answer, or its `response` where a method has the older envelope.
   * @throws EngineError
   */
  async call(method: string, version: string, parameters: Row, signal: AbortSignal): Promise<Row> {
    for (let attempt = 1; ; attempt++) {
      const token = await this.#validToken(signal);
      let isTokenRefused = false;
      const refusalOf = (body: unknown, status: number): Refusal | undefined => {
        const refused = refusedIn(body, status);
        if (refused === undefined) return undefined;
        isTokenRefused = status === 401 || TOKEN_CODES.includes(refused.code) || TOKEN_WORDS.test(refused.message);
        return {
          reason: shownOf(refused).replaceAll(token, "…"),
          again: isTokenRefused ? "final" : againOf(refused, status),
        };
      };
      const request = (): SourceRequest =>
        this.#request(`/api/${method}/${version}?access_token=${encodeURIComponent(token)}`, parameters);
      try {
        const answer = (await this.#parts.client.json(request, signal, refusalOf)) as Row;
        return this.#object(answer["data"] ?? answer["response"], method);
      } catch (thrown) {
        // A token may end before its time: when the shop's owner asks for another one.
        if (!isTokenRefused || attempt > 1) throw thrown;
        this.#token = undefined;
      }
    }
  }

  /** @throws EngineError when `value` is no list */
  list(value: unknown, place: string): readonly Row[] {
    if (!Array.isArray(value) || value.some((row) => typeof row !== "object" || row === null))
      throw this.failed(`${place} is no list of objects`);
    return value as Row[];
  }

  /** A whole number from 0, which Youzan gives as a number or a text. */
  count(value: unknown, place: string): number {
    const number = typeof value === "string" && value !== "" ? Number(value) : value;
    if (!Number.isSafeInteger(number) || (number as number) < 0)
      throw this.failed(`${place} is no whole number from 0: ${JSON.stringify(value)}`);
    return number as number;
  }

  /** The same pull may succeed later. */
  failed(message: string): EngineError {
    const { name } = this.#parts;
    return new EngineError(`${name}: ${message}`, { op: OP, code: "bad_answer", retryable: true, input: name });
  }

  async #validToken(signal: AbortSignal): Promise<string> {
    if (this.#token && this.now() < this.#token.expiresMs - RENEW_BEFORE_MS) return this.#token.text;
    const { clientId, clientSecret, shop } = this.#access;
    const wanted = { authorize_type: "silent", client_id: clientId, client_secret: clientSecret, grant_id: shop };
    const answer = await this.#parts.client.json(() => this.#request("/auth/token", wanted), signal, tokenRefusalOf);
    const data = this.#object((answer as Row)["data"], "auth/token");
    const { access_token: text, expires } = data;
    if (typeof text !== "string" || text === "") throw this.failed("auth/token: the answer has no access_token");
    const ends = this.count(expires, "auth/token: expires");
    // An instant in milliseconds; a small number would be a length in seconds.
    this.#token = { text, expiresMs: ends < SHORT_OF_MS ? this.now() + ends * 1_000 : ends };
    return text;
  }

  #request(path: string, body: Row): SourceRequest {
    return {
      method: "POST",
      url: this.#access.url.replace(/\/+$/, "") + path,
      headers: { "content-type": "application/json; charset=utf-8" },
      body: JSON.stringify(body),
    };
  }

  #object(value: unknown, method: string): Row {
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Row;
    throw this.failed(`${method}: the answer has no data`);
  }
}

interface Refused {
  readonly code: string;
  readonly message: string;
}

/** The gateway, a method of the older kind and one of the newer kind refuse in three forms. */
function refusedIn(body: unknown, status: number): Refused | undefined {
  const { gw_err_resp: gateway, error_response: older, ...rest } = (body ?? {}) as Record<string, unknown>;
  const refused = (gateway ?? older) as Row | undefined;
  if (refused) return { code: String(refused["err_code"] ?? refused["code"] ?? status), message: messageOf(refused) };
  const isCoded = rest["code"] !== undefined && String(rest["code"]) !== "200";
  const isRefused = rest["success"] === false || isCoded || status >= 300;
  return isRefused ? { code: String(rest["code"] ?? status), message: messageOf(rest) } : undefined;
}

const messageOf = (refused: Row): string => String(refused["err_msg"] ?? refused["message"] ?? refused["msg"] ?? "");

const shownOf = ({ code, message }: Refused): string => `answered ${code}: ${message}`.slice(0, REASON_LENGTH);

function againOf({ code, message }: Refused, status: number): Refusal["again"] {
  if (status === 429 || TOO_MANY.test(message)) return "throttled";
  return FINAL_CODES.includes(code) || FOR_GOOD.test(message) ? "final" : "later";
}

/** A refused application or secret stays refused. */
function tokenRefusalOf(body: unknown, status: number): Refusal | undefined {
  const refused = refusedIn(body, status);
  if (refused === undefined) return undefined;
  const again = status >= 500 ? "later" : againOf(refused, status) === "throttled" ? "throttled" : "final";
  return { reason: shownOf(refused), again };
}
