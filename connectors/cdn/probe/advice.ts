/**
 * What is likely behind each finding of a check, and what to change, by kind of cache. The rules of a CDN's console are
 * not visible from outside: the text names the usual one, and is not sure. Names of settings are those of the vendors'
 * documents of 2026; connectors/cdn/README.md says more about each.
 */
import type { EdgeKind } from "./cache-signs.js";

/** What a check can find. */
export type FindingId =
  | "clock"
  | "no_answer"
  | "redirects"
  | "no_stock"
  | "engine_old"
  | "overrides_ttl"
  | "adds_age"
  | "serves_stale"
  | "idle_stale"
  | "headers"
  | "conditional"
  | "age_header"
  | "browser"
  | "key_ignores_query"
  | "not_cached"
  | "not_collapsed"
  | "ignores_purge";

export interface Advice {
  readonly rule: string;
  readonly change: string;
}

type Texts = readonly [rule: string, change: string];
type ByKind = Readonly<Partial<Record<EdgeKind, Texts>> & { unknown: Texts }>;

const ADVICE: Readonly<Record<FindingId, ByKind>> = {
  clock: {
    unknown: ["this machine's clock, or the server's, is wrong", "repair time synchronisation (NTP), and check again"],
  },
  no_answer: {
    unknown: [
      "the host name, the port or the certificate is wrong, or the edge is down",
      "open the address in a browser on this machine first",
    ],
  },
  redirects: {
    unknown: ["the site has another name, or another scheme", "check the address that it leads to"],
  },
  no_stock: {
    unknown: [
      "the address is not the stock answer of a SKU that has stock, or the edge does not pass it on to the engine",
      "open the address in a browser first: it must show JSON with asOf",
    ],
  },
  engine_old: {
    unknown: ["the engine's views are behind its ledger", "see /readyz of the engine and its runbook, not the edge"],
  },
  overrides_ttl: {
    unknown: [
      "a rule with a fixed cache time, which overrides the engine's headers",
      "let the cache follow the origin's Cache-Control for /v1/stock and /v1/publication/manifest.json",
    ],
    nginx: [
      "proxy_cache_valid together with proxy_ignore_headers X-Accel-Expires or Cache-Control",
      "remove both; connectors/cdn/nginx has a configuration to copy",
    ],
    varnish: [
      "beresp.ttl is set to a fixed time, or the default of 120 s applies",
      "set beresp.ttl from X-Accel-Expires as in connectors/cdn/varnish",
    ],
    cloudflare: [
      "a Cache Rule with an Edge TTL that ignores the origin's header",
      "set its Edge TTL to use the Cache-Control header if present",
    ],
    fastly: [
      "VCL or a cache setting that sets beresp.ttl",
      "remove it for /v1/stock: the origin's header then applies",
    ],
    alibaba: [
      "a cache expiration rule of the console, which outranks the origin's headers",
      "remove the rule for /v1/stock, or let the origin's policy take precedence",
    ],
    tencent: [
      "a node cache validity rule of the console with a fixed time",
      "let the rule for /v1/stock follow the origin",
    ],
  },
  adds_age: {
    unknown: [
      "several caches in a row, each of which counts the whole lifetime anew",
      "start serve with --edge-tiers set to their number, or let each subtract the Age that it receives",
    ],
    nginx: [
      "nginx behind another cache: it ignores Age, so lifetimes add up",
      "pass X-Accel-Expires on between the caches (proxy_pass_header) and remove proxy_cache_valid; or raise --edge-tiers of serve",
    ],
    varnish: [
      "beresp.ttl is set to a fixed time behind another cache",
      "set beresp.ttl from X-Accel-Expires as in connectors/cdn/varnish",
    ],
    fastly: ["shielding with a fixed beresp.ttl in both places", "set --edge-tiers of serve to 2, and no fixed TTL"],
    cloudflare: [
      "Tiered Cache together with a fixed Edge TTL",
      "set --edge-tiers of serve to 2, and no fixed Edge TTL",
    ],
  },
  serves_stale: {
    unknown: [
      "a rule that serves what is past its lifetime while the origin fails or is slow",
      "turn serving of stale answers off for /v1/stock and /v1/publication",
    ],
    nginx: ["proxy_cache_use_stale error, timeout or http_5xx", "remove proxy_cache_use_stale for these paths"],
    varnish: [
      "beresp.grace, by default 10 s, or a longer one",
      "set beresp.grace = 0s and start with -p default_grace=0",
    ],
    cloudflare: ["Always Online, or serving of stale content while revalidating", "turn both off for these paths"],
    fastly: ["stale_if_error in VCL or a Surrogate-Control header", "remove it for these paths"],
    tencent: ["the offline cache (离线缓存)", "turn it off for these paths"],
  },
  idle_stale: {
    unknown: [
      "the first reader after a pause gets the old answer while the cache fetches the next one",
      "turn stale-while-revalidate off, or limit it to --edge-revalidate of serve",
    ],
    nginx: [
      "proxy_cache_use_stale updating with proxy_cache_background_update",
      "remove both for these paths; proxy_cache_lock alone collapses requests",
    ],
    varnish: ["beresp.grace: the first reader gets the old answer", "set beresp.grace = 0s"],
    cloudflare: [
      "stale content while revalidating without a limit",
      "let the Cache Rule follow CDN-Cache-Control of the engine",
    ],
    fastly: ["stale_while_revalidate in VCL", "remove it for these paths"],
  },
  headers: {
    unknown: [
      "a rule removes or replaces headers of the origin on the way to the reader",
      "let Cache-Control, ETag and Date of the origin pass for these paths",
    ],
    nginx: ["proxy_hide_header, expires or add_header Cache-Control", "remove them for these paths"],
    varnish: ["unset resp.http… in vcl_deliver or beresp.http… in vcl_backend_response", "remove it for these paths"],
    cloudflare: ["a Transform Rule, or Browser Cache TTL", "set Browser Cache TTL to respect existing headers"],
    alibaba: ["a rule on response headers of the console", "remove it for these paths"],
    tencent: ["an HTTP response header rule of the console", "remove it for these paths"],
  },
  conditional: {
    unknown: [
      "the edge removes ETag or If-None-Match, or changes bodies (minifies, compresses anew)",
      "let both headers pass, and let bodies of /v1 unchanged",
    ],
    nginx: ["proxy_hide_header ETag, or a filter that changes the body (sub_filter)", "remove it for these paths"],
  },
  age_header: {
    unknown: ["a cache sends an Age that it has not computed", "let the cache compute it, or send none"],
    nginx: ["nginx stores and repeats the Age of the cache behind it", "proxy_hide_header Age"],
  },
  browser: {
    unknown: [
      "a browser may keep the answer longer than its age allows",
      "let Cache-Control of the engine pass unchanged: it tells browsers to ask again",
    ],
    nginx: ["expires or add_header Cache-Control", "remove it for these paths"],
    cloudflare: ["Browser Cache TTL", "set it to respect existing headers"],
  },
  key_ignores_query: {
    unknown: [
      "the cache key leaves out the query, so another question gets this answer",
      "make the whole query part of the cache key for /v1/stock",
    ],
    nginx: ["proxy_cache_key without $args", "use $scheme$host$request_uri"],
    cloudflare: ["a Cache Rule that ignores the query string", "include the query string in its cache key"],
    alibaba: ["the filter of parameters (ignore parameters) is on", "turn it off for /v1/stock"],
    tencent: ["the cache key ignores parameters", "let it keep all parameters for /v1/stock"],
  },
  not_cached: {
    unknown: [
      "the edge does not cache the path, or the address is the engine itself: every reader reaches the engine",
      "make /v1/stock and /v1/publication cacheable, by the origin's headers",
    ],
    cloudflare: [
      "JSON is not cached without a Cache Rule",
      "add one: eligible for cache, Edge TTL by the origin's header",
    ],
    alibaba: [
      "max-age=0 of the engine, which this CDN does not cache",
      "start serve with --browser-cache 2s, which is then the lifetime at the edge, too",
    ],
    tencent: [
      "max-age=0 of the engine, which is the lifetime at this CDN's edge",
      "start serve with --browser-cache 2s",
    ],
    nginx: ["no proxy_cache for the path, or Set-Cookie or Vary in the answer", "see connectors/cdn/nginx"],
  },
  not_collapsed: {
    unknown: ["simultaneous requests for one answer all go to the origin", "turn request collapsing on"],
    nginx: ["proxy_cache_lock is off", "proxy_cache_lock on, with proxy_cache_lock_timeout and _age of 15s"],
    varnish: ["a hit-for-pass or hit-for-miss object, or return (pass)", "return (hash) for these paths"],
    cloudflare: ["Tiered Cache is off: each location asks the origin", "turn Tiered Cache on"],
    fastly: ["shielding is off: each location asks the origin", "choose a shield for the origin"],
  },
  ignores_purge: {
    unknown: ["the purge does not reach this cache, or takes minutes here", "see the purger's own report and limits"],
    nginx: [
      "open source nginx has no purge",
      "name its port for operators (connectors/cdn/nginx) with --purge-method GET: it renews the copy",
    ],
    varnish: [
      "vcl_recv does not handle the method, or the reader's address may not purge",
      "see connectors/cdn/varnish",
    ],
    fastly: ["the purge was soft: the old answer may be served again", "purge without Fastly-Soft-Purge"],
  },
};

export function adviceOn(finding: FindingId, edge: EdgeKind): Advice {
  const [rule, change] = ADVICE[finding][edge] ?? ADVICE[finding].unknown;
  return { rule, change };
}
