/**
 * The consistency job (R14, R15): decides when sources and ledger are compared, and opens and closes breakers by what
 * the comparisons say. It is a pure state machine over the topic `consistency`; comparisons and changes of breakers are
 * its emits, executed by the engine's own sink, and their results come back as events. A breaker opens for ten minutes,
 * becomes half-open, and is closed or opened again by a comparison that was asked for after that. The state of breakers
 * is observed, not assumed: a change by an operator, a lost write and a failover are seen alike, and the job decides
 * again. It never undoes an operator's opening, and an operator's closing stands until a newer snapshot disagrees.
 */
import { MINUTE_MS } from "../../kernel/clock.js";
import { type ComparisonCause, PUBLISHED } from "../../reconciliation/model.js";
import { TICK_KIND, type TopicEvent } from "../../stream/event-entry.js";
import type { Job, JobContext } from "../../stream/job.js";
import { ANSWER_MS, decide, deleteScopes, type Effects, scopeOf } from "./decisions.js";
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
  REFRESH_EMIT,
  REQUESTED_EVENT,
  type RefreshCommand,
  SET_BREAKER_EMIT,
  type SetBreakerCommand,
  SNAPSHOT_EVENT,
  type Verdict,
} from "./events.js";
import { observe } from "./observation.js";
import {
  type ComparisonUnderWay,
  type ConsistencyFigures,
  type ConsistencyState,
  newConsistencyState,
  type RefusingBreaker,
  recordChange,
} from "./state.js";

export const CONSISTENCY_JOB = "consistency.1";

/** Fresh snapshots are asked for so long before a breaker becomes half-open: pulling them takes less. */
const REFRESH_BEFORE_MS = MINUTE_MS;

/** Half-open breakers that one comparison judges: 200 bytes each in its event of 64 KiB. More follow with the next. */
const MAX_JUDGED = 100;

/** Causes by importance: of several that wait, the comparison states the first. */
const CAUSES: readonly ComparisonCause[] = ["schedule", "half_open", "demand", "snapshot"];

type State = ConsistencyState;

export const consistencyJob: Job<TopicEvent, State> = {
  name: CONSISTENCY_JOB,
  key: ({ key }) => (key === COMPARISON_KEY ? key : undefined),
  initial: newConsistencyState,

  onEvent(state, { kind, payload }, context) {
    if (kind === TICK_KIND) {
      refresh(context);
      compare(state, "schedule", context);
    } else if (kind === SNAPSHOT_EVENT) compare(state, "snapshot", context);
    else if (kind === REQUESTED_EVENT) compare(state, "demand", context);
    else if (kind === COMPARED_EVENT) onCompared(state, payload as ComparedEvent, context);
    else if (kind === COMPARISON_FAILED_EVENT) onFailed(state, payload as ComparisonFailedEvent, context);
    else if (kind === BREAKERS_EVENT) onBreakers(state, payload as BreakersEvent, context);
    else throw new Error(`the kind of event ${kind} is unknown`);
    setNextTimer(state, context);
  },

  onTimer(state, _atMs, context) {
    const nowMs = context.watermarkMs;
    const { comparing } = state;
    if (comparing && comparing.askedMs + ANSWER_MS <= nowMs) {
      // Under the same id: whichever answer comes first counts, and a worker that is slow is not asked for more.
      state.comparing = { ...comparing, askedMs: nowMs };
      ask(state, state.comparing, context);
    }
    const { failed } = state;
    if (failed && !comparing && failed.atMs + ANSWER_MS <= nowMs) compare(state, failed.cause, context);
    for (const known of Object.values(state.scopes)) {
      if (!known.wanted || known.wanted.askedMs + ANSWER_MS > nowMs) continue;
      delete known.wanted;
      compare(state, "half_open", context);
    }
    const ends = endsOf(state).filter((endMs) => endMs - REFRESH_BEFORE_MS <= nowMs);
    if (ends.length > 0) {
      state.refreshedForMs = Math.max(...ends);
      refresh(context);
    }
    setNextTimer(state, context);
  },

  view: figuresOf,
};

const refresh = (context: JobContext): void =>
  context.emit(REFRESH_EMIT, { atMs: context.watermarkMs } satisfies RefreshCommand);

/** Asks for a comparison; while one is under way, for one more after it, however many ask. */
function compare(state: State, cause: ComparisonCause, context: JobContext): void {
  if (state.comparing) {
    const { pending = cause } = state;
    state.pending = CAUSES.indexOf(cause) < CAUSES.indexOf(pending) ? cause : pending;
    return;
  }
  const number = ++state.asked;
  const id = `${context.watermarkMs}-${number}`;
  state.comparing = { number, id, cause, askedMs: context.watermarkMs };
  ask(state, state.comparing, context);
}

function ask(state: State, { id, cause }: ComparisonUnderWay, context: JobContext): void {
  const scopes = Object.entries(state.scopes)
    .filter(([, known]) => known.state === "half_open" && !known.wanted)
    .slice(0, MAX_JUDGED)
    .map(([scope, { evidence }]) => ({
      scope,
      ...(evidence && { pair: evidence.pair, ...(evidence.cells && { cells: evidence.cells }) }),
    }));
  context.emit(COMPARE_EMIT, { id, cause, scopes } satisfies CompareCommand);
}

function onCompared(state: State, compared: ComparedEvent, context: JobContext): void {
  const { comparing } = state;
  // A comparison that is reported twice, or that was given up.
  if (comparing?.id !== compared.request) return;
  delete state.comparing;
  delete state.failed;
  const { comparison, verdicts, mode, nextDueMs } = compared;
  state.last = comparison;
  state.unlisted = compared.unlisted;
  state.over = verdicts.filter(({ verdict }) => verdict === "over");
  state.comparisons++;
  state.mode = mode;
  state.nextDueMs = nextDueMs;
  if (comparison.snapshots.some(({ source }) => source !== PUBLISHED)) state.reportedMs = context.watermarkMs;
  const effects = effectsOf(state, context);
  const byScope = new Map(verdicts.map((verdict) => [verdict.scope, verdict]));
  for (const scope of new Set([...Object.keys(state.scopes), ...byScope.keys()])) {
    const verdict = byScope.get(scope);
    const known = state.scopes[scope];
    // It has become half-open since, or there were too many.
    if (known?.state === "half_open" && !known.wanted && !verdict) state.pending ??= "half_open";
    else decide(state, scope, verdict, comparing.number, effects);
  }
  // Of those that only a dry run has recorded, no observation has to come.
  deleteScopes(state, effects.nowMs, (scope) => state.scopes[scope]?.version !== 0);
  comparePending(state, context);
}

/** Half-open breakers are opened again, with the reason; what else follows from comparisons waits for the next. */
function onFailed(state: State, { request, reason }: ComparisonFailedEvent, context: JobContext): void {
  const { comparing } = state;
  if (comparing?.id !== request) return;
  delete state.comparing;
  state.failed = { cause: comparing.cause, reason, atMs: context.watermarkMs };
  const effects = effectsOf(state, context);
  for (const [scope, known] of Object.entries(state.scopes)) {
    const verdict: Verdict = { scope, verdict: "unknown", why: `the comparison has failed (${reason})` };
    if (known.state === "half_open") decide(state, scope, verdict, comparing.number, effects);
  }
  comparePending(state, context);
}

function comparePending(state: State, context: JobContext): void {
  const { pending } = state;
  delete state.pending;
  if (pending) compare(state, pending, context);
}

function onBreakers(state: State, event: BreakersEvent, context: JobContext): void {
  state.mode = event.mode;
  // One that has passed stays until a comparison: it is overdue.
  if (state.nextDueMs === 0 || state.nextDueMs > context.watermarkMs) state.nextDueMs = event.nextDueMs;
  observe(state, event, effectsOf(state, context));
}

function effectsOf(state: State, context: JobContext): Effects {
  const nowMs = context.watermarkMs;
  return {
    nowMs,
    request(scope, { action, isRestoring, evidence, ...change }) {
      const known = scopeOf(state, scope);
      const id = `${nowMs}-${++state.changesAsked}`;
      const ifVersion = known.version;
      known.wanted = { id, action, ifVersion, askedMs: nowMs, ...(evidence && { evidence }), ...mark(isRestoring) };
      const command: SetBreakerCommand = { id, scope, action, ...change, ifVersion, ...(evidence && { evidence }) };
      context.emit(SET_BREAKER_EMIT, command);
    },
    record: (change) => context.emit(BREAKER_CHANGED_EMIT, recordChange(state, { ...change, observedMs: nowMs })),
    compare: (cause) => compare(state, cause, context),
  };
}

const mark = (isRestoring: true | undefined) => (isRestoring ? { isRestoring } : {});

/** The ends of breakers for which fresh snapshots have not been asked yet. */
const endsOf = ({ scopes, refreshedForMs }: State): number[] =>
  Object.values(scopes)
    .filter(({ state, atEnd, untilMs }) => state === "open" && atEnd === "half_open" && untilMs > refreshedForMs)
    .map(({ untilMs }) => untilMs);

function setNextTimer(state: State, context: JobContext): void {
  const times = [
    ...(state.comparing ? [state.comparing.askedMs + ANSWER_MS] : []),
    ...(state.failed && !state.comparing ? [state.failed.atMs + ANSWER_MS] : []),
    ...Object.values(state.scopes).flatMap(({ wanted }) => (wanted ? [wanted.askedMs + ANSWER_MS] : [])),
    ...endsOf(state).map((endMs) => endMs - REFRESH_BEFORE_MS),
  ];
  context.setTimer(times.length === 0 ? undefined : Math.min(...times));
}

function figuresOf(state: State, _key: string, sinceMs: number): ConsistencyFigures {
  const { comparisons, openings, wouldHaveOpened, reportedMs, mode, nextDueMs, scopes, history } = state;
  const breakers = Object.entries(scopes).flatMap(([scope, known]): RefusingBreaker[] => {
    const { state, sinceMs, untilMs, actor, reason, evidence, isOwn = false } = known;
    if (state === "closed") return [];
    return [{ scope, state, sinceMs, untilMs, actor, reason, isByEngine: isOwn, ...(evidence && { evidence }) }];
  });
  return {
    ...{ comparisons, openings, wouldHaveOpened, reportedMs, mode, nextDueMs, breakers },
    last: state.last ?? null,
    isComparing: state.comparing !== undefined,
    failure: state.failed?.reason ?? null,
    unlisted: state.unlisted ?? 0,
    wouldBeOpen: Object.entries(scopes).flatMap(([scope, { wouldOpen }]) => (wouldOpen ? [scope] : [])),
    history: history.filter(({ observedMs }) => observedMs >= sinceMs),
  };
}
