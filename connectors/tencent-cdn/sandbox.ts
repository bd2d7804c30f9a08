/**
 * A sandbox of Tencent Cloud's CDN API: it computes the signature of every request anew from what has arrived, checks
 * the timestamp (5 minutes), and keeps the vendor's limits: URLs in a request, of the account and region in a day
 * (UTC+8), requests in a second. As the vendor it answers 200 with the code of an error in the body. Everything is in
 * memory; nothing is purged anywhere.
 *
 *   POST /   {"Urls": […], "Area": "mainland" | "overseas"}   action PurgeUrlsCache
 */
import { type Clock, MINUTE_MS, systemClock } from "../../engine/kernel/clock.js";
import { chinaDayOf } from "../purges/china-day.js";
import {
  type SandboxAnswer,
  type SandboxRequest,
  SandboxServer,
  type SandboxServerSettings,
} from "../sources/sandbox/server.js";
import { authorizationOf } from "./signature.js";

export interface TencentCdnSandboxSettings extends SandboxServerSettings {
  /** By which timestamps and days are judged; the real one when left out. */
  readonly clock?: Clock;
  readonly urlsPerDay?: number;
  /** Called with the URLs of each accepted request. */
  readonly onPurge?: (urls: readonly string[]) => void;
}

export const TENCENT_CDN_SANDBOX = { secretId: "AKIDsandbox", secretKey: "tencent-sandbox-key" } as const;

const PER_SECOND = 20;
const URLS_PER_REQUEST = 1_000;
const URLS_PER_DAY = 10_000;
const SKEW_MS = 5 * MINUTE_MS;
const MOST_KEPT = 100_000;
const AREAS = ["mainland", "overseas"] as const;

interface PurgeBody {
  readonly Urls?: unknown;
  readonly Area?: unknown;
}

export class TencentCdnSandbox extends SandboxServer {
  readonly #clock: Clock;
  readonly #urlsPerDay: number;
  readonly #onPurge: (urls: readonly string[]) => void;
  /** URLs of accepted requests, the oldest first. */
  readonly purged: string[] = [];
  /** How often each code was answered. */
  readonly refusals = new Map<string, number>();
  #day = { number: 0, urls: { mainland: 0, overseas: 0 } };
  #tasks = 0;

  constructor(settings: TencentCdnSandboxSettings = {}) {
    super({ perSecond: PER_SECOND, ...settings });
    const { clock = systemClock, urlsPerDay = URLS_PER_DAY, onPurge } = settings;
    this.#clock = clock;
    this.#urlsPerDay = urlsPerDay;
    this.#onPurge = onPurge ?? (() => {});
  }

  protected override throttled(): SandboxAnswer {
    return this.#refuse("RequestLimitExceeded", "Your current request times exceeds the maximum of 20 in a second.");
  }

  protected override answer(request: SandboxRequest): SandboxAnswer {
    if (request.method !== "POST" || request.url.pathname !== "/") return this.#refuse("InvalidRequest", "not a POST");
    const refusal = this.#unauthentic(request);
    if (refusal !== undefined) return refusal;
    const { headers, body } = request;
    if (headers["x-tc-action"] !== "PurgeUrlsCache")
      return this.#refuse("InvalidAction", "the action does not exist or is not supported");
    if (headers["x-tc-version"] !== "2018-06-06") return this.#refuse("NoSuchVersion", "the version does not exist");
    return this.#purge(JSON.parse(body) as PurgeBody);
  }

  #unauthentic({ headers, body }: SandboxRequest): SandboxAnswer | undefined {
    const { authorization = "" } = headers;
    const [, secretId, names = ""] =
      /^TC3-HMAC-SHA256 Credential=([^/]+)\/\S+, SignedHeaders=([^,]+), Signature=[0-9a-f]{64}$/.exec(authorization) ??
      [];
    if (secretId === undefined) return this.#refuse("AuthFailure.InvalidAuthorization", "Authorization is malformed");
    if (secretId !== TENCENT_CDN_SANDBOX.secretId)
      return this.#refuse("AuthFailure.SecretIdNotFound", "the SecretId is not found");
    const timestamp = Number(headers["x-tc-timestamp"]);
    if (!(Math.abs(timestamp * 1_000 - this.#clock.now()) <= SKEW_MS))
      return this.#refuse("AuthFailure.SignatureExpire", "the signature is expired: X-TC-Timestamp");
    const signed = Object.fromEntries(names.split(";").map((name) => [name, String(headers[name])]));
    const isAuthentic =
      ["content-type", "host"].every((name) => Object.hasOwn(signed, name)) &&
      authorization === authorizationOf({ service: "cdn", headers: signed, body, timestamp }, TENCENT_CDN_SANDBOX);
    return isAuthentic ? undefined : this.#refuse("AuthFailure.SignatureFailure", "the signature is not valid");
  }

  #purge({ Urls: urls, Area: area }: PurgeBody): SandboxAnswer {
    if (!Array.isArray(urls) || urls.length === 0) return this.#refuse("MissingParameter", "Urls");
    if (urls.length > URLS_PER_REQUEST)
      return this.#refuse("LimitExceeded.CdnPurgeExceedBatchLimit", "too many URLs in one request");
    if (!urls.every((url) => typeof url === "string" && /^https?:\/\//.test(url) && URL.canParse(url)))
      return this.#refuse("InvalidParameter.CdnStatInvalidDomain", "a URL must begin with http:// or https://");
    if (area !== undefined && !AREAS.some((each) => each === area)) return this.#refuse("InvalidParameter", "Area");
    const number = chinaDayOf(this.#clock.now());
    if (this.#day.number !== number) this.#day = { number, urls: { mainland: 0, overseas: 0 } };
    const areas = area === undefined ? AREAS : [area as (typeof AREAS)[number]];
    if (areas.some((each) => this.#day.urls[each] + urls.length > this.#urlsPerDay))
      return this.#refuse("LimitExceeded.CdnPurgeExceedDayLimit", "the daily quota of URLs is used");
    for (const each of areas) this.#day.urls[each] += urls.length;
    this.purged.push(...(urls as string[]));
    this.purged.splice(0, this.purged.length - MOST_KEPT);
    this.#onPurge(urls as string[]);
    const task = String(++this.#tasks);
    return json({ TaskId: task, RequestId: `sandbox-${task}` });
  }

  #refuse(code: string, message: string): SandboxAnswer {
    this.refusals.set(code, (this.refusals.get(code) ?? 0) + 1);
    return json({ Error: { Code: code, Message: message }, RequestId: "sandbox" });
  }
}

const json = (response: object): SandboxAnswer => ({
  headers: { "content-type": "application/json" },
  body: JSON.stringify({ Response: response }),
});
