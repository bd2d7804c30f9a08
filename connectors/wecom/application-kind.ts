/**
 * The channel `wecom`: messages of an application of WeCom (企业微信) to one person. A single alert is a card with a
 * button that acknowledges it; summaries, tests and changes are Markdown. `enable_duplicate_check` makes WeCom suppress
 * the same message within four hours, so one whose answer was lost is not seen twice. One application a deployment.
 */
import { type Static, Type } from "typebox";
import type { Alert } from "../../engine/alerting/alert.js";
import { translatorOf } from "../../engine/alerting/dictionary.js";
import { linesOf, titleOf } from "../../engine/alerting/texts.js";
import { badInput } from "../../engine/kernel/errors.js";
import { type ChannelOutcome, defineChannelKind, type OutgoingMessage } from "../channel.js";
import { ChannelHttp, urlFault } from "../channels/http-client.js";
import { secretText } from "../configuration/secret-text.js";
import { WecomApplication } from "./application.js";
import { keyOf } from "./callback-crypto.js";
import { buttonKeyOf, taskIdOf } from "./card.js";
import { ADDRESS } from "./platform.js";
import { cut, markdownWithLink } from "./texts.js";

const WecomConnection = Type.Object(
  {
    url: Type.Optional(Type.String({ maxLength: 500, description: `another address than ${ADDRESS}` })),
    corpId: Type.String({ minLength: 1, maxLength: 64 }),
    agentId: Type.Integer({ minimum: 1 }),
    secret: secretText("the application's secret"),
    /** Without it a card's button is left out. */
    callback: Type.Optional(
      Type.Object(
        { token: secretText("the callback's token"), aesKey: secretText("the callback's EncodingAESKey") },
        { additionalProperties: false },
      ),
    ),
  },
  { additionalProperties: false },
);
export type WecomSettings = Static<typeof WecomConnection>;

/** WeCom's longest. */
const DUPLICATE_CHECK_SECONDS = 4 * 3_600;
const MAX_TEXT_BYTES = 2_048;
/** Of a card, as WeCom recommends them: longer ones are cut on small screens. */
const MAX_TITLE_BYTES = 108;
const MAX_LINES_BYTES = 336;

export const wecomKind = defineChannelKind({
  name: "wecom",
  about: "messages of an application of WeCom (企业微信) to a person, with a button that acknowledges",
  connection: WecomConnection,
  traits: { perMinute: 30, confirmsDisplay: false, sendsChanges: false },
  reachesPeople: true,
  recognisesRepeats: true,
  limits: { perSecond: 20, inFlight: 8 },
  async open({ endpoints, clock, timeoutMs }) {
    const [endpoint, ...more] = endpoints;
    if (more.length > 0)
      throw badInput("wecom.open", `endpoint ${more[0]?.name}`, "one endpoint of the channel wecom is possible");
    if (!endpoint) return { send: async () => ({ outcome: "refused", reason: "no application is configured" }) };
    const { name, settings } = endpoint;
    const fault = urlFault(settings.url ?? ADDRESS);
    if (fault !== undefined) throw badInput("wecom.open", `endpoint ${name} /connection/url`, fault);
    if (settings.callback) keyOf(settings.callback.aesKey);
    const http = new ChannelHttp({ reach: "any", connections: 8, ...(timeoutMs === undefined ? {} : { timeoutMs }) });
    const application = new WecomApplication(settings, http, clock);
    return {
      async send(outgoing, signal): Promise<ChannelOutcome> {
        const body = {
          touser: outgoing.to,
          ...contentOf(outgoing, settings.callback !== undefined),
          enable_duplicate_check: 1,
          duplicate_check_interval: DUPLICATE_CHECK_SECONDS,
        };
        const result = await application.call("message/send", body, signal);
        if ("refusal" in result) return result.refusal;
        const { invaliduser: invalid, msgid } = result.body;
        if (typeof invalid === "string" && invalid !== "")
          return { outcome: "refused", reason: "WeCom has no such user, or the application is not visible to them" };
        return { outcome: "accepted", ...(typeof msgid === "string" ? { receipt: msgid } : {}) };
      },
      close: () => http.close(),
    };
  },
});

function contentOf(outgoing: OutgoingMessage, hasCallback: boolean): object {
  const { message } = outgoing;
  const [alert] = message.alerts;
  const isCard = hasCallback && message.type === "alert" && message.total === 1 && alert?.state === "fired";
  if (!isCard) return { msgtype: "markdown", markdown: { content: markdownWithLink(outgoing, MAX_TEXT_BYTES) } };
  return { msgtype: "template_card", template_card: cardOf(outgoing, alert) };
}

function cardOf({ message, url }: OutgoingMessage, alert: Alert): object {
  return {
    card_type: "button_interaction",
    main_title: { title: cut(titleOf(message), MAX_TITLE_BYTES) },
    sub_title_text: cut(linesOf(message).join("\n"), MAX_LINES_BYTES),
    ...(url === undefined ? {} : { card_action: { type: 1, url } }),
    task_id: taskIdOf(message.id),
    button_list: [{ text: translatorOf(message.language)("acknowledgeButton"), style: 1, key: buttonKeyOf(alert.id) }],
  };
}
