/**
 * What a comparison says about breakers (R13, R14): which scopes are above their thresholds, by which pair, and
 * whether the breakers that are open may close. Pure functions of a comparison and the rules. A scope counts as within
 * its threshold only if the parties whose divergence opened its breaker were compared again: a source that stopped
 * reporting closes nothing.
 */
import {
  type Comparison,
  type Difference,
  type Divergence,
  type PairDivergence,
  PUBLISHED,
  shareOf,
} from "../../reconciliation/model.js";
import { type BreakerEvidence, breakerKey, breakerScopeOf } from "../../stock/breaker.js";
import type { BreakerMode, ComparisonSummary, JudgedScope, PairSummary, Verdict } from "./events.js";

/** When breakers open by themselves. Shares are from 0 to 1; undefined: scopes of this kind have none. */
export interface BreakerRules {
  readonly mode: BreakerMode;
  readonly shopShare: number;
  readonly locationShare?: number | undefined;
  readonly skuShare?: number | undefined;
  /** A SKU's breaker needs so many differing units. */
  readonly skuFloorUnits: number;
}

/**
 * Breakers that one comparison opens at most, by kind of scope: those with the most differing units. More would be read
 * with every order, and a shop with so many has a fault that a breaker of the shop is for. One event holds 64 KiB: a
 * verdict with five SKUs of 64 bytes is about 600 bytes.
 */
const MAX_LOCATIONS = 16;
const MAX_SKUS = 50;
const SKUS_NAMED = 5;
/** SKUs that a comparison lists of each pair. */
const SKUS_LISTED = 100;
/** 64 sources make 2,080 pairs; the greatest are listed: 100 bytes each. */
const MAX_PAIRS = 64;
/** An export that broke off, or has one warehouse only, shows nothing about the others: so it closes no breaker. */
const LEAST_COVERAGE = 0.5;
/** Digits of a share that is stored: cjson and people need no more. */
const SHARE_DIGITS = 6;

const rounded = (share: number): number => Number(share.toFixed(SHARE_DIGITS));

/** One pair's divergence in one scope. */
interface Candidate {
  readonly pair: PairDivergence;
  readonly divergence: Divergence;
}

type ScopeKind = "shop" | "location" | "sku";

/** The verdict on every scope above its threshold, and on every one that is asked for. */
export function verdictsOf(
  comparison: Comparison,
  rules: BreakerRules,
  asked: readonly JudgedScope[],
): { verdicts: Verdict[]; unlisted: number } {
  const over = new Map<string, Verdict>();
  let unlisted = 0;
  const limits: readonly (readonly [ScopeKind, number])[] = [
    ["shop", 1],
    ["location", MAX_LOCATIONS],
    ["sku", MAX_SKUS],
  ];
  for (const [kind, limit] of limits) {
    if (thresholdOf(kind, rules) === undefined) continue;
    const found = [...worstByScope(comparison, kind)].filter(([, { divergence }]) => isOver(divergence, kind, rules));
    found.sort(([, a], [, b]) => b.divergence.differingUnits - a.divergence.differingUnits);
    unlisted += Math.max(0, found.length - limit);
    for (const [scope] of found.slice(0, limit)) over.set(scope, judge(comparison, rules, { scope }));
  }
  const judged = asked.filter(({ scope }) => !over.has(scope)).map((each) => judge(comparison, rules, each));
  return { verdicts: [...over.values(), ...judged], unlisted };
}

/** The verdict on a scope, whatever its kind is configured to do. */
function judge(comparison: Comparison, rules: BreakerRules, { scope, pair, cells = 0 }: JudgedScope): Verdict {
  const { kind } = breakerScopeOf(scope);
  const compared = comparison.pairs.flatMap((each): Candidate[] => {
    const divergence = divergenceIn(each, scope);
    return divergence === undefined || divergence.cells === 0 ? [] : [{ pair: each, divergence }];
  });
  const over = compared.filter(({ divergence }) => isOver(divergence, kind, rules)).sort(byShare);
  const [worst] = over;
  if (worst) {
    const snapshotMs = Math.max(...over.map(({ pair }) => evidenceMs(comparison, pair)));
    return { scope, verdict: "over", evidence: evidenceOf(comparison, rules, scope, worst), snapshotMs };
  }
  const answers = pair ? compared.filter(({ pair: { a, b } }) => pair.includes(a) && pair.includes(b)) : compared;
  if (answers.length === 0) return { scope, verdict: "unknown" };
  const most = Math.max(...answers.map(({ divergence }) => divergence.cells));
  if (most >= cells * LEAST_COVERAGE) return { scope, verdict: "within" };
  return { scope, verdict: "unknown", why: `only ${most} cells were reported again, of ${cells} when it opened` };
}

const byShare = (a: Candidate, b: Candidate): number => shareOf(b.divergence) - shareOf(a.divergence);

/** A kind of scope without a threshold is judged by the shop's when a breaker of it is open. */
function thresholdOf(kind: ScopeKind, { shopShare, locationShare, skuShare }: BreakerRules): number | undefined {
  return kind === "shop" ? shopShare : kind === "location" ? locationShare : skuShare;
}

function isOver(divergence: Divergence, kind: ScopeKind, rules: BreakerRules): boolean {
  if (kind === "sku" && divergence.differingUnits < rules.skuFloorUnits) return false;
  return shareOf(divergence) > (thresholdOf(kind, rules) ?? rules.shopShare);
}

/** Of each scope of a kind, the pair that parts most. */
function worstByScope(comparison: Comparison, kind: ScopeKind): Map<string, Candidate> {
  const worst = new Map<string, Candidate>();
  for (const pair of comparison.pairs) {
    for (const [scope, divergence] of scopesOf(pair, kind)) {
      const known = worst.get(scope);
      if (!known || shareOf(divergence) > shareOf(known.divergence)) worst.set(scope, { pair, divergence });
    }
  }
  return worst;
}

function scopesOf(pair: PairDivergence, kind: ScopeKind): [scope: string, divergence: Divergence][] {
  if (kind === "shop") return [[breakerKey({ kind }), pair.shop]];
  if (kind === "location")
    return Object.entries(pair.locations).map(([location, each]) => [breakerKey({ kind, location }), each]);
  return pair.skus.map(({ sku, ...each }) => [breakerKey({ kind, sku }), inSku(pair, each)]);
}

/** Of one SKU a comparison has only the units. */
const inSku = (pair: PairDivergence, units: Pick<Divergence, "differingUnits" | "totalUnits">): Divergence => ({
  ...pair.shop,
  ...units,
});

/** A pair's divergence in a scope; undefined when the pair has no figures of it. */
function divergenceIn(pair: PairDivergence, key: string): Divergence | undefined {
  const scope = breakerScopeOf(key);
  if (scope.kind === "shop") return pair.shop;
  if (scope.kind === "location")
    return Object.hasOwn(pair.locations, scope.location) ? pair.locations[scope.location] : undefined;
  const found = pair.skus.find(({ sku }) => sku === scope.sku);
  if (found) return inSku(pair, found);
  // A limited number of SKUs that differ are listed one by one: beyond it, nothing is known of the others.
  return pair.skus.length < SKUS_LISTED ? inSku(pair, { differingUnits: 0, totalUnits: 0 }) : undefined;
}

function evidenceOf(
  comparison: Comparison,
  rules: BreakerRules,
  scope: string,
  { pair, divergence }: Candidate,
): BreakerEvidence {
  const threshold = thresholdOf(breakerScopeOf(scope).kind, rules) ?? rules.shopShare;
  const skus = [...new Set(pair.top.filter((each) => isInScope(each, scope)).map(({ sku }) => sku))];
  return {
    comparison: comparison.id,
    pair: [pair.a, pair.b],
    share: rounded(shareOf(divergence)),
    threshold,
    cells: divergence.cells,
    ...(skus.length > 0 && { skus: skus.slice(0, SKUS_NAMED) }),
  };
}

/**
 * Since when a pair's divergence could be known: when the older of its snapshots was complete. A newer one of the other
 * party is no new evidence of it: where that party parts from the ledger, the two of them are a pair, too. For the same
 * reason the engine's own snapshots count only where there is no other.
 */
function evidenceMs({ snapshots }: Comparison, { a, b }: PairDivergence): number {
  const ofPair = snapshots.filter(({ source }) => source === a || source === b);
  const outside = ofPair.filter(({ source }) => source !== PUBLISHED);
  return Math.min(...(outside.length > 0 ? outside : ofPair).map(({ completedMs }) => completedMs));
}

function isInScope({ sku, location }: Difference, key: string): boolean {
  const scope = breakerScopeOf(key);
  if (scope.kind === "shop") return true;
  return scope.kind === "location" ? scope.location === location : scope.sku === sku;
}

/** A comparison as an event holds it. */
export function summaryOf(comparison: Comparison): ComparisonSummary {
  const { id, atMs, cause, durationMs, snapshots, pairs, leftOut } = comparison;
  const ranked = [...pairs].sort((a, b) => shareOf(b.shop) - shareOf(a.shop));
  return {
    ...{ id, atMs, cause, durationMs, leftOut },
    snapshots: snapshots.map(({ source, id, measure, asOfMs, completedMs, rows }) => ({
      ...{ source, id, measure, asOfMs, completedMs, rows },
    })),
    pairs: ranked.slice(0, MAX_PAIRS).map(pairSummaryOf),
  };
}

const pairSummaryOf = ({ a, b, shop, onlyInA, onlyInB }: PairDivergence): PairSummary => ({
  ...{ a, b, onlyInA, onlyInB, ...shop },
  share: rounded(shareOf(shop)),
});

/** A share as people read it: `1.23 %`. */
const percent = (share: number): string => `${Number((share * 100).toFixed(2))} %`;

/** Why a breaker opens, in a sentence. */
export function reasonOf({ pair: [a, b], share, threshold, skus = [] }: BreakerEvidence): string {
  const named = skus.length === 0 ? "" : `, most in ${skus.slice(0, 3).join(", ")}`;
  return `${a} and ${b} differ by ${percent(share)}, more than ${percent(threshold)}${named}`;
}
