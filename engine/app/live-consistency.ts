/**
 * The body of the feed `consistency`, from the view of the consistency job. Lists are cut to what a screen shows, so
 * that a body stays small whatever the number of sources.
 */
import type { ConsistencyBody, WouldOpenBody } from "../../dashboards/feeds/consistency.js";
import type { ConsistencyView } from "../jobs/consistency/view.js";

/** Pairs of a body: the job ranks them, the greatest share first. */
const MAX_PAIRS = 40;

/** Breakers of a dry run that a body names. */
const MAX_WOULD_OPEN = 10;

/** @param shopThreshold the divergence above which the shop's breaker opens, from 0 to 1 */
export function consistencyBody(view: ConsistencyView, shopThreshold: number): ConsistencyBody {
  const { last, mode, nextDueMs } = view;
  return {
    mode,
    shopThreshold,
    nextDueMs: nextDueMs ?? null,
    comparison: last
      ? {
          id: last.id,
          atMs: last.atMs,
          cause: last.cause,
          pairs: last.pairs.slice(0, MAX_PAIRS).map(({ onlyInA: _a, onlyInB: _b, ...pair }) => pair),
          leftOut: Object.entries(last.leftOut),
        }
      : null,
    wouldOpen: wouldOpenIn(view),
  };
}

/** What a dry run would have opened, each scope with the evidence of its newest entry in the history. */
function wouldOpenIn(view: ConsistencyView): WouldOpenBody[] {
  const scopes = view.wouldBeOpen();
  if (scopes.length === 0) return [];
  const entries = view.history().filter(({ kind }) => kind === "would_have_opened");
  return scopes.slice(0, MAX_WOULD_OPEN).flatMap((scope) => {
    const newest = entries.find((entry) => entry.scope === scope);
    return newest?.evidence ? [{ scope, atMs: newest.atMs, ...newest.evidence }] : [];
  });
}
