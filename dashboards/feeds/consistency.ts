/**
 * The feed `consistency`: how far the shop's stock figures part, as of the last comparison (R13–R15), and what the
 * breaker does about it. The whole state whenever it has changed; lists of differences are read over HTTP. A body has
 * the 40 greatest pairs, 64 sources that were left out and 10 breakers of a dry run at most: less than 24 KiB.
 */
import { type Feed, wholeState } from "../feed.js";

/** One pair of the last comparison. `b` is `ledger` where a source is compared with the ledger. */
export interface PairBody {
  a: string;
  b: string;
  /** Σ|a−b| ÷ Σ max(a, b), from 0 to 1. */
  share: number;
  differingUnits: number;
  totalUnits: number;
  cells: number;
  differingCells: number;
}

export interface ComparisonBody {
  id: string;
  /** The shop's time. */
  atMs: number;
  /** `schedule`, `demand`, `snapshot` or `half_open`. */
  cause: string;
  /** Greatest share first. */
  pairs: readonly PairBody[];
  /** Sources that were not compared: the name, and the reason as a sentence. */
  leftOut: readonly (readonly [source: string, reason: string])[];
}

/** Why a breaker was opened by a comparison, or would have been. */
export interface EvidenceBody {
  comparison: string;
  pair: readonly [string, string];
  /** From 0 to 1. */
  share: number;
  threshold: number;
  /** The SKUs with the greatest differences; left out when none is known. */
  skus?: readonly string[];
}

/** A breaker that a dry run would have opened. */
export interface WouldOpenBody extends EvidenceBody {
  /** `shop`, `location:X` or `sku:X`. */
  scope: string;
  atMs: number;
}

export interface ConsistencyBody {
  /** Whether comparisons open the breaker: `dry-run` only reports, `off` does nothing. */
  mode: "on" | "dry-run" | "off";
  /** The share above which the whole shop's breaker opens, from 0 to 1. */
  shopThreshold: number;
  /** When the next scheduled comparison is due, in the shop's time; null when that is not known. */
  nextDueMs: number | null;
  /** Null before the first comparison. */
  comparison: ComparisonBody | null;
  /** Of the last comparison, in a dry run. */
  wouldOpen: readonly WouldOpenBody[];
}

export interface ConsistencySource {
  consistency(): ConsistencyBody;
}

export const consistencyFeed = (source: ConsistencySource): Feed => ({
  name: "consistency",
  role: "read",
  open: () => wholeState(() => source.consistency()),
});
