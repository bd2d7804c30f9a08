/**
 * The channel `wecom-robot`: messages to a group by a robot of WeCom (企业微信). A robot takes 20 messages a minute. It
 * gives no receipt and does not recognise a repeat: a message whose answer was lost may come twice. Errors come with
 * status 200; what they mean is in README.md.
 */
import { Type } from "typebox";
import { defineChannelKind } from "../channel.js";
import { codeOf, outcomeOfCode } from "../channels/answer-code.js";
import { openEndpoints } from "../channels/endpoints.js";
import { secretText } from "../configuration/secret-text.js";
import { ADDRESS, CODES, JSON_BODY, THROTTLED_MS } from "./platform.js";
import { markdownWithLink } from "./texts.js";

const Connection = Type.Object(
  {
    url: Type.Optional(Type.String({ maxLength: 500, description: `another address than ${ADDRESS}` })),
    key: secretText("the key of the robot's address"),
  },
  { additionalProperties: false },
);

const MAX_TEXT_BYTES = 4_096;

export const wecomRobotKind = defineChannelKind({
  name: "wecom-robot",
  about: "a robot of WeCom (企业微信) in a group",
  connection: Connection,
  traits: { perMinute: 20, confirmsDisplay: false, sendsChanges: false },
  recognisesRepeats: false,
  limits: { perSecond: 20, inFlight: 8 },
  async open(parts) {
    const { clock } = parts;
    return openEndpoints(parts, {
      channel: "wecom-robot",
      connections: 4,
      urlOf: ({ url = ADDRESS }) => url,
      targetOf: (settings) => settings,
      async send(robot, outgoing, http, signal) {
        const url = new URL(`${robot.url ?? ADDRESS}/cgi-bin/webhook/send`);
        url.searchParams.set("key", robot.key);
        const content = markdownWithLink(outgoing, MAX_TEXT_BYTES);
        const body = JSON.stringify({ msgtype: "markdown", markdown: { content } });
        const answer = await http.send({ url: url.href, headers: JSON_BODY, body }, signal);
        if ("outcome" in answer) return answer;
        return outcomeOfCode(answer, clock, codeOf(answer, "errcode", "errmsg"), CODES, THROTTLED_MS);
      },
    });
  },
});
