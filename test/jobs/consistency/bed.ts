/**
 * The consistency job with a log's clock, timers and a view, and comparisons and breakers that do as the test says:
 * breakers follow the rules of the ledger, with versions. The state is stored and read again after every event, as the
 * runtime does.
 */
import {
  BREAKER_CHANGED_EMIT,
  BREAKERS_EVENT,
  type BreakerMode,
  COMPARE_EMIT,
  COMPARED_EVENT,
  COMPARISON_KEY,
  type CompareCommand,
  type ObservedBreaker,
  REFRESH_EMIT,
  SET_BREAKER_EMIT,
  type SetBreakerCommand,
  type Verdict,
} from "../../../engine/jobs/consistency/events.js";
import { consistencyJob } from "../../../engine/jobs/consistency/job.js";
import type { BreakerHistoryEntry, ConsistencyState } from "../../../engine/jobs/consistency/state.js";
import { ConsistencyView } from "../../../engine/jobs/consistency/view.js";
import type { NewEvent } from "../../../engine/stream/event-entry.js";
import { decodeState, encodeState } from "../../../engine/stream/pack.js";

export const START_MS = Date.UTC(2026, 5, 18, 10);
const DAY_MS = 86_400_000;

interface Emitted {
  kind: string;
  payload: unknown;
}

/** `wms` and the ledger part by 1.2 %. */
export const overBy = (scope = "shop", snapshotMs = START_MS): Verdict => ({
  scope,
  verdict: "over",
  snapshotMs,
  evidence: { comparison: "C1", pair: ["wms", "ledger"], share: 0.012, threshold: 0.005, skus: ["CUP"] },
});
export const within = (scope = "shop"): Verdict => ({ scope, verdict: "within" });
export const unknown = (scope = "shop"): Verdict => ({ scope, verdict: "unknown" });

export class ConsistencyBed {
  readonly view = new ConsistencyView();
  readonly breakers = new Map<string, ObservedBreaker>();
  mode: BreakerMode = "on";
  /** Of the comparisons. */
  unlisted = 0;
  nowMs = START_MS;
  #state = encodeState(consistencyJob.initial(COMPARISON_KEY));
  #timerMs: number | undefined;
  #emits: Emitted[] = [];
  #version = 0;

  get state(): ConsistencyState {
    return decodeState(this.#state) as ConsistencyState;
  }

  get timerMs(): number | undefined {
    return this.#timerMs;
  }

  get history(): [kind: string, by: string, scope: string][] {
    return this.view.history().map(({ kind, by, scope }) => [kind, by, scope]);
  }

  /** Takes the emits of a kind since they were last taken. */
  taken(kind: string): unknown[] {
    const found = this.#emits.filter((emit) => emit.kind === kind);
    this.#emits = this.#emits.filter((emit) => emit.kind !== kind);
    return found.map(({ payload }) => payload);
  }

  compares = (): CompareCommand[] => this.taken(COMPARE_EMIT) as CompareCommand[];
  refreshes = (): number => this.taken(REFRESH_EMIT).length;
  changed = (): BreakerHistoryEntry[] => this.taken(BREAKER_CHANGED_EMIT) as BreakerHistoryEntry[];
  sets = (): SetBreakerCommand[] => this.taken(SET_BREAKER_EMIT) as SetBreakerCommand[];

  event(kind: string, payload: unknown = null): void {
    const place = { offset: 1, index: 0, atMs: this.nowMs, clockMs: this.nowMs };
    this.#call((state, context) =>
      consistencyJob.onEvent(state, { ...place, id: "e", key: COMPARISON_KEY, kind, payload }, context),
    );
  }

  append = ({ kind, payload }: NewEvent): void => this.event(kind, payload);

  /** Moves the log's clock on; timers fire on the way. */
  pass(ms: number): void {
    const untilMs = this.nowMs + ms;
    while (this.#timerMs !== undefined && this.#timerMs <= untilMs) {
      this.nowMs = Math.max(this.nowMs, this.#timerMs);
      const atMs = this.#timerMs;
      this.#timerMs = undefined;
      this.#call((state, context) => consistencyJob.onTimer?.(state, atMs, context));
    }
    this.nowMs = untilMs;
  }

  /** The comparison that was asked for last has these verdicts. */
  compared(...verdicts: Verdict[]): CompareCommand {
    const command = this.compares().at(-1);
    if (!command) throw new Error("no comparison was asked for");
    this.answer(command, ...verdicts);
    return command;
  }

  answer({ id, cause }: CompareCommand, ...verdicts: Verdict[]): void {
    const snapshots = [{ source: "wms", id: "s", measure: "on_hand", asOfMs: 1, completedMs: 1, rows: 1 }];
    const comparison = { id: `C-${id}`, atMs: this.nowMs, cause, durationMs: 1, snapshots, pairs: [], leftOut: {} };
    const nextDueMs = this.nowMs + DAY_MS;
    this.event(COMPARED_EVENT, {
      request: id,
      comparison,
      verdicts,
      unlisted: this.unlisted,
      mode: this.mode,
      nextDueMs,
    });
  }

  /** A breaker changes, by an operator unless a change's id is given. */
  set(scope: string, action: "open" | "half_open" | "close", more: Partial<ObservedBreaker> = {}): void {
    const state = action === "close" ? "closed" : action;
    const cause = { actor: "li.wei", reason: "by hand" };
    this.#version++;
    this.breakers.set(scope, {
      ...{ scope, state, version: this.#version, sinceMs: this.nowMs, untilMs: 0, ...cause, ...more },
    });
  }

  /** The sink executes every change that was asked for, and reports the breakers. Returns the changes. */
  execute(): SetBreakerCommand[] {
    const commands = this.sets();
    for (const { id, scope, action, forMs, atEnd, actor, reason, ifVersion } of commands) {
      if ((this.breakers.get(scope)?.version ?? 0) <= ifVersion) {
        const untilMs = forMs > 0 ? this.nowMs + forMs : 0;
        this.set(scope, action, { untilMs, actor, reason, changeId: id, ...(atEnd && { atEnd }) });
      }
      this.observe();
    }
    return commands;
  }

  /** Reports the breakers as they are now. */
  observe(): void {
    for (const [scope, breaker] of this.breakers) {
      const { state, untilMs, atEnd, ...rest } = breaker;
      if (state !== "open" || untilMs === 0 || untilMs > this.nowMs) continue;
      const ended = atEnd
        ? { state: "half_open" as const, untilMs: 0, sinceMs: untilMs }
        : { state: "closed" as const };
      this.breakers.set(scope, { ...rest, untilMs, ...ended });
    }
    const nextDueMs = this.nowMs + DAY_MS;
    this.event(BREAKERS_EVENT, { breakers: [...this.breakers.values()], hasMore: false, mode: this.mode, nextDueMs });
  }

  #call(run: (state: ConsistencyState, context: Parameters<typeof consistencyJob.onEvent>[2]) => void): void {
    const state = this.state;
    run(state, {
      key: COMPARISON_KEY,
      watermarkMs: this.nowMs,
      emit: (kind, payload) => this.#emits.push({ kind, payload: decodeState(encodeState(payload)) }),
      setTimer: (atMs) => {
        this.#timerMs = atMs;
      },
      late: () => undefined,
      clear: () => undefined,
    });
    this.#state = encodeState(state);
    const view = consistencyJob.view?.(this.state, COMPARISON_KEY, this.nowMs);
    this.view.onView(COMPARISON_KEY, decodeState(encodeState(view)));
  }
}
