/**
 * Executes what the consistency job emits: runs comparisons, changes breakers, asks for fresh snapshots. The results
 * are appended to the topic `consistency`, each with the id of its command, so that a command that is executed twice
 * after a crash counts once. While nothing waits, about once a second, it also reads the breakers and appends them
 * when they differ from its last report: so changes by operators, ends by time and lost writes reach the job. Commands
 * are executed one at a time, in order; a comparison that takes five minutes or cannot be made is reported as failed,
 * so that nothing waits behind it for long. Changes of breakers are written to the log.
 */
import { type Clock, MINUTE_MS, stopwatch } from "../../kernel/clock.js";
import { EngineError, messageOf } from "../../kernel/errors.js";
import type { OnTrouble } from "../../kernel/logger.js";
import type { Zone } from "../../kernel/zone.js";
import type { Delivery, DeliveryOutcome, Receiver } from "../../outbox/receiver.js";
import type { Comparison, ComparisonCause } from "../../reconciliation/model.js";
import type { SourceRegistry } from "../../reconciliation/source-registry.js";
import { type BreakerStatus, breakerKey, breakerScopeOf } from "../../stock/breaker.js";
import type { Ledger } from "../../stock/ledger.js";
import type { NewEvent } from "../../stream/event-entry.js";
import { partitionOf } from "../../stream/partition.js";
import { daily, nextDueMs } from "../../stream/schedule.js";
import { ANSWER_MS, ENGINE_ACTOR } from "./decisions.js";
import {
  BREAKER_CHANGED_EMIT,
  BREAKERS_EVENT,
  type BreakersEvent,
  COMPARE_EMIT,
  COMPARED_EVENT,
  COMPARISON_FAILED_EVENT,
  COMPARISON_KEY,
  type CompareCommand,
  type ComparedEvent,
  type ComparisonFailedEvent,
  type ObservedBreaker,
  REFRESH_EMIT,
  type RefreshCommand,
  SET_BREAKER_EMIT,
  type SetBreakerCommand,
} from "./events.js";
import type { ConsistencySettings } from "./options.js";
import { summaryOf, verdictsOf } from "./rules.js";
import type { BreakerChangeKind, BreakerHistoryEntry } from "./state.js";

export interface ConsistencyReceiverOptions {
  readonly name: string;
  readonly partitions: number;
  readonly ledger: Pick<Ledger, "breakers" | "breakerStatuses">;
  readonly comparer: { compare(cause: ComparisonCause, signal?: AbortSignal): Promise<Comparison> };
  readonly settings: ConsistencySettings;
  /** Of the schedule. */
  readonly zone: Zone;
  /** The shop's time. */
  readonly clock: Clock;
  /** Appends events to the topic `consistency`. */
  append(events: readonly NewEvent[]): Promise<void>;
  /** The sources that are pulled. */
  readonly sources: Pick<SourceRegistry, "requestPull">;
  readonly onTrouble: OnTrouble;
}

/** Longer than any comparison, and less than ANSWER_MS, after which the job asks again. */
const COMPARE_LIMIT_MS = 5 * MINUTE_MS;
/** A comparison whose fault may pass is tried for so long: a failover takes less. Changes of breakers wait, too. */
const RETRY_FOR_MS = MINUTE_MS;
/** The job reads an answer within so long. */
const READ_WITHIN_MS = MINUTE_MS;
/** Of a fault's message; it becomes part of a breaker's reason. */
const FAILURE_CHARACTERS = 120;
/** Unchanged breakers are reported again after this time: the last report may be lost. Some 300 events a day. */
const REPORT_AGAIN_MS = 5 * MINUTE_MS;
/** An event holds 64 KiB; breakers beyond this are left out. */
const OBSERVED_BYTES = 48 * 1024;
/** The same for a comparison: beyond it, the SKUs of verdicts, then pairs are left out. */
const COMPARED_BYTES = 60 * 1024;

const WANTED: ReadonlySet<string> = new Set([COMPARE_EMIT, SET_BREAKER_EMIT, REFRESH_EMIT, BREAKER_CHANGED_EMIT]);

export class ConsistencyReceiver implements Receiver {
  readonly name: string;
  readonly #options: ConsistencyReceiverOptions;
  readonly #partition: number;
  /** What was reported last, as text. */
  #reported = "";
  #reportedAge: (() => number) | undefined;
  #isTooOld = false;
  /** The last command that was answered, and how long ago. */
  #answered: { id: string; age: () => number } | undefined;
  /** The command whose comparison fails, and for how long. */
  #failing: { id: string; forMs: () => number } | undefined;

  constructor(options: ConsistencyReceiverOptions) {
    this.name = options.name;
    this.#options = options;
    this.#partition = partitionOf(COMPARISON_KEY, options.partitions);
  }

  wants(kind: string): boolean {
    return WANTED.has(kind);
  }

  async deliver({ id, kind, payload, atMs }: Delivery, signal: AbortSignal): Promise<DeliveryOutcome> {
    try {
      if (kind === COMPARE_EMIT) await this.#compare(payload as CompareCommand, signal);
      else if (kind === SET_BREAKER_EMIT) await this.#setBreaker(payload as SetBreakerCommand, atMs);
      else if (kind === REFRESH_EMIT) await this.#refresh(payload as RefreshCommand);
      else this.#log(payload as BreakerHistoryEntry);
      return { outcome: "done" };
    } catch (thrown) {
      return { outcome: "retry", reason: `${kind} ${id}: ${messageOf(thrown)}` };
    }
  }

  /** Reports the breakers when they have changed. */
  async idle(partition: number): Promise<void> {
    if (partition === this.#partition) await this.#reportBreakers();
  }

  /** What an operator has to do although the process works. */
  warnings(): string[] {
    return this.#isTooOld
      ? ["breakers do not open by themselves before the upgrade is finished: run `shuiwei upgrade --finish`"]
      : [];
  }

  async #compare({ id, cause, scopes }: CompareCommand, signal: AbortSignal): Promise<void> {
    // Asked for again before the answer was read; when that is long ago, a failover has lost the answer.
    if (id === this.#answered?.id && this.#answered.age() < READ_WITHIN_MS) return;
    const { comparer, settings, append } = this.#options;
    const limit = AbortSignal.timeout(COMPARE_LIMIT_MS);
    try {
      const comparison = await comparer.compare(cause, AbortSignal.any([signal, limit]));
      const compared: ComparedEvent = {
        request: id,
        comparison: summaryOf(comparison),
        ...verdictsOf(comparison, settings, scopes),
        mode: settings.mode,
        nextDueMs: this.#nextDueMs(),
      };
      await append([{ id: comparison.id, key: COMPARISON_KEY, kind: COMPARED_EVENT, payload: fitted(compared) }]);
    } catch (thrown) {
      if (signal.aborted || (!limit.aborted && this.#mayPass(id, thrown))) throw thrown;
      await this.#reportFailure(id, limit.aborted ? "it has taken more than five minutes" : messageOf(thrown));
    }
    this.#answered = { id, age: stopwatch() };
  }

  /** Whether a comparison that has failed is tried again at once, before everything else. */
  #mayPass(id: string, thrown: unknown): boolean {
    if (thrown instanceof EngineError && !thrown.retryable) return false;
    if (this.#failing?.id !== id) this.#failing = { id, forMs: stopwatch() };
    return this.#failing.forMs() < RETRY_FOR_MS;
  }

  async #reportFailure(request: string, message: string): Promise<void> {
    const { append, onTrouble } = this.#options;
    const reason = message.slice(0, FAILURE_CHARACTERS);
    const payload: ComparisonFailedEvent = { request, reason };
    await append([{ id: request, key: COMPARISON_KEY, kind: COMPARISON_FAILED_EVENT, payload }]);
    onTrouble(`a comparison has failed: ${message}`);
  }

  async #setBreaker({ id, scope, action, ifVersion, ...wanted }: SetBreakerCommand, askedMs: number): Promise<void> {
    const { ledger, clock } = this.#options;
    // The job has given it up, and decides by a new comparison. It may be a dead letter that is replayed days later.
    if (clock.now() - askedMs > ANSWER_MS) return;
    try {
      await ledger.breakers.setIf(breakerScopeOf(scope), action, { ...wanted, changeId: id }, ifVersion);
      this.#isTooOld = false;
    } catch (thrown) {
      // The job asks again later; until then nothing opens by itself.
      if (!(thrown instanceof EngineError && thrown.code === "format_too_old")) throw thrown;
      this.#isTooOld = true;
    }
    // Also when somebody else was first: then the job decides again.
    await this.#reportBreakers(scope);
  }

  async #refresh({ atMs }: RefreshCommand): Promise<void> {
    const reason = "a comparison that may close or open a breaker is due";
    await this.#options.sources.requestPull({ atMs, actor: ENGINE_ACTOR, reason });
  }

  /** @param named a breaker that has to be among those that are reported; then the event is always appended */
  async #reportBreakers(named?: string): Promise<void> {
    const { ledger, settings, append, clock } = this.#options;
    const observed = (await ledger.breakerStatuses()).map(observedOf).sort(byImportance(named));
    const breakers: ObservedBreaker[] = [];
    let bytes = 0;
    for (const breaker of observed) {
      bytes += Buffer.byteLength(JSON.stringify(breaker));
      if (bytes > OBSERVED_BYTES) break;
      breakers.push(breaker);
    }
    const hasMore = observed.slice(breakers.length).some(({ state }) => state !== "closed");
    const text = JSON.stringify([breakers, hasMore]);
    const isDue = named !== undefined || text !== this.#reported || (this.#reportedAge?.() ?? 0) > REPORT_AGAIN_MS;
    if (!isDue) return;
    const payload: BreakersEvent = { breakers, hasMore, mode: settings.mode, nextDueMs: this.#nextDueMs() };
    await append([{ id: `breakers-${clock.now()}`, key: COMPARISON_KEY, kind: BREAKERS_EVENT, payload }]);
    this.#reported = text;
    this.#reportedAge = stopwatch();
  }

  #log({ scope, kind, actor, reason }: BreakerHistoryEntry): void {
    this.#options.onTrouble(`the breaker ${scope} ${CHANGE_WORDS[kind]}, by ${actor}: ${reason}`);
  }

  #nextDueMs(): number {
    const { settings, clock, zone } = this.#options;
    return nextDueMs(daily(settings.compareAt), clock.now(), zone);
  }
}

const CHANGE_WORDS: Readonly<Record<BreakerChangeKind, string>> = {
  opened: "has opened",
  extended: "has a new end",
  half_opened: "is half-open",
  closed: "has closed",
  would_have_opened: "would have opened (dry run)",
};

function observedOf(status: BreakerStatus): ObservedBreaker {
  const { scope, state, version, sinceMs, untilMs, atEnd, actor, reason, changeId } = status;
  const found = { scope: breakerKey(scope), state, version, sinceMs, untilMs, actor, reason };
  return { ...found, ...(atEnd && { atEnd }), ...(changeId && { changeId }) };
}

/** The named breaker, then those that refuse orders, then those that were changed last. */
const byImportance = (named: string | undefined) => {
  const rank = ({ state, scope }: ObservedBreaker): number => (scope === named ? 0 : state !== "closed" ? 1 : 2);
  return (a: ObservedBreaker, b: ObservedBreaker): number =>
    rank(a) - rank(b) || b.version - a.version || (a.scope < b.scope ? -1 : 1);
};

const bytesOf = (event: ComparedEvent): number => Buffer.byteLength(JSON.stringify(event));

/** The event within its limit. */
function fitted(event: ComparedEvent): ComparedEvent {
  if (bytesOf(event) <= COMPARED_BYTES) return event;
  const verdicts = event.verdicts.map((verdict) => {
    const { skus: _, ...evidence } = verdict.evidence ?? {};
    return { ...verdict, ...(verdict.evidence && { evidence }) } as typeof verdict;
  });
  const comparison = { ...event.comparison, pairs: event.comparison.pairs.slice(0, 10), leftOut: {} };
  return { ...event, verdicts, comparison };
}
