/**
 * A sandbox of Alibaba Cloud's CDN and DCDN API: it computes the signature of every request anew from what has arrived,
 * checks the timestamp (15 minutes) and that no nonce comes twice, and keeps the vendor's limits: URLs in a request, of
 * one domain in a minute and of the account in a day (UTC+8), requests in a second. Errors are the vendor's JSON with
 * its codes; the statuses of some are unconfirmed. Everything is in memory; nothing is purged anywhere.
 *
 *   POST /   ObjectPath=…&ObjectType=File   action RefreshObjectCaches or RefreshDcdnObjectCaches
 */
import { MINUTE_MS } from "../../engine/kernel/clock.js";
import type { PurgeLimits } from "../purger.js";
import { DayQuota, PurgeSandbox, type PurgeSandboxSettings } from "../purges/sandbox.js";
import type { SandboxAnswer, SandboxRequest } from "../sources/sandbox/server.js";
import { authorizationOf, hashOf } from "./signature.js";

export interface AliyunCdnSandboxSettings extends PurgeSandboxSettings {
  readonly urlsPerMinute?: number;
  readonly urlsPerDay?: number;
}

export const ALIYUN_CDN_SANDBOX = { accessKeyId: "LTAIsandbox", accessKeySecret: "aliyun-sandbox-secret" } as const;

const LIMITS = { batch: 1_000, perSecond: 50 } as const satisfies PurgeLimits;
const URLS_PER_MINUTE = 1_000;
const URLS_PER_DAY = 10_000;
const URL_CHARACTERS = 1_024;
const SKEW_MS = 15 * MINUTE_MS;
/** Nonces that are remembered; the oldest is dropped. */
const MOST_NONCES = 100_000;
const VERSIONS: Readonly<Record<string, string>> = {
  RefreshObjectCaches: "2018-05-10",
  RefreshDcdnObjectCaches: "2018-01-15",
};

export class AliyunCdnSandbox extends PurgeSandbox {
  readonly #urlsPerMinute: number;
  readonly #quota: DayQuota;
  readonly #nonces = new Set<string>();
  /** URLs of each domain in the last minute: when, and how many. */
  readonly #recent = new Map<string, { readonly atMs: number; readonly urls: number }[]>();
  #tasks = 0;

  constructor({
    urlsPerMinute = URLS_PER_MINUTE,
    urlsPerDay = URLS_PER_DAY,
    ...settings
  }: AliyunCdnSandboxSettings = {}) {
    super(settings);
    this.#urlsPerMinute = urlsPerMinute;
    this.#quota = new DayQuota(urlsPerDay);
  }

  protected override throttled(): SandboxAnswer {
    return refusal(400, "Throttling.User", "Request was denied due to user flow control.");
  }

  protected override answer(request: SandboxRequest): SandboxAnswer {
    const { method, url, headers, body } = request;
    if (method !== "POST" || url.pathname !== "/") return refusal(404, "InvalidAction.NotFound", "no such action");
    const fault = faultOf(request, this.clock.now());
    if (fault !== undefined) {
      this.denied++;
      return fault;
    }
    const nonce = String(headers["x-acs-signature-nonce"]);
    if (this.#nonces.has(nonce)) return refusal(400, "SignatureNonceUsed", "Specified nonce was used already.");
    this.#nonces.add(nonce);
    if (this.#nonces.size > MOST_NONCES) this.#nonces.delete(this.#nonces.values().next().value as string);
    if (VERSIONS[String(headers["x-acs-action"])] !== headers["x-acs-version"])
      return refusal(404, "InvalidAction.NotFound", "Specified api is not found, please check your url and method.");
    const form = new URLSearchParams(body);
    if (!["File", null].includes(form.get("ObjectType")))
      return refusal(400, "InvalidObjectType.Malformed", "The specified ObjectType is invalid.");
    return this.#purge((form.get("ObjectPath") ?? "").split(/\r?\n/));
  }

  #purge(urls: readonly string[]): SandboxAnswer {
    if (urls.length > LIMITS.batch)
      return refusal(400, "SingleRequest.OverLimit", "A maximum of 1000 URLs are supported for each request.");
    const domains = urls.map(domainOf);
    if (domains.includes(undefined))
      return refusal(400, "InvalidObjectPath.Malformed", "The specified ObjectPath is invalid.");
    const nowMs = this.clock.now();
    if (!this.#quota.hasRoomFor(urls.length, nowMs))
      return this.#beyondQuota("QuotaExceeded.Refresh", "Your refresh attempts have exceeded the daily limit.");
    for (const domain of new Set(domains as string[])) {
      const recent = (this.#recent.get(domain) ?? []).filter(({ atMs }) => nowMs - atMs < MINUTE_MS);
      const added = domains.filter((each) => each === domain).length;
      if (recent.reduce((sum, each) => sum + each.urls, added) > this.#urlsPerMinute)
        return this.#beyondQuota("QuotaPerMinuteExceeded.Refresh", "You tried to refresh too frequently.");
      this.#recent.set(domain, [...recent, { atMs: nowMs, urls: added }]);
    }
    const throttled = this.purge(urls, LIMITS);
    if (throttled !== undefined) return throttled;
    this.#quota.use(urls.length);
    const task = String(++this.#tasks);
    return { body: JSON.stringify({ RefreshTaskId: task, RequestId: `sandbox-${task}` }) };
  }

  #beyondQuota(code: string, message: string): SandboxAnswer {
    this.figures.throttled++;
    return refusal(400, code, message);
  }
}

/** What is wrong with the signature of a request; undefined: nothing. */
function faultOf({ method, url, headers, body }: SandboxRequest, nowMs: number): SandboxAnswer | undefined {
  const { authorization = "" } = headers;
  const [, keyId, names = ""] =
    /^ACS3-HMAC-SHA256 Credential=([^,]+),SignedHeaders=([^,]+),Signature=[0-9a-f]{64}$/.exec(authorization) ?? [];
  if (keyId === undefined) return refusal(400, "MissingAuthorization", "the header Authorization is malformed");
  if (keyId !== ALIYUN_CDN_SANDBOX.accessKeyId)
    return refusal(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found.");
  if (!(Math.abs(Date.parse(String(headers["x-acs-date"])) - nowMs) <= SKEW_MS))
    return refusal(400, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.");
  const signed = Object.fromEntries(names.split(";").map((name) => [name, String(headers[name])]));
  const mustBeSigned = Object.keys(headers).filter((name) => /^(x-acs-.*|host|content-type)$/.test(name));
  const key = { keyId, secret: ALIYUN_CDN_SANDBOX.accessKeySecret };
  const isAuthentic =
    mustBeSigned.every((name) => Object.hasOwn(signed, name)) &&
    headers["x-acs-content-sha256"] === hashOf(body) &&
    authorization === authorizationOf({ method, query: url.search.slice(1), headers: signed }, key);
  if (isAuthentic) return undefined;
  return refusal(400, "SignatureDoesNotMatch", "Specified signature does not match our calculation.");
}

function refusal(status: number, code: string, message: string): SandboxAnswer {
  const body = { RequestId: "sandbox", HostId: "cdn.aliyuncs.com", Code: code, Message: message };
  return { status, headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
}

/** Host of a URL; the scheme may be left out. */
function domainOf(text: string): string | undefined {
  const url = /^https?:\/\//.test(text) ? text : `http://${text}`;
  return text.length <= URL_CHARACTERS && URL.canParse(url) ? new URL(url).host : undefined;
}
