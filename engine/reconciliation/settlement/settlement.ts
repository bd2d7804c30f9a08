/**
 * Settles differences between the ledger and a source (R13, R14): books the correction of a row when somebody approves
 * it. A correction is one event of the stock log, compared and set against the balance that it was proposed on: a row
 * that has changed since is refused and proposed anew. A cell that was corrected since the snapshot's instant, or of
 * which the source reports another gap by now, has to be compared again first. Approving twice, by whatever clients,
 * books one event. The decision is recorded before the ledger is called: after a crash between them the same approval,
 * sent again, completes it. A source that is wrong is not corrected from here; its row is gone when a later snapshot is
 * equal.
 */
import type { Clock } from "../../kernel/clock.js";
import type { CellNow, Corrections } from "../../stock/corrections.js";
import type { Ledger } from "../../stock/ledger.js";
import type { Outcome, Reply } from "../../stock/model.js";
import type { ConflictPolicies } from "./conflict-policy.js";
import { type Proposal, parseProposalId, proposalOf } from "./proposal.js";
import { correctionOf } from "./settlement-command.js";
import { type ComparisonReader, isOutdated, type RowPage, type RowQuery, SettlementRows } from "./settlement-rows.js";
import {
  type Decision,
  type DecisionResult,
  MAX_REVISIONS,
  type SettledDecision,
  type SettlementStore,
  type StandingDecision,
  type StoredRow,
} from "./settlement-store.js";

/** Proposals by their ids, or every row of a source in a comparison that waits for a decision. */
export type Selection =
  | { readonly ids: readonly string[] }
  | { readonly comparison: string; readonly source: string; readonly location?: string | undefined };

export interface SettlementCause {
  /** The authenticated user or token. */
  readonly actor: string;
  readonly onBehalfOf?: string;
  readonly reason: string;
}

/** How a row of a request ended; a refusal of the ledger is among them. */
export type RowOutcome =
  | "approved"
  | "rejected"
  /** Not proposed (any more): list the rows again. */
  | "unknown_proposal"
  /** The cell was corrected since the snapshot's instant, or its source has reported another gap. */
  | "outdated"
  /** Nothing can be corrected in the ledger. */
  | "not_correctable"
  /** It was approved, and the ledger's answer is not recorded: send the approval again. */
  | "approving"
  | Exclude<Outcome, "accepted">;

export interface RowAnswer {
  /** As the request named it. */
  readonly id: string;
  readonly outcome: RowOutcome;
  /** It was decided before; the outcome states how. */
  readonly repeated: boolean;
  /** What is proposed now, on the balance that the cell has now. */
  readonly next?: Proposal;
}

export type SettlementAnswer =
  | { outcome: "decided"; rows: RowAnswer[] }
  | { outcome: "unknown_comparison" }
  /** Nothing was decided: the rows that wait for a decision, or their units, are more than the limits. */
  | { outcome: "over_limit"; rows: number; units: number };

/** What one request may decide. */
export interface SettlementLimits {
  readonly rows: number;
  /** Sum of the corrections without their signs. */
  readonly units: number;
}

/** Rows that one request decides: each is some six calls of 5 µs and one command, so 2,000 take Redis about 100 ms. */
export const MAX_SETTLED_ROWS = 2_000;

export interface SettlementOptions {
  readonly ledger: Pick<Ledger, "applyMany" | "partitionOf" | "recall">;
  readonly corrections: Corrections;
  readonly store: SettlementStore;
  readonly comparisons: ComparisonReader;
  /** By the measure of the source's snapshot; left out: a person chooses always. */
  policies?(): Promise<ConflictPolicies>;
  /** The shop's clock. */
  readonly clock: Clock;
}

/** A row that a request names. */
interface SelectedRow {
  readonly id: string;
  /** Undefined: not known. */
  readonly proposal?: Proposal;
  readonly decided?: SettledDecision;
}

/** The same with the decision that stands now. */
interface DecidedRow extends SelectedRow {
  readonly decision: Decision | undefined;
  /** This request has made it. */
  readonly isNew: boolean;
  readonly obstacle: RowOutcome | undefined;
}

const NO_OBSTACLES: ReadonlyMap<string, RowOutcome> = new Map();

export class Settlement {
  readonly #options: SettlementOptions;
  readonly #rows: SettlementRows;
  /** Answers of this process by their outcome. */
  readonly counted = new Map<RowOutcome, number>([
    ["approved", 0],
    ["rejected", 0],
  ]);

  constructor(options: SettlementOptions) {
    this.#options = options;
    this.#rows = new SettlementRows(options);
  }

  /** Rows of a comparison with what is proposed now, the greatest gap first. */
  list(query: RowQuery): Promise<RowPage> {
    return this.#rows.list(query);
  }

  /** Decisions about all comparisons of the last 30 days, newest first. @param after a proposal's id */
  decisions(limit: number, after?: string): ReturnType<SettlementStore["decisions"]> {
    return this.#options.store.decisions(limit, after);
  }

  /**
   * Books the corrections of these proposals. Safe to repeat.
   * @throws EngineError as the ledger: the same approval, sent again, completes it
   */
  approve(selection: Selection, cause: SettlementCause, limits: SettlementLimits): Promise<SettlementAnswer> {
    return this.#settle("approve", selection, cause, limits);
  }

  /** Records that these rows are not settled by a correction. A row that was approved before stays so. */
  reject(selection: Selection, cause: SettlementCause, limits: SettlementLimits): Promise<SettlementAnswer> {
    return this.#settle("reject", selection, cause, limits);
  }

  async #settle(
    kind: Decision["kind"],
    selection: Selection,
    cause: SettlementCause,
    limits: SettlementLimits,
  ): Promise<SettlementAnswer> {
    const selected = await this.#select(selection);
    if (!selected) return { outcome: "unknown_comparison" };
    const open = selected.flatMap(({ proposal, decided }) => (proposal && !decided ? [proposal] : []));
    const units = open.reduce((sum, { correctionUnits }) => sum + Math.abs(correctionUnits), 0);
    if (open.length > limits.rows || (kind === "approve" && units > limits.units))
      return { outcome: "over_limit", rows: open.length, units };
    const kept = kind === "approve" ? await this.#withoutObstacle(open) : { decidable: open, obstacles: NO_OBSTACLES };
    const standing = await this.#decide(kind, kept.decidable, cause);
    const rows = selected.map((row): DecidedRow => {
      const { decision, isNew = false } = standing.get(row.id) ?? { decision: row.decided?.decision };
      return { ...row, decision, isNew, obstacle: kept.obstacles.get(row.id) };
    });
    const booked = await this.#book(kind === "approve" ? rows.flatMap(unbookedOf) : []);
    const answers = await this.#withNext(
      rows.map((row) => answerOf(row, booked)),
      rows,
    );
    for (const { outcome } of answers) this.counted.set(outcome, (this.counted.get(outcome) ?? 0) + 1);
    return { outcome: "decided", rows: answers };
  }

  async #select(selection: Selection): Promise<SelectedRow[] | undefined> {
    if (!("ids" in selection)) {
      const rows = await this.#rows.proposed(selection);
      return rows?.map(({ proposal, decided }) => ({ id: proposal.id, proposal, ...(decided && { decided }) }));
    }
    const ids = [...new Set(selection.ids)];
    const selected = new Map<string, SelectedRow>(ids.map((id) => [id, { id }]));
    const groups = new Map<string, { id: string; row: string; revision: number }[]>();
    for (const id of ids) {
      const parts = parseProposalId(id);
      if (!parts) continue;
      const group = groups.get(parts.comparison) ?? [];
      groups.set(parts.comparison, group);
      group.push({ id, ...parts });
    }
    for (const [comparison, group] of groups) {
      const stored = await this.#options.store.rows(
        comparison,
        group.map(({ row }) => row),
      );
      for (const [i, { id, revision }] of group.entries())
        selected.set(id, selectedRow(id, revision, stored[i] as StoredRow));
    }
    return [...selected.values()];
  }

  /** Proposals that can be approved now, and why the others cannot. */
  async #withoutObstacle(open: readonly Proposal[]) {
    const [now, isSuperseded] = await Promise.all([
      this.#rows.cellsNow(open),
      this.#rows.superseded(open.map(({ comparison }) => comparison)),
    ]);
    const obstacles = new Map<string, RowOutcome>();
    for (const [i, proposal] of open.entries()) {
      if (isOutdated(proposal, now[i] as CellNow) || isSuperseded(proposal)) obstacles.set(proposal.id, "outdated");
      else if (proposal.correctionUnits === 0) obstacles.set(proposal.id, "not_correctable");
    }
    return { decidable: open.filter(({ id }) => !obstacles.has(id)), obstacles };
  }

  /** Records the decisions; those that stand, by the id of what was to be decided. */
  async #decide(
    kind: Decision["kind"],
    proposals: readonly Proposal[],
    cause: SettlementCause,
  ): Promise<ReadonlyMap<string, StandingDecision>> {
    const atMs = this.#options.clock.now();
    const standing = new Map<string, StandingDecision>();
    for (const [comparison, group] of groupedBy(proposals, ({ comparison }) => comparison)) {
      const decisions = group.map((proposal): Decision => ({ kind, proposal, ...cause, atMs }));
      const stored = await this.#options.store.decide(comparison, decisions);
      for (const [i, { id }] of group.entries()) standing.set(id, stored[i] as StandingDecision);
    }
    return standing;
  }

  /** Books approved corrections; the ledger's replies by the proposal's id. */
  async #book(decisions: readonly Decision[]): Promise<ReadonlyMap<string, Reply>> {
    const replies = await this.#options.ledger.applyMany(decisions.map(correctionOf));
    const atMs = this.#options.clock.now();
    const booked = new Map<string, Reply>();
    const results: [Proposal, DecisionResult][] = [];
    for (const [i, { proposal }] of decisions.entries()) {
      const reply = replies[i] as Reply;
      booked.set(proposal.id, reply);
      results.push([proposal, { outcome: reply.outcome, atMs }]);
    }
    for (const [comparison, group] of groupedBy(results, ([{ comparison }]) => comparison))
      await this.#options.store.finish(comparison, group);
    return booked;
  }

  /** Proposes rows anew that the ledger has refused. */
  async #withNext(answers: readonly RowAnswer[], rows: readonly DecidedRow[]): Promise<RowAnswer[]> {
    const refused = rows.flatMap(({ decision }, i) => {
      const { outcome } = answers[i] as RowAnswer;
      const isRefused = decision?.kind === "approve" && outcome !== "approved" && outcome !== "approving";
      return isRefused ? [{ i, proposal: decision.proposal }] : [];
    });
    const now = await this.#rows.cellsNow(refused.map(({ proposal }) => proposal));
    const answered = [...answers];
    const made: Proposal[] = [];
    for (const [k, { i, proposal }] of refused.entries()) {
      const cell = now[k] as CellNow;
      const revision = parseProposalId(proposal.id)?.revision ?? MAX_REVISIONS;
      if (revision >= MAX_REVISIONS || isOutdated(proposal, cell)) continue;
      const next = proposalOf(proposal, cell.balances, revision + 1);
      made.push(next);
      answered[i] = { ...(answers[i] as RowAnswer), next };
    }
    for (const [comparison, group] of groupedBy(made, ({ comparison }) => comparison))
      await this.#options.store.propose(comparison, group.map(withRow));
    return answered;
  }
}

/** The decision of a row whose correction may not be booked. */
const unbookedOf = ({ decision, decided }: DecidedRow): Decision[] =>
  decision?.kind === "approve" && decided?.result === undefined ? [decision] : [];

function answerOf(
  { id, decision, decided, isNew, obstacle }: DecidedRow,
  booked: ReadonlyMap<string, Reply>,
): RowAnswer {
  if (!decision) return { id, outcome: obstacle ?? "unknown_proposal", repeated: false };
  if (decision.kind === "reject") return { id, outcome: "rejected", repeated: !isNew };
  const reply = booked.get(decision.proposal.id);
  const outcome = decided?.result?.outcome ?? reply?.outcome ?? "approving";
  const repeated = decided?.result !== undefined || reply?.repeated === true || !isNew;
  return { id, outcome: outcome === "accepted" ? "approved" : outcome, repeated };
}

const withRow = (proposal: Proposal): [row: string, proposal: Proposal] => [
  parseProposalId(proposal.id)?.row as string,
  proposal,
];

function selectedRow(id: string, revision: number, stored: StoredRow): SelectedRow {
  const { decided, refused, proposal } = stored;
  if (decided && revision === stored.revision) return { id, proposal: decided.decision.proposal, decided };
  // An earlier revision: the row is proposed anew, and this is how that one ended.
  if (refused?.decision.proposal.id === id) return { id, proposal: refused.decision.proposal, decided: refused };
  return proposal?.id === id ? { id, proposal } : { id };
}

function groupedBy<Item>(items: readonly Item[], nameOf: (item: Item) => string): Map<string, Item[]> {
  const groups = new Map<string, Item[]>();
  for (const item of items) {
    const group = groups.get(nameOf(item)) ?? [];
    groups.set(nameOf(item), group);
    group.push(item);
  }
  return groups;
}
