/**
 * A sandbox of Tencent Cloud's CDN API: it computes the signature of every request anew from what has arrived, checks
 * the timestamp (5 minutes), and keeps the vendor's limits: URLs in a request, of the account and region in a day
 * (UTC+8), requests in a second. As the vendor it answers 200 with the code of an error in the body. Everything is in
 * memory; nothing is purged anywhere.
 *
 *   POST /   {"Urls": […], "Area": "mainland" | "overseas"}   action PurgeUrlsCache
 */
import { MINUTE_MS } from "../../engine/kernel/clock.js";
import type { PurgeLimits } from "../purger.js";
import { DayQuota, PurgeSandbox, type PurgeSandboxSettings } from "../purges/sandbox.js";
import type { SandboxAnswer, SandboxRequest } from "../sources/sandbox/server.js";
import { authorizationOf } from "./signature.js";

export interface TencentCdnSandboxSettings extends PurgeSandboxSettings {
  readonly urlsPerDay?: number;
}

export const TENCENT_CDN_SANDBOX = { secretId: "AKIDsandbox", secretKey: "tencent-sandbox-key" } as const;

const LIMITS = { batch: 1_000, perSecond: 20 } as const satisfies PurgeLimits;
const URLS_PER_DAY = 10_000;
const SKEW_MS = 5 * MINUTE_MS;
const AREAS = ["mainland", "overseas"] as const;

interface PurgeBody {
  readonly Urls?: unknown;
  readonly Area?: unknown;
}

export class TencentCdnSandbox extends PurgeSandbox {
  readonly #quotas: Readonly<Record<(typeof AREAS)[number], DayQuota>>;
  #tasks = 0;

  constructor({ urlsPerDay = URLS_PER_DAY, ...settings }: TencentCdnSandboxSettings = {}) {
    super(settings);
    this.#quotas = { mainland: new DayQuota(urlsPerDay), overseas: new DayQuota(urlsPerDay) };
  }

  protected override throttled(): SandboxAnswer {
    return refusal("RequestLimitExceeded", "Your current request times exceeds the maximum of 20 in a second.");
  }

  protected override answer(request: SandboxRequest): SandboxAnswer {
    if (request.method !== "POST" || request.url.pathname !== "/") return refusal("InvalidRequest", "not a POST");
    const fault = faultOf(request, this.clock.now());
    if (fault !== undefined) {
      this.denied++;
      return fault;
    }
    const { headers, body } = request;
    if (headers["x-tc-action"] !== "PurgeUrlsCache")
      return refusal("InvalidAction", "the action does not exist or is not supported");
    if (headers["x-tc-version"] !== "2018-06-06") return refusal("NoSuchVersion", "the version does not exist");
    return this.#purge(JSON.parse(body) as PurgeBody);
  }

  #purge({ Urls: urls, Area: area }: PurgeBody): SandboxAnswer {
    if (!Array.isArray(urls) || urls.length === 0) return refusal("MissingParameter", "Urls");
    if (urls.length > LIMITS.batch)
      return refusal("LimitExceeded.CdnPurgeExceedBatchLimit", "too many URLs in one request");
    if (!urls.every((url) => typeof url === "string" && /^https?:\/\//.test(url) && URL.canParse(url)))
      return refusal("InvalidParameter.CdnStatInvalidDomain", "a URL must begin with http:// or https://");
    if (area !== undefined && !AREAS.some((each) => each === area)) return refusal("InvalidParameter", "Area");
    const areas = area === undefined ? AREAS : [area as (typeof AREAS)[number]];
    if (areas.some((each) => !this.#quotas[each].hasRoomFor(urls.length, this.clock.now()))) {
      this.figures.throttled++;
      return refusal("LimitExceeded.CdnPurgeExceedDayLimit", "the daily quota of URLs is used");
    }
    const throttled = this.purge(urls as string[], LIMITS);
    if (throttled !== undefined) return throttled;
    for (const each of areas) this.#quotas[each].use(urls.length);
    const task = String(++this.#tasks);
    return json({ TaskId: task, RequestId: `sandbox-${task}` });
  }
}

/** What is wrong with the signature of a request; undefined: nothing. */
function faultOf({ headers, body }: SandboxRequest, nowMs: number): SandboxAnswer | undefined {
  const { authorization = "" } = headers;
  const [, secretId, names = ""] =
    /^TC3-HMAC-SHA256 Credential=([^/]+)\/\S+, SignedHeaders=([^,]+), Signature=[0-9a-f]{64}$/.exec(authorization) ??
    [];
  if (secretId === undefined) return refusal("AuthFailure.InvalidAuthorization", "Authorization is malformed");
  if (secretId !== TENCENT_CDN_SANDBOX.secretId)
    return refusal("AuthFailure.SecretIdNotFound", "the SecretId is not found");
  const timestamp = Number(headers["x-tc-timestamp"]);
  if (!(Math.abs(timestamp * 1_000 - nowMs) <= SKEW_MS))
    return refusal("AuthFailure.SignatureExpire", "the signature is expired: X-TC-Timestamp");
  const signed = Object.fromEntries(names.split(";").map((name) => [name, String(headers[name])]));
  const isAuthentic =
    ["content-type", "host"].every((name) => Object.hasOwn(signed, name)) &&
    authorization === authorizationOf({ service: "cdn", headers: signed, body, timestamp }, TENCENT_CDN_SANDBOX);
  return isAuthentic ? undefined : refusal("AuthFailure.SignatureFailure", "the signature is not valid");
}

const refusal = (code: string, message: string): SandboxAnswer =>
  json({ Error: { Code: code, Message: message }, RequestId: "sandbox" });

const json = (response: object): SandboxAnswer => ({
  headers: { "content-type": "application/json" },
  body: JSON.stringify({ Response: response }),
});
