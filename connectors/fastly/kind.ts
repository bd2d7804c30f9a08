/**
 * The vendor `fastly`: purges copies of a service by their surrogate keys, 256 with one request, hard: a soft purge
 * would go on serving them as stale. A shield may answer an edge with its own old copy while the purge is on its way,
 * so each is repeated after 2 s, as Fastly advises.
 */
import { Type } from "typebox";
import { outcomeOfStatus } from "../channels/http-client.js";
import { secretText } from "../configuration/secret-text.js";
import { definePurgerKind, type PurgeOutcome } from "../purger.js";
import { apiUrlOf, headerToken, objectOf, purgeHttp, purgeOutcomeOf } from "../purges/http.js";
import { FASTLY_LIMITS } from "./limits.js";

const API = "https://api.fastly.com";
const REPEAT_AFTER_MS = 2_000;

const Connection = Type.Object(
  {
    service: Type.String({ pattern: "^[A-Za-z0-9]{1,64}$", description: "the service's id" }),
    token: secretText("an API token with the scope purge_select"),
    /** Of the API; for tests and proxies. */
    url: Type.Optional(Type.String({ minLength: 1, maxLength: 2_048 })),
  },
  { additionalProperties: false },
);

export const fastlyKind = definePurgerKind({
  name: "fastly",
  connection: Connection,
  repeatAfterMs: REPEAT_AFTER_MS,
  open({ connection: { service, token, url = API }, clock, timeoutMs }) {
    const address = `${apiUrlOf("fastly", url)}/service/${service}/purge`;
    const http = purgeHttp(timeoutMs);
    const headers = {
      "fastly-key": headerToken("fastly", token),
      "content-type": "application/json",
      accept: "application/json",
    };
    return {
      limits: FASTLY_LIMITS,
      async purge(targets, signal) {
        const body = JSON.stringify({ surrogate_keys: targets.map(({ tag }) => tag) });
        const answer = await http.send({ url: address, headers, body }, signal);
        if ("outcome" in answer) return purgeOutcomeOf(answer);
        const outcome = purgeOutcomeOf(outcomeOfStatus(answer, clock));
        return withReason(outcome, objectOf(answer), targets[0]?.tag ?? "");
      },
      close: () => http.close(),
    };
  },
});

/** Fastly's own words, and no success without the id that it gives each key: a proxy may have answered. */
function withReason(
  outcome: PurgeOutcome,
  body: Readonly<Record<string, unknown>> | undefined,
  firstTag: string,
): PurgeOutcome {
  if (outcome.outcome === "purged")
    return typeof body?.[firstTag] === "string"
      ? outcome
      : { outcome: "retry", reason: "the answer is not one of Fastly" };
  const message = body?.["msg"];
  if (typeof message !== "string") return outcome;
  return { ...outcome, reason: `${outcome.reason}: ${message}` };
}
