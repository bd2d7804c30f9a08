/**
 * How long caches may keep what the storefront is shown (R6): one budget for every answer and every published file. An
 * answer is true as of an instant; caches may serve it until a fixed time after that instant, whatever the engine's lag
 * was. What is left of this time is divided among caches that count a lifetime anew (nginx ignores `Age`); caches
 * with the configurations of connectors/cdn read the end itself, so their number does not matter. It does not cover
 * caches that ignore these headers: `shuiwei edge check` finds those.
 */
import { badInput } from "../kernel/errors.js";

/** R6: nothing that is shown is older, in whatever cache it was. */
export const MAX_AGE_MS = 15_000;
/** From the last cache to the page, through slow tiers; an answer that is on its way is not refreshed. */
const TRANSIT_MS = 3_000;
/** Caches count whole seconds, and serve an answer to the end of its last one. */
const ROUNDING_MS = 1_000;
/** An older view is not shown: what would be left of the time is of no use to a cache. */
export const MAX_LAG_MS = 8_000;

export interface FreshnessSettings {
  /** Caches in a row, each of which counts an answer's lifetime anew; 0: no shared cache may keep an answer. */
  readonly edgeTiers: number;
  /** How long a CDN may serve an answer whose lifetime has ended while it fetches the next; part of the lifetime. */
  readonly edgeRevalidateMs: number;
  /** How long a browser may keep an answer. */
  readonly browserCacheMs: number;
}

export interface FreshnessBudget extends FreshnessSettings {
  /** How long after its instant caches may serve an answer. */
  readonly lifetimeMs: number;
  /** The sum in words, for operators. */
  readonly text: string;
}

/** In the order in which they are sent: nginx 1.22 does not cache when it reads `max-age=0` before its own header. */
export interface CacheHeaders {
  /** nginx: the second since the epoch at which the lifetime ends, after an `@`. */
  readonly "x-accel-expires": string;
  readonly "cache-control": string;
  /** RFC 9213: for CDNs, which read it instead of the above. */
  readonly "cdn-cache-control": string;
}

/**
 * The budget of these settings.
 * @throws EngineError `bad_input` when they leave caches no time
 */
export function freshnessBudget(settings: FreshnessSettings): FreshnessBudget {
  const { edgeTiers, edgeRevalidateMs, browserCacheMs } = settings;
  const lifetimeMs = MAX_AGE_MS - TRANSIT_MS - ROUNDING_MS - browserCacheMs;
  const leastMs = lifetimeMs - MAX_LAG_MS;
  const parts = `${seconds(lifetimeMs)} in ${edgeTiers} caches with the engine's lag + ${seconds(TRANSIT_MS)} on the way + ${seconds(ROUNDING_MS)} rounding + ${seconds(browserCacheMs)} in browsers`;
  if (leastMs < 1_000)
    throw badInput(
      "serve",
      "--browser-cache",
      `leaves caches ${seconds(leastMs)} of the ${seconds(MAX_AGE_MS)} when the engine lags ${seconds(MAX_LAG_MS)}`,
    );
  if (edgeTiers > 0 && edgeRevalidateMs >= lifetimeMs / edgeTiers)
    throw badInput(
      "serve",
      "--edge-revalidate",
      `is ${seconds(edgeRevalidateMs)}, and each of ${edgeTiers} caches has ${seconds(lifetimeMs / edgeTiers)}`,
    );
  return { ...settings, lifetimeMs, text: `${seconds(MAX_AGE_MS)} = ${parts}` };
}

/**
 * The headers of an answer.
 * @param asOfMs the instant that the answer states
 * @param nowMs when it is sent
 */
export function cacheHeaders(budget: FreshnessBudget, asOfMs: number, nowMs: number): CacheHeaders {
  const { edgeTiers, edgeRevalidateMs, browserCacheMs, lifetimeMs } = budget;
  const endMs = asOfMs + lifetimeMs;
  const tierSeconds = edgeTiers === 0 ? 0 : Math.max(0, Math.floor((endMs - nowMs) / edgeTiers / 1_000));
  const revalidateSeconds = Math.min(Math.floor(edgeRevalidateMs / 1_000), Math.max(0, tierSeconds - 1));
  const browserSeconds = Math.floor(browserCacheMs / 1_000);
  const stale = revalidateSeconds > 0 ? `, stale-while-revalidate=${revalidateSeconds}` : "";
  return {
    "x-accel-expires": edgeTiers === 0 ? "0" : `@${Math.floor(endMs / 1_000)}`,
    // Without `stale-while-revalidate`, which a browser would follow, too.
    "cache-control": `public, max-age=${browserSeconds}, must-revalidate, s-maxage=${tierSeconds}`,
    "cdn-cache-control": `max-age=${tierSeconds - revalidateSeconds}${stale}`,
  };
}

/** From the last proof that the views are complete to the end of the writing of a publication of a million SKUs. */
const PUBLISHING_MS = 4_000;

/**
 * How long shared caches may keep the manifest of a publication that is not served by the engine: its headers are
 * written once, so they hold for the last moment before the next one.
 * @param everyMs between two publications
 * @throws EngineError `bad_input` when publications are too old before the next one comes
 */
export function manifestCacheSeconds({ lifetimeMs, edgeTiers }: FreshnessBudget, everyMs: number): number {
  const leftMs = lifetimeMs - everyMs - PUBLISHING_MS;
  if (leftMs < 0)
    throw badInput(
      "serve",
      "--publish-every",
      `is ${seconds(everyMs)}: a publication would be ${seconds(everyMs + PUBLISHING_MS)} old before the next one, and caches may serve it for ${seconds(lifetimeMs)}`,
    );
  return edgeTiers === 0 ? 0 : Math.floor(leftMs / edgeTiers / 1_000);
}

const seconds = (ms: number): string => `${Math.round(ms / 100) / 10} s`;
