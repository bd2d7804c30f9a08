/**
 * Which calls a replay of dead letters has to make. A dead letter of one job asks for one call of that job; a dead
 * letter of an entry that could not be decoded asks for calls of all jobs that have passed the entry. A call that
 * cannot be made (the job does not exist, the entry still cannot be decoded) becomes a dead letter again.
 */
import type { DeadLetter, StoredDeadLetter } from "./dead-letter.js";
import type { CallSource, DeadLetterRecorder } from "./dead-letter-recorder.js";
import type { AnyJob, LogEvent } from "./job.js";
import type { Topic } from "./topic.js";

/** One call to be made. */
export interface ReplayCall<Event> {
  source: CallSource;
  /** Index of the job. */
  job: number;
  key: string;
  /** Undefined for a timer. */
  event: Event | undefined;
  /** The name of a named timer. */
  timer: string | undefined;
  atMs: number;
}

export interface ReplayPlanOptions<Event extends LogEvent> {
  topic: Topic<Event>;
  jobs: readonly AnyJob<Event>[];
  /** Last offset that each job has processed. */
  cursors: readonly number[];
  deadLetters: DeadLetterRecorder<Event>;
}

export class ReplayPlan<Event extends LogEvent> {
  readonly #options: ReplayPlanOptions<Event>;
  /** Several dead letters may be about one entry. */
  readonly #decoded = new Map<number, readonly Event[]>();

  constructor(options: ReplayPlanOptions<Event>) {
    this.#options = options;
  }

  callsOf(deadLetter: StoredDeadLetter): ReplayCall<Event>[] {
    try {
      return this.#plan(deadLetter);
    } catch (thrown) {
      this.#options.deadLetters.addAgain(deadLetter, thrown);
      return [];
    }
  }

  #plan(deadLetter: StoredDeadLetter): ReplayCall<Event>[] {
    const { jobs, cursors } = this.#options;
    const { offset, fields, key, timer, timerMs } = deadLetter;
    const source: CallSource = { offset, fields, deadLetter };
    if (timerMs !== undefined && key !== undefined) {
      const job = this.#indexOf(deadLetter);
      if (timer !== undefined && !jobs[job]?.timers?.includes(timer))
        throw new Error(`${deadLetter.job} has no timer ${JSON.stringify(timer)}`);
      return [{ source, job, key, event: undefined, timer, atMs: timerMs }];
    }
    const events = this.#eventsOf(deadLetter);
    if (deadLetter.job !== undefined) {
      const event = events.find(({ index }) => index === deadLetter.index);
      if (!event) throw new Error(`entry ${offset} has no event ${deadLetter.index}`);
      return this.#callOf(this.#indexOf(deadLetter), event, source);
    }
    // A job that has not reached the entry yet will read it in the log.
    return events.flatMap((event) =>
      jobs.flatMap((_, job) => ((cursors[job] as number) < offset ? [] : this.#callOf(job, event, source))),
    );
  }

  #eventsOf(deadLetter: StoredDeadLetter): readonly Event[] {
    const events = this.#decoded.get(deadLetter.offset) ?? this.#options.topic.decode(deadLetter).events;
    this.#decoded.set(deadLetter.offset, events);
    return events;
  }

  #callOf(job: number, event: Event, source: CallSource): ReplayCall<Event>[] {
    const { jobs, deadLetters } = this.#options;
    const called = jobs[job] as AnyJob<Event>;
    const { atMs } = event;
    let key: string | undefined;
    try {
      key = called.key(event);
    } catch (thrown) {
      deadLetters.addCall({ job: called.name, key: undefined, event, atMs, source }, thrown);
    }
    return key === undefined ? [] : [{ source, job, key, event, timer: undefined, atMs }];
  }

  #indexOf({ job, offset }: DeadLetter): number {
    const { jobs, cursors } = this.#options;
    const index = jobs.findIndex(({ name }) => name === job);
    if (index < 0) throw new Error(`this version has no job ${job}`);
    if ((cursors[index] as number) < offset) throw new Error(`${job} has not reached entry ${offset} yet`);
    return index;
  }
}
