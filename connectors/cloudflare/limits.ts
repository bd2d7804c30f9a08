/**
 * What Cloudflare takes of purges, by plan, as its documents state it (2026-11): requests refill a token bucket of the
 * account, and one request has so many operations. Purges of URLs are counted as URLs in a second, without a bucket.
 * The purger stays below these limits, and the sandbox enforces them.
 */
import type { PurgeLimits } from "../purger.js";

export const PLANS = ["free", "pro", "business", "enterprise"] as const;
export type Plan = (typeof PLANS)[number];

/** By tag. */
export const TAG_LIMITS = {
  free: { batch: 100, perSecond: 5 / 60, burst: 25 },
  pro: { batch: 100, perSecond: 5, burst: 25 },
  business: { batch: 100, perSecond: 10, burst: 50 },
  enterprise: { batch: 100, perSecond: 50, burst: 500 },
} as const satisfies Record<Plan, PurgeLimits>;

/** By URL: 800, 1,500, 1,500 and 3,000 URLs in a second. */
export const URL_LIMITS = {
  free: { batch: 100, perSecond: 8 },
  pro: { batch: 100, perSecond: 15 },
  business: { batch: 100, perSecond: 15 },
  enterprise: { batch: 500, perSecond: 6 },
} as const satisfies Record<Plan, PurgeLimits>;
