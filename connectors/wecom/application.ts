/**
 * An application of WeCom (企业微信) as an HTTP client: it gets an access token and uses it until WeCom refuses it, one
 * request for a token at a time. A call whose token has expired is repeated once with a new one, because WeCom has
 * refused it without effect. It does not retry otherwise and does not limit the rate.
 */
import type { Clock } from "../../engine/kernel/clock.js";
import type { ChannelOutcome } from "../channel.js";
import { type AnswerCode, codeOf, outcomeOfCode } from "../channels/answer-code.js";
import type { ChannelHttp } from "../channels/http-client.js";
import { ADDRESS, CODES, JSON_BODY, THROTTLED_MS } from "./platform.js";

export interface ApplicationSettings {
  readonly url?: string | undefined;
  readonly corpId: string;
  readonly agentId: number;
  readonly secret: string;
}

/** The token is invalid, expired, or missing. */
const TOKEN_CODES: readonly number[] = [40014, 42001, 41001];
/** A token is renewed so long before its end. */
const RENEW_BEFORE_MS = 60_000;

type Token = { readonly text: string; readonly expiresMs: number };
type Unsent = Exclude<ChannelOutcome, { outcome: "accepted" }>;

/** What a call gave: the body of a success, or what the refusal means. */
export type CallResult = { readonly body: Readonly<Record<string, unknown>> } | { readonly refusal: Unsent };

export class WecomApplication {
  readonly #settings: ApplicationSettings;
  readonly #http: Pick<ChannelHttp, "send">;
  readonly #clock: Clock;
  #token: Token | undefined;
  #asking: Promise<Token | Unsent> | undefined;

  constructor(settings: ApplicationSettings, http: Pick<ChannelHttp, "send">, clock: Clock) {
    this.#settings = settings;
    this.#http = http;
    this.#clock = clock;
  }

  /** @param path such as `message/send` */
  async call(path: string, body: object, signal: AbortSignal): Promise<CallResult> {
    const given = { ...body, agentid: this.#settings.agentId };
    for (let isRepeat = false; ; isRepeat = true) {
      const token = await this.#validToken(signal);
      if ("outcome" in token) return { refusal: token };
      const url = this.#address(`/cgi-bin/${path}`, { access_token: token.text });
      const answer = await this.#http.send({ url, headers: JSON_BODY, body: JSON.stringify(given) }, signal);
      if ("outcome" in answer) return { refusal: answer };
      const found = codeOf(answer, "errcode", "errmsg");
      if (found && TOKEN_CODES.includes(found.code)) {
        if (this.#token === token) this.#token = undefined;
        if (!isRepeat) continue;
        return { refusal: { outcome: "retry", reason: textOf(found) } };
      }
      const outcome = outcomeOfCode(answer, this.#clock, found, CODES, THROTTLED_MS);
      return outcome.outcome === "accepted" ? { body: found?.body ?? {} } : { refusal: outcome };
    }
  }

  async #validToken(signal: AbortSignal): Promise<Token | Unsent> {
    if (this.#token && this.#token.expiresMs > this.#clock.now()) return this.#token;
    this.#asking ??= this.#newToken(signal).finally(() => {
      this.#asking = undefined;
    });
    const token = await this.#asking;
    if (!("outcome" in token)) this.#token = token;
    return token;
  }

  async #newToken(signal: AbortSignal): Promise<Token | Unsent> {
    const { corpId, secret } = this.#settings;
    const url = this.#address("/cgi-bin/gettoken", { corpid: corpId, corpsecret: secret });
    const answer = await this.#http.send({ url, method: "GET" }, signal);
    // Nothing has been sent to anybody.
    if ("outcome" in answer) return answer.outcome === "retry" ? { ...answer, mayHaveArrived: false } : answer;
    const found = codeOf(answer, "errcode", "errmsg");
    const outcome = outcomeOfCode(answer, this.#clock, found, CODES, THROTTLED_MS);
    if (outcome.outcome !== "accepted") return { ...outcome, reason: `no access token: ${outcome.reason}` };
    const { access_token: text, expires_in: seconds } = found?.body ?? {};
    if (typeof text !== "string" || typeof seconds !== "number")
      return { outcome: "retry", reason: "no access token: the answer has none" };
    return { text, expiresMs: this.#clock.now() + seconds * 1_000 - RENEW_BEFORE_MS };
  }

  #address(path: string, query: Readonly<Record<string, string>>): string {
    const url = new URL(`${this.#settings.url ?? ADDRESS}${path}`);
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    return url.href;
  }
}

const textOf = ({ code, text }: AnswerCode): string => `code ${code}: ${text}`;
