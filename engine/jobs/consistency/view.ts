/**
 * The consistency job's data as any serving process has it: the last comparison, the breakers with their evidence,
 * their newest changes, and when the next comparison is due. Filled by the follower; reads nothing itself. A breaker
 * is shown as it was observed, about a second ago; the ledger has the present state.
 */
import { PUBLISHED } from "../../reconciliation/model.js";
import type { View } from "../../stream/follower.js";
import type { BreakerMode, ComparisonSummary } from "./events.js";
import { CONSISTENCY_JOB } from "./job.js";
import { type BreakerHistoryEntry, type ConsistencyFigures, HISTORY_KEPT, type RefusingBreaker } from "./state.js";

/** A comparison by schedule that is so late has not taken place: take-overs and long comparisons take less. */
const OVERDUE_MS = 10 * 60_000;

export class ConsistencyView implements View {
  readonly job = CONSISTENCY_JOB;
  #figures: ConsistencyFigures | undefined;
  #history: readonly BreakerHistoryEntry[] = [];
  #revision = 0;

  onView(_key: string, value: unknown): void {
    const figures = value as ConsistencyFigures;
    const last = this.#history.at(-1)?.number ?? 0;
    const news = figures.history.filter(({ number }) => number > last);
    this.#history = [...this.#history, ...news].slice(-HISTORY_KEPT);
    this.#figures = figures;
    this.#revision++;
  }

  onReset(): void {
    this.#figures = undefined;
    this.#history = [];
    this.#revision++;
  }

  /** Changes with everything below. */
  get revision(): number {
    return this.#revision;
  }

  /** The last comparison, with the divergence of each pair; undefined before the first. */
  get last(): ComparisonSummary | undefined {
    return this.#figures?.last ?? undefined;
  }

  /** Whether a comparison is under way. */
  get isComparing(): boolean {
    return this.#figures?.isComparing === true;
  }

  get mode(): BreakerMode {
    return this.#figures?.mode ?? "on";
  }

  /** When the next comparison by schedule is due; undefined before a worker has reported it. */
  get nextDueMs(): number | undefined {
    return this.#figures?.nextDueMs || undefined;
  }

  /** Comparisons so far, openings by the engine, and those that a dry run would have made. */
  get counts(): Pick<ConsistencyFigures, "comparisons" | "openings" | "wouldHaveOpened"> {
    return this.#figures ?? { comparisons: 0, openings: 0, wouldHaveOpened: 0 };
  }

  /** The breakers that refuse orders, as last observed. */
  breakers(): readonly RefusingBreaker[] {
    return this.#figures?.breakers ?? [];
  }

  /** Scopes whose breaker would be open if this were no dry run. */
  wouldBeOpen(): readonly string[] {
    return this.#figures?.wouldBeOpen ?? [];
  }

  /** The newest changes, the newest first. */
  history(limit = HISTORY_KEPT): readonly BreakerHistoryEntry[] {
    return this.#history.slice(-limit).reverse();
  }

  /** What an operator should look into. */
  warnings(nowMs: number): string[] {
    const { last, nextDueMs } = this;
    const { failure, unlisted = 0 } = this.#figures ?? {};
    const opened = this.breakers().filter(({ isByEngine }) => isByEngine);
    return [
      ...opened.map(({ scope, reason }) => `the breaker ${scope} has opened by itself: ${reason}`),
      ...(unlisted > 0 && this.mode === "on"
        ? [`${unlisted} locations or SKUs are above their thresholds without a breaker: too many are at once`]
        : []),
      ...(failure ? [`the last comparison has failed, and is tried again within ten minutes: ${failure}`] : []),
      ...(nextDueMs !== undefined && nowMs - nextDueMs > OVERDUE_MS
        ? [`the comparison of ${new Date(nextDueMs).toISOString()} has not taken place`]
        : []),
      // A deployment without sources has nothing to compare.
      ...(last?.snapshots.every(({ source }) => source === PUBLISHED) && (this.#figures?.reportedMs ?? 0) > 0
        ? ["no outside source has a fresh snapshot: the last comparison compared none"]
        : []),
    ];
  }
}
