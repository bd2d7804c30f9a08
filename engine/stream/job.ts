/**
 * The contract of a job: a pure function that changes a key's state by one event (or timer), with emits and timers as
 * further results. A job reads no clock, no randomness and no other key, so the same log gives the same state on any
 * number of workers. When the shape of its state changes, its version rises and `upgrade` converts a stored state when
 * it is read next; nothing is folded again. Workers of both versions run at once during a rollout: each partition is
 * the newer version's from its first commit on.
 */

/** What the runtime needs of any topic's event. */
export interface LogEvent {
  offset: number;
  index: number;
  /** Event time, milliseconds since the epoch. */
  atMs: number;
  /** The log's own clock at the event: never decreases; drives watermark and timers. */
  clockMs: number;
}

/** What a job may call while it handles one event or timer of one key. */
export interface JobContext {
  readonly key: string;
  /** The log's clock: everything up to here has been processed. */
  readonly watermarkMs: number;
  /**
   * Publishes an emit to sinks, and to views if its kind is in `viewedEmits`. It leaves with the commit or not at all.
   */
  emit(kind: string, payload: unknown): void;
  /**
   * Sets one of the key's timers: it fires when the watermark reaches `atMs`, or as soon as the watermark moves when
   * `atMs` has passed. Undefined removes the timer.
   * @param name one of the job's `timers`; left out: the unnamed timer, which every key has
   */
  setTimer(atMs: number | undefined, name?: string): void;
  /** Counts an event that arrived after its window was closed. */
  late(): void;
  /**
   * Deletes the key's state and all its timers at the end of the current call, whatever else the call does to them; its
   * emits leave. A later event of the key, in the same commit or another, begins with `initial`. Views get null for it.
   */
  clear(): void;
}

/** An index entry of a state: one of a few names, and a number by which the entries of all keys are ordered. */
export interface IndexEntry {
  /** Printable ASCII, without control characters. */
  readonly name: string;
  readonly score: number;
}

export interface Job<Event extends LogEvent = LogEvent, State = unknown> {
  /** The stored name of its state, cursor and timers, for example `depletion.1`. It never changes. */
  readonly name: string;
  /** Version of the state's shape, from 1; 1 when left out. It rises by one with each change of the shape. */
  readonly version?: number;
  /**
   * Converts a state that an older version wrote. It depends on its arguments alone, and must accept every version
   * from 1 on: a key that did not change under a version in between still has an older one. A version above 1 needs
   * format 3.
   */
  upgrade?(old: unknown, from: number, key: string): State;
  /**
   * Names of a key's further timers, beside the unnamed one: printable ASCII. They need format 3. A durable timer whose
   * name is not in the list any more is removed without a call, so keep an empty list when the last name goes. A new
   * name needs a higher `version`: otherwise a worker of the release before removes its timers. Keys of such a job
   * contain no U+001F.
   */
  readonly timers?: readonly string[];
  /**
   * Keeps each key's state as it was before its first change in a period of the log's clock, for readers of the past
   * (`closings.ts`). Written from format 3 on.
   * @property periodMs a period's length; periods begin at multiples of it since the epoch
   * @property keptMs how long a period's states are stored after the last one was written, by the server's clock
   */
  readonly closings?: { readonly periodMs: number; readonly keptMs: number };
  /** The key that an event belongs to, in the topic's own partitioning; undefined when the job ignores the event. */
  key(event: Event): string | undefined;
  /** The state of a key that has none. */
  initial(key: string): State;
  /** Changes the state in place. Throws only on an invalid event, which becomes a dead letter. */
  onEvent(state: State, event: Event, context: JobContext): void;
  /** @param timer its name; undefined for the unnamed timer */
  onTimer?(state: State, atMs: number, context: JobContext, timer?: string): void;
  /**
   * What views get when a key has changed: absolute values, so that a missed one does no harm after the next. Never
   * null: the runtime publishes null for a cleared key. Serving processes of the previous version read it during a
   * rollout, so a new version may add to it and must not change what is there.
   * @param sinceMs the earliest event time that changed the key since the last view; 0: return everything
   */
  view?(state: State, key: string, sinceMs: number): unknown;
  /** Kinds of emits that views get, too; all others are for sinks alone. */
  readonly viewedEmits?: readonly string[];
  /**
   * The index entries of a state, each name once. They are written in the same commit as the state, so that readers
   * need not read all states. Depends on the state alone. A change of its result needs a new version of the job: the
   * index is then rebuilt.
   */
  index?(state: State, key: string): readonly IndexEntry[];
}

/** A job of any state. */
// biome-ignore lint/suspicious/noExplicitAny: a list of jobs holds jobs of different states
export type AnyJob<Event extends LogEvent> = Job<Event, any>;

/** One emit as it leaves. Its id is derived from its position, so a receiver can recognise a repeat. */
export interface Emit {
  job: string;
  kind: string;
  key: string;
  /** Event time of the event or timer that caused it. */
  atMs: number;
  payload: unknown;
}
