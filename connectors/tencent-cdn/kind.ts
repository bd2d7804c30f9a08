/**
 * Purges of Tencent Cloud's CDN (腾讯云) by URL, signed. The vendor takes about 5 minutes until a purge has effect,
 * longer than any copy of stock lives, so it does not make a page fresher within R6's 15 seconds: it limits how long a
 * console rule that overrides the engine's headers can keep an old copy. README.md says when it is worth its quota of
 * 10,000 URLs a day.
 */
import { type Static, Type } from "typebox";
import type { Clock } from "../../engine/kernel/clock.js";
import type { HttpAnswer, HttpRequest } from "../channels/http-client.js";
import { secretText } from "../configuration/secret-text.js";
import { definePurgerKind, type PurgeOutcome, type Purger, type PurgerParts } from "../purger.js";
import { type ErrorMeanings, outcomeOfError, outcomeOfOther } from "../purges/error-code.js";
import { apiUrlOf, objectOf, purgeHttp, purgeOutcomeOf } from "../purges/http.js";
import { authorizationOf } from "./signature.js";

const ADDRESS = "https://cdn.tencentcloudapi.com";
const SERVICE = "cdn";
const BATCH = 1_000;
const PER_SECOND = 20;
const URLS_PER_DAY = 10_000;

const Connection = Type.Object(
  {
    url: Type.Optional(
      Type.String({
        maxLength: 500,
        description: `another address than ${ADDRESS}, such as https://cdn.intl.tencentcloudapi.com`,
      }),
    ),
    secretId: Type.String({ minLength: 1, maxLength: 100, description: "the SecretId of a CAM user" }),
    secretKey: secretText("the SecretKey of the CAM user"),
    area: Type.Optional(
      Type.Union([Type.Literal("mainland"), Type.Literal("overseas")], {
        description: "mainland or overseas; left out: where the domain is accelerated",
      }),
    ),
    urlsPerDay: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 10_000_000, description: "the account's quota of URLs in a day" }),
    ),
  },
  { additionalProperties: false },
);
type Settings = Static<typeof Connection>;

const MEANINGS: ErrorMeanings = [
  [/^LimitExceeded\.CdnPurgeExceedDayLimit$/, "day"],
  [/^RequestLimitExceeded(\.|$)/, 1_000],
  [/^(InternalError|ServiceUnavailable)(\.|$)/, "later"],
];

export const tencentCdnKind = definePurgerKind({
  name: "tencent-cdn",
  connection: Connection,
  open,
});

function open({ connection, clock, timeoutMs }: PurgerParts<Settings>): Purger {
  const { urlsPerDay = URLS_PER_DAY } = connection;
  const url = apiUrlOf("tencent-cdn", connection.url ?? ADDRESS);
  const http = purgeHttp(timeoutMs);
  return {
    limits: { batch: BATCH, perSecond: PER_SECOND, perDay: urlsPerDay },
    async purge(targets, signal) {
      const urls = targets.map((target) => target.url);
      const answer = await http.send(requestOf(connection, url, urls, Math.floor(clock.now() / 1_000)), signal);
      return "outcome" in answer ? purgeOutcomeOf(answer) : outcomeOf(answer, clock);
    },
    close: () => http.close(),
  };
}

function requestOf(
  { secretId, secretKey, area }: Settings,
  url: string,
  urls: readonly string[],
  timestamp: number,
): HttpRequest {
  const body = JSON.stringify({ Urls: urls, ...(area === undefined ? {} : { Area: area }) });
  const signed = {
    "content-type": "application/json; charset=utf-8",
    host: new URL(url).host,
    "x-tc-action": "PurgeUrlsCache",
  };
  const parts = { service: SERVICE, headers: signed, body, timestamp };
  const headers = {
    ...signed,
    "x-tc-version": "2018-06-06",
    "x-tc-timestamp": String(timestamp),
    authorization: authorizationOf(parts, { secretId, secretKey }),
  };
  return { url: new URL("/", url).href, headers, body };
}

/** Every answer has status 200; `Response.Error` says that it is a refusal. */
function outcomeOf(answer: HttpAnswer, clock: Clock): PurgeOutcome {
  const response = objectOf(answer)?.["Response"] as TencentResponse | undefined;
  const code = response?.Error?.Code;
  if (typeof code === "string") return outcomeOfError(code, response?.Error?.Message, MEANINGS, clock);
  if (answer.status === 200 && response?.TaskId !== undefined) return { outcome: "purged" };
  return outcomeOfOther(answer, clock);
}

interface TencentResponse {
  readonly TaskId?: unknown;
  readonly Error?: { readonly Code?: unknown; readonly Message?: unknown };
}
