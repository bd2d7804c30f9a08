/**
 * What the topic `consistency` holds, and what its job emits. Every event has the same key, which is also the name of
 * the schedule, so that all of them are in one partition and in order. Shapes and constructors only; the job is in
 * job.ts, and what executes its emits in receiver.ts.
 */
import type { Comparison, ComparisonCause, Snapshot } from "../../reconciliation/model.js";
import type { BreakerAction, BreakerEvidence, BreakerStatus } from "../../stock/breaker.js";
import type { NewEvent } from "../../stream/event-entry.js";

export const CONSISTENCY_TOPIC = "consistency";
/** The key of every event, and the name of the schedule: its ticks have the same key. */
export const COMPARISON_KEY = "comparison";

export const SNAPSHOT_EVENT = "snapshot";
export const REQUESTED_EVENT = "requested";
export const COMPARED_EVENT = "compared";
export const COMPARISON_FAILED_EVENT = "comparison_failed";
export const BREAKERS_EVENT = "breakers";

/** Emits to the engine's own sink: run a comparison, change a breaker, ask pulled sources for fresh snapshots. */
export const COMPARE_EMIT = "compare";
export const SET_BREAKER_EMIT = "set_breaker";
export const REFRESH_EMIT = "refresh";
/** Emit for people: a breaker has changed, or would have. Its payload is a BreakerHistoryEntry. */
export const BREAKER_CHANGED_EMIT = "breaker_changed";

/**
 * What the engine does when a divergence is above its threshold: open the breaker, only record that it would, or
 * nothing.
 */
export const BREAKER_MODES = ["on", "dry-run", "off"] as const;
export type BreakerMode = (typeof BREAKER_MODES)[number];

/** A breaker that a comparison has to judge: its scope as stored, the pair that opened it, and the cells that had. */
export interface JudgedScope {
  readonly scope: string;
  readonly pair?: readonly [a: string, b: string];
  readonly cells?: number;
}

/** The payload of COMPARE_EMIT. */
export interface CompareCommand {
  readonly id: string;
  readonly cause: ComparisonCause;
  /** Breakers that are half-open, up to a limit. */
  readonly scopes: readonly JudgedScope[];
}

/** The payload of SET_BREAKER_EMIT. */
export interface SetBreakerCommand {
  /** The change's id in the breaker. */
  readonly id: string;
  readonly scope: string;
  readonly action: BreakerAction;
  readonly actor: string;
  readonly reason: string;
  /** Of `open`: how long; 0: until it is changed. */
  readonly forMs: number;
  /** Of `open` with a time: what it becomes then; left out: closed. */
  readonly atEnd?: "half_open";
  readonly evidence?: BreakerEvidence;
  /** The newest version that the job has observed: a later change refuses this one. */
  readonly ifVersion: number;
}

/** The payload of REFRESH_EMIT. */
export interface RefreshCommand {
  /** Snapshots that are older do not help. */
  readonly atMs: number;
}

/**
 * What a comparison says about a breaker's scope: its divergence is above the threshold, or within it; or the parties
 * whose divergence opened it could not be compared.
 */
export interface Verdict {
  readonly scope: string;
  readonly verdict: "over" | "within" | "unknown";
  /** Of `over`: the pair with the greatest divergence. */
  readonly evidence?: BreakerEvidence;
  /** Of `over`: when the newest evidence of a divergence above the threshold was there, of whichever pair. */
  readonly snapshotMs?: number;
  /** Of `unknown`: why it could not be compared; left out: there are no fresh snapshots. */
  readonly why?: string;
}

/** A pair as a summary has it. */
export interface PairSummary {
  readonly a: string;
  readonly b: string;
  /** Divergence of the shop, from 0 (R13). */
  readonly share: number;
  readonly differingUnits: number;
  readonly totalUnits: number;
  readonly cells: number;
  readonly differingCells: number;
  readonly onlyInA: number;
  readonly onlyInB: number;
}

/** A comparison without its differences; the comparison store has those under the same id. */
export interface ComparisonSummary {
  readonly id: string;
  readonly atMs: number;
  readonly cause: ComparisonCause;
  readonly durationMs: number;
  readonly snapshots: readonly Pick<Snapshot, "source" | "id" | "measure" | "asOfMs" | "completedMs" | "rows">[];
  /** The greatest divergence first; a limited number. */
  readonly pairs: readonly PairSummary[];
  readonly leftOut: Comparison["leftOut"];
}

/** The payload of COMPARED_EVENT. */
export interface ComparedEvent {
  /** The id of the command. */
  readonly request: string;
  readonly comparison: ComparisonSummary;
  /** Of every scope above its threshold, up to a limit, and of every scope that the command named. */
  readonly verdicts: readonly Verdict[];
  /** Scopes above their thresholds beyond the limit: no breaker opens for them. */
  readonly unlisted: number;
  readonly mode: BreakerMode;
  /** When the next comparison by schedule is due. */
  readonly nextDueMs: number;
}

/** The payload of COMPARISON_FAILED_EVENT: a comparison could not be made, and trying again at once does not help. */
export interface ComparisonFailedEvent {
  /** The id of the command. */
  readonly request: string;
  readonly reason: string;
}

/** The payload of BREAKERS_EVENT: breakers as observed, those that refuse orders first, then those changed last. */
export interface BreakersEvent {
  readonly breakers: readonly ObservedBreaker[];
  /** There are more that refuse orders: a breaker that is not listed may be open all the same. */
  readonly hasMore: boolean;
  readonly mode: BreakerMode;
  readonly nextDueMs: number;
}

/** A breaker as observed; its evidence stays where it is. */
export interface ObservedBreaker
  extends Pick<BreakerStatus, "state" | "version" | "sinceMs" | "untilMs" | "atEnd" | "actor" | "reason" | "changeId"> {
  readonly scope: string;
}

/** A snapshot is complete: it is compared. */
export const snapshotEvent = ({ source, id, asOfMs }: Pick<Snapshot, "source" | "id" | "asOfMs">): NewEvent => ({
  id: `${source}/${id}`.slice(0, 256),
  key: COMPARISON_KEY,
  kind: SNAPSHOT_EVENT,
  payload: { source, id, asOfMs },
});

/** Somebody asks for a comparison. @param id chosen by the caller, for readers of the log */
export const requestedEvent = (id: string, actor: string): NewEvent => ({
  id,
  key: COMPARISON_KEY,
  kind: REQUESTED_EVENT,
  payload: { actor },
});
