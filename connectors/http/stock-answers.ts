/**
 * What the storefront is told about stock (R5, R6), made ready to be sent: the body, its ETag, and headers that say
 * until when caches may keep it. An answer states the second of real time as of which it is true, and is refused when
 * that is too long ago. The answers for single SKUs are kept while they are the same, because between two changes a
 * busy SKU is asked for many times in a second. Every process gives the same ETag to the same answer.
 */
import { createHash } from "node:crypto";
import type { Levels, SkuLevels } from "../../engine/jobs/storefront/view.js";
import { systemClock } from "../../engine/kernel/clock.js";
import { cacheHeaders, type FreshnessBudget, MAX_LAG_MS } from "../../engine/publication/freshness.js";
import type { HttpDeps } from "./deps.js";
import { SECURITY_HEADERS } from "./guard.js";
import type { KeptHeadAnswer } from "./kept-head.js";
import { SHARED_HEADERS } from "./public-answers.js";
import { isoOf } from "./route-context.js";

/**
 * `asOf` in whole seconds, rounded down: never later than true, and all answers of one second are the same for a
 * cache.
 */
const AS_OF_STEP_MS = 1_000;
/**
 * Headers are made for the end of such a step and used until then: their lifetimes are never too long. No step extends
 * into another second, so neither is their Date wrong.
 */
const HEADERS_STEP_MS = 250;
/**
 * Answers for single SKUs that are kept, twice as many at most, of about 1.5 KB each. Few, for the SKUs that everybody
 * asks for: with 4,096, memory that lives for a moment cost more than making the answers of 10,000 SKUs anew.
 */
const MAX_KEPT = 256;
/**
 * Of both headers with tags: nginx refuses an answer whose head is longer than its buffer, 4 KB by default. 44 SKUs
 * have 23 bytes of tag and separator in each header.
 */
const MAX_TAG_BYTES = 2_048;

/** What the head of every answer begins with. */
const SAME_HEAD: readonly string[] = Object.entries({ ...SECURITY_HEADERS, ...SHARED_HEADERS }).flat();

/** An answer that caches may keep. Heads are names and values in turn, in the order in which they are sent. */
export interface CacheableAnswer {
  readonly etag: string;
  /** Of the answer. */
  readonly head: readonly string[];
  /** Of a 304. */
  readonly unchangedHead: readonly string[];
  readonly body: string;
}

export interface KeptAnswer extends CacheableAnswer, KeptHeadAnswer {
  readonly revision: number;
  readonly asOfMs: number;
  /** Until when its headers may be used. */
  readonly untilMs: number;
}

interface SharedHead {
  readonly asOfMs: number;
  readonly sentMs: number;
  readonly asOf: string;
  readonly head: string[];
}

type Parts = Pick<HttpDeps, "storefrontView" | "ageMs" | "tagOf">;

export class StockAnswers {
  readonly #parts: Parts;
  readonly #budget: FreshnessBudget;
  #kept = new Map<string, KeptAnswer>();
  /** Those before, given up as a whole: finding the oldest in a large map takes longer than making an answer. */
  #keptBefore = new Map<string, KeptAnswer>();
  #shared: SharedHead = { asOfMs: Number.NaN, sentMs: Number.NaN, asOf: "", head: [] };

  constructor(parts: Parts, budget: FreshnessBudget) {
    this.#parts = parts;
    this.#budget = budget;
  }

  /** The second as of which the levels of all these SKUs are true; undefined when it is too long ago to be shown. */
  asOfMs(skus: readonly string[]): number | undefined {
    const exactMs = this.exactAsOfMs(skus);
    return exactMs && Math.floor(exactMs / AS_OF_STEP_MS) * AS_OF_STEP_MS;
  }

  /** The same to the millisecond, for what no cache keeps. */
  exactAsOfMs(skus: readonly string[]): number | undefined {
    let oldestMs = 0;
    for (const sku of skus) {
      const ageMs = this.#parts.ageMs(sku);
      // Written so that NaN is refused.
      if (!(ageMs <= MAX_LAG_MS)) return undefined;
      oldestMs = Math.max(oldestMs, ageMs);
    }
    return Math.floor(systemClock.now() - oldestMs);
  }

  /** The SKU's levels; undefined when no units of it were ever received. */
  levels(sku: string): SkuLevels | undefined {
    const levels = this.#parts.storefrontView.get(sku);
    // A SKU that was configured but never received has no location yet.
    return levels && levels.locations.size > 0 ? levels : undefined;
  }

  /** The answer for one SKU over all locations. */
  ofSku(sku: string, { revision, total }: SkuLevels, asOfMs: number): KeptAnswer {
    const nowMs = systemClock.now();
    const kept = this.#kept.get(sku) ?? this.#keptBefore.get(sku);
    if (kept && kept.revision === revision && kept.asOfMs === asOfMs && nowMs < kept.untilMs) return kept;
    // These two are all that can differ; exact, so that no two contents have one tag.
    const etag = `"${(asOfMs / AS_OF_STEP_MS).toString(36)}-${total.display.toString(36)}"`;
    const untilMs = stepAfter(nowMs);
    const { asOf } = this.#sharedHead(asOfMs, untilMs);
    const body = JSON.stringify({ sku, ...shown(total), asOf });
    const rendered = this.#answer([sku], asOfMs, untilMs, etag, body);
    const answer = { ...rendered, revision, asOfMs, untilMs, sentHead: undefined };
    if (this.#kept.size >= MAX_KEPT) {
      this.#keptBefore = this.#kept;
      this.#kept = new Map();
    }
    this.#kept.set(sku, answer);
    return answer;
  }

  /** Any other answer about these SKUs. */
  of(skus: readonly string[], content: object, asOfMs: number): CacheableAnswer {
    const body = JSON.stringify(content);
    // Over the whole answer with its asOf, so that a 304 never prolongs an old asOf.
    const etag = `"${createHash("sha256").update(body).digest("base64url").slice(0, 22)}"`;
    return this.#answer(skus, asOfMs, stepAfter(systemClock.now()), etag, body);
  }

  /** What caches are told about an answer; of one without stock, such as that a SKU is not known, this is all. */
  cacheHead(skus: readonly string[], asOfMs: number, nowMs = systemClock.now()): string[] {
    return [...Object.entries(cacheHeaders(this.#budget, asOfMs, nowMs)).flat(), ...this.#tagHead(skus)];
  }

  #tagHead(skus: readonly string[]): string[] {
    const { tagOf } = this.#parts;
    if (!tagOf || skus.length === 0) return [];
    const tags = skus.map(tagOf);
    // Without them, copies end by themselves.
    if (2 * tags.join(",").length > MAX_TAG_BYTES) return [];
    return ["cache-tag", tags.join(","), "surrogate-key", tags.join(" ")];
  }

  /** What all answers of one second and step have in common. */
  #sharedHead(asOfMs: number, sentMs: number): SharedHead {
    if (this.#shared.asOfMs !== asOfMs || this.#shared.sentMs !== sentMs) {
      const head = [...SAME_HEAD, ...this.cacheHead([], asOfMs, sentMs)];
      this.#shared = { asOfMs, sentMs, asOf: isoOf(asOfMs), head };
    }
    return this.#shared;
  }

  #answer(skus: readonly string[], asOfMs: number, sentMs: number, etag: string, body: string): CacheableAnswer {
    const { head: shared } = this.#sharedHead(asOfMs, sentMs);
    const unchangedHead = shared.concat(this.#tagHead(skus), "etag", etag);
    const length = String(Buffer.byteLength(body));
    const head = unchangedHead.concat("content-type", "application/json; charset=utf-8", "content-length", length);
    return { etag, head, unchangedHead, body };
  }
}

export const shown = ({ display }: Levels) => ({ display, available: display > 0 });

const stepAfter = (ms: number): number => (Math.floor(ms / HEADERS_STEP_MS) + 1) * HEADERS_STEP_MS;
