/**
 * A sandbox of Feishu's custom bots: it verifies hook, signature and timestamp (an hour) of every request, takes 100
 * messages a minute and 5 in a second, limits the body to 20 KB, and keeps the cards that a person would see. As Feishu
 * it answers 200 with a code. It does not recognise a message that comes twice.
 *
 *   POST /open-apis/bot/v2/hook/<hook>   timestamp, sign, msg_type "interactive", card
 */
import { type Clock, MINUTE_MS, systemClock } from "../../engine/kernel/clock.js";
import { type SandboxAnswer, type SandboxRequest, SandboxServer } from "../sources/sandbox/server.js";
import { signatureOf } from "./signature.js";

export interface FeishuSandboxSettings {
  readonly port?: number;
  readonly hook?: string;
  readonly secret?: string;
  /** Messages that it takes in a second; 5, as Feishu does, when left out. */
  readonly messagesPerSecond?: number;
  /** Its own; the real one when left out. */
  readonly clock?: Clock;
}

export const FEISHU_SANDBOX = { hook: "sandbox-hook", secret: "sandbox-secret" } as const;

export interface FeishuMessage {
  readonly atMs: number;
  readonly title: string;
  /** The markdown elements, one after the other. */
  readonly text: string;
  /** Of the buttons. */
  readonly urls: readonly string[];
}

interface FeishuBody {
  readonly timestamp?: string;
  readonly sign?: string;
  readonly msg_type?: string;
  readonly card?: {
    readonly header?: { readonly title?: { readonly content?: string } };
    readonly elements?: readonly {
      readonly tag?: string;
      readonly content?: string;
      readonly actions?: readonly { readonly url?: string }[];
    }[];
  };
}

const PER_MINUTE = 100;
const PER_SECOND = 5;
const CLOCK_BOUND_MS = 60 * MINUTE_MS;
const MAX_BYTES = 20 * 1024;
const MAX_KEPT = 10_000;

const answer = (code: number, msg: string): SandboxAnswer => ({ body: JSON.stringify({ code, msg, data: {} }) });

export class FeishuSandbox extends SandboxServer {
  readonly #settings: Required<Omit<FeishuSandboxSettings, "port">>;
  readonly messages: FeishuMessage[] = [];
  #taken: number[] = [];

  constructor(settings: FeishuSandboxSettings = {}) {
    super(settings);
    this.#settings = { ...FEISHU_SANDBOX, messagesPerSecond: PER_SECOND, clock: systemClock, ...settings };
  }

  protected override throttled(): SandboxAnswer {
    return answer(11232, "create message trigger system rate limit");
  }

  protected override answer({ method, url, body }: SandboxRequest): SandboxAnswer {
    const { hook, secret, clock, messagesPerSecond } = this.#settings;
    if (method !== "POST") return { status: 404, body: "nothing here" };
    if (url.pathname !== `/open-apis/bot/v2/hook/${hook}`)
      return answer(19001, "param invalid: incoming webhook access token invalid");
    if (Buffer.byteLength(body) > MAX_BYTES) return answer(9499, "Bad Request");
    const { timestamp, sign, msg_type, card } = JSON.parse(body) as FeishuBody;
    const nowMs = clock.now();
    const seconds = Number(timestamp);
    if (!(Math.abs(seconds * 1_000 - nowMs) <= CLOCK_BOUND_MS) || sign !== signatureOf(seconds, secret))
      return answer(19021, "sign match fail or timestamp is not within one hour from current time");
    const title = card?.header?.title?.content;
    if (msg_type !== "interactive" || !title || !card?.elements) return answer(9499, "Bad Request");
    this.#taken = this.#taken.filter((ms) => nowMs - ms < MINUTE_MS);
    const inSecond = this.#taken.filter((ms) => nowMs - ms < 1_000).length;
    if (this.#taken.length >= PER_MINUTE || inSecond >= messagesPerSecond) {
      this.figures.throttled++;
      return this.throttled();
    }
    this.#taken.push(nowMs);
    const text = card.elements.flatMap(({ tag, content }) => (tag === "markdown" && content ? [content] : []));
    const urls = card.elements.flatMap(({ actions = [] }) => actions.flatMap(({ url: to }) => (to ? [to] : [])));
    this.messages.push({ atMs: nowMs, title, text: text.join("\n"), urls });
    if (this.messages.length > MAX_KEPT) this.messages.shift();
    return answer(0, "success");
  }
}
