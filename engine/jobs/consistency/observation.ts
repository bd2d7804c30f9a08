/**
 * What follows from the breakers as they were observed: changes are recorded, whoever made them; a breaker that became
 * half-open is compared; a closing by an operator is kept; and a breaker that is gone although nobody closed it
 * (its write was lost in a failover) is set again. Changes between two observations are seen as one; the stock log has
 * each.
 */
import { type ChangeRequest, decide, deleteScopes, type Effects, ENGINE_ACTOR } from "./decisions.js";
import type { BreakersEvent, ObservedBreaker } from "./events.js";
import type { BreakerChangeKind, ConsistencyState, ScopeState } from "./state.js";

/** Takes an observation over into the state. */
export function observe(state: ConsistencyState, { breakers, hasMore }: BreakersEvent, effects: Effects): void {
  const listed = new Set<string>();
  let isHalfOpen = false;
  for (const observed of breakers) {
    listed.add(observed.scope);
    isHalfOpen = observeOne(state, observed, effects) || isHalfOpen;
  }
  // One comparison judges all that became half-open.
  if (isHalfOpen) effects.compare("half_open");
  state.hasObserved = true;
  for (const [scope, known] of Object.entries(state.scopes))
    if (!hasMore && !listed.has(scope) && isLost(known, 0, effects.nowMs)) restore(scope, known, effects);
  deleteScopes(state, effects.nowMs, (scope) => listed.has(scope));
}

/** Returns whether it has become half-open. */
function observeOne(state: ConsistencyState, observed: ObservedBreaker, effects: Effects): boolean {
  const { scope, changeId, ...now } = observed;
  const known = state.scopes[scope];
  if (known && isLost(known, observed.version, effects.nowMs)) {
    restore(scope, known, effects);
    return false;
  }
  const isSame = known?.version === now.version && known.state === now.state && known.untilMs === now.untilMs;
  if (isSame) return false;
  const next = nextOf(state, known, observed);
  state.scopes[scope] = next;
  const kind = kindOf(state, known, observed);
  if (kind) recordObserved(kind, known, observed, next, effects);
  if (next.state === "half_open") next.halfOpenAfter = state.asked;
  // Somebody else was first: what the last comparison has found is decided again.
  const isRefused = known?.wanted !== undefined && next.wanted === undefined && changeId !== known.wanted.id;
  if (isRefused && next.state === "closed") {
    const verdict = state.over.find((each) => each.scope === scope);
    decide(state, scope, verdict, state.asked, effects);
  }
  return next.state === "half_open";
}

/** The state of a scope after an observation that differs from it. */
function nextOf(state: ConsistencyState, known: ScopeState | undefined, observed: ObservedBreaker): ScopeState {
  const { scope: _, changeId, ...now } = observed;
  const wanted = known?.wanted;
  const isMine = wanted !== undefined && changeId === wanted.id;
  const isByTime = known?.version === now.version;
  const isOwn = isByTime || (isMine && wanted.isRestoring) ? known?.isOwn : changeId !== undefined || undefined;
  const evidence = (isMine && wanted.evidence) || (known && known.state !== "closed" ? known.evidence : undefined);
  const next: ScopeState = { ...now };
  if (isOwn) next.isOwn = true;
  if (now.state !== "closed" && evidence) next.evidence = evidence;
  if (wanted && !isMine && now.version <= wanted.ifVersion) next.wanted = wanted;
  if (now.state === "closed") {
    // An opening has an end; a closing has none.
    const isOperators = !isByTime && changeId === undefined && now.untilMs === 0;
    const overriddenMs = isOperators ? now.sinceMs : known?.overriddenMs;
    if (overriddenMs !== undefined) next.overriddenMs = overriddenMs;
    if (known?.wouldOpen && state.mode === "dry-run") next.wouldOpen = true;
  }
  return next;
}

function recordObserved(
  kind: BreakerChangeKind,
  known: ScopeState | undefined,
  observed: ObservedBreaker,
  next: ScopeState,
  { record }: Effects,
): void {
  const { scope, version, untilMs, sinceMs } = observed;
  const isByTime = known?.version === version;
  record({
    scope,
    kind,
    atMs: isByTime && kind === "closed" ? untilMs : sinceMs,
    by: isByTime || next.isOwn ? "engine" : "operator",
    actor: isByTime ? ENGINE_ACTOR : observed.actor,
    reason: isByTime ? "its time is over" : observed.reason,
    ...(observed.state === "open" && { untilMs }),
    ...(next.evidence && observed.state === "open" && { evidence: next.evidence }),
  });
}

function kindOf(
  { hasObserved }: ConsistencyState,
  known: ScopeState | undefined,
  observed: ObservedBreaker,
): BreakerChangeKind | undefined {
  if (observed.state === "open") return known?.state === "open" ? "extended" : "opened";
  if (observed.state === "half_open") return "half_opened";
  if (known && known.state !== "closed") return "closed";
  // It was opened and closed between two observations. What was closed before the first one is not recorded.
  return hasObserved && observed.version > (known?.version ?? 0) ? "closed" : undefined;
}

/** Whether a breaker that should refuse orders now is gone, or is as it was before its newest change. */
function isLost(known: ScopeState, observedVersion: number, nowMs: number): boolean {
  if (known.wanted || known.state === "closed" || observedVersion >= known.version) return false;
  return known.state === "half_open" || known.untilMs === 0 || known.untilMs > nowMs || known.atEnd === "half_open";
}

/** One second is the least: a breaker whose time is over becomes half-open at once. */
const LEAST_MS = 1_000;

function restore(scope: string, known: ScopeState, { nowMs, request }: Effects): void {
  const { state, untilMs, actor, reason, evidence, atEnd } = known;
  const forMs = state === "open" && untilMs > 0 ? Math.max(LEAST_MS, untilMs - nowMs) : 0;
  const change: ChangeRequest = {
    ...{ action: state === "half_open" ? "half_open" : "open", actor, reason, forMs, isRestoring: true },
    ...(forMs > 0 && atEnd && { atEnd }),
    ...(evidence && { evidence }),
  };
  request(scope, change);
}
