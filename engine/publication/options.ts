/**
 * Options of what the storefront is shown: how its 15 seconds (R6) are divided among the caches in front of the engine,
 * and where and how often it is published.
 */
import { defineOptions } from "../kernel/options.js";
import { MAX_AGE_MS } from "./freshness.js";

export const publicationOptions = defineOptions({
  edgeTiers: {
    type: "integer",
    default: 2,
    min: 0,
    max: 4,
    unit: "caches",
    about: "shared caches in a row that count the lifetime of a stock answer anew; 0: none may keep one",
  },
  edgeRevalidateMs: {
    type: "duration",
    default: 2_000,
    min: 0,
    max: MAX_AGE_MS,
    about: "how long a CDN may serve a stock answer while it fetches the next one; part of its lifetime",
  },
  browserCacheMs: {
    type: "duration",
    default: 0,
    min: 0,
    max: MAX_AGE_MS,
    about: "how long a browser may keep a stock answer",
  },
  publication: {
    type: "string",
    default: "redis",
    pattern: /redis|off|(?:file|s3\+https?):\/\/\S+/,
    expects: "redis, off, file:///… or s3+https://…",
    about:
      "where what the storefront is shown is published: redis: served below /v1/publication; a folder or a bucket that a web server or a CDN reads; the same in every process",
  },
  publishEveryMs: {
    type: "duration",
    default: 5_000,
    min: 1_000,
    // A publication may be served for 11 s, and takes up to 4 s; --browser-cache lowers this.
    max: 7_000,
    about: "how often it is published, at multiples of this time; what is left of the 15 seconds limits it",
  },
});
