/**
 * Calls a partition's jobs, one event or timer at a time. In isolated mode a call is a unit: what a call that throws
 * did to state, timers, emits and counts is undone, and a dead letter remains. Otherwise the first call that throws
 * ends the batch with PoisonError. Which calls are made, and in which order, is decided by the batch processor.
 */
import { messageOf } from "../kernel/errors.js";
import type { CallContext } from "./call-context.js";
import type { ChangePosition } from "./closings.js";
import type { CallSource, DeadLetterRecorder, FailedCall } from "./dead-letter-recorder.js";
import type { DurableTimers, TimersBefore } from "./durable-timers.js";
import type { AnyJob, LogEvent } from "./job.js";
import type { KeyedState, KeyState, StateBefore } from "./keyed-state.js";
import { encodeState } from "./pack.js";

/** A job threw, and what it did cannot be undone: the batch must be processed again in isolated mode. */
export class PoisonError extends Error {
  override readonly name = "PoisonError";
}

/** What a call may change, as it was before the call. */
interface Before {
  state: StateBefore;
  timers: TimersBefore;
  emits: number;
  late: number;
}

/** What calls work on; lists are by job. */
export interface JobCallsParts<Event extends LogEvent> {
  jobs: readonly AnyJob<Event>[];
  states: readonly KeyedState<Event>[];
  watermarks: readonly number[];
  timers: DurableTimers;
  context: CallContext;
  deadLetters: DeadLetterRecorder<Event>;
  withViews(): boolean;
}

export class JobCalls<Event extends LogEvent> {
  /** Whether each call can be undone; slower, because each call packs a state. */
  isIsolated = false;
  /** Of the event in its entry before which timers fire. */
  nextIndex = 0;
  readonly #parts: JobCallsParts<Event>;

  constructor(parts: JobCallsParts<Event>) {
    this.#parts = parts;
  }

  /**
   * Lets a job handle an event, or its timer when there is none. When it throws, only a dead letter remains.
   * @param timer the name of a named timer
   */
  call(j: number, held: KeyState, event: Event | undefined, atMs: number, source: CallSource, timer?: string): void {
    const watermarkMs = this.#parts.watermarks[j] as number;
    const { jobs, states: allStates, context, timers } = this.#parts;
    const job = jobs[j] as AnyJob<Event>;
    const states = allStates[j] as KeyedState<Event>;
    const before = this.isIsolated ? this.#before(j, held) : undefined;
    try {
      if (source.deadLetter) states.removeClosings(held, event?.clockMs ?? atMs, Math.max(...this.#parts.watermarks));
      else if (watermarkMs >= held.openUntilMs) states.close(held, this.#positionOf(event, source, watermarkMs));
      states.touch(held, atMs);
      context.enter(j, job.name, held.key, atMs, watermarkMs);
      if (event) job.onEvent(held.state, event, context);
      else job.onTimer?.(held.state, atMs, context, timer);
      if (context.isCleared) {
        states.clear(held);
        timers.clear(j, held.key);
      }
      if (before) this.#check(states, held, before);
    } catch (thrown) {
      if (before) this.#undo(j, held, before);
      this.#failed({ job: job.name, key: held.key, event, timer, atMs, source }, thrown);
    }
  }

  #positionOf(event: Event | undefined, source: CallSource, clockMs: number): ChangePosition {
    return { offset: source.offset, index: event?.index ?? this.nextIndex, clockMs };
  }

  /** Asks again for a key that the job could not name, to record why; a key on the second try is a failure, too. */
  failedKey(j: number, event: Event, source: CallSource): void {
    const job = this.#parts.jobs[j] as AnyJob<Event>;
    const call = { job: job.name, event, atMs: event.atMs, source };
    let key: string | undefined;
    try {
      key = job.key(event);
    } catch (thrown) {
      this.#failed({ ...call, key: undefined }, thrown);
      return;
    }
    if (key === undefined) return;
    this.#failed({ ...call, key }, new Error(`${job.name} returns the key of an event only on the second call`));
  }

  /** Records a dead letter; ends the batch when it is not isolated. */
  #failed(call: FailedCall<Event>, thrown: unknown): void {
    if (!this.isIsolated) {
      const { job, source } = call;
      throw new PoisonError(`${job} failed on entry ${source.offset}: ${messageOf(thrown)}`, { cause: thrown });
    }
    this.#parts.deadLetters.addCall(call, thrown);
  }

  #before(j: number, held: KeyState): Before {
    const { states, timers, context } = this.#parts;
    return {
      state: (states[j] as KeyedState<Event>).before(held),
      timers: timers.before(j, held.key),
      emits: context.emits.length,
      late: context.lateEvents[j] ?? 0,
    };
  }

  /** Checks that the result of a call can be committed. @throws when state, view or emits cannot be packed */
  #check(states: KeyedState<Event>, held: KeyState, { emits }: Before): void {
    const { context, withViews } = this.#parts;
    if (context.emits.length > emits) encodeState(context.emits.slice(emits));
    states.check(held, withViews());
  }

  #undo(j: number, held: KeyState, before: Before): void {
    const { states, timers, context } = this.#parts;
    context.emits.length = before.emits;
    context.lateEvents[j] = before.late;
    timers.undo(j, before.timers);
    states[j]?.undo(held, before.state);
  }
}
