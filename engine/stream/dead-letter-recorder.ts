/**
 * Collects the dead letters that the next commit writes, and the ids of those that it removes because they were
 * replayed. A call that fails again in a replay gets a new dead letter, which names the one before it. Nothing is
 * written here.
 */
import { messageOf } from "../kernel/errors.js";
import type { DeadLetter, StoredDeadLetter } from "./dead-letter.js";
import type { LogEvent } from "./job.js";
import type { Topic } from "./topic.js";

/** What a job was processing when it threw: an entry of the log, or a dead letter that is replayed. */
export interface CallSource {
  readonly offset: number;
  readonly fields: readonly Buffer[];
  readonly deadLetter?: StoredDeadLetter;
}

/** A call that failed. */
export interface FailedCall<Event> {
  job: string;
  /** Undefined when the job could not name it. */
  key: string | undefined;
  /** Undefined for a timer. */
  event: Event | undefined;
  /** The name of a named timer. */
  timer?: string | undefined;
  atMs: number;
  source: CallSource;
}

export class DeadLetterRecorder<Event extends LogEvent> {
  readonly #topic: Topic<Event>;
  #written: DeadLetter[] = [];
  #resolved: string[] = [];

  constructor(topic: Topic<Event>) {
    this.#topic = topic;
  }

  /** Dead letters to write. */
  get written(): DeadLetter[] {
    return this.#written;
  }

  /** Ids of dead letters to remove. */
  get resolved(): string[] {
    return this.#resolved;
  }

  add(deadLetter: DeadLetter): void {
    this.#written.push(deadLetter);
  }

  addCall({ job, key, event, timer, atMs, source }: FailedCall<Event>, thrown: unknown): void {
    this.#written.push({
      offset: source.offset,
      job,
      ...(event ? { index: event.index } : { timerMs: atMs }),
      ...(timer === undefined ? {} : { timer }),
      ...(key === undefined ? {} : { key }),
      reason: messageOf(thrown),
      ...triesOf(source.deadLetter),
      // A timer is not a record of the log: the entry during which it fired is not at fault.
      ...(event ? this.#bytesOf(event, source) : { fields: [] }),
    });
  }

  /** A replayed dead letter whose call could not be made. */
  addAgain(deadLetter: StoredDeadLetter, thrown: unknown): void {
    const { id: _, was: __, first: ___, ...record } = deadLetter;
    this.#written.push({ ...record, reason: messageOf(thrown), ...triesOf(deadLetter) });
  }

  resolve(deadLetters: readonly StoredDeadLetter[]): void {
    this.#resolved = deadLetters.map(({ id }) => id);
  }

  /** Call this when the commit has been written. */
  committed(): void {
    this.#written = [];
    this.#resolved = [];
  }

  /** What a dead letter about an event keeps of its entry. */
  #bytesOf({ index }: Event, { offset, fields, deadLetter }: CallSource): Pick<DeadLetter, "fields" | "isOwn"> {
    if (deadLetter?.isOwn) return { fields, isOwn: true };
    const { only } = this.#topic;
    return only ? { fields: only({ offset, fields }, index), isOwn: true } : { fields };
  }
}

const triesOf = (deadLetter: StoredDeadLetter | undefined): Pick<DeadLetter, "tries" | "was" | "first"> =>
  deadLetter
    ? { tries: deadLetter.tries + 1, was: deadLetter.id, first: deadLetter.first ?? deadLetter.id }
    : { tries: 1 };
