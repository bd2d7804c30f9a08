/**
 * What follows from a verdict on one breaker's scope (R14): it opens, is opened again, closes, or nothing. Decided
 * from the breaker as it was last observed; while a change that was asked for has not been observed, nothing more is
 * decided. Pure: effects are collected by the caller.
 */

import { HOUR_MS, MINUTE_MS } from "../../kernel/clock.js";
import type { ComparisonCause } from "../../reconciliation/model.js";
import type { BreakerAction, BreakerEvidence } from "../../stock/breaker.js";
import type { Verdict } from "./events.js";
import { reasonOf } from "./rules.js";
import type { BreakerHistoryEntry, ConsistencyState, ScopeState } from "./state.js";

/** R14: a breaker that opens by itself is open for ten minutes. */
const OPEN_MS = 10 * MINUTE_MS;
/** An operator's closing is kept for longer than any snapshot is fresh: older ones are not compared at all. */
const OVERRIDE_KEPT_MS = 48 * HOUR_MS;
/** A comparison or a change that failed or is without a result is asked for again then: both take seconds. */
export const ANSWER_MS = 10 * MINUTE_MS;
/** The actor of changes by the engine itself. */
export const ENGINE_ACTOR = "engine";

/** A change that a decision asks for. */
export interface ChangeRequest {
  readonly action: BreakerAction;
  readonly actor: string;
  readonly reason: string;
  readonly forMs: number;
  readonly atEnd?: "half_open";
  readonly evidence?: BreakerEvidence;
  readonly isRestoring?: true;
}

/** What decisions and observations do. */
export interface Effects {
  /** The log's clock. */
  readonly nowMs: number;
  request(scope: string, change: ChangeRequest): void;
  record(change: Omit<BreakerHistoryEntry, "number" | "observedMs">): void;
  compare(cause: ComparisonCause): void;
}

/** The state of a scope; one that was never observed is closed. */
export const scopeOf = (state: ConsistencyState, scope: string): ScopeState => {
  state.scopes[scope] ??= { state: "closed", version: 0, sinceMs: 0, untilMs: 0, actor: "", reason: "" };
  return state.scopes[scope];
};

/** As of an operator's. */
const REASON_CHARACTERS = 200;
/** Half a surrogate pair: Redis decodes no text with one. */
const LONE_SURROGATE = /\p{Cs}/gu;

const opening = (reason: string, evidence: BreakerEvidence | undefined): ChangeRequest => ({
  ...{ action: "open", actor: ENGINE_ACTOR, reason: shortened(reason), forMs: OPEN_MS, atEnd: "half_open" },
  ...(evidence && { evidence }),
});

/** A cut may split a character of two code units. */
const shortened = (reason: string): string => reason.slice(0, REASON_CHARACTERS).replace(LONE_SURROGATE, "");

const closing = (reason: string): ChangeRequest => ({ action: "close", actor: ENGINE_ACTOR, reason, forMs: 0 });

/**
 * Decides about one scope after a comparison.
 * @param verdict undefined: the scope is not above its threshold, and was not asked for
 * @param number of the comparison
 */
export function decide(
  state: ConsistencyState,
  scope: string,
  verdict: Verdict | undefined,
  number: number,
  effects: Effects,
): void {
  const known = state.scopes[scope];
  if (known?.wanted) return;
  if (!known || known.state === "closed") decideClosed(state, scope, verdict, effects);
  else if (known.state === "half_open" && number > (known.halfOpenAfter ?? 0))
    decideHalfOpen(state, scope, known, verdict, effects);
}

function decideClosed(
  state: ConsistencyState,
  scope: string,
  verdict: Verdict | undefined,
  { nowMs, request, record }: Effects,
): void {
  const known = state.scopes[scope];
  if (verdict?.verdict !== "over" || !verdict.evidence) {
    if (known) delete known.wouldOpen;
    return;
  }
  const { evidence, snapshotMs = 0 } = verdict;
  // An operator has judged what these snapshots show.
  if (known?.overriddenMs !== undefined && snapshotMs <= known.overriddenMs) return;
  const reason = reasonOf(evidence);
  if (state.mode === "on") request(scope, opening(reason, evidence));
  else if (state.mode === "dry-run" && !known?.wouldOpen) {
    scopeOf(state, scope).wouldOpen = true;
    record({
      ...{ atMs: nowMs, scope, kind: "would_have_opened", by: "engine", actor: ENGINE_ACTOR, reason },
      evidence,
    });
  }
}

function decideHalfOpen(
  { mode }: ConsistencyState,
  scope: string,
  known: ScopeState,
  verdict: Verdict | undefined,
  { request }: Effects,
): void {
  if (mode !== "on") {
    // Nothing else closes what the engine has opened.
    if (known.isOwn) request(scope, closing(`breakers do not open by themselves any more: the mode is ${mode}`));
  } else if (verdict?.verdict === "within") {
    request(scope, closing("compared again: the divergence is within its threshold"));
  } else if (verdict?.verdict === "over" && verdict.evidence) {
    request(scope, opening(reasonOf(verdict.evidence), verdict.evidence));
  } else if (known.evidence) {
    // One that an operator has opened, and that nothing can judge, waits for the operator.
    const { why = `${known.evidence.pair.join(" and ")} have no fresh snapshots in common` } = verdict ?? {};
    request(scope, opening(`${why}: it cannot be compared`, known.evidence));
  }
}

/** Deletes scopes of which nothing has to be kept any more. @param isListed in the newest observation */
export function deleteScopes(state: ConsistencyState, nowMs: number, isListed: (scope: string) => boolean): void {
  for (const [scope, known] of Object.entries(state.scopes)) {
    const isOverridden = known.overriddenMs !== undefined && known.overriddenMs > nowMs - OVERRIDE_KEPT_MS;
    if (!isOverridden) delete known.overriddenMs;
    if (known.state === "closed" && !known.wanted && !known.wouldOpen && !isOverridden && !isListed(scope))
      delete state.scopes[scope];
  }
}
