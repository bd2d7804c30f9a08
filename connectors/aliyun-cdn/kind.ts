/**
 * Purges of Alibaba Cloud's CDN and DCDN (阿里云) by URL, signed. The vendor takes 5 to 6 minutes until a purge has
 * effect, longer than any copy of stock lives, so it does not make a page fresher within R6's 15 seconds: it limits how
 * long a console rule that overrides the engine's headers can keep an old copy. README.md says when it is worth its
 * quota of 10,000 URLs a day.
 */
import { type Static, Type } from "typebox";
import { type Clock, MINUTE_MS } from "../../engine/kernel/clock.js";
import { secureBytes } from "../../engine/kernel/random.js";
import type { HttpAnswer, HttpRequest } from "../channels/http-client.js";
import { secretText } from "../configuration/secret-text.js";
import { definePurgerKind, type PurgeOutcome, type Purger, type PurgerParts } from "../purger.js";
import { type ErrorMeanings, outcomeOfError, outcomeOfOther } from "../purges/error-code.js";
import { apiUrlOf, objectOf, purgeHttp, purgeOutcomeOf } from "../purges/http.js";
import { authorizationOf, hashOf } from "./signature.js";

/** URLs of one request: a tenth of the 1,000 that it may have, so that a minute's limit is used evenly. */
const BATCH = 100;
const URLS_PER_MINUTE = 1_000;
const URLS_PER_DAY = 10_000;

const Connection = Type.Object(
  {
    url: Type.Optional(
      Type.String({ maxLength: 500, description: "another address than https://cdn.aliyuncs.com (for dcdn: dcdn.…)" }),
    ),
    product: Type.Optional(Type.Union([Type.Literal("cdn"), Type.Literal("dcdn")], { description: "cdn or dcdn" })),
    accessKeyId: Type.String({ minLength: 1, maxLength: 100, description: "the AccessKey ID of a RAM user" }),
    accessKeySecret: secretText("the AccessKey secret of the RAM user"),
    urlsPerMinute: Type.Optional(
      Type.Integer({ minimum: BATCH, maximum: 10_000, description: "URLs of one domain in a minute, 100 to 10,000" }),
    ),
    urlsPerDay: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 10_000_000, description: "the account's quota of URLs in a day" }),
    ),
  },
  { additionalProperties: false },
);
type Settings = Static<typeof Connection>;

const PRODUCTS = {
  cdn: { url: "https://cdn.aliyuncs.com", action: "RefreshObjectCaches", version: "2018-05-10", perSecond: 50 },
  dcdn: { url: "https://dcdn.aliyuncs.com", action: "RefreshDcdnObjectCaches", version: "2018-01-15", perSecond: 30 },
} as const;

const MEANINGS: ErrorMeanings = [
  [/^QuotaExceeded\.Refresh$/, "day"],
  [/^(QuotaPerMinuteExceeded|TooMany)\.Refresh$/, MINUTE_MS],
  [/^Throttling(\.|$)/, 1_000],
  // A repeated nonce: a proxy has sent the request twice, and the next one has another.
  [/^(InternalError|ServiceUnavailable|SignatureNonceUsed)/, "later"],
];

export const aliyunCdnKind = definePurgerKind({
  name: "aliyun-cdn",
  connection: Connection,
  open,
});

function open({ connection, clock, timeoutMs }: PurgerParts<Settings>): Purger {
  const { product = "cdn", urlsPerMinute = URLS_PER_MINUTE, urlsPerDay = URLS_PER_DAY } = connection;
  const url = apiUrlOf("aliyun-cdn", connection.url ?? PRODUCTS[product].url);
  const http = purgeHttp(timeoutMs);
  return {
    limits: {
      batch: BATCH,
      perSecond: Math.min(PRODUCTS[product].perSecond, urlsPerMinute / BATCH / 60),
      perDay: urlsPerDay,
    },
    async purge(targets, signal) {
      const urls = targets.map((target) => target.url);
      const answer = await http.send(requestOf(connection, product, url, urls, clock.now()), signal);
      return "outcome" in answer ? purgeOutcomeOf(answer) : outcomeOf(answer, clock);
    },
    close: () => http.close(),
  };
}

function requestOf(
  { accessKeyId, accessKeySecret }: Settings,
  product: keyof typeof PRODUCTS,
  url: string,
  urls: readonly string[],
  nowMs: number,
): HttpRequest {
  const { action, version } = PRODUCTS[product];
  const body = new URLSearchParams({ ObjectPath: urls.join("\n"), ObjectType: "File" }).toString();
  const headers = {
    host: new URL(url).host,
    "content-type": "application/x-www-form-urlencoded",
    "x-acs-action": action,
    "x-acs-version": version,
    "x-acs-date": new Date(nowMs).toISOString().replace(/\.\d+Z$/, "Z"),
    "x-acs-signature-nonce": secureBytes(16).toString("hex"),
    "x-acs-content-sha256": hashOf(body),
  };
  const key = { keyId: accessKeyId, secret: accessKeySecret };
  const authorization = authorizationOf({ method: "POST", query: "", headers }, key);
  return { url: new URL("/", url).href, headers: { ...headers, authorization }, body };
}

function outcomeOf(answer: HttpAnswer, clock: Clock): PurgeOutcome {
  const body = objectOf(answer);
  const code = body?.["Code"];
  if (typeof code === "string") return outcomeOfError(code, body?.["Message"], MEANINGS, clock);
  if (answer.status === 200 && body?.["RefreshTaskId"] !== undefined) return { outcome: "purged" };
  return outcomeOfOther(answer, clock);
}
