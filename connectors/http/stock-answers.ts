/**
 * What the storefront is told about stock (R5, R6), made ready to be sent: the body, its ETag, and headers that say
 * until when caches may keep it. An answer states the second of real time as of which it is true, and is refused when
 * that is too long ago. What the answers for single SKUs have in common is kept for a moment, so that each is one text
 * of few parts; no answer is kept. Every process gives the same ETag to the same answer.
 */
import { createHash } from "node:crypto";
import type { ServerResponse } from "node:http";
import type { Levels, SkuLevels } from "../../engine/jobs/storefront/view.js";
import { systemClock } from "../../engine/kernel/clock.js";
import { cacheHeaders, type FreshnessBudget, MAX_LAG_MS } from "../../engine/publication/freshness.js";
import type { HttpDeps } from "./deps.js";
import { SECURITY_HEADERS } from "./guard.js";
import { type KeptHead, keptHeadOf, sendWithKeptHead, takesKeptHead } from "./kept-head.js";
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
/** Tags that are kept, twice as many at most, of about 120 bytes each: hashing a SKU takes as long as its answer. */
const MAX_TAGS = 16_384;
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

/** What all answers with one `asOf` have in common for a step. */
interface Shared {
  readonly asOf: string;
  /** Of `asOf`, for ETags. */
  readonly second: string;
  readonly head: readonly string[];
  /** Of answers for single SKUs, as Node has written it. */
  kept: KeptHead | undefined;
}

const JSON_TYPE = "application/json; charset=utf-8";

type Parts = Pick<HttpDeps, "storefrontView" | "ageMs" | "tagOf">;

export class StockAnswers {
  readonly #parts: Parts;
  readonly #budget: FreshnessBudget;
  /** Until when what is shared may be used. */
  #sharedUntilMs = 0;
  /** By `asOf`, which differs between partitions, by MAX_LAG_MS at most. */
  readonly #shared = new Map<number, Shared>();
  /** Header values with the tags of a SKU. */
  #tags = new Map<string, string>();
  /** Those before, given up as a whole: finding the oldest in a large map takes longer than making a tag. */
  #tagsBefore = new Map<string, string>();

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
  ofSku(sku: string, { total }: SkuLevels, asOfMs: number): CacheableAnswer {
    const shared = this.#sharedOf(asOfMs);
    return this.#answer([sku], shared, etagOf(shared, total), bodyOf(sku, total, shared));
  }

  /** Sends the same answer, to a request that does not have it. */
  sendSku(response: ServerResponse, sku: string, levels: SkuLevels, asOfMs: number): void {
    const shared = this.#sharedOf(asOfMs);
    const { total } = levels;
    const body = bodyOf(sku, total, shared);
    const bytes = Buffer.byteLength(body);
    const ownLines = `${this.#tagLines(sku)}etag: ${etagOf(shared, total)}\r\ncontent-type: ${JSON_TYPE}\r\ncontent-length: ${bytes}\r\n`;
    const takesKept = takesKeptHead(response);
    if (takesKept && shared.kept) {
      const latin1 = bytes === body.length ? body : Buffer.from(body).toString("latin1");
      sendWithKeptHead(response, shared.kept, ownLines, latin1);
      return;
    }
    response.writeHead(200, this.ofSku(sku, levels, asOfMs).head as string[]);
    if (takesKept) shared.kept = keptHeadOf(response, ownLines);
    response.end(body);
  }

  /** Any other answer about these SKUs. */
  of(skus: readonly string[], content: object, asOfMs: number): CacheableAnswer {
    const body = JSON.stringify(content);
    // Over the whole answer with its asOf, so that a 304 never prolongs an old asOf.
    const etag = `"${createHash("sha256").update(body).digest("base64url").slice(0, 22)}"`;
    return this.#answer(skus, this.#sharedOf(asOfMs), etag, body);
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

  #tagLines(sku: string): string {
    if (!this.#parts.tagOf) return "";
    let lines = this.#tags.get(sku) ?? this.#tagsBefore.get(sku);
    if (lines !== undefined) return lines;
    const [, tag = "", , key = ""] = this.#tagHead([sku]);
    lines = tag === "" ? "" : `cache-tag: ${tag}\r\nsurrogate-key: ${key}\r\n`;
    if (this.#tags.size >= MAX_TAGS) {
      this.#tagsBefore = this.#tags;
      this.#tags = new Map();
    }
    this.#tags.set(sku, lines);
    return lines;
  }

  #sharedOf(asOfMs: number): Shared {
    const nowMs = systemClock.now();
    // Also when the clock was set back.
    if (nowMs >= this.#sharedUntilMs || nowMs < this.#sharedUntilMs - HEADERS_STEP_MS) {
      this.#shared.clear();
      this.#sharedUntilMs = (Math.floor(nowMs / HEADERS_STEP_MS) + 1) * HEADERS_STEP_MS;
    }
    let shared = this.#shared.get(asOfMs);
    if (!shared) {
      const head = [...SAME_HEAD, ...this.cacheHead([], asOfMs, this.#sharedUntilMs)];
      shared = { asOf: isoOf(asOfMs), second: (asOfMs / AS_OF_STEP_MS).toString(36), head, kept: undefined };
      this.#shared.set(asOfMs, shared);
    }
    return shared;
  }

  #answer(skus: readonly string[], shared: Shared, etag: string, body: string): CacheableAnswer {
    const unchangedHead = shared.head.concat(this.#tagHead(skus), "etag", etag);
    const head = unchangedHead.concat("content-type", JSON_TYPE, "content-length", String(Buffer.byteLength(body)));
    return { etag, head, unchangedHead, body };
  }
}

/** These two are all that can differ; exact, so that no two contents have one tag. */
const etagOf = ({ second }: Shared, { display }: Levels): string => `"${second}-${display.toString(36)}"`;

/** JSON in the order of `shown`. */
const bodyOf = (sku: string, { display }: Levels, { asOf }: Shared): string =>
  `{"sku":${JSON.stringify(sku)},"display":${display},"available":${display > 0},"asOf":"${asOf}"}`;

export const shown = ({ display }: Levels) => ({ display, available: display > 0 });
