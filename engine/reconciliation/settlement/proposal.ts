/**
 * What would settle a difference between the ledger and a source (R13, R29): by the conflict policy either the ledger
 * is corrected, or the source has to be, or a person chooses. A correction moves sellable units only: lost units that
 * are reserved, committed or safety need a decision of their own. Pure: it reads neither balances nor policies itself,
 * and the same input gives the same proposal.
 */
import { createHash } from "node:crypto";
import { type Balances, CELL_SEPARATOR, onHandUnits } from "../../stock/model.js";
import { type Difference, LEDGER, PUBLISHED, type Snapshot } from "../model.js";
import { type ConflictCandidate, type ConflictPolicy, winnerOf } from "./conflict-policy.js";

/** A cell in which the ledger and a source differ, as a comparison has found it. */
export interface DifferingRow {
  readonly comparison: string;
  readonly snapshot: Snapshot;
  readonly difference: Difference;
}

export interface Proposal {
  /** Names the row, its revision, and what is proposed on which balance: another proposal has another id. */
  readonly id: string;
  readonly comparison: string;
  readonly source: string;
  /** Of that source. */
  readonly snapshot: string;
  readonly asOfMs: number;
  readonly sku: string;
  readonly location: string;
  /** What the source reports and what the ledger held at that instant, in the source's measure. */
  readonly sourceUnits: number;
  readonly ledgerUnits: number;
  /** The source's units minus the ledger's, without what events around the instant explain. */
  readonly gapUnits: number;
  /** Who is right by the policy: a source, or the ledger; undefined: a person chooses. */
  readonly winner?: string;
  /** Signed: what the ledger would add to sellable; 0: nothing can be corrected there. */
  readonly correctionUnits: number;
  /** Lost units that are not sellable: a person decides about their orders first. */
  readonly restUnits: number;
  /** What the cell held on hand when this was proposed; approved only while it still does. */
  readonly onHandUnits: number;
}

/** Characters of 6 bits: 96 bits, so no two rows of a comparison have the same key. */
const ROW_KEY_LENGTH = 16;

/** Names a row of a comparison: the source and the cell. */
export const rowKeyOf = (source: string, sku: string, location: string): string =>
  createHash("sha256")
    .update([source, sku, location].join(CELL_SEPARATOR))
    .digest("base64url")
    .slice(0, ROW_KEY_LENGTH);

/** The parts of a proposal's id, or undefined when it is not one. */
export function parseProposalId(id: string): { comparison: string; row: string; revision: number } | undefined {
  const found = /^(.+)~([\w-]{16})\.([1-9]\d{0,2})\.\d+\.-?\d+$/.exec(id);
  if (!found) return undefined;
  const [, comparison, row, revision] = found as unknown as [string, string, string, string];
  return { comparison, row, revision: Number(revision) };
}

/** The gap without what events around the instant explain, with its sign. */
export function gapOf({ aUnits, bUnits, explainedUnits }: Difference): number {
  const gap = aUnits - bUnits;
  return Math.sign(gap) * Math.max(0, Math.abs(gap) - explainedUnits);
}

/** What a proposal is made from: a row of a comparison, without what changes with the balance. */
export type ProposalBase = Omit<Proposal, "id" | "correctionUnits" | "restUnits" | "onHandUnits">;

export function baseOf({ comparison, snapshot, difference }: DifferingRow, winner: string | undefined): ProposalBase {
  const { sku, location, aUnits, bUnits } = difference;
  return {
    comparison,
    source: snapshot.source,
    snapshot: snapshot.id,
    asOfMs: snapshot.asOfMs,
    sku,
    location,
    sourceUnits: aUnits,
    ledgerUnits: bUnits,
    gapUnits: gapOf(difference),
    ...(winner === undefined ? {} : { winner }),
  };
}

/**
 * What is proposed on these balances.
 * @param revision from 1; a refused approval is followed by the next
 */
export function proposalOf(base: ProposalBase, balances: Balances, revision: number): Proposal {
  const { comparison, source, sku, location, gapUnits, winner } = base;
  // The engine's own publication is no evidence about goods.
  const isCorrected = source !== PUBLISHED && (winner === undefined || winner === source);
  const wantedUnits = isCorrected ? gapUnits : 0;
  const correctionUnits = wantedUnits < 0 ? -Math.min(-wantedUnits, balances.sellable) || 0 : wantedUnits;
  const held = onHandUnits(balances);
  return {
    ...base,
    id: `${comparison}~${rowKeyOf(source, sku, location)}.${revision}.${held}.${correctionUnits}`,
    correctionUnits,
    restUnits: Math.abs(wantedUnits - correctionUnits),
    onHandUnits: held,
  };
}

/** What another source of the comparison says about the cell. */
export interface OtherReport {
  readonly source: string;
  readonly asOfMs: number;
  /** Its gap to the ledger; 0: none was found; undefined: it may not report the cell at all. */
  readonly gapUnits: number | undefined;
}

/**
 * Who is right about a row: its source, or the ledger (then the source has to be corrected); undefined: a person
 * chooses. All reports are compared as gaps to the ledger, so instants and measures do not matter.
 */
export function rowWinner(
  policy: ConflictPolicy,
  { snapshot, difference }: DifferingRow,
  others: readonly OtherReport[],
): string | undefined {
  if (snapshot.source === PUBLISHED) return LEDGER;
  const gapUnits = gapOf(difference);
  const { source, asOfMs } = snapshot;
  const candidates: ConflictCandidate[] = [{ source, units: gapUnits, asOfMs }];
  for (const other of others)
    if (other.source !== PUBLISHED)
      candidates.push({ source: other.source, units: other.gapUnits ?? Number.NaN, asOfMs: other.asOfMs });
  // The ledger has an entry at every instant, so it can be ranked, but is no newest report.
  if (policy.policy !== "newest") candidates.push({ source: LEDGER, units: 0, asOfMs });
  const decision = winnerOf(policy, candidates);
  if (decision.outcome === "ask" || Number.isNaN(decision.candidate.units)) return undefined;
  if (decision.candidate.units === gapUnits) return source;
  return decision.candidate.units === 0 ? LEDGER : decision.candidate.source;
}
