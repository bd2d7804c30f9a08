/**
 * The rows of a comparison that can be settled: each difference between the ledger and a source, with what was decided
 * about it, or what is proposed on the balance that the cell has now. Reading rows changes no balance and decides
 * nothing; it records what is proposed, so that an approval names exactly what somebody was shown. Only the differences
 * that the comparison has kept have rows, the greatest of each pair.
 */
import type { CellNow, Corrections } from "../../stock/corrections.js";
import type { Ledger } from "../../stock/ledger.js";
import { CELL_SEPARATOR, cellOf } from "../../stock/model.js";
import type { ComparisonStore, PairDifference } from "../comparison/comparison-store.js";
import { type Comparison, LEDGER, type Snapshot } from "../model.js";
import { ASK_ALWAYS, type ConflictPolicies } from "./conflict-policy.js";
import {
  baseOf,
  type DifferingRow,
  gapOf,
  type OtherReport,
  type Proposal,
  type ProposalBase,
  proposalOf,
  rowKeyOf,
  rowWinner,
} from "./proposal.js";
import { correctionOf } from "./settlement-command.js";
import type { DecisionResult, SettledDecision, SettlementStore, StoredRow } from "./settlement-store.js";

/** Where comparisons are kept. */
export type ComparisonReader = Pick<ComparisonStore, "get" | "list" | "differences">;

export const ROW_STATES = [
  /** Waits for a decision. */
  "proposed",
  /** Approved, and the ledger's answer is not recorded: send the approval again. */
  "approving",
  "approved",
  "rejected",
  /** The cell was corrected, or reported anew, since the snapshot's instant: a newer snapshot shows what is left. */
  "outdated",
  /** The source is wrong by the policy. */
  "source_to_correct",
  /** The lost units are not sellable: somebody decides about their orders. */
  "needs_decision",
] as const;
type RowState = (typeof ROW_STATES)[number];

export interface SettlementRow {
  readonly state: RowState;
  readonly proposal: Proposal;
  readonly decided?: SettledDecision;
  /** The last approval that the ledger refused. */
  readonly refused?: SettledDecision;
}

export interface RowQuery {
  /** Left out: the newest. */
  readonly comparison?: string;
  readonly source?: string;
  readonly location?: string;
  /** `refused`: rows that wait for a decision again after an approval was refused. */
  readonly state?: RowState | "refused";
  readonly after?: number;
  readonly limit: number;
}

export type RowPage =
  | { outcome: "found"; comparison: string; rows: SettlementRow[]; next?: number }
  /** Not known, or its differences are not kept any more. */
  | { outcome: "unknown_comparison" };

export interface SettlementRowsOptions {
  readonly ledger: Pick<Ledger, "partitionOf" | "recall">;
  readonly corrections: Corrections;
  readonly store: SettlementStore;
  readonly comparisons: ComparisonReader;
  /** By the measure of the source's snapshot; left out: a person chooses always. */
  policies?(): Promise<ConflictPolicies>;
}

/** Differences that are looked at together: about 20 ms. */
const PAGE_DIFFERENCES = 500;
/** The same for rows of a state: most are passed over, and each page reads the whole comparison again. */
const STATE_PAGE_DIFFERENCES = 2_500;
/** Differences that one listing looks at. */
const MAX_LOOKED_AT = 5_000;
/** A comparison keeps no more differences of a pair. */
const MAX_OF_PAIR = 10_000;
/** A comparison keeps no more differences in all. */
const MAX_OF_COMPARISON = 100_000;
/** The one that is listed, and the newest: 100,000 gaps × some 150 bytes each. */
const COMPARISONS_AT_HAND = 2;

export class SettlementRows {
  readonly #options: SettlementRowsOptions;
  /** Of the comparisons that were asked for last: gaps to the ledger by row; undefined: they are not kept. */
  readonly #gaps = new Map<string, Promise<LedgerGaps | undefined>>();

  constructor(options: SettlementRowsOptions) {
    this.#options = options;
  }

  /** Rows of a comparison, the greatest gap first. A page may have fewer than `limit`, or none. */
  async list(query: RowQuery): Promise<RowPage> {
    const { comparisons } = this.#options;
    const comparison = await (query.comparison === undefined
      ? comparisons.list(1).then(([newest]) => newest)
      : comparisons.get(query.comparison));
    if (!comparison) return { outcome: "unknown_comparison" };
    const { source, location, state, limit } = query;
    const rows: SettlementRow[] = [];
    let after = query.after ?? 0;
    const pageLimit = state === undefined ? PAGE_DIFFERENCES : STATE_PAGE_DIFFERENCES;
    for (let lookedAt = 0; lookedAt < MAX_LOOKED_AT; lookedAt += pageLimit) {
      const page = await comparisons.differences(comparison.id, {
        ...{ after, limit: pageLimit },
        ...(source !== undefined && { pair: { a: source, b: LEDGER } }),
        ...(location !== undefined && { location }),
      });
      if (!page) return { outcome: "unknown_comparison" };
      const differing = differingRows(comparison, page.differences);
      // Of a state it is known only afterwards how many rows there are.
      const wanted = state === undefined ? differing.slice(0, limit - rows.length) : differing;
      for (const [i, row] of (await this.#rowsOf(comparison, wanted, true)).entries()) {
        if (!isInState(row, state)) continue;
        rows.push(row);
        if (rows.length < limit) continue;
        const next = after + (wanted[i] as DifferingRow & { at: number }).at + 1;
        const isLast = page.next === undefined && i === differing.length - 1;
        return { outcome: "found", comparison: comparison.id, rows, ...(!isLast && { next }) };
      }
      if (page.next === undefined) return { outcome: "found", comparison: comparison.id, rows };
      after = page.next;
    }
    return { outcome: "found", comparison: comparison.id, rows, next: after };
  }

  /**
   * Every row of a source that waits for a decision, as it was shown last: on the balance that somebody has seen.
   * Undefined when the comparison is not known or its differences are not kept any more.
   */
  async proposed(of: {
    comparison: string;
    source: string;
    location?: string | undefined;
  }): Promise<SettlementRow[] | undefined> {
    const comparison = await this.#options.comparisons.get(of.comparison);
    if (!comparison) return undefined;
    const page = await this.#options.comparisons.differences(comparison.id, {
      ...{ pair: { a: of.source, b: LEDGER }, limit: MAX_OF_PAIR },
      ...(of.location !== undefined && { location: of.location }),
    });
    if (!page) return undefined;
    const rows = await this.#rowsOf(comparison, differingRows(comparison, page.differences), false);
    return rows.filter(({ state }) => state === "proposed" || state === "approving");
  }

  /** What the ledger holds in the cells of rows, in their order. */
  async cellsNow(rows: readonly { sku: string; location: string }[]): Promise<CellNow[]> {
    const groups = new Map<number, { cells: string[]; positions: number[] }>();
    for (const [i, { sku, location }] of rows.entries()) {
      const partition = this.#options.ledger.partitionOf(sku);
      const group = groups.get(partition) ?? { cells: [], positions: [] };
      groups.set(partition, group);
      group.cells.push(cellOf(sku, location));
      group.positions.push(i);
    }
    const found = new Array<CellNow>(rows.length);
    await Promise.all(
      [...groups].map(async ([partition, { cells, positions }]) => {
        const now = await this.#options.corrections.cellsNow(partition, cells);
        for (const [k, i] of positions.entries()) found[i] = now[k] as CellNow;
      }),
    );
    return found;
  }

  /** @param isFresh proposes anew where the balance has changed; otherwise what was proposed stays */
  async #rowsOf(comparison: Comparison, rows: readonly DifferingRow[], isFresh: boolean): Promise<SettlementRow[]> {
    const keys = rows.map(({ snapshot: { source }, difference: { sku, location } }) => rowKeyOf(source, sku, location));
    const [stored, now, winners, isSuperseded] = await Promise.all([
      this.#stored(comparison.id, keys),
      this.cellsNow(rows.map(({ difference }) => difference)),
      this.#winners(comparison, rows),
      this.superseded([comparison.id]),
    ]);
    const made: [row: string, proposal: Proposal][] = [];
    const found = rows.map((row, i): SettlementRow => {
      const { decided, refused, proposal: known, revision } = stored[i] as StoredRow;
      if (decided) return { state: decidedStateOf(decided), proposal: decided.decision.proposal, decided };
      const cell = now[i] as CellNow;
      let proposal = proposalOf(baseOf(row, winners[i]), cell.balances, revision);
      if (known && !isFresh) proposal = known;
      else if (known?.id !== proposal.id) made.push([keys[i] as string, proposal]);
      const state = isSuperseded(proposal) ? "outdated" : openStateOf(proposal, cell);
      return { state, proposal, ...(refused && { refused }) };
    });
    await this.#options.store.propose(comparison.id, made);
    return found;
  }

  /**
   * What is stored of rows. Where an approval has no result, because a process ended before it recorded one, the
   * ledger's answer is taken, if it has one.
   */
  async #stored(comparison: string, keys: readonly string[]): Promise<StoredRow[]> {
    const { store, ledger } = this.#options;
    const rows = await store.rows(comparison, keys);
    const open = rows.flatMap(({ decided }) =>
      decided?.decision.kind === "approve" && !decided.result ? [decided.decision] : [],
    );
    if (open.length === 0) return rows;
    const replies = await ledger.recall(open.map(correctionOf));
    const results = open.flatMap((decision, i): [Proposal, DecisionResult][] => {
      const reply = replies[i];
      return reply ? [[decision.proposal, { outcome: reply.outcome, atMs: decision.atMs }]] : [];
    });
    await store.finish(comparison, results);
    return results.length === 0 ? rows : store.rows(comparison, keys);
  }

  /** Who is right about each row, by the policies. */
  async #winners(comparison: Comparison, rows: readonly DifferingRow[]): Promise<(string | undefined)[]> {
    const policies = (await this.#options.policies?.()) ?? ASK_ALWAYS;
    const isAsked = rows.every(({ snapshot }) => policies[snapshot.measure].policy === "ask");
    const found = isAsked ? undefined : await this.#allGaps(comparison.id);
    return rows.map((row) => {
      const others = comparison.snapshots.filter(({ source }) => source !== row.snapshot.source);
      const reports = found ? others.map((other) => reportOf(comparison, other, row, found)) : [];
      return rowWinner(policies[row.snapshot.measure], row, reports);
    });
  }

  /**
   * Whether the source has reported another gap since, or none: then the row's own gap is outdated, and a correction by
   * it would make a new one. By the newest comparison, as far as its differences were kept.
   * @param comparisons of the rows
   */
  async superseded(comparisons: readonly string[]): Promise<(row: ProposalBase) => boolean> {
    const [newest] = await this.#options.comparisons.list(1);
    if (!newest || comparisons.every((id) => id === newest.id)) return () => false;
    const found = await this.#allGaps(newest.id);
    if (!found) return () => false;
    const { gaps, kept } = found;
    return ({ source, asOfMs, sku, location, gapUnits }) => {
      const snapshot = newest.snapshots.find((each) => each.source === source);
      if (!snapshot || snapshot.asOfMs <= asOfMs) return false;
      const gap = gaps.get(gapKeyOf(source, sku, location));
      if (gap !== undefined) return gap !== gapUnits;
      const pair = newest.pairs.find(({ a, b }) => a === source && b === LEDGER);
      return pair !== undefined && (kept.get(source) ?? 0) >= pair.shop.differingCells;
    };
  }

  #allGaps(comparison: string): Promise<LedgerGaps | undefined> {
    const known = this.#gaps.get(comparison);
    if (known) return known;
    const gaps = this.#readGaps(comparison);
    this.#gaps.set(comparison, gaps);
    const [oldest] = this.#gaps.keys();
    if (this.#gaps.size > COMPARISONS_AT_HAND && oldest !== undefined) this.#gaps.delete(oldest);
    gaps.catch(() => this.#gaps.delete(comparison));
    return gaps;
  }

  async #readGaps(comparison: string): Promise<LedgerGaps | undefined> {
    const page = await this.#options.comparisons.differences(comparison, { limit: MAX_OF_COMPARISON });
    if (!page) return undefined;
    const gaps = new Map<string, number>();
    const kept = new Map<string, number>();
    for (const each of page.differences) {
      if (each.b !== LEDGER) continue;
      gaps.set(gapKeyOf(each.a, each.sku, each.location), gapOf(each));
      kept.set(each.a, (kept.get(each.a) ?? 0) + 1);
    }
    return { gaps, kept };
  }
}

/** The gaps to the ledger that are kept of a comparison: by source and cell, and how many of each source. */
interface LedgerGaps {
  readonly gaps: ReadonlyMap<string, number>;
  readonly kept: ReadonlyMap<string, number>;
}

const gapKeyOf = (source: string, sku: string, location: string): string =>
  [source, sku, location].join(CELL_SEPARATOR);

/** The differences of a page that are rows, each with its index in the page. */
function differingRows(
  { id, snapshots }: Comparison,
  differences: readonly PairDifference[],
): (DifferingRow & { at: number })[] {
  const bySource = new Map(snapshots.map((snapshot) => [snapshot.source, snapshot]));
  return differences.flatMap((difference, at) => {
    const snapshot = difference.b === LEDGER ? bySource.get(difference.a) : undefined;
    return snapshot && gapOf(difference) !== 0 ? [{ comparison: id, snapshot, difference, at }] : [];
  });
}

function reportOf(
  { pairs }: Comparison,
  { source, asOfMs }: Snapshot,
  { difference: { sku, location } }: DifferingRow,
  { gaps, kept }: LedgerGaps,
): OtherReport {
  const pair = pairs.find(({ a, b }) => a === source && b === LEDGER);
  // Without a difference it agrees, if it reports every cell that the ledger has and all differences are kept.
  const agrees = pair !== undefined && pair.onlyInB === 0 && (kept.get(source) ?? 0) >= pair.shop.differingCells;
  return { source, asOfMs, gapUnits: gaps.get(gapKeyOf(source, sku, location)) ?? (agrees ? 0 : undefined) };
}

const isInState = ({ state, refused }: SettlementRow, wanted: RowQuery["state"]): boolean =>
  wanted === undefined || (wanted === "refused" ? refused !== undefined : state === wanted);

function decidedStateOf({ decision, result }: SettledDecision): RowState {
  if (decision.kind === "reject") return "rejected";
  if (result === undefined) return "approving";
  // Refused too often to be proposed again.
  return result.outcome === "accepted" ? "approved" : "outdated";
}

function openStateOf(proposal: Proposal, cell: CellNow): RowState {
  if (isOutdated(proposal, cell)) return "outdated";
  if (proposal.winner !== undefined && proposal.winner !== proposal.source) return "source_to_correct";
  return proposal.correctionUnits === 0 ? "needs_decision" : "proposed";
}

/** Whether the cell was corrected since the snapshot's instant: the gap may be gone, or another. */
export const isOutdated = ({ asOfMs }: Proposal, { correctedMs = 0 }: CellNow): boolean => correctedMs > asOfMs;
