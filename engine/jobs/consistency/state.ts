/**
 * The state of the consistency job: the comparison under way, the last one, every breaker as last observed with what
 * was asked for it, and the newest changes. It is plain data, and every list in it is bounded.
 */
import type { ComparisonCause } from "../../reconciliation/model.js";
import type { BreakerAction, BreakerEvidence } from "../../stock/breaker.js";
import type { BreakerMode, ComparisonSummary, ObservedBreaker, Verdict } from "./events.js";

/** What happened to a breaker. `would_have_opened`: a dry run. */
export type BreakerChangeKind = "opened" | "extended" | "half_opened" | "closed" | "would_have_opened";

/** A change of a breaker, as it was observed. */
export interface BreakerHistoryEntry {
  /** Ascends by one with each entry of the deployment. */
  readonly number: number;
  /** When it took effect, and when the job observed it. */
  readonly atMs: number;
  readonly observedMs: number;
  /** The scope as stored: `shop`, `location:X` or `sku:X`. */
  readonly scope: string;
  readonly kind: BreakerChangeKind;
  /** `engine`: by the engine itself, after a comparison or because a time was over; else an operator's override. */
  readonly by: "engine" | "operator";
  readonly actor: string;
  readonly reason: string;
  /** Of an opening: when it ends; 0: not by itself. */
  readonly untilMs?: number;
  readonly evidence?: BreakerEvidence;
}

/** A change that was asked for and has not been observed. */
export interface WantedChange {
  readonly id: string;
  readonly action: BreakerAction;
  readonly ifVersion: number;
  /** By the log's clock. */
  readonly askedMs: number;
  readonly evidence?: BreakerEvidence;
  /** It restores what a server has lost: whose the breaker is stays. */
  readonly isRestoring?: true;
}

/** A breaker as the job has observed it. */
export interface ScopeState extends Omit<ObservedBreaker, "scope" | "changeId"> {
  /** The engine made its newest change, not an operator. */
  isOwn?: true;
  /** Of the engine's opening; kept while it is open or half-open. */
  evidence?: BreakerEvidence;
  wanted?: WantedChange;
  /** The last comparison that had been asked for when it became half-open: only a later one may close it. */
  halfOpenAfter?: number;
  /** When an operator closed it: comparisons of snapshots from before do not open it. */
  overriddenMs?: number;
  /** A dry run has recorded that it would have opened; recorded again only after it was within its threshold. */
  wouldOpen?: true;
}

/** A breaker that refuses orders, for views. */
export interface RefusingBreaker extends Pick<ScopeState, "sinceMs" | "untilMs" | "actor" | "reason" | "evidence"> {
  readonly scope: string;
  readonly state: "open" | "half_open";
  /** Whether the engine made its newest change by itself. */
  readonly isByEngine: boolean;
}

export interface ComparisonUnderWay {
  /** Ascends with each request. */
  readonly number: number;
  readonly id: string;
  readonly cause: ComparisonCause;
  /** By the log's clock. */
  readonly askedMs: number;
}

export interface FailedComparison {
  readonly cause: ComparisonCause;
  readonly reason: string;
  /** By the log's clock. */
  readonly atMs: number;
}

export interface ConsistencyState {
  /** Comparisons asked for so far. */
  asked: number;
  comparing?: ComparisonUnderWay;
  /** What came meanwhile: one more comparison follows, for the most important cause. */
  pending?: ComparisonCause;
  /** The last comparison has failed: it is asked for again later. */
  failed?: FailedComparison;
  last?: ComparisonSummary;
  /** Of the last comparison, those above their thresholds. */
  over: Verdict[];
  /** Of the last comparison: scopes above their thresholds for which no breaker opens, because there are too many. */
  unlisted?: number;
  /** When a comparison last had at least one snapshot of an outside source. */
  reportedMs: number;
  scopes: Record<string, ScopeState>;
  /** Breakers have been observed: what is new from then on is a change. */
  hasObserved?: true;
  history: BreakerHistoryEntry[];
  /** Entries so far. */
  changes: number;
  /** Changes asked for so far. */
  changesAsked: number;
  /** Openings by the engine, and those that a dry run would have made. */
  openings: number;
  wouldHaveOpened: number;
  comparisons: number;
  mode: BreakerMode;
  nextDueMs: number;
  /** The end of the breaker for which fresh snapshots were asked last. */
  refreshedForMs: number;
}

/** What views get. */
export interface ConsistencyFigures
  extends Pick<ConsistencyState, "comparisons" | "openings" | "wouldHaveOpened" | "reportedMs" | "mode" | "nextDueMs"> {
  readonly last: ComparisonSummary | null;
  readonly isComparing: boolean;
  /** Why the last comparison has failed; null: it has not. */
  readonly failure: string | null;
  readonly breakers: readonly RefusingBreaker[];
  readonly unlisted: number;
  /** Scopes whose breaker would be open if this were no dry run. */
  readonly wouldBeOpen: readonly string[];
  /** Those that are new. */
  readonly history: readonly BreakerHistoryEntry[];
}

export const newConsistencyState = (): ConsistencyState => ({
  asked: 0,
  over: [],
  reportedMs: 0,
  scopes: {},
  history: [],
  changes: 0,
  changesAsked: 0,
  openings: 0,
  wouldHaveOpened: 0,
  comparisons: 0,
  mode: "on",
  nextDueMs: 0,
  refreshedForMs: 0,
});

/** 300 bytes each: 60 KB of state, written with every event; an opening and its end are three entries. */
export const HISTORY_KEPT = 200;

/** Adds a change to the history and returns it. */
export function recordChange(
  state: ConsistencyState,
  change: Omit<BreakerHistoryEntry, "number">,
): BreakerHistoryEntry {
  const entry = { number: ++state.changes, ...change };
  state.history.push(entry);
  if (state.history.length > HISTORY_KEPT) state.history.splice(0, state.history.length - HISTORY_KEPT);
  if (entry.kind === "would_have_opened") state.wouldHaveOpened++;
  else if (entry.kind === "opened" && entry.by === "engine") state.openings++;
  return entry;
}
