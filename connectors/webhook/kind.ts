/**
 * The channel `webhook` (Standard Webhooks specification): a POST with a JSON body, signed, for systems of the shop's
 * own. It is sent acknowledgements and ends of alerts, too. A receiver recognises a repeat by the header `webhook-id`.
 * An answer of 2xx accepts; 410 says that the endpoint does not exist any more.
 */
import { Type } from "typebox";
import { badInput } from "../../engine/kernel/errors.js";
import { defineChannelKind } from "../channel.js";
import { openEndpoints } from "../channels/endpoints.js";
import { outcomeOfStatus } from "../channels/http-client.js";
import { secretText } from "../configuration/secret-text.js";
import { bodyOf, webhookIdOf } from "./body.js";
import { keyOf, signaturesOf } from "./signature.js";

const Connection = Type.Object(
  {
    url: Type.String({ minLength: 1, maxLength: 2_048, description: "the address of the receiver" }),
    secret: secretText("the signing secret, whsec_ and 24 to 64 bytes in base64"),
    /** While the secret is replaced. */
    previousSecret: Type.Optional(secretText("the signing secret until now")),
  },
  { additionalProperties: false },
);

const GONE = 410;
const CONNECTIONS = 4;
/** No vendor's limit: what a small service takes without notice. */
const PER_MINUTE = 120;

export const webhookKind = defineChannelKind({
  name: "webhook",
  about: "signed webhooks (Standard Webhooks) for systems of the shop's own",
  connection: Connection,
  traits: { perMinute: PER_MINUTE, confirmsDisplay: false, sendsChanges: true },
  recognisesRepeats: true,
  limits: { perSecond: 100, inFlight: 16 },
  async open(parts) {
    const { clock } = parts;
    return openEndpoints(parts, {
      channel: "webhook",
      connections: CONNECTIONS,
      urlOf: ({ url }) => url,
      targetOf: ({ url, secret, previousSecret }, name) => ({
        url,
        keys: [keyAt(name, "secret", secret), ...keysOf(name, previousSecret)],
      }),
      async send(target, outgoing, http, signal) {
        const webhook = {
          id: webhookIdOf(outgoing),
          timestamp: Math.floor(clock.now() / 1_000),
          body: JSON.stringify(bodyOf(outgoing, clock.now())),
        };
        const headers = {
          "content-type": "application/json; charset=utf-8",
          "user-agent": "Shuiwei",
          "webhook-id": webhook.id,
          "webhook-timestamp": String(webhook.timestamp),
          "webhook-signature": signaturesOf(webhook, target.keys),
        };
        const answer = await http.send({ url: target.url, headers, body: webhook.body }, signal);
        if ("outcome" in answer) return answer;
        const outcome = outcomeOfStatus(answer, clock);
        return answer.status === GONE ? { outcome: "refused", reason: "HTTP 410", isGone: true } : outcome;
      },
    });
  },
});

const keysOf = (name: string, previousSecret: string | undefined): Buffer[] =>
  previousSecret === undefined ? [] : [keyAt(name, "previousSecret", previousSecret)];

function keyAt(name: string, field: string, secret: string): Buffer {
  const key = keyOf(secret);
  if (!key) {
    const place = `endpoint ${name} /connection/${field}`;
    throw badInput("webhook.open", place, "must be whsec_ and 24 to 64 bytes in base64");
  }
  return key;
}
