/**
 * The channel `dingtalk`: messages to a group by a custom robot of DingTalk (钉钉), signed. A robot takes 20 messages a
 * minute and refuses all for ten minutes after more. It gives no receipt and does not recognise a repeat: a message
 * whose answer was lost may come twice. Errors come with status 200; what they mean is in README.md.
 */
import { type Static, Type } from "typebox";
import { translatorOf } from "../../engine/alerting/dictionary.js";
import { markdownOf, titleOf } from "../../engine/alerting/texts.js";
import { MINUTE_MS } from "../../engine/kernel/clock.js";
import { defineChannelKind, type OutgoingMessage } from "../channel.js";
import { codeOf, outcomeOfCode } from "../channels/answer-code.js";
import { openEndpoints } from "../channels/endpoints.js";
import { secretText } from "../configuration/secret-text.js";
import { signatureOf } from "./signature.js";

const Connection = Type.Object(
  {
    url: Type.Optional(
      Type.String({ maxLength: 500, description: "another address than https://oapi.dingtalk.com/robot/send" }),
    ),
    accessToken: secretText("the access_token of the robot's address"),
    secret: secretText("the robot's secret, which begins with SEC"),
  },
  { additionalProperties: false },
);
type Settings = Static<typeof Connection>;

const ADDRESS = "https://oapi.dingtalk.com/robot/send";
/** The robot takes 20,000 bytes for everything. */
const MAX_TEXT_BYTES = 18_000;
/** Too many messages: refused for ten minutes from then on. */
const BLOCKED_MS = 10 * MINUTE_MS;

/** Codes of refusals that may pass; all others are for good. */
const CODES: Readonly<Record<number, "throttled" | "later">> = {
  "-1": "later",
  130101: "throttled",
  410100: "throttled",
  90030: "throttled",
};

export const dingTalkKind = defineChannelKind({
  name: "dingtalk",
  about: "a custom robot of DingTalk (钉钉) in a group, signed",
  connection: Connection,
  traits: { perMinute: 20, confirmsDisplay: false, sendsChanges: false },
  recognisesRepeats: false,
  limits: { perSecond: 20, inFlight: 8 },
  async open(parts) {
    const { clock } = parts;
    return openEndpoints(parts, {
      channel: "dingtalk",
      connections: 4,
      urlOf: ({ url = ADDRESS }) => url,
      targetOf: (settings) => settings,
      async send(robot, outgoing, http, signal) {
        const request = { url: signedUrl(robot, clock.now()), headers: JSON_BODY, body: bodyOf(outgoing) };
        const answer = await http.send(request, signal);
        if ("outcome" in answer) return answer;
        return outcomeOfCode(answer, clock, codeOf(answer, "errcode", "errmsg"), CODES, BLOCKED_MS);
      },
    });
  },
});

const JSON_BODY = { "content-type": "application/json; charset=utf-8" } as const;

function signedUrl({ url = ADDRESS, accessToken, secret }: Settings, nowMs: number): string {
  const signed = new URL(url);
  signed.searchParams.set("access_token", accessToken);
  signed.searchParams.set("timestamp", String(nowMs));
  signed.searchParams.set("sign", signatureOf(nowMs, secret));
  return signed.href;
}

function bodyOf({ message, url }: OutgoingMessage): string {
  const link = url === undefined ? "" : `\n\n[${translatorOf(message.language)("openLink")}](${url})`;
  const text = markdownOf(message, { maxBytes: MAX_TEXT_BYTES }) + link;
  return JSON.stringify({ msgtype: "markdown", markdown: { title: titleOf(message), text } });
}
