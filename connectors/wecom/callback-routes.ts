/**
 * The address that WeCom calls, as routes of the HTTP API: `GET` and `POST /v1/callbacks/wecom`. They need no token:
 * WeCom signs what it sends. A pressed button acknowledges the alert in the name of the person with this user id; the
 * button is replaced by who acknowledged first, which may fail without harm. A user id that no person has acknowledges
 * nothing, and a card of an alert that has ended keeps its button.
 */
import type { FastifyInstance } from "fastify";
import { translatorOf } from "../../engine/alerting/dictionary.js";
import { monotonicClock } from "../../engine/kernel/clock.js";
import { messageOf } from "../../engine/kernel/errors.js";
import { ChannelHttp } from "../channels/http-client.js";
import type { ConnectorParts, OpenConnector } from "../connector.js";
import { WecomApplication } from "./application.js";
import type { WecomSettings } from "./application-kind.js";
import { type CallbackQuery, type PressedButton, WecomCallback } from "./callback.js";

const PATH = "/v1/callbacks/wecom";
/** Events of cards have some hundred bytes. */
const BODY_LIMIT = 16 * 1024;
/** WeCom waits 5 s for an answer; the button is replaced after it. */
const UPDATE_LIMIT_MS = 10_000;

const Query = {
  type: "object",
  required: ["msg_signature", "timestamp", "nonce"],
  properties: {
    msg_signature: { type: "string", maxLength: 64 },
    timestamp: { type: "string", maxLength: 64 },
    nonce: { type: "string", maxLength: 64 },
    echostr: { type: "string", maxLength: 4_096 },
  },
} as const;

type Callback = NonNullable<WecomSettings["callback"]>;
type Parts = Pick<ConnectorParts, "alerting" | "alertRequests" | "onTrouble">;

export function openCallback(settings: WecomSettings, { token, aesKey }: Callback, parts: Parts): OpenConnector {
  const callback = new WecomCallback({ token, aesKey, receiverId: settings.corpId });
  const http = new ChannelHttp({ reach: "any", connections: 2 });
  const application = new WecomApplication(settings, http, monotonicClock);
  return {
    routes(server, _authorize, callbacks) {
      server.get<{ Querystring: CallbackQuery & { echostr?: string } }>(
        PATH,
        { ...callbacks, schema: { hide: true, querystring: Query } },
        (request, reply) => {
          const echo = callback.echo(request.query, request.query.echostr ?? "");
          if (echo === undefined) reply.code(403).send();
          else reply.type("text/plain; charset=utf-8").send(echo);
        },
      );
      server.register(async (scope: FastifyInstance) => {
        const asText = { parseAs: "string", bodyLimit: BODY_LIMIT } as const;
        scope.addContentTypeParser(["text/xml", "application/xml", "text/plain"], asText, (_, body, done) =>
          done(null, body),
        );
        scope.post<{ Querystring: CallbackQuery; Body: unknown }>(
          PATH,
          { ...callbacks, schema: { hide: true, querystring: Query }, bodyLimit: BODY_LIMIT },
          async ({ body, query }, reply) => {
            const pressed = typeof body === "string" ? callback.read(query, body) : undefined;
            if (pressed === undefined) return reply.code(403).send();
            if (pressed !== null) await onPressed(pressed, parts, application);
            return reply.type("text/plain; charset=utf-8").send("");
          },
        );
      });
    },
    close: () => http.close(),
  };
}

async function onPressed(pressed: PressedButton, parts: Parts, application: WecomApplication): Promise<void> {
  const { alertId, userId, responseCode } = pressed;
  const { alerting, alertRequests, onTrouble } = parts;
  // WeCom does not distinguish the case of user ids, and sends them as its directory has them.
  const memberId = userId.toLowerCase();
  const person = (await alerting.people.list()).find(({ wecomUserId }) => wecomUserId?.toLowerCase() === memberId);
  if (!person) {
    onTrouble("somebody has pressed a button in WeCom whose user id no person has");
    return;
  }
  const result = await alertRequests.acknowledge(alertId, { actor: `${person.id}/wecom` });
  if (responseCode === "" || !("acknowledgedBy" in result)) return;
  const { acknowledgedBy } = result;
  const actor = acknowledgedBy.startsWith(`${person.id}/`) ? person.name : acknowledgedBy;
  const text = translatorOf(person.language)("acknowledgedBy", { actor });
  const body = { userids: [userId], response_code: responseCode, button: { replace_name: text } };
  application
    .call("message/update_template_card", body, AbortSignal.timeout(UPDATE_LIMIT_MS))
    .catch((thrown: unknown) => onTrouble(`a card in WeCom keeps its button: ${messageOf(thrown)}`));
}
