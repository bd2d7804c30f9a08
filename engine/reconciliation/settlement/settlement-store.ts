/**
 * Proposals and decisions about differing rows, in Redis. A decision and its result are written once and never changed:
 * of two decisions about one revision of a row the first stands, in whatever process. Nothing here corrects a balance,
 * and no result is guessed: a decision without a result is one whose correction the ledger may or may not have, and the
 * same command answers that. Proposals are kept for two days, decisions for 30, as comparisons are.
 */
import { assert } from "../../kernel/errors.js";
import type { Outcome } from "../../stock/model.js";
import { settlementDecisionsKey, settlementLogKey, settlementProposalsKey } from "../../stream/keys.js";
import { readFields } from "../../stream/reads.js";
import type { RedisClient } from "../../stream/redis.js";
import { type Proposal, parseProposalId } from "./proposal.js";

export interface Decision {
  readonly kind: "approve" | "reject";
  readonly proposal: Proposal;
  /** The authenticated user or token. */
  readonly actor: string;
  readonly onBehalfOf?: string;
  readonly reason: string;
  /** By the engine's clock. */
  readonly atMs: number;
}

/** The decision about a revision of a row, and whether the call has made it. */
export interface StandingDecision {
  readonly decision: Decision;
  readonly isNew: boolean;
}

/** The ledger's answer to an approved proposal. */
export interface DecisionResult {
  readonly outcome: Outcome;
  readonly atMs: number;
}

/** A decision and how it ended; of a rejection there is no result. */
export interface SettledDecision {
  readonly decision: Decision;
  readonly result?: DecisionResult;
}

/** What is stored of a row. */
export interface StoredRow {
  /** The revision that may be decided, or has been: one more than approvals were refused. */
  readonly revision: number;
  /** Of this revision; undefined: not proposed yet, or more than two days ago. */
  readonly proposal?: Proposal;
  /** Of this revision. */
  readonly decided?: SettledDecision;
  /** The last approval of the row that the ledger refused. */
  readonly refused?: SettledDecision;
}

const DAY_SECONDS = 86_400;
/** A row is decided within a day, or compared again. A row is about 400 bytes, a comparison's at most 40,000 rows. */
const PROPOSALS_KEPT_SECONDS = 2 * DAY_SECONDS;
const DECISIONS_KEPT_SECONDS = 30 * DAY_SECONDS;
/** Entries of 100 bytes: about 10 MB. */
const LOG_LIMIT = 100_000;
/** A row whose approval was refused so often changes all the time: it is compared again, not proposed again. */
export const MAX_REVISIONS = 50;

const isRefused = ({ result }: SettledDecision): boolean => result !== undefined && result.outcome !== "accepted";

export class SettlementStore {
  readonly #redis: RedisClient;
  readonly #prefix: string;

  constructor(redis: RedisClient, prefix: string) {
    this.#redis = redis;
    this.#prefix = prefix;
  }

  /** What is stored of rows of a comparison, by their keys, in their order. */
  async rows(comparison: string, keys: readonly string[]): Promise<StoredRow[]> {
    if (keys.length === 0) return [];
    const proposals = await readFields(this.#redis, settlementProposalsKey(this.#prefix, comparison), keys);
    const rows: StoredRow[] = keys.map(() => ({ revision: 1 }));
    let open = [...keys.keys()];
    while (open.length > 0) {
      const found = await this.#decided(
        comparison,
        open.map((i) => `${keys[i]}.${(rows[i] as StoredRow).revision}`),
      );
      const refused: number[] = [];
      for (const [k, i] of open.entries()) {
        const { revision, refused: last } = rows[i] as StoredRow;
        const decided = found[k];
        if (decided && isRefused(decided) && revision < MAX_REVISIONS) {
          rows[i] = { revision: revision + 1, refused: decided };
          refused.push(i);
        } else rows[i] = { revision, ...(decided && { decided }), ...(last && { refused: last }) };
      }
      open = refused;
    }
    return rows.map((row, i) => {
      const proposal = parsed<Proposal>(proposals[i] ?? null);
      const isOfRevision = proposal && parseProposalId(proposal.id)?.revision === row.revision;
      return isOfRevision ? { ...row, proposal } : row;
    });
  }

  /** Records what is proposed; replaces what was proposed for the same rows before. */
  async propose(comparison: string, proposals: readonly (readonly [row: string, proposal: Proposal])[]): Promise<void> {
    if (proposals.length === 0) return;
    const key = settlementProposalsKey(this.#prefix, comparison);
    await this.#redis.hset(key, ...proposals.flatMap(([row, proposal]) => [row, JSON.stringify(proposal)]));
    await this.#redis.expire(key, PROPOSALS_KEPT_SECONDS);
  }

  /** Records decisions, and returns those that stand: an earlier one about the same revision of a row stays. */
  async decide(comparison: string, decisions: readonly Decision[]): Promise<StandingDecision[]> {
    if (decisions.length === 0) return [];
    const key = settlementDecisionsKey(this.#prefix, comparison);
    const log = settlementLogKey(this.#prefix);
    const fields = decisions.map(({ proposal }) => `d:${rowOf(proposal)}`);
    // First, so that every decision is listed. An id without a decision is passed over.
    await this.#redis.zadd(log, "NX", ...decisions.flatMap(({ atMs, proposal }) => [atMs, proposal.id]));
    const written = await Promise.all(
      decisions.map((decision, i) => this.#redis.hsetnx(key, fields[i] as string, JSON.stringify(decision))),
    );
    await this.#redis.expire(key, DECISIONS_KEPT_SECONDS);
    const newestMs = (decisions[0] as Decision).atMs;
    await this.#redis.zremrangebyscore(log, "-inf", newestMs - DECISIONS_KEPT_SECONDS * 1_000);
    await this.#redis.zremrangebyrank(log, 0, -LOG_LIMIT - 1);
    const stored = await readFields(this.#redis, key, fields);
    return stored.map((bytes, i) => {
      const decision = parsed<Decision>(bytes ?? null);
      assert(decision, "a decision that was recorded is gone");
      return { decision, isNew: written[i] === 1 };
    });
  }

  /** Records how approvals ended. Safe to repeat: the first result stays. */
  async finish(comparison: string, results: readonly (readonly [Proposal, DecisionResult])[]): Promise<void> {
    if (results.length === 0) return;
    const key = settlementDecisionsKey(this.#prefix, comparison);
    await Promise.all([
      ...results.map(([proposal, result]) => this.#redis.hsetnx(key, `r:${rowOf(proposal)}`, JSON.stringify(result))),
      this.#redis.expire(key, DECISIONS_KEPT_SECONDS),
    ]);
  }

  /** Decisions of all comparisons, newest first. @param after the proposal's id of the last one that is known */
  async decisions(limit: number, after?: string): Promise<{ decisions: SettledDecision[]; next?: string }> {
    const log = settlementLogKey(this.#prefix);
    const rank = after === undefined ? -1 : await this.#redis.zrevrank(log, after);
    const ids = rank === null ? [] : await this.#redis.zrevrange(log, rank + 1, rank + limit);
    const found = await Promise.all(ids.map((id) => this.#decisionOf(id)));
    const next = ids.length === limit ? ids.at(-1) : undefined;
    return { decisions: found.filter((each) => each !== undefined), ...(next === undefined ? {} : { next }) };
  }

  async #decisionOf(id: string): Promise<SettledDecision | undefined> {
    const parts = parseProposalId(id);
    if (!parts) return undefined;
    const [found] = await this.#decided(parts.comparison, [`${parts.row}.${parts.revision}`]);
    return found?.decision.proposal.id === id ? found : undefined;
  }

  async #decided(comparison: string, rows: readonly string[]): Promise<(SettledDecision | undefined)[]> {
    const key = settlementDecisionsKey(this.#prefix, comparison);
    const fields = rows.flatMap((row) => [`d:${row}`, `r:${row}`]);
    const found = await readFields(this.#redis, key, fields);
    return rows.map((_, i) => {
      const decision = parsed<Decision>(found[2 * i] ?? null);
      const result = parsed<DecisionResult>(found[2 * i + 1] ?? null);
      return decision && { decision, ...(result && { result }) };
    });
  }
}

const rowOf = ({ id }: Proposal): string => {
  const parts = parseProposalId(id);
  assert(parts, "the id is not one of a proposal");
  return `${parts.row}.${parts.revision}`;
};

const parsed = <T>(bytes: Buffer | null): T | undefined =>
  bytes === null ? undefined : (JSON.parse(bytes.toString("utf8")) as T);
