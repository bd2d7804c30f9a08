/**
 * The vocabulary of breakers (R14): what one applies to, its states, and the events of its changes. A breaker is a
 * stop of new orders, by an operator or by the engine after a comparison; payments, cancellations and goods that leave
 * go on. Types and names only: breakers.ts keeps them in all partitions, breaker-rules.ts states the rules of one.
 */
import { type Cause, EVENT_TYPES, type StockEvent } from "./model.js";

/** What a breaker applies to: the whole shop, one location, or one SKU (R14). */
export type BreakerScope = { kind: "shop" } | { kind: "location"; location: string } | { kind: "sku"; sku: string };

/**
 * `half_open` refuses new orders, too, until the breaker is closed or opened: in this state the stock is compared.
 */
export type BreakerState = "open" | "half_open";

export type BreakerAction = BreakerState | "close";

/** Which comparison opened a breaker, and by how much its parties part. */
export interface BreakerEvidence {
  /** The comparison's id. */
  comparison: string;
  /** The two parties: two sources, or a source and the ledger. */
  pair: [a: string, b: string];
  /** Their divergence in the breaker's scope, from 0 (R13), and the share above which it opens. */
  share: number;
  threshold: number;
  /** Cells that both parties reported: later comparisons of far fewer do not close the breaker. */
  cells?: number;
  /** The SKUs that differ most; left out when none is known. */
  skus?: string[];
}

/** Who changes a breaker, and why; recorded with it. */
export interface BreakerCause extends Cause {
  actor: string;
  reason: string;
  /** Of an opening after a comparison. */
  evidence?: BreakerEvidence;
  /** Of a change by the engine itself: recognises a repetition of the same change. */
  changeId?: string;
}

/** The desired state of a breaker. */
export interface DesiredBreaker extends BreakerCause {
  action: BreakerAction;
  /** Orders the changes of one breaker in all partitions. */
  version: number;
  sinceMs: number;
  /** 0: until it is changed by hand. */
  untilMs: number;
  /** What it becomes when its time is over; left out: closed. */
  atEnd?: "half_open";
}

/** A breaker that is open or half-open: new orders in its scope are refused. */
export interface OpenBreaker extends BreakerCause {
  scope: BreakerScope;
  state: BreakerState;
  /** When it ends by itself (milliseconds since the epoch); 0: only by hand. */
  untilMs: number;
  /** What it becomes then; left out: closed. */
  atEnd?: "half_open";
  /** Since when it has been in this state. */
  sinceMs: number;
  /** Of its newest change; left out where a format before 3 did not store it. */
  version?: number;
  /** Partitions of its scope where this is not in force, or that cannot be read; left out when there is none. */
  missing?: number[];
}

/** A breaker as its newest change and the time say, closed ones included. */
export interface BreakerStatus extends Omit<OpenBreaker, "state" | "version"> {
  state: BreakerState | "closed";
  /** Of the newest change; 0: not known. A time that is over changes the state, not the version. */
  version: number;
}

/** The detail of the events of a breaker. They move no units. */
export interface BreakerDetail extends Omit<BreakerCause, "changeId"> {
  scope: BreakerScope;
  /** Of `BreakerOpened`: it was open before; its end, reason and actor are new. */
  extended?: true;
  /** Of `BreakerOpened`: as in the desired state. Left out in entries of formats before 3, as the version. */
  untilMs?: number;
  version?: number;
  /** Of `BreakerOpened`, as in the desired state. */
  atEnd?: "half_open";
}

const BREAKER_TYPES: ReadonlySet<string> = new Set([
  EVENT_TYPES.openBreaker,
  EVENT_TYPES.halfOpenBreaker,
  EVENT_TYPES.closeBreaker,
]);

/** Whether an event is a change of a breaker: it has no units, and maybe no SKU and no location. */
export const isBreakerEvent = ({ type, units }: Pick<StockEvent, "type" | "units">): boolean =>
  // Jobs ask for every event, and nearly all have units.
  units === 0 && BREAKER_TYPES.has(type);

/** The name of a breaker's scope, as stored. */
export const breakerKey = (scope: BreakerScope): string =>
  scope.kind === "shop" ? "shop" : scope.kind === "location" ? `location:${scope.location}` : `sku:${scope.sku}`;

/** The scope that such a name stands for. */
export function breakerScopeOf(key: string): BreakerScope {
  const at = key.indexOf(":");
  if (at < 0) return { kind: "shop" };
  const name = key.slice(at + 1);
  return key.startsWith("location:") ? { kind: "location", location: name } : { kind: "sku", sku: name };
}
