/**
 * The vendor `cloudflare`: purges copies of a zone by their tags, or by the address of each SKU's answer. An answer
 * that says `success` has deleted the copies in all data centres but those that are cut off. An edge that fetches
 * through an upper tier gets no old copy from it, because both are purged, so once is enough.
 */
import { Type } from "typebox";
import { outcomeOfStatus } from "../channels/http-client.js";
import { secretText } from "../configuration/secret-text.js";
import { definePurgerKind, type PurgeOutcome } from "../purger.js";
import { apiUrlOf, headerToken, objectOf, purgeHttp, purgeOutcomeOf } from "../purges/http.js";
import { PLANS, TAG_LIMITS, URL_LIMITS } from "./limits.js";

const API = "https://api.cloudflare.com";

const Connection = Type.Object(
  {
    zone: Type.String({ pattern: "^[0-9a-f]{32}$", description: "the zone's id, 32 hexadecimal digits" }),
    token: secretText("an API token with the permission Zone: Cache Purge"),
    plan: Type.Enum(PLANS, { description: `the zone's plan, which decides the limits: ${PLANS.join(", ")}` }),
    /** Left out: `tag`. */
    by: Type.Optional(Type.Enum(["tag", "url"], { description: '"tag" or "url"' })),
    /** Of the API; for tests and proxies. */
    url: Type.Optional(Type.String({ minLength: 1, maxLength: 2_048 })),
  },
  { additionalProperties: false },
);

export const cloudflareKind = definePurgerKind({
  name: "cloudflare",
  connection: Connection,
  open({ connection: { zone, token, plan, by = "tag", url = API }, clock, timeoutMs }) {
    const address = `${apiUrlOf("cloudflare", url)}/client/v4/zones/${zone}/purge_cache`;
    const http = purgeHttp(timeoutMs);
    const headers = { authorization: `Bearer ${headerToken("cloudflare", token)}`, "content-type": "application/json" };
    return {
      limits: by === "tag" ? TAG_LIMITS[plan] : URL_LIMITS[plan],
      async purge(targets, signal) {
        const body =
          by === "tag" ? { tags: targets.map(({ tag }) => tag) } : { files: targets.map((each) => each.url) };
        const answer = await http.send({ url: address, headers, body: JSON.stringify(body) }, signal);
        if ("outcome" in answer) return purgeOutcomeOf(answer);
        const outcome = purgeOutcomeOf(outcomeOfStatus(answer, clock));
        return withReason(outcome, objectOf(answer));
      },
      close: () => http.close(),
    };
  },
});

/** Cloudflare's own words, and no success without its envelope: a proxy may have answered. */
function withReason(outcome: PurgeOutcome, envelope: Readonly<Record<string, unknown>> | undefined): PurgeOutcome {
  if (outcome.outcome === "purged")
    return envelope?.["success"] === true
      ? outcome
      : { outcome: "retry", reason: "the answer is not one of Cloudflare" };
  const errors = envelope?.["errors"];
  const [error] = (Array.isArray(errors) ? errors : []) as ({ code?: unknown; message?: unknown } | null)[];
  return error ? { ...outcome, reason: `${outcome.reason}: ${error.code} ${error.message}` } : outcome;
}
