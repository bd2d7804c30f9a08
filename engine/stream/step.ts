/**
 * One partition's jobs at work, in memory: entries in, a commit's body out. Events go to every job in log order; before an event the
 * watermark moves to the log's clock and due timers fire, so the result depends on the log alone and not on how it was cut into reads.
 * Each job has its own cursor and watermark: a job added later starts at the oldest entry and catches up, with the same result as if it
 * had always been there, while the others pass over what they have seen. An event on which a job throws ends the step with
 * PoisonError; the caller starts again from the last commit and leaves that event out.
 */
import { Packr, Unpackr } from "msgpackr";
import { messageOf } from "../kernel/errors.js";
import type { CommitBody } from "./commit.js";
import type { AnyJob, Emit, JobContext, LogEvent } from "./job.js";
import type { LogEntry } from "./log.js";
import { Timers } from "./timers.js";
import type { Topic } from "./topic.js";

const packr = new Packr({ useRecords: false });
const unpackr = new Unpackr({ useRecords: false });

/** Keys kept in memory for one job between commits. */
const CACHE_LIMIT = 20_000;
const TIMER_SEPARATOR = "\u001f";
const CLEAN = Number.POSITIVE_INFINITY;

interface KeyState {
  state: unknown;
  /** The earliest event time that touched the key since the last commit; CLEAN when none did. */
  touchedMs: number;
}

/** What leaves with a commit, as views and sinks read it. */
export interface OutRecord {
  /** The commit before this one that gave something out: lets a reader see that it missed none. */
  previous: number;
  watermarkMs: number;
  views: [job: string, key: string, view: unknown][];
  emits: Emit[];
}

export const decodeOut = (bytes: Buffer): OutRecord => unpackr.unpack(bytes) as OutRecord;
export const decodeState = (bytes: Buffer): unknown => unpackr.unpack(bytes);
export const encodeState = (state: unknown): Buffer => packr.pack(state);

/** A record that could not be processed, with all that is needed to look into it and to try it again. */
export interface DeadLetter {
  offset: number;
  /** Undefined when the entry could not be decoded at all. */
  job?: string;
  index?: number;
  key?: string;
  timerMs?: number;
  reason: string;
  /** Field name, then value, as the log holds them; empty for a timer. */
  fields: Buffer[];
}

/** A job threw: says on what. */
export class PoisonError extends Error {
  override readonly name = "PoisonError";
  /** Names the event or timer for `leaveOut`. */
  readonly id: string;
  readonly letter: DeadLetter;

  constructor(id: string, letter: DeadLetter) {
    super(letter.reason);
    this.id = id;
    this.letter = letter;
  }
}

export type LoadStates = (job: string, keys: string[]) => Promise<(Buffer | null)[]>;

export interface StepOptions<Event extends LogEvent> {
  topic: Topic<Event>;
  jobs: readonly AnyJob<Event>[];
  cursors: ReadonlyMap<string, number>;
  watermarkMs: number;
  /** Events that the log held up to the furthest cursor. */
  totalEvents?: number;
  /** Member and time of every durable timer. */
  timers: readonly [member: string, atMs: number][];
  loadStates: LoadStates;
  /** Whether commits tell views what changed. */
  withViews: boolean;
}

/** The one JobContext of a step, pointed at each event's key in turn: millions of events make no objects. */
class Scope implements JobContext {
  key = "";
  watermarkMs = 0;
  emits: Emit[] = [];
  lateEvents = 0;
  #position = 0;
  #job = "";
  #atMs = 0;

  readonly #setTimer: (job: number, key: string, atMs: number | undefined) => void;

  constructor(setTimer: (job: number, key: string, atMs: number | undefined) => void) {
    this.#setTimer = setTimer;
  }

  enter(position: number, job: string, key: string, atMs: number, watermarkMs: number): void {
    this.#position = position;
    this.#job = job;
    this.key = key;
    this.#atMs = atMs;
    this.watermarkMs = watermarkMs;
  }

  emit(kind: string, payload: unknown): void {
    this.emits.push({ job: this.#job, kind, key: this.key, atMs: this.#atMs, payload });
  }

  setTimer(atMs: number | undefined): void {
    // Never at or before the watermark: so a job that is behind cannot be mistaken for one that is due, and no timer loops for good.
    const soonestMs = this.watermarkMs + 1;
    this.#setTimer(this.#position, this.key, atMs !== undefined && atMs < soonestMs ? soonestMs : atMs);
  }

  late(): void {
    this.lateEvents++;
  }
}

/** An entry as read; one that could not be decoded has no events, no time and a letter. */
interface Decoded<Event> {
  clockMs: number;
  events: Event[];
  total?: number;
  letter?: DeadLetter;
}

const eventId = (job: string, { offset, index }: LogEvent): string => `${job}/${offset}/${index}`;

export class Step<Event extends LogEvent> {
  readonly #topic: Topic<Event>;
  readonly #jobs: readonly AnyJob<Event>[];
  readonly #loadStates: LoadStates;
  readonly #withViews: boolean;
  readonly #cursors: number[];
  readonly #keys: Map<string, KeyState>[];
  readonly #timers: Timers;
  readonly #scope: Scope;
  /** Of each job: everything up to here has been seen. All timers of a job are later than that. */
  readonly #watermarks: number[];
  #lowestWatermarkMs: number;
  /** The log's clock at the highest offset that any job has seen, and that offset. */
  #watermarkMs: number;
  #reached: number;
  /** Keys and timers that the next commit has to write, by job. */
  readonly #dirty: Map<string, KeyState>[];
  readonly #timersTouched: Set<string>[];
  #dead: DeadLetter[] = [];
  #events = 0;
  #total: number;

  constructor(options: StepOptions<Event>) {
    const { topic, jobs, cursors, watermarkMs, timers, loadStates, withViews } = options;
    this.#topic = topic;
    this.#jobs = jobs;
    this.#loadStates = loadStates;
    this.#withViews = withViews;
    this.#cursors = jobs.map((job) => cursors.get(job.name) ?? 0);
    this.#keys = jobs.map(() => new Map());
    this.#timers = new Timers(jobs.length);
    this.#dirty = jobs.map(() => new Map());
    this.#timersTouched = jobs.map(() => new Set());
    this.#scope = new Scope((job, key, atMs) => {
      this.#timers.set(job, key, atMs);
      this.#timersTouched[job]?.add(key);
    });
    this.#watermarkMs = watermarkMs;
    this.#total = options.totalEvents ?? 0;
    this.#reached = Math.max(0, ...cursors.values());
    // A job that is behind has no timer due before its next event, and that event brings the time.
    this.#watermarks = this.#cursors.map((cursor) => (cursor === this.#reached ? watermarkMs : 0));
    this.#lowestWatermarkMs = Math.min(...this.#watermarks);
    const positions = new Map(jobs.map((job, position) => [job.name, position]));
    for (const [member, atMs] of timers) {
      const at = member.indexOf(TIMER_SEPARATOR);
      const position = positions.get(member.slice(0, at));
      // A timer of a job that this process does not run stays in Redis for whoever does.
      if (position !== undefined) this.#timers.set(position, member.slice(at + 1), atMs);
    }
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
    return { late: this.#scope.lateEvents, events: this.#events };
  }

  /**
   * Processes entries and returns what has to be committed.
   * @param leaveOut ids of poison met before (PoisonError.id), with their letters
   */
  async process(
    entries: readonly LogEntry[],
    lastOut: number,
    leaveOut: ReadonlyMap<string, DeadLetter>,
  ): Promise<CommitBody> {
    const decoded = entries.map((entry) => this.#decode(entry));
    await this.#load(entries, decoded, leaveOut);
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[i] as LogEntry;
      const { events, clockMs, total, letter } = decoded[i] as Decoded<Event>;
      // A job that comes later passes the same bytes once more: their letter has been written.
      if (letter && entry.offset > this.#reached) this.#dead.push(letter);
      for (const event of events) {
        this.#advance(event.clockMs, entry, leaveOut);
        this.#dispatch(event, entry, leaveOut);
      }
      this.#advance(clockMs, entry, leaveOut);
      for (let j = 0; j < this.#cursors.length; j++)
        this.#cursors[j] = Math.max(this.#cursors[j] as number, entry.offset);
      this.#reached = Math.max(this.#reached, entry.offset);
      this.#total = Math.max(this.#total, total ?? 0);
      this.#events += events.length;
    }
    return this.#body(lastOut);
  }

  /** To be called when the commit has been written: forgets what it carried. */
  committed(): void {
    for (let j = 0; j < this.#jobs.length; j++) {
      const dirty = this.#dirty[j] as Map<string, KeyState>;
      for (const held of dirty.values()) held.touchedMs = CLEAN;
      dirty.clear();
      this.#timersTouched[j]?.clear();
      const keys = this.#keys[j] as Map<string, KeyState>;
      if (keys.size > CACHE_LIMIT) keys.clear();
    }
    this.#scope.emits = [];
    this.#dead = [];
  }

  #decode(entry: LogEntry): Decoded<Event> {
    try {
      return this.#topic.decode(entry);
    } catch (thrown) {
      const letter = { offset: entry.offset, reason: messageOf(thrown), fields: [...entry.fields] };
      return { clockMs: 0, events: [], letter };
    }
  }

  /** Brings the states that these entries and the timers due by their end may touch into memory. */
  async #load(
    entries: readonly LogEntry[],
    decoded: readonly Decoded<Event>[],
    leaveOut: ReadonlyMap<string, DeadLetter>,
  ): Promise<void> {
    const endMs = decoded.reduce((latest, { clockMs }) => Math.max(latest, clockMs), 0);
    const wanted = this.#jobs.map(() => new Set<string>());
    for (const timer of this.#timers.due(endMs)) {
      if (!this.#keys[timer.job]?.has(timer.key)) wanted[timer.job]?.add(timer.key);
    }
    for (let j = 0; j < this.#jobs.length; j++) {
      const job = this.#jobs[j] as AnyJob<Event>;
      const keys = this.#keys[j] as Map<string, KeyState>;
      const missing = wanted[j] as Set<string>;
      for (let i = 0; i < entries.length; i++) {
        const entry = entries[i] as LogEntry;
        if (entry.offset <= (this.#cursors[j] as number)) continue;
        for (const event of (decoded[i] as Decoded<Event>).events) {
          if (leaveOut.size > 0 && leaveOut.has(eventId(job.name, event))) continue;
          const key = this.#keyOf(job, event, entry);
          if (key !== undefined && !keys.has(key)) missing.add(key);
        }
      }
    }
    await Promise.all(
      wanted.map(async (missing, j) => {
        if (missing.size === 0) return;
        const job = this.#jobs[j] as AnyJob<Event>;
        const list = [...missing];
        const packed = await this.#loadStates(job.name, list);
        for (let i = 0; i < list.length; i++) {
          const key = list[i] as string;
          const bytes = packed[i];
          this.#keys[j]?.set(key, { state: bytes ? decodeState(bytes) : job.initial(key), touchedMs: CLEAN });
        }
      }),
    );
  }

  #advance(clockMs: number, entry: LogEntry, leaveOut: ReadonlyMap<string, DeadLetter>): void {
    if (clockMs <= this.#lowestWatermarkMs) return;
    for (let timer = this.#timers.take(clockMs); timer; timer = this.#timers.take(clockMs)) {
      const { job: j, key, atMs } = timer;
      const job = this.#jobs[j] as AnyJob<Event>;
      // A job sees a timer's own time as the watermark, however far the log's clock has jumped.
      this.#watermarks[j] = atMs;
      this.#timersTouched[j]?.add(key);
      const id = `${job.name}/${key}/${atMs}`;
      const letter = leaveOut.get(id);
      if (letter) this.#dead.push(letter);
      if (!job.onTimer || letter) continue;
      try {
        job.onTimer(this.#touch(j, job.name, key, atMs), atMs, this.#scope);
      } catch (thrown) {
        throw new PoisonError(id, {
          offset: entry.offset,
          job: job.name,
          key,
          timerMs: atMs,
          reason: messageOf(thrown),
          fields: [],
        });
      }
    }
    for (let j = 0; j < this.#watermarks.length; j++)
      this.#watermarks[j] = Math.max(this.#watermarks[j] as number, clockMs);
    this.#lowestWatermarkMs = Math.min(...this.#watermarks);
    this.#watermarkMs = Math.max(this.#watermarkMs, clockMs);
  }

  #dispatch(event: Event, entry: LogEntry, leaveOut: ReadonlyMap<string, DeadLetter>): void {
    for (let j = 0; j < this.#jobs.length; j++) {
      if (event.offset <= (this.#cursors[j] as number)) continue;
      const job = this.#jobs[j] as AnyJob<Event>;
      const letter = leaveOut.size > 0 ? leaveOut.get(eventId(job.name, event)) : undefined;
      if (letter) {
        this.#dead.push(letter);
        continue;
      }
      const key = this.#keyOf(job, event, entry);
      if (key === undefined) continue;
      try {
        job.onEvent(this.#touch(j, job.name, key, event.atMs), event, this.#scope);
      } catch (thrown) {
        throw poisoned(job.name, event, entry, key, thrown);
      }
    }
  }

  #keyOf(job: AnyJob<Event>, event: Event, entry: LogEntry): string | undefined {
    try {
      return job.key(event);
    } catch (thrown) {
      throw poisoned(job.name, event, entry, undefined, thrown);
    }
  }

  /** Makes a key's state dirty, points the jobs' scope at it and returns it. */
  #touch(j: number, job: string, key: string, atMs: number): unknown {
    const held = this.#keys[j]?.get(key) as KeyState;
    if (held.touchedMs === CLEAN) this.#dirty[j]?.set(key, held);
    if (atMs < held.touchedMs) held.touchedMs = atMs;
    this.#scope.enter(j, job, key, atMs, this.#watermarks[j] as number);
    return held.state;
  }

  #body(lastOut: number): CommitBody {
    const views: OutRecord["views"] = [];
    const states: CommitBody["states"] = [];
    const timersSet: CommitBody["timersSet"] = [];
    const timersGone: string[] = [];
    for (let j = 0; j < this.#jobs.length; j++) {
      const job = this.#jobs[j] as AnyJob<Event>;
      const set: [string, Buffer][] = [];
      for (const [key, { state, touchedMs }] of this.#dirty[j] as Map<string, KeyState>) {
        set.push([key, encodeState(state)]);
        if (this.#withViews && job.view) views.push([job.name, key, job.view(state, key, touchedMs)]);
      }
      states.push({ job: job.name, set });
      for (const key of this.#timersTouched[j] as Set<string>) {
        const atMs = this.#timers.at(j, key);
        const member = job.name + TIMER_SEPARATOR + key;
        if (atMs === undefined) timersGone.push(member);
        else timersSet.push([atMs, member]);
      }
    }
    const { emits } = this.#scope;
    const gives = views.length > 0 || emits.length > 0;
    return {
      watermarkMs: this.#watermarkMs,
      events: this.#total,
      cursors: new Map(this.#jobs.map((job, j) => [job.name, this.#cursors[j] as number])),
      states,
      timersSet,
      timersGone,
      out: gives
        ? packr.pack({ previous: lastOut, watermarkMs: this.#watermarkMs, views, emits } satisfies OutRecord)
        : undefined,
      deadLetters: this.#dead.map((letter) => packr.pack(letter)),
    };
  }
}

function poisoned(
  job: string,
  event: LogEvent,
  entry: LogEntry,
  key: string | undefined,
  thrown: unknown,
): PoisonError {
  const { offset, index } = event;
  return new PoisonError(eventId(job, event), {
    offset,
    job,
    index,
    ...(key === undefined ? {} : { key }),
    reason: messageOf(thrown),
    fields: [...entry.fields],
  });
}
