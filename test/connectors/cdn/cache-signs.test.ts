/** What headers of caches tell: Cache-Status by RFC 9211, and the headers that CDNs send beside or instead of it. */
import { describe, expect, it } from "vitest";
import { cacheSignsOf, parseCacheStatus } from "../../../connectors/cdn/probe/cache-signs.js";

describe("Cache-Status", () => {
  it("is read with quoted names, parameters and several caches", () => {
    const read = parseCacheStatus('Origin; hit; ttl=1100, "A, \\"CDN\\"; x"; fwd=uri-miss;fwd-status=304; collapsed');
    expect(read.map(({ cache, parameters }) => [cache, Object.fromEntries(parameters)])).toEqual([
      ["Origin", { hit: true, ttl: "1100" }],
      ['A, "CDN"; x', { fwd: "uri-miss", "fwd-status": "304", collapsed: true }],
    ]);
  });

  it.each(["", ",", ";", '"', "; hit", '"open; hit, '])("is left out where it cannot be read: %s", (text) => {
    for (const { cache } of parseCacheStatus(text)) expect(cache).not.toBe("");
  });

  it.each([
    ["edge; hit; ttl=4", "hit"],
    ["shield; hit, edge; fwd=uri-miss; stored", "miss"],
    ["edge; hit; ttl=-7", "stale"],
    ["edge; fwd=stale; fwd-status=503", "stale"],
    ["edge; fwd=stale; fwd-status=304", "miss"],
    ["edge", "unknown"],
  ])("%s is a %s", (value, outcome) => {
    expect(cacheSignsOf({ "cache-status": value }).outcome).toBe(outcome);
  });
});

it.each([
  [{ "cf-cache-status": "HIT", "cf-ray": "8a-HKG", server: "cloudflare" }, "cloudflare", "hit"],
  [{ "cf-cache-status": "UPDATING", "cf-ray": "8a-HKG" }, "cloudflare", "stale"],
  [{ "x-served-by": "cache-hkg17927-HKG", "x-cache": "MISS, HIT", via: "1.1 varnish" }, "fastly", "hit"],
  [{ "x-cache": "MISS TCP_REFRESH_MISS dirn:-2:-2", eagleid: "24a1" }, "alibaba", "miss"],
  [{ "x-cache-lookup": "Cache Hit", "x-nws-log-uuid": "1" }, "tencent", "hit"],
  [{ "x-varnish": "32770 3", via: "1.1 host (Varnish/7.1)" }, "varnish", "hit"],
  [{ "x-varnish": "32770", via: "1.1 host (Varnish/7.1)" }, "varnish", "miss"],
  [{ server: "nginx/1.22.1", "x-cache-status": "EXPIRED" }, "nginx", "miss"],
  [{ server: "nginx/1.22.1", "x-cache-status": "STALE" }, "nginx", "stale"],
  [{ warning: '110 - "Response is Stale"', "x-cache": "HIT" }, "unknown", "stale"],
  [{}, "unknown", "unknown"],
] as const)("%j is of the kind %s, a %s", (headers, edge, outcome) => {
  expect(cacheSignsOf(headers as Record<string, string>)).toMatchObject({ edge, outcome });
});

it("an Age that is no number is told from none", () => {
  expect(cacheSignsOf({ age: "7" }).ageSeconds).toBe(7);
  expect(cacheSignsOf({ age: "7, 3" }).ageSeconds).toBeNaN();
  expect(cacheSignsOf({}).ageSeconds).toBeUndefined();
});
