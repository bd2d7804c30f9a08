/** The budget of 15 seconds: what caches may keep an answer for, and settings that leave them no time. */
import { describe, expect, it } from "vitest";
import {
  cacheHeaders,
  freshnessBudget,
  MAX_AGE_MS,
  MAX_LAG_MS,
  manifestCacheSeconds,
} from "../../engine/publication/freshness.js";

const SETTINGS = { edgeTiers: 2, edgeRevalidateMs: 2_000, browserCacheMs: 0 };
const AS_OF_MS = 1_781_740_800_000;

describe("the freshness budget", () => {
  it("divides what is left of an answer's lifetime among caches that count it anew", () => {
    const budget = freshnessBudget(SETTINGS);
    expect(budget.lifetimeMs).toBe(11_000);
    expect(budget.text).toBe(
      "15 s = 11 s in 2 caches with the engine's lag + 3 s on the way + 1 s rounding + 0 s in browsers",
    );
    expect(cacheHeaders(budget, AS_OF_MS, AS_OF_MS + 900)).toEqual({
      "x-accel-expires": "@1781740811",
      "cache-control": "public, max-age=0, must-revalidate, s-maxage=5",
      "cdn-cache-control": "max-age=3, stale-while-revalidate=2",
    });
    expect(cacheHeaders(budget, AS_OF_MS, AS_OF_MS + 8_500)).toEqual({
      "x-accel-expires": "@1781740811",
      "cache-control": "public, max-age=0, must-revalidate, s-maxage=1",
      "cdn-cache-control": "max-age=1",
    });
  });

  it("never exceeds 15 seconds, whatever the lag and the number of caches", () => {
    for (const edgeTiers of [1, 2, 3, 4])
      for (const browserCacheMs of [0, 1_000, 2_000])
        for (let lagMs = 0; lagMs <= MAX_LAG_MS; lagMs += 100) {
          const budget = freshnessBudget({ edgeTiers, edgeRevalidateMs: 1_000, browserCacheMs });
          const headers = cacheHeaders(budget, AS_OF_MS, AS_OF_MS + lagMs);
          const [, shared] = /s-maxage=(\d+)/.exec(headers["cache-control"]) ?? [];
          // Each cache fetches at the last moment of the one before it.
          const worstMs = lagMs + edgeTiers * Number(shared) * 1_000 + browserCacheMs + 3_000;
          expect(worstMs).toBeLessThanOrEqual(MAX_AGE_MS);
        }
  });

  it("lets no shared cache keep an answer where there is none", () => {
    const headers = cacheHeaders(freshnessBudget({ ...SETTINGS, edgeTiers: 0 }), AS_OF_MS, AS_OF_MS);
    expect(headers["cache-control"]).toContain("s-maxage=0");
    expect(headers["cdn-cache-control"]).toBe("max-age=0");
    expect(headers["x-accel-expires"]).toBe("0");
  });

  it("refuses settings that leave caches no time, and names the option", () => {
    expect(() => freshnessBudget({ ...SETTINGS, browserCacheMs: 3_000 })).toThrow("--browser-cache");
    expect(() => freshnessBudget({ ...SETTINGS, edgeTiers: 4, edgeRevalidateMs: 3_000 })).toThrow("--edge-revalidate");
  });
});

describe("the lifetime of a manifest whose headers are written once", () => {
  it("ends in time when a cache reads it in the last moment before the next one", () => {
    for (const edgeTiers of [1, 2, 3, 4])
      for (const everyMs of [1_000, 3_000, 5_000, 7_000]) {
        const budget = freshnessBudget({ ...SETTINGS, edgeTiers });
        const seconds = manifestCacheSeconds(budget, everyMs);
        expect(everyMs + 4_000 + edgeTiers * seconds * 1_000).toBeLessThanOrEqual(budget.lifetimeMs);
      }
    expect(manifestCacheSeconds(freshnessBudget(SETTINGS), 5_000)).toBe(1);
    expect(manifestCacheSeconds(freshnessBudget({ ...SETTINGS, edgeTiers: 0 }), 5_000)).toBe(0);
  });

  it("refuses an interval that leaves none", () => {
    expect(() => manifestCacheSeconds(freshnessBudget(SETTINGS), 8_000)).toThrow(
      "--publish-every: is 8 s: a publication would be 12 s old before the next one, and caches may serve it for 11 s",
    );
  });
});
