/**
 * The rules of breakers in one partition as pure functions (R14): the reference that ledger-breakers.lua is compared
 * with. Each function changes the partition's state and returns what its log must then hold. Nothing here reads other
 * partitions or a clock.
 */
import { type BreakerDetail, type BreakerScope, breakerKey, type DesiredBreaker, type OpenBreaker } from "./breaker.js";
import type { PartitionState } from "./partition-state.js";

/** A change as the log records it. */
export interface BreakerChanged {
  type: "BreakerOpened" | "BreakerHalfOpened" | "BreakerClosed";
  detail: BreakerDetail;
}

/** Whether a breaker applies to an order line. */
export const isInScope = (scope: BreakerScope, line: { sku: string; location: string }): boolean =>
  scope.kind === "shop" || (scope.kind === "location" ? scope.location === line.location : scope.sku === line.sku);

/** Whether a breaker refuses new orders; one whose time is over may not have been ended by a tick yet. */
export const isRefusing = ({ untilMs, atEnd }: OpenBreaker, nowMs: number): boolean =>
  untilMs === 0 || atEnd === "half_open" || untilMs > nowMs;

/**
 * A breaker as it is at a time, even before its partitions have ended it: it is half-open, or refuses nothing
 * (undefined).
 */
export function breakerAt(breaker: OpenBreaker, nowMs: number): OpenBreaker | undefined {
  const { untilMs, atEnd, ...rest } = breaker;
  if (untilMs === 0 || untilMs > nowMs) return breaker;
  return atEnd === "half_open" ? { ...rest, state: atEnd, sinceMs: untilMs, untilMs: 0 } : undefined;
}

/** Ends the breakers whose time is over at the partition's clock, in the order of their names. */
export const endBreakers = (partition: PartitionState): BreakerChanged[] =>
  [...partition.breakers]
    .filter(([, { untilMs }]) => untilMs > 0 && untilMs <= partition.clockMs)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, breaker]) => end(partition, breaker));

/** Applies a desired state that is newer than all before. Returns undefined when there is nothing to change. */
export function applyBreaker(
  partition: PartitionState,
  scope: BreakerScope,
  desired: DesiredBreaker,
): BreakerChanged | undefined {
  const { action, version, sinceMs, untilMs, atEnd, ...recorded } = desired;
  const { changeId: _, ...cause } = recorded;
  const isOver = action === "open" && untilMs > 0 && untilMs <= partition.clockMs;
  const breaker: OpenBreaker = {
    scope,
    state: "open",
    sinceMs,
    untilMs,
    ...(atEnd && { atEnd }),
    ...recorded,
    version,
  };
  if (isOver && atEnd === "half_open") return end(partition, breaker);
  if (isOver || action === "close") {
    if (!partition.breakers.delete(breakerKey(scope))) return undefined;
    return { type: "BreakerClosed", detail: { scope, ...cause, version } };
  }
  const extended = action === "open" && partition.breakers.get(breakerKey(scope))?.state === "open";
  partition.breakers.set(breakerKey(scope), { ...breaker, state: action });
  if (action === "half_open") return { type: "BreakerHalfOpened", detail: { scope, ...cause, version } };
  const detail: BreakerDetail = { scope, ...cause, untilMs, version, ...(atEnd && { atEnd }) };
  return { type: "BreakerOpened", detail: { ...detail, ...(extended && { extended }) } };
}

function end(partition: PartitionState, breaker: OpenBreaker): BreakerChanged {
  const { scope, untilMs, atEnd, version } = breaker;
  const detail: BreakerDetail = {
    scope,
    actor: "engine",
    reason: "its time is over",
    ...(version !== undefined && { version }),
  };
  const key = breakerKey(scope);
  if (atEnd !== "half_open") {
    partition.breakers.delete(key);
    return { type: "BreakerClosed", detail };
  }
  const { atEnd: _, ...rest } = breaker;
  partition.breakers.set(key, { ...rest, state: "half_open", sinceMs: untilMs, untilMs: 0 });
  return { type: "BreakerHalfOpened", detail };
}
