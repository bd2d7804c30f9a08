/**
 * A sandbox of WeCom: group robots and application messages. It gives access tokens that expire, refuses a message
 * without a valid one, checks sizes and limits (20 a minute for a robot, 30 a minute for a member), suppresses a
 * repeated application message within its interval as WeCom does, and keeps what a member would see. `press` presses a
 * card's button: it calls the callback address, encrypted and signed. As WeCom it answers 200 with an error code.
 *
 *   POST /cgi-bin/webhook/send?key=…                         msgtype "markdown"
 *   GET  /cgi-bin/gettoken?corpid=…&corpsecret=…
 *   POST /cgi-bin/message/send?access_token=…                touser, agentid, msgtype "template_card" or "markdown"
 *   POST /cgi-bin/message/update_template_card?access_token=…
 */
import { type Clock, MINUTE_MS, systemClock } from "../../engine/kernel/clock.js";
import { secureBytes } from "../../engine/kernel/random.js";
import { type SandboxAnswer, type SandboxRequest, SandboxServer } from "../sources/sandbox/server.js";
import { type CallbackSecrets, encrypt, signatureOf } from "./callback-crypto.js";

export interface WecomSandboxSettings {
  readonly port?: number;
  /** How long an access token is valid; two hours when left out. */
  readonly tokenMs?: number;
  /** Members of the corp; any user id when left out. */
  readonly members?: readonly string[];
  /** Its own; the real one when left out. */
  readonly clock?: Clock;
}

export const WECOM_SANDBOX = {
  robotKey: "sandbox-key",
  corpId: "wwsandbox",
  agentId: 1_000_002,
  corpSecret: "sandbox-secret",
  callbackToken: "sandbox-callback-token",
  callbackAesKey: "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG",
} as const;

export interface WecomMessage {
  readonly atMs: number;
  /** The robot, or the member's user id. */
  readonly to: string;
  readonly text: string;
  /** Of a card with a button. */
  readonly card?: { readonly taskId: string; readonly key: string; readonly responseCode: string };
}

interface WecomBody {
  readonly touser?: string;
  readonly agentid?: number;
  readonly msgtype?: string;
  readonly markdown?: { readonly content?: string };
  readonly template_card?: {
    readonly card_type?: string;
    readonly main_title?: { readonly title?: string; readonly desc?: string };
    readonly sub_title_text?: string;
    readonly horizontal_content_list?: readonly { readonly keyname?: string; readonly value?: string }[];
    readonly task_id?: string;
    readonly button_list?: readonly { readonly text?: string; readonly key?: string }[];
  };
  readonly enable_duplicate_check?: number;
  readonly duplicate_check_interval?: number;
  readonly response_code?: string;
  readonly button?: { readonly replace_name?: string };
}

const ROBOT_PER_MINUTE = 20;
const MEMBER_PER_MINUTE = 30;
const MAX_MARKDOWN_BYTES = 4_096;
const MARKDOWN_BYTES_OF_APPLICATION = 2_048;
const TOKEN_MS = 2 * 60 * MINUTE_MS;
const DEFAULT_INTERVAL_SECONDS = 1_800;
const MAX_KEPT = 10_000;

const answer = (errcode: number, errmsg: string, more: object = {}): SandboxAnswer => ({
  body: JSON.stringify({ errcode, errmsg, ...more }),
});

const secrets: CallbackSecrets = {
  token: WECOM_SANDBOX.callbackToken,
  aesKey: WECOM_SANDBOX.callbackAesKey,
  receiverId: WECOM_SANDBOX.corpId,
};

export class WecomSandbox extends SandboxServer {
  readonly #clock: Clock;
  readonly #tokenMs: number;
  readonly #members: readonly string[] | undefined;
  readonly messages: WecomMessage[] = [];
  /** Texts that replaced a card's button, by its response code. */
  readonly updates = new Map<string, string>();
  /** Application messages that were suppressed because they came before. */
  repeats = 0;
  tokensGiven = 0;
  readonly #tokens = new Map<string, number>();
  readonly #taken = new Map<string, number[]>();
  readonly #sent = new Map<string, number>();

  constructor({ clock = systemClock, tokenMs = TOKEN_MS, members, ...settings }: WecomSandboxSettings = {}) {
    super(settings);
    this.#clock = clock;
    this.#tokenMs = tokenMs;
    this.#members = members;
  }

  /** Every token that was given is refused from now on. */
  expireTokens(): void {
    this.#tokens.clear();
  }

  /**
   * Presses the button of a card.
   * @param callbackUrl of the engine: without a query
   * @param userId who presses it; the receiver when left out
   * @returns the answer's status
   */
  async press({ to, card }: WecomMessage, callbackUrl: string, userId = to): Promise<number> {
    if (!card) throw new Error("the message has no button");
    const { corpId, agentId } = WECOM_SANDBOX;
    const seconds = Math.floor(this.#clock.now() / 1_000);
    const xml =
      `<xml><ToUserName><![CDATA[${corpId}]]></ToUserName><FromUserName><![CDATA[${userId}]]></FromUserName>` +
      `<CreateTime>${seconds}</CreateTime><MsgType><![CDATA[event]]></MsgType>` +
      `<Event><![CDATA[template_card_event]]></Event><EventKey><![CDATA[${card.key}]]></EventKey>` +
      `<TaskId><![CDATA[${card.taskId}]]></TaskId><CardType><![CDATA[button_interaction]]></CardType>` +
      `<ResponseCode><![CDATA[${card.responseCode}]]></ResponseCode><AgentID>${agentId}</AgentID></xml>`;
    const encrypted = encrypt(xml, secrets, secureBytes(16));
    const nonce = secureBytes(8).toString("hex");
    const url = new URL(callbackUrl);
    url.searchParams.set("msg_signature", signatureOf(secrets.token, String(seconds), nonce, encrypted));
    url.searchParams.set("timestamp", String(seconds));
    url.searchParams.set("nonce", nonce);
    const body = `<xml><ToUserName><![CDATA[${corpId}]]></ToUserName><AgentID><![CDATA[${agentId}]]></AgentID><Encrypt><![CDATA[${encrypted}]]></Encrypt></xml>`;
    const reply = await fetch(url, { method: "POST", body, headers: { "content-type": "text/xml" } });
    await reply.text();
    return reply.status;
  }

  protected override throttled(): SandboxAnswer {
    return answer(45009, "api freq out of limit");
  }

  protected override answer({ method, url, body }: SandboxRequest): SandboxAnswer {
    const { pathname, searchParams } = url;
    if (method === "GET" && pathname === "/cgi-bin/gettoken") return this.#giveToken(searchParams);
    if (method !== "POST") return { status: 404, body: "nothing here" };
    const given = JSON.parse(body) as WecomBody;
    if (pathname === "/cgi-bin/webhook/send") return this.#robot(searchParams.get("key"), given);
    const expiresMs = this.#tokens.get(searchParams.get("access_token") ?? "");
    if (expiresMs === undefined) return answer(40014, "invalid access_token");
    if (expiresMs <= this.#clock.now()) return answer(42001, "access_token expired");
    if (pathname === "/cgi-bin/message/send") return this.#application(given);
    if (pathname === "/cgi-bin/message/update_template_card") return this.#update(given);
    return { status: 404, body: "nothing here" };
  }

  #giveToken(query: URLSearchParams): SandboxAnswer {
    const { corpId, corpSecret } = WECOM_SANDBOX;
    if (query.get("corpid") !== corpId) return answer(40013, "invalid corpid");
    if (query.get("corpsecret") !== corpSecret) return answer(40001, "invalid credential");
    const token = secureBytes(16).toString("hex");
    this.tokensGiven++;
    this.#tokens.set(token, this.#clock.now() + this.#tokenMs);
    return answer(0, "ok", { access_token: token, expires_in: Math.floor(this.#tokenMs / 1_000) });
  }

  #robot(key: string | null, { msgtype, markdown }: WecomBody): SandboxAnswer {
    if (key !== WECOM_SANDBOX.robotKey) return answer(93000, "invalid webhook url");
    if (msgtype !== "markdown" || !markdown?.content) return answer(40008, "invalid message type");
    if (Buffer.byteLength(markdown.content) > MAX_MARKDOWN_BYTES)
      return answer(40058, "markdown.content exceed max length 4096");
    if (!this.#take(key, ROBOT_PER_MINUTE)) return this.throttled();
    this.#keep({ atMs: this.#clock.now(), to: "robot", text: markdown.content });
    return answer(0, "ok");
  }

  #application(body: WecomBody): SandboxAnswer {
    const { touser = "", agentid, msgtype, markdown, template_card: card } = body;
    if (agentid !== WECOM_SANDBOX.agentId) return answer(40056, "invalid agentid");
    if (this.#members && !this.#members.includes(touser))
      return answer(81013, "user & party & tag all invalid", { invaliduser: touser });
    const repeat = JSON.stringify({ touser, msgtype, markdown, card });
    const nowMs = this.#clock.now();
    const sentMs = this.#sent.get(repeat);
    const interval = (body.duplicate_check_interval ?? DEFAULT_INTERVAL_SECONDS) * 1_000;
    if (body.enable_duplicate_check === 1 && sentMs !== undefined && nowMs - sentMs < interval) {
      this.repeats++;
      return answer(0, "ok", { msgid: "repeated" });
    }
    if (msgtype === "markdown") {
      if (!markdown?.content || Buffer.byteLength(markdown.content) > MARKDOWN_BYTES_OF_APPLICATION)
        return answer(40058, "markdown.content exceed max length 2048");
    } else if (msgtype !== "template_card" || card?.card_type !== "button_interaction" || !cardFits(card))
      return answer(42036, "invalid template card");
    if (!this.#take(touser, MEMBER_PER_MINUTE)) return answer(45033, "api concurrent out of limit");
    this.#sent.set(repeat, nowMs);
    if (this.#sent.size > MAX_KEPT) this.#sent.delete(this.#sent.keys().next().value as string);
    const responseCode = secureBytes(16).toString("hex");
    const button = card?.button_list?.[0];
    const lines = card?.horizontal_content_list?.map(({ keyname, value }) => `${keyname}：${value}`) ?? [];
    const text = [card?.main_title?.title, card?.main_title?.desc, card?.sub_title_text, ...lines];
    this.#keep({
      atMs: nowMs,
      to: touser,
      text: markdown?.content ?? text.filter(Boolean).join("\n"),
      ...(button && { card: { taskId: card?.task_id ?? "", key: button.key ?? "", responseCode } }),
    });
    return answer(0, "ok", { msgid: secureBytes(8).toString("hex"), response_code: responseCode });
  }

  #update({ response_code: code = "", button }: WecomBody): SandboxAnswer {
    if (!this.messages.some(({ card }) => card?.responseCode === code) || this.updates.has(code))
      return answer(42044, "response_code is invalid or has been used");
    this.updates.set(code, button?.replace_name ?? "");
    return answer(0, "ok");
  }

  #keep(message: WecomMessage): void {
    this.messages.push(message);
    if (this.messages.length > MAX_KEPT) this.messages.shift();
  }

  #take(to: string, perMinute: number): boolean {
    const nowMs = this.#clock.now();
    const taken = (this.#taken.get(to) ?? []).filter((ms) => nowMs - ms < MINUTE_MS);
    this.#taken.set(to, taken);
    if (taken.length >= perMinute) {
      this.figures.throttled++;
      return false;
    }
    taken.push(nowMs);
    return true;
  }
}

/** The bounds of a card with buttons, as documented. */
const cardFits = ({
  main_title,
  horizontal_content_list = [],
  task_id = "",
  button_list = [],
}: WecomBody["template_card"] & {}): boolean =>
  Boolean(main_title?.title) &&
  /^[\w@-]{1,128}$/.test(task_id) &&
  horizontal_content_list.length <= 6 &&
  button_list.length >= 1 &&
  button_list.length <= 6 &&
  button_list.every(({ text, key }) => Boolean(text) && Boolean(key) && Buffer.byteLength(key as string) <= 1_024);
