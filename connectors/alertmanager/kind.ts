/**
 * The channel `alertmanager`: every alert with its end, for an Alertmanager (API v2) that routes and silences what
 * other systems report, too. An open alert is sent again every minute and ends there four minutes after the last time.
 * One endpoint is one Alertmanager; of a pair each is an endpoint of its own, so that one that is down does not hold up
 * the other. Labels identify an alert, so a repeat changes nothing.
 */
import { Type } from "typebox";
import { MINUTE_MS } from "../../engine/kernel/clock.js";
import { defineChannelKind } from "../channel.js";
import { openEndpoints } from "../channels/endpoints.js";
import { outcomeOfStatus } from "../channels/http-client.js";
import { secretText } from "../configuration/secret-text.js";
import { postableAlerts } from "./alerts.js";

const Connection = Type.Object(
  {
    url: Type.String({ minLength: 1, maxLength: 2_048, description: "the Alertmanager's address, without /api" }),
    /** Of the proxy in front of it. */
    user: Type.Optional(Type.String({ minLength: 1, maxLength: 200 })),
    password: Type.Optional(secretText("the user's password")),
    /** Label of every alert. */
    deployment: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
  },
  { additionalProperties: false },
);

const REPEAT_MS = MINUTE_MS;
/** Three requests may fail before an open alert ends in Alertmanager. */
const LASTS_MS = 4 * REPEAT_MS;
const DEPLOYMENT = "shuiwei";
const CONNECTIONS = 2;
/** 20 alerts a message: 2,000 open alerts, as many as a recipient may have, need 100 a minute for their repeats. */
const PER_MINUTE = 600;

export const alertmanagerKind = defineChannelKind({
  name: "alertmanager",
  about: "Prometheus Alertmanager (API v2)",
  connection: Connection,
  traits: { perMinute: PER_MINUTE, confirmsDisplay: false, sendsChanges: true, repeatMs: REPEAT_MS },
  recognisesRepeats: true,
  limits: { perSecond: 50, inFlight: 8 },
  async open(parts) {
    const { clock } = parts;
    return openEndpoints(parts, {
      channel: "alertmanager",
      connections: CONNECTIONS,
      urlOf: ({ url }) => url,
      // Without a password there is no secret on the way, and an Alertmanager has no TLS of its own by default.
      allowsHttp: ({ password }) => password === undefined,
      targetOf: ({ url, user, password, deployment = DEPLOYMENT }) => ({
        url: `${url.replace(/\/+$/, "")}/api/v2/alerts`,
        authorization:
          password === undefined
            ? {}
            : { authorization: `Basic ${Buffer.from(`${user ?? ""}:${password}`).toString("base64")}` },
        deployment,
      }),
      async send({ url, authorization, deployment }, outgoing, http, signal) {
        const alerts = postableAlerts(outgoing, { nowMs: clock.now(), lastsMs: LASTS_MS, deployment });
        const headers = { "content-type": "application/json", ...authorization };
        const answer = await http.send({ url, headers, body: JSON.stringify(alerts) }, signal);
        return "outcome" in answer ? answer : outcomeOfStatus(answer, clock);
      },
    });
  },
});
