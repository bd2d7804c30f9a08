/**
 * The contract of a job: a pure step from a key's state and one event (or timer) to that state changed, with emits
 * and a timer. A job reads no clock, no randomness and no other key, so the same log gives the same state on any
 * number of workers. A job whose state changes its shape takes a new name and is filled from the log anew.
 */

/** What the runtime knows of any topic's event. */
export interface LogEvent {
  offset: number;
  index: number;
  /** Event time, milliseconds since the epoch. */
  atMs: number;
  /** The log's own clock at the event: never goes back; drives watermark and timers. */
  clockMs: number;
}

/** What a job may ask for while it handles one event or timer of one key. */
export interface JobContext {
  readonly key: string;
  /** The log's clock: everything up to here has been seen. */
  readonly watermarkMs: number;
  /** Gives an event to the outside, once and for all: it leaves with the commit or not at all. */
  emit(kind: string, payload: unknown): void;
  /**
   * Sets the key's only timer: it fires when the watermark reaches `atMs`; when it has been reached already, as soon
   * as the watermark moves. Undefined removes it.
   */
  setTimer(atMs: number | undefined): void;
  /** Counts an event that came after its window had been given up. */
  late(): void;
  /**
   * Gives the key up: after this call it has no state and no timer, whatever else the call does to them; its emits
   * leave. What comes for the key later, in the same commit or any other, begins with `initial`, and readers are told
   * to forget what they know of it.
   */
  clear(): void;
}

/** What a state is found by: a name, of which there are few, and a number that its entries are ordered by. */
export interface IndexEntry {
  /** Printable ASCII, without control characters. */
  readonly name: string;
  readonly score: number;
}

export interface Job<Event extends LogEvent = LogEvent, State = unknown> {
  /** Name and version of the state, for example `depletion.1`. */
  readonly name: string;
  /** The key that an event belongs to, in the topic's own partitioning; undefined when the job does not care for it. */
  key(event: Event): string | undefined;
  /** State of a key that has none yet. */
  initial(key: string): State;
  /** Changes the state in place. Throws only on an event that is at fault: it becomes a dead letter. */
  onEvent(state: State, event: Event, context: JobContext): void;
  onTimer?(state: State, atMs: number, context: JobContext): void;
  /**
   * What screens and readers are told when a key has changed: absolute values, so that a missed one does no harm
   * after the next. Never null: that tells readers that the key has been given up, and is the runtime's to say.
   * @param sinceMs the earliest event time that touched the key since the last view; 0: tell everything
   */
  view?(state: State, key: string, sinceMs: number): unknown;
  /**
   * What a state is to be found by, each name once: kept beside the states, in the same commit, so that readers need
   * not hold or read them all. Goes by the state alone. A change of what it says needs a new name of the job.
   */
  index?(state: State, key: string): readonly IndexEntry[];
}

/** Jobs of one topic, with events of different kinds inside. */
// biome-ignore lint/suspicious/noExplicitAny: a list of jobs holds jobs of different states
export type AnyJob<Event extends LogEvent> = Job<Event, any>;

/** One emit as it leaves: its id is derived, so a receiver can tell a repeat. */
export interface Emit {
  job: string;
  kind: string;
  key: string;
  /** Event time of the event or timer that caused it. */
  atMs: number;
  payload: unknown;
}
