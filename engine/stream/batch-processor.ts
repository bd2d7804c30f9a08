/**
 * Runs one partition's jobs in memory: log entries in, the body of a commit out. Every job gets the events in log
 * order. Before an event the watermark moves to the log's clock and due timers fire, so the result depends on the log
 * alone, not on how it was cut into batches. Each job has its own cursor and watermark: a job that is added later
 * starts at the oldest entry and catches up, while the others skip what they have processed. A call that throws ends
 * the batch with PoisonError; the caller starts again from the last commit in isolated mode, where every call can be
 * undone and one that throws leaves a dead letter and nothing else.
 */
import { messageOf } from "../kernel/errors.js";
import { CallContext } from "./call-context.js";
import type { CommitBody } from "./commit.js";
import type { DeadLetter, StoredDeadLetter } from "./dead-letter.js";
import { DeadLetterRecorder } from "./dead-letter-recorder.js";
import { type DurableTimer, DurableTimers, type LoadTimers } from "./durable-timers.js";
import { LATEST_FORMAT } from "./format.js";
import type { AnyJob, LogEvent } from "./job.js";
import { JobCalls, PoisonError } from "./job-calls.js";
import { KeyedState, type KeyState, type LoadStates } from "./keyed-state.js";
import type { LogEntry } from "./log.js";
import { OutRecordWriter, type ViewUpdate } from "./out-record.js";
import { ReplayPlan } from "./replay-plan.js";
import { versionsOf } from "./state-codec.js";
import type { Topic } from "./topic.js";

/**
 * Events decoded at a time, about: few enough to be garbage before the collector has to move them, which would cost a
 * quarter of the batch's time.
 */
const CHUNK_EVENTS = 1_000;

export interface BatchProcessorOptions<Event extends LogEvent> {
  topic: Topic<Event>;
  jobs: readonly AnyJob<Event>[];
  cursors: ReadonlyMap<string, number>;
  watermarkMs: number;
  /** Events that the log held up to the furthest cursor. */
  totalEvents?: number;
  /** Every durable timer; with `loadTimers`, none. */
  timers: readonly DurableTimer[];
  /** Left out: all timers are in `timers`. */
  loadTimers?: LoadTimers;
  loadStates: LoadStates;
  /** Whether commits publish changed views. */
  withViews: boolean | (() => boolean);
  /** The format that may be written now; left out: the latest. */
  format?: (() => number) | undefined;
}

/** An entry as read; one that could not be decoded has no events, no time and a dead letter. */
interface Decoded<Event> {
  clockMs: number;
  events: Event[];
  total?: number;
  deadLetter?: DeadLetter;
}

/** Stands for the key of an event when the job throws on naming it: reported when the event's turn comes. */
const NO_KEY: KeyState = {
  key: "",
  state: undefined,
  fault: undefined,
  touchedMs: 0,
  life: "kept",
  indexed: [],
  indexing: [],
  openUntilMs: Number.POSITIVE_INFINITY,
  exists: false,
};

export class BatchProcessor<Event extends LogEvent> {
  readonly #topic: Topic<Event>;
  readonly #jobs: readonly AnyJob<Event>[];
  readonly #loadStates: LoadStates;
  readonly #withViews: () => boolean;
  readonly #format: () => number;
  /** Last offset that each job has processed; by job, as the lists below. */
  readonly #cursors: number[];
  readonly #states: readonly KeyedState<Event>[];
  /** Each job's event time: everything up to here has been processed. All timers of a job are later than that. */
  readonly #watermarks: number[];
  readonly #timers: DurableTimers;
  readonly #context: CallContext;
  readonly #calls: JobCalls<Event>;
  readonly #deadLetters: DeadLetterRecorder<Event>;
  readonly #out = new OutRecordWriter();
  /** By job, the kinds of emits that views get, too. */
  readonly #viewedEmits: ReadonlyMap<string, ReadonlySet<string>>;
  /** Versions above 1. */
  readonly #versions: ReadonlyMap<string, number>;
  #lowestWatermarkMs: number;
  /** The log's clock at the highest offset that any job has processed, and that offset. */
  #watermarkMs: number;
  #reached: number;
  #events = 0;
  #total: number;

  constructor(options: BatchProcessorOptions<Event>) {
    const { topic, jobs, cursors, watermarkMs, timers, loadStates, withViews } = options;
    this.#topic = topic;
    this.#jobs = jobs;
    this.#loadStates = loadStates;
    this.#withViews = typeof withViews === "boolean" ? () => withViews : withViews;
    this.#format = options.format ?? (() => LATEST_FORMAT);
    this.#cursors = jobs.map((job) => cursors.get(job.name) ?? 0);
    this.#states = jobs.map((job) => new KeyedState(job));
    this.#viewedEmits = new Map(jobs.map(({ name, viewedEmits = [] }) => [name, new Set(viewedEmits)]));
    this.#timers = new DurableTimers(jobs, timers, options.loadTimers?.bind(options));
    this.#context = new CallContext(this.#timers);
    this.#deadLetters = new DeadLetterRecorder(topic);
    this.#versions = new Map([...versionsOf(jobs)].filter(([, version]) => version > 1));
    this.#watermarkMs = watermarkMs;
    this.#total = options.totalEvents ?? 0;
    this.#reached = Math.max(0, ...cursors.values());
    // A job that is behind has no timer due before its next event, and that event brings the time.
    this.#watermarks = this.#cursors.map((cursor) => (cursor === this.#reached ? watermarkMs : 0));
    this.#lowestWatermarkMs = Math.min(...this.#watermarks);
    this.#calls = new JobCalls({
      jobs,
      states: this.#states,
      watermarks: this.#watermarks,
      timers: this.#timers,
      context: this.#context,
      deadLetters: this.#deadLetters,
      withViews: this.#withViews,
    });
  }

  /** A commit body that changes nothing. */
  idle(): CommitBody {
    return {
      watermarkMs: this.#watermarkMs,
      events: this.#total,
      cursors: new Map(this.#jobs.map((job, j) => [job.name, this.#cursors[j] as number])),
      versions: this.#versions,
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

  /** Late events by job, in the jobs' order, and events processed since the start. */
  get counts(): { late: readonly number[]; events: number } {
    return { late: this.#cursors.map((_, j) => this.#context.lateEvents[j] ?? 0), events: this.#events };
  }

  /**
   * Processes entries and returns what has to be committed.
   * @param lastOut the last commit with a record for views
   * @param isIsolated whether each call can be undone; slower, because each call packs a state
   * @param lastEmits the last commit with emits; undefined while views and emits are one record
   * @throws PoisonError when a job throws and the mode is not isolated: this processor must not be used any more
   */
  async process(
    entries: readonly LogEntry[],
    lastOut: number,
    isIsolated = false,
    lastEmits?: number,
  ): Promise<CommitBody> {
    this.#begin(isIsolated);
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
    return this.#body(lastOut, lastEmits);
  }

  /**
   * Processes dead letters again, each by the job that failed; an entry that could not be decoded, by all jobs that
   * have passed it. Cursors and watermark do not move, so an event may be late now. The commit removes every dead
   * letter and adds a new one for each call that fails again.
   */
  async replay(deadLetters: readonly StoredDeadLetter[], lastOut: number, lastEmits?: number): Promise<CommitBody> {
    this.#begin(true);
    const [topic, jobs, cursors] = [this.#topic, this.#jobs, this.#cursors];
    const plan = new ReplayPlan<Event>({ topic, jobs, cursors, deadLetters: this.#deadLetters });
    const calls = deadLetters
      .flatMap((deadLetter) => plan.callsOf(deadLetter))
      .map((call) => ({ ...call, held: this.#stateOf(call.job, call.key) }));
    await this.#fetch();
    for (const { source, job, held, event, atMs, timer } of calls)
      this.#calls.call(job, held, event, atMs, source, timer);
    this.#deadLetters.resolve(deadLetters);
    return this.#body(lastOut, lastEmits);
  }

  /** Call this when the commit has been written: clears what it carried. */
  committed(): void {
    for (const states of this.#states) states.committed();
    this.#timers.committed();
    this.#context.committed();
    this.#deadLetters.committed();
  }

  #begin(isIsolated: boolean): void {
    this.#calls.isIsolated = isIsolated;
    const format = this.#format();
    for (const states of this.#states) states.begin(format);
  }

  async #processChunk(entries: readonly LogEntry[], decoded: readonly Decoded<Event>[]): Promise<void> {
    const called = await this.#load(entries, decoded);
    let next = 0;
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[i] as LogEntry;
      const { events, clockMs, total, deadLetter } = decoded[i] as Decoded<Event>;
      // A job that is behind reads the same bytes again: their dead letter has been written already.
      if (deadLetter && entry.offset > this.#reached) this.#deadLetters.add(deadLetter);
      for (const event of events) {
        if (event.clockMs > this.#lowestWatermarkMs) this.#advance(event.clockMs, entry, event.index);
        for (let j = 0; j < this.#jobs.length; j++) {
          if (entry.offset <= (this.#cursors[j] as number)) continue;
          const held = called[next++];
          if (held === NO_KEY) this.#calls.failedKey(j, event, entry);
          else if (held) this.#calls.call(j, held, event, event.atMs, entry);
        }
      }
      if (clockMs > this.#lowestWatermarkMs) this.#advance(clockMs, entry, events.length);
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
   * Reads the states that these entries, and the timers due by their end, may change into memory.
   * @returns for each event the key of each job that has not processed it yet, in this order; undefined for a job
   *   that ignores it
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
    await this.#timers.loadTo(endMs);
    for (const { job, key } of this.#timers.keysDue(endMs)) this.#stateOf(job, key);
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

  /** Moves the watermark and fires the timers that become due. */
  #advance(clockMs: number, entry: LogEntry, nextIndex: number): void {
    this.#calls.nextIndex = nextIndex;
    for (let timer = this.#timers.takeDue(clockMs); timer; timer = this.#timers.takeDue(clockMs)) {
      const { job: j, key, atMs, name } = timer;
      // A job sees a timer's own time as the watermark, however far the log's clock has jumped.
      this.#watermarks[j] = atMs;
      if (this.#jobs[j]?.onTimer) this.#calls.call(j, this.#stateOf(j, key), undefined, atMs, entry, name);
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

  #body(lastOut: number, lastEmits: number | undefined): CommitBody {
    const views: ViewUpdate[] = [];
    const states: CommitBody["states"] = [];
    const timersSet: CommitBody["timersSet"] = [];
    const timersRemoved: string[] = [];
    const withViews = this.#withViews();
    let records: Pick<CommitBody, "out" | "emits">;
    try {
      for (let j = 0; j < this.#jobs.length; j++) {
        const { name, view } = this.#jobs[j] as AnyJob<Event>;
        const publish = (key: string, shown: unknown, packed: Buffer | undefined): void => {
          views.push([name, key, shown, packed]);
        };
        const changes = (this.#states[j] as KeyedState<Event>).changes(withViews && view ? publish : undefined);
        states.push({ job: name, ...changes });
        this.#timers.changes(j, timersSet, timersRemoved);
      }
      records = this.#records(views, lastOut, lastEmits);
    } catch (thrown) {
      // In isolated mode every call has been checked already: then a job returns another result each time, and
      // nothing is committed.
      const message = `the batch cannot be committed: ${messageOf(thrown)}`;
      throw this.#calls.isIsolated
        ? new Error(message, { cause: thrown })
        : new PoisonError(message, { cause: thrown });
    }
    return {
      ...this.idle(),
      states,
      timersSet,
      timersRemoved,
      ...records,
      deadLetters: this.#deadLetters.written,
      resolvedDeadLetters: this.#deadLetters.resolved,
    };
  }

  /** One record with views and emits, or one for each stream. */
  #records(
    views: readonly ViewUpdate[],
    lastOut: number,
    lastEmits: number | undefined,
  ): Pick<CommitBody, "out" | "emits"> {
    const { emits } = this.#context;
    const watermarkMs = this.#watermarkMs;
    if (lastEmits === undefined) {
      const isEmpty = views.length === 0 && emits.length === 0;
      return { out: isEmpty ? undefined : this.#out.encode(lastOut, watermarkMs, views, emits) };
    }
    const viewed = emits.filter(({ job, kind }) => this.#viewedEmits.get(job)?.has(kind));
    const isEmpty = views.length === 0 && viewed.length === 0;
    return {
      out: isEmpty ? undefined : this.#out.encode(lastOut, watermarkMs, views, viewed, "viewedEmits"),
      emits: emits.length === 0 ? undefined : this.#out.encodeEmits(lastEmits, watermarkMs, emits),
    };
  }
}
