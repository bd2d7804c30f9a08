/**
 * The feed `breakers`: the breakers that refuse new orders now (R14), all of them, whenever one has changed. The shop
 * has few at a time; their number is bounded by what operators open.
 */
import { type Feed, wholeState } from "../feed.js";
import type { EvidenceBody } from "./consistency.js";

/** New orders in the scope are refused. */
export interface BreakerBody {
  /** `shop`, `location:X` or `sku:X`. */
  scope: string;
  /** `half_open`: it refuses orders, too, until it is closed or opened. */
  state: "open" | "half_open";
  /** When an open one ends, in the shop's time; null: it stays until an operator changes it. */
  untilMs: number | null;
  /** What happens then. */
  atEnd: "close" | "half_open";
  actor: string;
  reason: string;
  /** Of one that a comparison has opened. */
  evidence?: EvidenceBody;
  /** Partitions of its scope that do not refuse orders yet, or that cannot be read; left out when there is none. */
  missing?: readonly number[];
}

export interface BreakersBody {
  breakers: readonly BreakerBody[];
}

export interface BreakersSource {
  breakers(): readonly BreakerBody[];
}

export const breakersFeed = (source: BreakersSource): Feed => ({
  name: "breakers",
  role: "read",
  open: () => wholeState((): BreakersBody => ({ breakers: source.breakers() })),
});
