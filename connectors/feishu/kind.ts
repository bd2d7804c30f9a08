/**
 * The channel `feishu`: messages to a group by a custom bot of Feishu (飞书), signed, as a card whose colour shows how
 * grave it is. A bot takes 100 messages a minute and 5 in a second. It gives no receipt and does not recognise a
 * repeat: a message whose answer was lost may come twice. Errors come with status 200; what they mean is in README.md.
 */
import { type Static, Type } from "typebox";
import { translatorOf } from "../../engine/alerting/dictionary.js";
import type { Message } from "../../engine/alerting/notification.js";
import { linesOf, markdownOf, titleOf } from "../../engine/alerting/texts.js";
import { defineChannelKind, type OutgoingMessage } from "../channel.js";
import { type CodeMeaning, codeOf, outcomeOfCode } from "../channels/answer-code.js";
import { openEndpoints } from "../channels/endpoints.js";
import { secretText } from "../configuration/secret-text.js";
import { signatureOf } from "./signature.js";

const Connection = Type.Object(
  {
    url: secretText("the webhook's whole address: https://open.feishu.cn/open-apis/bot/v2/hook/…"),
    secret: secretText("the secret of the signature"),
  },
  { additionalProperties: false },
);
type Settings = Static<typeof Connection>;

/** Of 20 KB for the whole body; JSON doubles quotes and backslashes at most. */
const MAX_TEXT_BYTES = 8_000;
const THROTTLED_MS = 5_000;

/** Codes of refusals that may pass; all others are for good. 9499 comes for a bad body, too: its text says which. */
const CODES: Readonly<Record<number, CodeMeaning>> = { 11232: "throttled", 11233: "throttled", 19002: "later" };
const TOO_MANY = /too many|frequency|limit/i;

export const feishuKind = defineChannelKind({
  name: "feishu",
  about: "a custom bot of Feishu (飞书) in a group, signed",
  connection: Connection,
  traits: { perMinute: 100, confirmsDisplay: false, sendsChanges: false },
  recognisesRepeats: false,
  limits: { perSecond: 5, inFlight: 4 },
  async open(parts) {
    const { clock } = parts;
    return openEndpoints(parts, {
      channel: "feishu",
      connections: 4,
      urlOf: ({ url }) => url,
      targetOf: (settings) => settings,
      async send(bot, outgoing, http, signal) {
        const body = bodyOf(outgoing, bot, Math.floor(clock.now() / 1_000));
        const answer = await http.send({ url: bot.url, headers: JSON_BODY, body }, signal);
        if ("outcome" in answer) return answer;
        const found = codeOf(answer, "code", "msg");
        const meanings = found && TOO_MANY.test(found.text) ? { ...CODES, [found.code]: "throttled" as const } : CODES;
        return outcomeOfCode(answer, clock, found, meanings, THROTTLED_MS);
      },
    });
  },
});

const JSON_BODY = { "content-type": "application/json; charset=utf-8" } as const;

function bodyOf({ message, url }: OutgoingMessage, { secret }: Settings, seconds: number): string {
  const button = (to: string) => ({
    tag: "action",
    actions: [
      {
        tag: "button",
        type: "primary",
        text: { tag: "plain_text", content: translatorOf(message.language)("openLink") },
        url: to,
      },
    ],
  });
  const lines = linesOf(message).length > 0 ? [{ tag: "markdown", content: textOf(message) }] : [];
  return JSON.stringify({
    timestamp: String(seconds),
    sign: signatureOf(seconds, secret),
    msg_type: "interactive",
    card: {
      config: { wide_screen_mode: true },
      header: { title: { tag: "plain_text", content: titleOf(message) }, template: colourOf(message) },
      elements: [...lines, ...(url === undefined ? [] : [button(url)])],
    },
  });
}

/** Without the first line: the card has the title as its header. */
const textOf = (message: Message): string =>
  markdownOf(message, { maxBytes: MAX_TEXT_BYTES }).split("\n").slice(2).join("\n");

function colourOf({ type, alerts }: Message): string {
  if (type === "test") return "blue";
  if (type === "change") return "green";
  return alerts.some(({ severity }) => severity === "critical") ? "red" : "orange";
}
