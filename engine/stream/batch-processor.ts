/**
 * One partition's jobs at work, in memory: entries in, a commit's body out. Events go to every job in log order;
 * before an event the watermark moves to the log's clock and due timers fire, so the result depends on the log alone
 * and not on how it was cut into reads. Each job has its own cursor and watermark: a job added later starts at the
 * oldest entry and catches up, with the same result as if it had always been there, while the others pass over what
 * they have seen. A call of a job that throws ends the step with PoisonError; the caller starts again from the last
 * commit and asks for care: then every call can be undone, and one that throws leaves a dead letter and nothing else.
 */
import { Unpackr } from "msgpackr";
import { messageOf } from "../kernel/errors.js";
import { CallContext } from "./call-context.js";
import type { CommitBody } from "./commit.js";
import type { DeadLetter, StoredDeadLetter } from "./dead-letter.js";
import type { AnyJob, Emit, LogEvent } from "./job.js";
import { KeyedState, type KeyState, type LoadStates, type StateBefore } from "./keyed-state.js";
import type { LogEntry } from "./log.js";
import { encodeState, PackWriter } from "./pack.js";
import { Timers } from "./timers.js";
import type { Topic } from "./topic.js";

export { decodeState, encodeState } from "./pack.js";

const unpackr = new Unpackr({ useRecords: false });

/**
 * Events decoded at a time, about: few enough to be garbage before the collector has to move them, which costs a
 * quarter of a step otherwise.
 */
const CHUNK_EVENTS = 1_000;
const TIMER_SEPARATOR = "\u001f";
/**
 * Timers in memory, those of the commit under way not counted: past the first number as many as the second stay, the
 * rest is read when its time comes.
 */
const TIMERS_MOST = 40_000;
const TIMERS_KEPT = 20_000;

/** What leaves with a commit, as views and sinks read it. */
export interface OutRecord {
  /** The commit before this one that gave something out: lets a reader see that it missed none. */
  previous: number;
  watermarkMs: number;
  /** In the order in which they are to be taken; a view of null: the key has been given up. */
  views: [job: string, key: string, view: unknown][];
  emits: Emit[];
}

/** Fields of an OutRecord. */
const OUT_FIELDS = 4;

export const decodeOut = (bytes: Buffer): OutRecord => unpackr.unpack(bytes) as OutRecord;

/** A job threw, and what it did cannot be undone: the step is to be made again from the last commit, with care. */
export class PoisonError extends Error {
  override readonly name = "PoisonError";
}

/** All durable timers after a time, up to another. */
export interface TimerPage {
  timers: readonly [member: string, atMs: number][];
  /** Infinity: there are no more. */
  upToMs: number;
}

export interface BatchProcessorOptions<Event extends LogEvent> {
  topic: Topic<Event>;
  jobs: readonly AnyJob<Event>[];
  cursors: ReadonlyMap<string, number>;
  watermarkMs: number;
  /** Events that the log held up to the furthest cursor. */
  totalEvents?: number;
  /** Member and time of every durable timer; with `loadTimers`, of none. */
  timers: readonly [member: string, atMs: number][];
  /** Reads durable timers in the order of their times. Left out: all are in `timers`. */
  loadTimers?(afterMs: number): Promise<TimerPage>;
  loadStates: LoadStates;
  /** Whether commits tell views what changed. */
  withViews: boolean | (() => boolean);
}

/** An entry as read; one that could not be decoded has no events, no time and a letter. */
interface Decoded<Event> {
  clockMs: number;
  events: Event[];
  total?: number;
  deadLetter?: DeadLetter;
}

/** What a job was at when it threw: an entry of the log, or a letter that is tried again. */
interface Source {
  readonly offset: number;
  readonly fields: readonly Buffer[];
  readonly deadLetter?: StoredDeadLetter;
}

/** What a call may change, as it was before it. */
interface Before extends StateBefore {
  timerMs: number | undefined;
  isTimerTouched: boolean;
  emits: number;
  late: number;
}

/** One call that a letter asks for. */
interface Call<Event> {
  source: Source;
  job: number;
  held: KeyState;
  /** Undefined for a timer. */
  event: Event | undefined;
  atMs: number;
}

/** A view on its way into the out record; packed already when it is the state itself. */
type Told = [job: string, key: string, view: unknown, packed: Buffer | undefined];

/**
 * Stands for the key of an event whose job throws when it is asked for it: that is told of when the event's turn
 * comes.
 */
const NO_KEY: KeyState = {
  key: "",
  state: undefined,
  fault: undefined,
  touchedMs: 0,
  life: "kept",
  indexed: [],
  indexing: [],
};

export class BatchProcessor<Event extends LogEvent> {
  readonly #topic: Topic<Event>;
  readonly #jobs: readonly AnyJob<Event>[];
  readonly #loadStates: LoadStates;
  readonly #withViews: () => boolean;
  readonly #loadTimers: BatchProcessorOptions<Event>["loadTimers"];
  readonly #cursors: number[];
  /** By job. */
  readonly #states: readonly KeyedState<Event>[];
  readonly #timers: Timers;
  /** Of each job in the list. */
  readonly #positions: ReadonlyMap<string, number>;
  readonly #context: CallContext;
  /** Of each job: everything up to here has been seen. All timers of a job are later than that. */
  readonly #watermarks: number[];
  #lowestWatermarkMs: number;
  /** The log's clock at the highest offset that any job has seen, and that offset. */
  #watermarkMs: number;
  #reached: number;
  #dead: DeadLetter[] = [];
  #resolvedDeadLetters: string[] = [];
  #isCareful = false;
  #events = 0;
  #total: number;
  readonly #out = new PackWriter();

  constructor(options: BatchProcessorOptions<Event>) {
    const { topic, jobs, cursors, watermarkMs, timers, loadStates, withViews } = options;
    this.#topic = topic;
    this.#jobs = jobs;
    this.#loadStates = loadStates;
    this.#withViews = typeof withViews === "boolean" ? () => withViews : withViews;
    this.#cursors = jobs.map((job) => cursors.get(job.name) ?? 0);
    this.#states = jobs.map((job) => new KeyedState(job));
    this.#loadTimers = options.loadTimers?.bind(options);
    this.#timers = new Timers(jobs.length, this.#loadTimers ? Number.NEGATIVE_INFINITY : undefined);
    this.#positions = new Map(jobs.map((job, position) => [job.name, position]));
    this.#context = new CallContext(this.#timers, jobs.length);
    this.#watermarkMs = watermarkMs;
    this.#total = options.totalEvents ?? 0;
    this.#reached = Math.max(0, ...cursors.values());
    // A job that is behind has no timer due before its next event, and that event brings the time.
    this.#watermarks = this.#cursors.map((cursor) => (cursor === this.#reached ? watermarkMs : 0));
    this.#lowestWatermarkMs = Math.min(...this.#watermarks);
    this.#takeTimers(timers);
  }

  #takeTimers(timers: readonly [member: string, atMs: number][]): void {
    for (const [member, atMs] of timers) {
      const at = member.indexOf(TIMER_SEPARATOR);
      const position = this.#positions.get(member.slice(0, at));
      // A timer of a job that this process does not run stays in Redis for whoever does.
      if (position === undefined) continue;
      const key = member.slice(at + 1);
      // What this step has done to a timer is not in Redis yet.
      if (!this.#context.timersTouched[position]?.has(key)) this.#timers.set(position, key, atMs);
    }
  }

  /** Brings every timer up to a time into memory. */
  async #loadTimersTo(endMs: number): Promise<void> {
    while (this.#loadTimers && this.#timers.horizonMs < endMs) {
      const { timers, upToMs } = await this.#loadTimers(this.#timers.horizonMs);
      this.#takeTimers(timers);
      this.#timers.loadedTo(upToMs);
    }
  }

  /** A commit of this step that changes nothing. */
  idle(): CommitBody {
    return {
      watermarkMs: this.#watermarkMs,
      events: this.#total,
      cursors: new Map(this.#jobs.map((job, j) => [job.name, this.#cursors[j] as number])),
      states: [],
      timersSet: [],
      timersRemoved: [],
      out: undefined,
      deadLetters: [],
      resolvedDeadLetters: [],
    };
  }

  /** The offset after which the log has to be read: the lowest of all jobs. */
  get readAfter(): number {
    return Math.min(...this.#cursors);
  }

  get watermarkMs(): number {
    return this.#watermarkMs;
  }

  /** Late events and events processed since the start. */
  get counts(): { late: number; events: number } {
    return { late: this.#context.lateEvents, events: this.#events };
  }

  /**
   * Processes entries and returns what has to be committed.
   * @param isCareful whether each call can be undone; slower by the packing of a state a call
   * @throws PoisonError without care, when a job throws: this step is of no more use
   */
  async process(entries: readonly LogEntry[], lastOut: number, isCareful = false): Promise<CommitBody> {
    this.#begin(isCareful);
    for (let first = 0; first < entries.length; ) {
      const decoded: Decoded<Event>[] = [];
      let events = 0;
      for (let i = first; i < entries.length && events < CHUNK_EVENTS; i++) {
        const each = this.#decode(entries[i] as LogEntry);
        decoded.push(each);
        events += each.events.length;
      }
      await this.#processChunk(entries.slice(first, first + decoded.length), decoded);
      first += decoded.length;
    }
    return this.#body(lastOut);
  }

  /**
   * Tries letters once more, each on the job that failed; an entry that could not be decoded, on all that have passed
   * it. Cursors and watermark stay where they are, so an event may be late now. The commit takes every letter away
   * and brings a new one for each call that fails again.
   */
  async replay(deadLetters: readonly StoredDeadLetter[], lastOut: number): Promise<CommitBody> {
    this.#begin(true);
    // Many letters may be about one entry.
    const decoded = new Map<number, readonly Event[]>();
    const calls = deadLetters.flatMap((deadLetter) => this.#callsOf(deadLetter, decoded));
    await this.#fetch();
    for (const { source, job, held, event, atMs } of calls) this.#call(job, held, event, atMs, source);
    this.#resolvedDeadLetters = deadLetters.map(({ id }) => id);
    return this.#body(lastOut);
  }

  /** To be called when the commit has been written: forgets what it carried. */
  committed(): void {
    for (const states of this.#states) states.committed();
    for (const [j, keys] of this.#context.timersTouched.entries()) this.#timers.letGo(j, keys);
    if (this.#loadTimers) this.#timers.shrink(TIMERS_MOST, TIMERS_KEPT);
    this.#context.committed();
    this.#dead = [];
    this.#resolvedDeadLetters = [];
  }

  #begin(isCareful: boolean): void {
    this.#isCareful = isCareful;
    for (const states of this.#states) states.begin();
  }

  async #processChunk(entries: readonly LogEntry[], decoded: readonly Decoded<Event>[]): Promise<void> {
    const called = await this.#load(entries, decoded);
    let next = 0;
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[i] as LogEntry;
      const { events, clockMs, total, deadLetter } = decoded[i] as Decoded<Event>;
      // A job that comes later passes the same bytes once more: their letter has been written.
      if (deadLetter && entry.offset > this.#reached) this.#dead.push(deadLetter);
      for (const event of events) {
        if (event.clockMs > this.#lowestWatermarkMs) this.#advance(event.clockMs, entry);
        for (let j = 0; j < this.#jobs.length; j++) {
          if (entry.offset <= (this.#cursors[j] as number)) continue;
          const held = called[next++];
          if (held === NO_KEY) this.#failedKey(j, event, entry);
          else if (held) this.#call(j, held, event, event.atMs, entry);
        }
      }
      if (clockMs > this.#lowestWatermarkMs) this.#advance(clockMs, entry);
      for (let j = 0; j < this.#cursors.length; j++)
        this.#cursors[j] = Math.max(this.#cursors[j] as number, entry.offset);
      this.#reached = Math.max(this.#reached, entry.offset);
      this.#total = Math.max(this.#total, total ?? 0);
      this.#events += events.length;
    }
  }

  #decode(entry: LogEntry): Decoded<Event> {
    try {
      return this.#topic.decode(entry);
    } catch (thrown) {
      const deadLetter = { offset: entry.offset, reason: messageOf(thrown), tries: 1, fields: entry.fields };
      return { clockMs: 0, events: [], deadLetter };
    }
  }

  /**
   * Brings the states that these entries and the timers due by their end may touch into memory.
   * @returns for each event the key of each job that has yet to see it, in this order; undefined for one that does
   *   not care
   */
  async #load(
    entries: readonly LogEntry[],
    decoded: readonly Decoded<Event>[],
  ): Promise<readonly (KeyState | undefined)[]> {
    const called: (KeyState | undefined)[] = [];
    let endMs = 0;
    for (let i = 0; i < entries.length; i++) {
      const { offset } = entries[i] as LogEntry;
      const { events, clockMs } = decoded[i] as Decoded<Event>;
      endMs = Math.max(endMs, clockMs);
      for (const event of events) {
        for (let j = 0; j < this.#jobs.length; j++)
          if (offset > (this.#cursors[j] as number)) called.push(this.#wantKeyOf(j, event));
      }
    }
    await this.#loadTimersTo(endMs);
    for (const { job, key } of this.#timers.due(endMs)) this.#stateOf(job, key);
    await this.#fetch();
    return called;
  }

  #wantKeyOf(j: number, event: Event): KeyState | undefined {
    try {
      const key = (this.#jobs[j] as AnyJob<Event>).key(event);
      return key === undefined ? undefined : this.#stateOf(j, key);
    } catch {
      return NO_KEY;
    }
  }

  async #fetch(): Promise<void> {
    const lacking = this.#states.filter(({ hasWanted }) => hasWanted);
    if (lacking.length > 0) await Promise.all(lacking.map((states) => states.fetch(this.#loadStates)));
  }

  #stateOf(j: number, key: string): KeyState {
    return (this.#states[j] as KeyedState<Event>).want(key);
  }

  /** Moves the watermark; the timers on the way fire. */
  #advance(clockMs: number, entry: LogEntry): void {
    for (let timer = this.#timers.take(clockMs); timer; timer = this.#timers.take(clockMs)) {
      const { job: j, key, atMs } = timer;
      // A job sees a timer's own time as the watermark, however far the log's clock has jumped.
      this.#watermarks[j] = atMs;
      this.#context.timersTouched[j]?.add(key);
      if (this.#jobs[j]?.onTimer) this.#call(j, this.#stateOf(j, key), undefined, atMs, entry);
    }
    let lowestMs = Number.POSITIVE_INFINITY;
    for (let j = 0; j < this.#watermarks.length; j++) {
      const watermarkMs = Math.max(this.#watermarks[j] as number, clockMs);
      this.#watermarks[j] = watermarkMs;
      lowestMs = Math.min(lowestMs, watermarkMs);
    }
    this.#lowestWatermarkMs = lowestMs;
    this.#watermarkMs = Math.max(this.#watermarkMs, clockMs);
  }

  /** The key of an event, or undefined when it has none or there is a letter about it. */
  #keyOf(j: number, event: Event, source: Source): string | undefined {
    const job = this.#jobs[j] as AnyJob<Event>;
    try {
      return job.key(event);
    } catch (thrown) {
      this.#failed(thrown, job.name, undefined, event, event.atMs, source);
      return undefined;
    }
  }

  /** Tells of a key that its job could not name; one that it can name after all would pass over the event otherwise. */
  #failedKey(j: number, event: Event, entry: LogEntry): void {
    const key = this.#keyOf(j, event, entry);
    if (key === undefined) return;
    const { name } = this.#jobs[j] as AnyJob<Event>;
    this.#failed(
      new Error(`${name} names the key of an event only the second time`),
      name,
      key,
      event,
      event.atMs,
      entry,
    );
  }

  /** Has a job handle an event, or its timer when there is none. When it throws, nothing of it stays but a letter. */
  #call(j: number, held: KeyState, event: Event | undefined, atMs: number, source: Source): void {
    const job = this.#jobs[j] as AnyJob<Event>;
    const states = this.#states[j] as KeyedState<Event>;
    const context = this.#context;
    const before = this.#isCareful ? this.#before(j, held) : undefined;
    try {
      states.touch(held, atMs);
      context.enter(j, job.name, held.key, atMs, this.#watermarks[j] as number);
      if (event) job.onEvent(held.state, event, context);
      else job.onTimer?.(held.state, atMs, context);
      if (context.isCleared) {
        states.clear(held);
        context.setTimer(undefined);
      }
      if (before) this.#check(states, held, before);
    } catch (thrown) {
      if (before) this.#undo(j, held, before);
      this.#failed(thrown, job.name, held.key, event, atMs, source);
    }
  }

  /** Writes a letter, or without care ends the step. */
  #failed(
    thrown: unknown,
    job: string,
    key: string | undefined,
    event: Event | undefined,
    atMs: number,
    source: Source,
  ): void {
    const reason = messageOf(thrown);
    if (!this.#isCareful)
      throw new PoisonError(`${job} failed on entry ${source.offset}: ${reason}`, { cause: thrown });
    this.#dead.push({
      offset: source.offset,
      job,
      ...(event ? { index: event.index } : { timerMs: atMs }),
      ...(key === undefined ? {} : { key }),
      reason,
      ...triesOf(source.deadLetter),
      // A timer is no record of the log: the entry that let it fire has nothing to do with it.
      ...(event ? this.#bytesOf(event, source) : { fields: [] }),
    });
  }

  /** What a letter about an event keeps. */
  #bytesOf({ index }: Event, { offset, fields, deadLetter }: Source): Pick<DeadLetter, "fields" | "isOwn"> {
    if (deadLetter?.isOwn) return { fields, isOwn: true };
    const { only } = this.#topic;
    return only ? { fields: only({ offset, fields }, index), isOwn: true } : { fields };
  }

  #before(j: number, held: KeyState): Before {
    return {
      ...(this.#states[j] as KeyedState<Event>).before(held),
      timerMs: this.#timers.at(j, held.key),
      isTimerTouched: this.#context.timersTouched[j]?.has(held.key) ?? false,
      emits: this.#context.emits.length,
      late: this.#context.lateEvents,
    };
  }

  /** Makes sure that what a call left can be committed: what cannot be packed or shown is that call's fault. */
  #check(states: KeyedState<Event>, held: KeyState, { emits }: Before): void {
    if (this.#context.emits.length > emits) encodeState(this.#context.emits.slice(emits));
    states.check(held, this.#withViews());
  }

  #undo(j: number, held: KeyState, before: Before): void {
    this.#context.emits.length = before.emits;
    this.#context.lateEvents = before.late;
    this.#timers.set(j, held.key, before.timerMs);
    if (!before.isTimerTouched) this.#context.timersTouched[j]?.delete(held.key);
    this.#states[j]?.undo(held, before);
  }

  /** What a letter asks for; a call that cannot be made is a letter again. */
  #callsOf(deadLetter: StoredDeadLetter, decoded: Map<number, readonly Event[]>): Call<Event>[] {
    const source: Source = { offset: deadLetter.offset, fields: deadLetter.fields, deadLetter };
    const again = (thrown: unknown): Call<Event>[] => {
      const { id: _, was: __, first: ___, ...record } = deadLetter;
      this.#dead.push({ ...record, reason: messageOf(thrown), ...triesOf(deadLetter) });
      return [];
    };
    try {
      if (deadLetter.timerMs !== undefined && deadLetter.key !== undefined) {
        const job = this.#positionOf(deadLetter);
        return [{ source, job, held: this.#stateOf(job, deadLetter.key), event: undefined, atMs: deadLetter.timerMs }];
      }
      const events = decoded.get(deadLetter.offset) ?? this.#topic.decode(deadLetter).events;
      decoded.set(deadLetter.offset, events);
      if (deadLetter.job !== undefined) {
        const event = events.find(({ index }) => index === deadLetter.index);
        if (!event) throw new Error(`entry ${deadLetter.offset} has no event ${deadLetter.index}`);
        return this.#callOf(this.#positionOf(deadLetter), event, source);
      }
      // A job that has yet to come to the entry will read it in the log.
      return events.flatMap((event) =>
        this.#jobs.flatMap((_, j) =>
          (this.#cursors[j] as number) < deadLetter.offset ? [] : this.#callOf(j, event, source),
        ),
      );
    } catch (thrown) {
      return again(thrown);
    }
  }

  #callOf(job: number, event: Event, source: Source): Call<Event>[] {
    const key = this.#keyOf(job, event, source);
    return key === undefined ? [] : [{ source, job, held: this.#stateOf(job, key), event, atMs: event.atMs }];
  }

  #positionOf({ job, offset }: DeadLetter): number {
    const position = this.#jobs.findIndex(({ name }) => name === job);
    if (position < 0) throw new Error(`there is no job ${job} in this version`);
    if ((this.#cursors[position] as number) < offset) throw new Error(`${job} has yet to come to entry ${offset}`);
    return position;
  }

  #body(lastOut: number): CommitBody {
    const told: Told[] = [];
    const states: CommitBody["states"] = [];
    const timersSet: CommitBody["timersSet"] = [];
    const timersRemoved: string[] = [];
    const withViews = this.#withViews();
    let out: Buffer | undefined;
    try {
      for (let j = 0; j < this.#jobs.length; j++) {
        const { name, view } = this.#jobs[j] as AnyJob<Event>;
        const tell = (key: string, shown: unknown, packed: Buffer | undefined): void => {
          told.push([name, key, shown, packed]);
        };
        const changes = (this.#states[j] as KeyedState<Event>).changes(withViews && view ? tell : undefined);
        states.push({ job: name, ...changes });
        for (const key of this.#context.timersTouched[j] as Set<string>) {
          const atMs = this.#timers.at(j, key);
          const member = name + TIMER_SEPARATOR + key;
          if (atMs === undefined) timersRemoved.push(member);
          else timersSet.push([atMs, member]);
        }
      }
      if (told.length > 0 || this.#context.emits.length > 0) out = this.#packOut(lastOut, told);
    } catch (thrown) {
      // With care every call has been checked already; then it is a job that gives another answer each time, and
      // nothing is committed.
      const message = `this cannot be committed: ${messageOf(thrown)}`;
      throw this.#isCareful ? new Error(message, { cause: thrown }) : new PoisonError(message, { cause: thrown });
    }
    return {
      ...this.idle(),
      states,
      timersSet,
      timersRemoved,
      out,
      deadLetters: this.#dead,
      resolvedDeadLetters: this.#resolvedDeadLetters,
    };
  }

  /** Packs an OutRecord; a view that is the state itself is not packed twice. */
  #packOut(previous: number, told: readonly Told[]): Buffer {
    const writer = this.#out;
    writer.begin();
    writer.map(OUT_FIELDS);
    writer.text("previous");
    writer.number(previous);
    writer.text("watermarkMs");
    writer.number(this.#watermarkMs);
    writer.text("views");
    writer.list(told.length);
    for (const [job, key, view, packed] of told) {
      writer.list(3);
      writer.text(job);
      writer.text(key);
      if (packed) writer.packed(packed);
      else writer.value(view);
    }
    writer.text("emits");
    writer.value(this.#context.emits);
    return writer.take();
  }
}

const triesOf = (deadLetter: StoredDeadLetter | undefined): Pick<DeadLetter, "tries" | "was" | "first"> =>
  deadLetter
    ? { tries: deadLetter.tries + 1, was: deadLetter.id, first: deadLetter.first ?? deadLetter.id }
    : { tries: 1 };
