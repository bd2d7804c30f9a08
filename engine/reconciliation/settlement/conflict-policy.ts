/**
 * Which report wins when sources state different units of a cell (R29): the first of a configured order, the newest, or
 * none, so that a person is asked. A policy belongs to a measure, because a warehouse reports what is on the shelf and
 * a storefront what it shows. Pure: the same candidates give the same answer, in whatever order they come.
 */
import { MEASURES, type Measure } from "../model.js";

export type ConflictPolicy =
  /** The first of these that reports the cell; others never win. */
  | { readonly policy: "rank"; readonly order: readonly string[] }
  /** The report of the latest instant. */
  | { readonly policy: "newest" }
  /** A person decides each time. */
  | { readonly policy: "ask" };

export type ConflictPolicies = Readonly<Record<Measure, ConflictPolicy>>;

/** Without a configuration nothing is decided without a person. */
export const ASK_ALWAYS = Object.fromEntries(
  MEASURES.map((measure) => [measure, { policy: "ask" }]),
) as unknown as ConflictPolicies;

/** What a party reports of a cell; all candidates in the same measure. */
export interface ConflictCandidate {
  /** A source, or the ledger. */
  readonly source: string;
  readonly units: number;
  readonly asOfMs: number;
}

export type ConflictDecision<Candidate extends ConflictCandidate> =
  | { readonly outcome: "winner"; readonly candidate: Candidate }
  /** A person is asked, because of the policy, or because the policy cannot decide. */
  | {
      readonly outcome: "ask";
      readonly reason: "no_candidate" | "policy" | "none_ranked" | "same_instant";
    };

/**
 * The candidate whose units are right by the policy. Candidates that agree are no conflict: the first by the policy
 * wins, or by name where the policy has no preference.
 */
export function winnerOf<Candidate extends ConflictCandidate>(
  policy: ConflictPolicy,
  candidates: readonly Candidate[],
): ConflictDecision<Candidate> {
  const [first, ...others] = sortedByName(candidates);
  if (first === undefined) return { outcome: "ask", reason: "no_candidate" };
  const won = (candidate: Candidate) => ({ outcome: "winner", candidate }) as const;
  switch (policy.policy) {
    case "rank": {
      for (const name of policy.order) {
        const ranked = candidates.find(({ source }) => source === name);
        if (ranked !== undefined) return won(ranked);
      }
      return { outcome: "ask", reason: "none_ranked" };
    }
    case "newest": {
      const newestMs = Math.max(...candidates.map(({ asOfMs }) => asOfMs));
      const [newest, ...sameInstant] = sortedByName(candidates.filter(({ asOfMs }) => asOfMs === newestMs));
      if (newest === undefined || sameInstant.some(({ units }) => units !== newest.units))
        return { outcome: "ask", reason: "same_instant" };
      return won(newest);
    }
    case "ask":
      return others.every(({ units }) => units === first.units) ? won(first) : { outcome: "ask", reason: "policy" };
  }
}

const sortedByName = <Candidate extends ConflictCandidate>(candidates: readonly Candidate[]): Candidate[] =>
  [...candidates].sort((one, other) => (one.source < other.source ? -1 : 1));
