/**
 * A sandbox of DingTalk's custom robots: it verifies token, signature and timestamp (an hour) of every request, takes
 * 20 messages a minute of one robot and refuses all for ten minutes after that, limits the body's size, and keeps what
 * a person would see. As DingTalk it answers 200 with an error code. It does not recognise a message that comes twice.
 *
 *   POST /robot/send?access_token=…&timestamp=…&sign=…   msgtype "markdown"
 */
import { type Clock, MINUTE_MS, systemClock } from "../../engine/kernel/clock.js";
import { type SandboxAnswer, type SandboxRequest, SandboxServer } from "../sources/sandbox/server.js";
import { signatureOf } from "./signature.js";

export interface DingTalkSandboxSettings {
  readonly port?: number;
  readonly token?: string;
  readonly secret?: string;
  /** Its own; the real one when left out. */
  readonly clock?: Clock;
}

export const DINGTALK_SANDBOX = { token: "sandbox-token", secret: "SECsandbox" } as const;

export interface DingTalkMessage {
  readonly atMs: number;
  readonly title: string;
  readonly text: string;
}

const PER_MINUTE = 20;
const BLOCKED_MS = 10 * MINUTE_MS;
const CLOCK_BOUND_MS = 60 * MINUTE_MS;
const MAX_BYTES = 20_000;
const MAX_KEPT = 10_000;

const answer = (errcode: number, errmsg: string): SandboxAnswer => ({ body: JSON.stringify({ errcode, errmsg }) });

export class DingTalkSandbox extends SandboxServer {
  readonly #settings: Required<Omit<DingTalkSandboxSettings, "port">>;
  readonly messages: DingTalkMessage[] = [];
  #taken: number[] = [];
  #blockedUntilMs = 0;

  constructor(settings: DingTalkSandboxSettings = {}) {
    super(settings);
    this.#settings = { ...DINGTALK_SANDBOX, clock: systemClock, ...settings };
  }

  protected override throttled(): SandboxAnswer {
    return answer(130101, "send too fast, exceed 20 times per minute");
  }

  protected override answer({ method, url, body }: SandboxRequest): SandboxAnswer {
    if (method !== "POST" || url.pathname !== "/robot/send") return { status: 404, body: "nothing here" };
    const { token, secret, clock } = this.#settings;
    const nowMs = clock.now();
    if (url.searchParams.get("access_token") !== token) return answer(300001, "token is not exist");
    const timestampMs = Number(url.searchParams.get("timestamp"));
    if (!(Math.abs(timestampMs - nowMs) <= CLOCK_BOUND_MS)) return answer(310000, "invalid timestamp");
    if (url.searchParams.get("sign") !== signatureOf(timestampMs, secret)) return answer(310000, "sign not match");
    if (Buffer.byteLength(body) > MAX_BYTES) return answer(460101, "message too long, exceed 20000 bytes");
    const { msgtype, markdown } = JSON.parse(body) as { msgtype?: string; markdown?: Partial<DingTalkMessage> };
    if (msgtype !== "markdown" || !markdown?.title || !markdown.text) return answer(400105, "unsupported msgtype");
    this.#taken = this.#taken.filter((ms) => nowMs - ms < MINUTE_MS);
    if (this.#taken.length >= PER_MINUTE && nowMs >= this.#blockedUntilMs) this.#blockedUntilMs = nowMs + BLOCKED_MS;
    if (nowMs < this.#blockedUntilMs) {
      this.figures.throttled++;
      return this.throttled();
    }
    this.#taken.push(nowMs);
    this.messages.push({ atMs: nowMs, title: markdown.title, text: markdown.text });
    if (this.messages.length > MAX_KEPT) this.messages.shift();
    return answer(0, "ok");
  }
}
