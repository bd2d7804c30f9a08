/**
 * A sandbox of Alibaba Cloud's CDN and DCDN API: it computes the signature of every request anew from what has arrived,
 * checks the timestamp (15 minutes) and that no nonce comes twice, and keeps the vendor's limits: URLs in a request, of
 * one domain in a minute and of the account in a day (UTC+8), requests in a second. Errors are the vendor's JSON with
 * its codes; the statuses of some are unconfirmed. Everything is in memory; nothing is purged anywhere.
 *
 *   POST /   ObjectPath=…&ObjectType=File   action RefreshObjectCaches or RefreshDcdnObjectCaches
 */
import { type Clock, MINUTE_MS, systemClock } from "../../engine/kernel/clock.js";
import { chinaDayOf } from "../purges/china-day.js";
import {
  type SandboxAnswer,
  type SandboxRequest,
  SandboxServer,
  type SandboxServerSettings,
} from "../sources/sandbox/server.js";
import { authorizationOf, hashOf } from "./signature.js";

export interface AliyunCdnSandboxSettings extends SandboxServerSettings {
  /** By which timestamps and days are judged; the real one when left out. */
  readonly clock?: Clock;
  readonly urlsPerMinute?: number;
  readonly urlsPerDay?: number;
  /** Called with the URLs of each accepted request. */
  readonly onPurge?: (urls: readonly string[]) => void;
}

export const ALIYUN_CDN_SANDBOX = { accessKeyId: "LTAIsandbox", accessKeySecret: "aliyun-sandbox-secret" } as const;

const PER_SECOND = 50;
const URLS_PER_REQUEST = 1_000;
const URLS_PER_MINUTE = 1_000;
const URLS_PER_DAY = 10_000;
const URL_CHARACTERS = 1_024;
const SKEW_MS = 15 * MINUTE_MS;
/** Nonces that are remembered; the oldest is dropped. */
const MOST_NONCES = 100_000;
const MOST_KEPT = 100_000;
const VERSIONS: Readonly<Record<string, string>> = {
  RefreshObjectCaches: "2018-05-10",
  RefreshDcdnObjectCaches: "2018-01-15",
};

export class AliyunCdnSandbox extends SandboxServer {
  readonly #settings: Required<Pick<AliyunCdnSandboxSettings, "clock" | "urlsPerMinute" | "urlsPerDay">>;
  readonly #onPurge: (urls: readonly string[]) => void;
  /** URLs of accepted requests, the oldest first. */
  readonly purged: string[] = [];
  /** How often each code was answered. */
  readonly refusals = new Map<string, number>();
  readonly #nonces = new Set<string>();
  /** URLs of each domain in the last minute: when, and how many. */
  readonly #recent = new Map<string, { readonly atMs: number; readonly urls: number }[]>();
  #day = { number: 0, urls: 0 };
  #tasks = 0;

  constructor(settings: AliyunCdnSandboxSettings = {}) {
    super({ perSecond: PER_SECOND, ...settings });
    const { clock = systemClock, urlsPerMinute = URLS_PER_MINUTE, urlsPerDay = URLS_PER_DAY, onPurge } = settings;
    this.#settings = { clock, urlsPerMinute, urlsPerDay };
    this.#onPurge = onPurge ?? (() => {});
  }

  protected override throttled(): SandboxAnswer {
    return this.#refuse(400, "Throttling.User", "Request was denied due to user flow control.");
  }

  protected override answer(request: SandboxRequest): SandboxAnswer {
    const { method, url, body } = request;
    if (method !== "POST" || url.pathname !== "/") return this.#refuse(404, "InvalidAction.NotFound", "no such action");
    const refusal = this.#unauthentic(request) ?? this.#unknownAction(request);
    if (refusal !== undefined) return refusal;
    const form = new URLSearchParams(body);
    if (!["File", null].includes(form.get("ObjectType")))
      return this.#refuse(400, "InvalidObjectType.Malformed", "The specified ObjectType is invalid.");
    return this.#purge((form.get("ObjectPath") ?? "").split(/\r?\n/));
  }

  #unauthentic({ method, url, headers, body }: SandboxRequest): SandboxAnswer | undefined {
    const { accessKeyId, accessKeySecret } = ALIYUN_CDN_SANDBOX;
    const { authorization = "" } = headers;
    const [, keyId, names = ""] =
      /^ACS3-HMAC-SHA256 Credential=([^,]+),SignedHeaders=([^,]+),Signature=[0-9a-f]{64}$/.exec(authorization) ?? [];
    if (keyId === undefined) return this.#refuse(400, "MissingAuthorization", "the header Authorization is malformed");
    if (keyId !== accessKeyId)
      return this.#refuse(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found.");
    const nowMs = this.#settings.clock.now();
    const dateMs = Date.parse(String(headers["x-acs-date"]));
    if (!(Math.abs(dateMs - nowMs) <= SKEW_MS))
      return this.#refuse(400, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.");
    const signed = Object.fromEntries(names.split(";").map((name) => [name, String(headers[name])]));
    const mustBeSigned = Object.keys(headers).filter((name) => /^(x-acs-.*|host|content-type)$/.test(name));
    const query = url.search.slice(1);
    const key = { keyId, secret: accessKeySecret };
    const isAuthentic =
      mustBeSigned.every((name) => Object.hasOwn(signed, name)) &&
      headers["x-acs-content-sha256"] === hashOf(body) &&
      authorization === authorizationOf({ method, query, headers: signed }, key);
    if (!isAuthentic)
      return this.#refuse(400, "SignatureDoesNotMatch", "Specified signature does not match our calculation.");
    const nonce = String(headers["x-acs-signature-nonce"]);
    if (this.#nonces.has(nonce)) return this.#refuse(400, "SignatureNonceUsed", "Specified nonce was used already.");
    this.#nonces.add(nonce);
    if (this.#nonces.size > MOST_NONCES) this.#nonces.delete(this.#nonces.values().next().value as string);
    return undefined;
  }

  #unknownAction({ headers }: SandboxRequest): SandboxAnswer | undefined {
    const version = VERSIONS[String(headers["x-acs-action"])];
    if (version !== undefined && version === headers["x-acs-version"]) return undefined;
    return this.#refuse(404, "InvalidAction.NotFound", "Specified api is not found, please check your url and method.");
  }

  #purge(urls: readonly string[]): SandboxAnswer {
    if (urls.length > URLS_PER_REQUEST)
      return this.#refuse(400, "SingleRequest.OverLimit", "A maximum of 1000 URLs are supported for each request.");
    const domains = urls.map(domainOf);
    if (domains.includes(undefined))
      return this.#refuse(400, "InvalidObjectPath.Malformed", "The specified ObjectPath is invalid.");
    const { clock, urlsPerMinute, urlsPerDay } = this.#settings;
    const nowMs = clock.now();
    const number = chinaDayOf(nowMs);
    if (this.#day.number !== number) this.#day = { number, urls: 0 };
    if (this.#day.urls + urls.length > urlsPerDay)
      return this.#refuse(400, "QuotaExceeded.Refresh", "Your refresh attempts have exceeded the daily limit.");
    for (const domain of new Set(domains as string[])) {
      const recent = (this.#recent.get(domain) ?? []).filter(({ atMs }) => nowMs - atMs < MINUTE_MS);
      const added = domains.filter((each) => each === domain).length;
      if (recent.reduce((sum, each) => sum + each.urls, added) > urlsPerMinute)
        return this.#refuse(400, "QuotaPerMinuteExceeded.Refresh", "You tried to refresh too frequently.");
      this.#recent.set(domain, [...recent, { atMs: nowMs, urls: added }]);
    }
    this.#day.urls += urls.length;
    this.purged.push(...urls);
    this.purged.splice(0, this.purged.length - MOST_KEPT);
    this.#onPurge(urls);
    const task = String(++this.#tasks);
    return { body: JSON.stringify({ RefreshTaskId: task, RequestId: `sandbox-${task}` }) };
  }

  #refuse(status: number, code: string, message: string): SandboxAnswer {
    this.refusals.set(code, (this.refusals.get(code) ?? 0) + 1);
    const body = { RequestId: "sandbox", HostId: "cdn.aliyuncs.com", Code: code, Message: message };
    return { status, headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  }
}

/** Host of a URL; the scheme may be left out. */
function domainOf(text: string): string | undefined {
  const url = /^https?:\/\//.test(text) ? text : `http://${text}`;
  return text.length <= URL_CHARACTERS && URL.canParse(url) ? new URL(url).host : undefined;
}
