/**
 * One partition's jobs at work, in memory: entries in, a commit's body out. Events go to every job in log order; before an event the
 * watermark moves to the log's clock and due timers fire, so the result depends on the log alone and not on how it was cut into reads.
 * Each job has its own cursor and watermark: a job added later starts at the oldest entry and catches up, with the same result as if it
 * had always been there, while the others pass over what they have seen. A call of a job that throws ends the step with PoisonError; the caller
 * starts again from the last commit and asks for care: then every call can be undone, and one that throws leaves a dead letter and nothing else.
 */
import { Packr, Unpackr } from "msgpackr";
import { messageOf } from "../kernel/errors.js";
import type { CommitBody } from "./commit.js";
import type { DeadLetter, KeptLetter } from "./dead-letter.js";
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
  /** Why the state that is stored cannot be read: it stays as it is, and the key's events become letters, until somebody has repaired it. */
  fault?: string;
  /** The earliest event time that touched the key since the last commit; CLEAN when none did. */
  touchedMs: number;
  /** `gone`: given up since the last commit, so that there is no state; `anew`: given up, and begun again after that. */
  life: "kept" | "gone" | "anew";
}

/** What leaves with a commit, as views and sinks read it. */
export interface OutRecord {
  /** The commit before this one that gave something out: lets a reader see that it missed none. */
  previous: number;
  watermarkMs: number;
  /** In the order in which they are to be taken; a view of null: the key has been given up. */
  views: [job: string, key: string, view: unknown][];
  emits: Emit[];
}

export const decodeOut = (bytes: Buffer): OutRecord => unpackr.unpack(bytes) as OutRecord;
export const decodeState = (bytes: Buffer): unknown => unpackr.unpack(bytes);
export const encodeState = (state: unknown): Buffer => packr.pack(state);

/** A job threw, and what it did cannot be undone: the step is to be made again from the last commit, with care. */
export class PoisonError extends Error {
  override readonly name = "PoisonError";
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
  /** Whether the call under way gives its key up. */
  isForgetting = false;
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
    this.isForgetting = false;
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

  forget(): void {
    this.isForgetting = true;
  }
}

/** An entry as read; one that could not be decoded has no events, no time and a letter. */
interface Decoded<Event> {
  clockMs: number;
  events: Event[];
  total?: number;
  letter?: DeadLetter;
}

/** What a job was at when it threw: an entry of the log, or a letter that is tried again. */
interface Source {
  readonly offset: number;
  readonly fields: readonly Buffer[];
  readonly letter?: KeptLetter;
}

/** A key as it was before a call. */
interface Before {
  held: KeyState | undefined;
  /** Undefined when the key has been given up, and when the state cannot be read and so cannot be changed either. */
  packed: Buffer | undefined;
  touchedMs: number;
  life: KeyState["life"];
  timerMs: number | undefined;
  isTimerTouched: boolean;
  emits: number;
  late: number;
}

/** One call that a letter asks for. */
interface Call<Event> {
  source: Source;
  job: number;
  key: string;
  /** Undefined for a timer. */
  event: Event | undefined;
  atMs: number;
}

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
  #lettersGone: string[] = [];
  /** Keys in memory whose stored state cannot be read. */
  #unreadable: [job: number, key: string][] = [];
  #isCareful = false;
  /** States as they were packed after their last call; only with care, and only until the end of `process`. */
  readonly #packed = new Map<KeyState, Buffer>();
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
   * @param isCareful whether each call can be undone; slower by the packing of a state a call
   * @throws PoisonError without care, when a job throws: this step is of no more use
   */
  async process(entries: readonly LogEntry[], lastOut: number, isCareful = false): Promise<CommitBody> {
    this.#begin(isCareful);
    const decoded = entries.map((entry) => this.#decode(entry));
    await this.#load(entries, decoded);
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[i] as LogEntry;
      const { events, clockMs, total, letter } = decoded[i] as Decoded<Event>;
      // A job that comes later passes the same bytes once more: their letter has been written.
      if (letter && entry.offset > this.#reached) this.#dead.push(letter);
      for (const event of events) {
        this.#advance(event.clockMs, entry);
        this.#dispatch(event, entry);
      }
      this.#advance(clockMs, entry);
      for (let j = 0; j < this.#cursors.length; j++)
        this.#cursors[j] = Math.max(this.#cursors[j] as number, entry.offset);
      this.#reached = Math.max(this.#reached, entry.offset);
      this.#total = Math.max(this.#total, total ?? 0);
      this.#events += events.length;
    }
    return this.#body(lastOut);
  }

  /**
   * Tries letters once more, each on the job that failed; an entry that could not be decoded, on all that have passed it. Cursors and watermark stay
   * where they are, so an event may be late now. The commit takes every letter away and brings a new one for each call that fails again.
   */
  async replay(letters: readonly KeptLetter[], lastOut: number): Promise<CommitBody> {
    this.#begin(true);
    // Many letters may be about one entry.
    const decoded = new Map<number, readonly Event[]>();
    const calls = letters.flatMap((letter) => this.#callsOf(letter, decoded));
    const wanted = this.#jobs.map(() => new Set<string>());
    for (const { job, key } of calls) if (!this.#keys[job]?.has(key)) wanted[job]?.add(key);
    await this.#fetch(wanted);
    for (const { source, job, key, event, atMs } of calls) this.#call(job, key, event, atMs, source);
    this.#lettersGone = letters.map(({ id }) => id);
    return this.#body(lastOut);
  }

  /** To be called when the commit has been written: forgets what it carried. */
  committed(): void {
    for (let j = 0; j < this.#jobs.length; j++) {
      const dirty = this.#dirty[j] as Map<string, KeyState>;
      const keys = this.#keys[j] as Map<string, KeyState>;
      for (const [key, held] of dirty) {
        held.touchedMs = CLEAN;
        if (held.life === "gone") keys.delete(key);
        else held.life = "kept";
      }
      dirty.clear();
      this.#timersTouched[j]?.clear();
      if (keys.size > CACHE_LIMIT) keys.clear();
    }
    // Somebody may have repaired them when they are wanted next.
    for (const [j, key] of this.#unreadable) this.#keys[j]?.delete(key);
    this.#unreadable = [];
    this.#scope.emits = [];
    this.#dead = [];
    this.#lettersGone = [];
  }

  #begin(isCareful: boolean): void {
    this.#isCareful = isCareful;
    this.#packed.clear();
  }

  #decode(entry: LogEntry): Decoded<Event> {
    try {
      return this.#topic.decode(entry);
    } catch (thrown) {
      const letter = { offset: entry.offset, reason: messageOf(thrown), tries: 1, fields: entry.fields };
      return { clockMs: 0, events: [], letter };
    }
  }

  /** Brings the states that these entries and the timers due by their end may touch into memory. */
  async #load(entries: readonly LogEntry[], decoded: readonly Decoded<Event>[]): Promise<void> {
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
        if ((entries[i] as LogEntry).offset <= (this.#cursors[j] as number)) continue;
        for (const event of (decoded[i] as Decoded<Event>).events) {
          const key = keyOrNothing(job, event);
          if (key !== undefined && !keys.has(key)) missing.add(key);
        }
      }
    }
    await this.#fetch(wanted);
  }

  async #fetch(wanted: readonly ReadonlySet<string>[]): Promise<void> {
    await Promise.all(
      wanted.map(async (missing, j) => {
        if (missing.size === 0) return;
        const job = this.#jobs[j] as AnyJob<Event>;
        const list = [...missing];
        const packed = await this.#loadStates(job.name, list);
        for (let i = 0; i < list.length; i++) {
          const key = list[i] as string;
          this.#keys[j]?.set(key, this.#keyState(j, job, key, packed[i]));
        }
      }),
    );
  }

  #keyState(j: number, job: AnyJob<Event>, key: string, bytes: Buffer | null | undefined): KeyState {
    try {
      return { state: bytes ? decodeState(bytes) : job.initial(key), touchedMs: CLEAN, life: "kept" };
    } catch (thrown) {
      this.#unreadable.push([j, key]);
      const what = bytes ? "its stored state cannot be read" : "it has no initial state";
      return { state: undefined, touchedMs: CLEAN, life: "kept", fault: `${what}: ${messageOf(thrown)}` };
    }
  }

  #advance(clockMs: number, entry: LogEntry): void {
    if (clockMs <= this.#lowestWatermarkMs) return;
    for (let timer = this.#timers.take(clockMs); timer; timer = this.#timers.take(clockMs)) {
      const { job: j, key, atMs } = timer;
      // A job sees a timer's own time as the watermark, however far the log's clock has jumped.
      this.#watermarks[j] = atMs;
      this.#timersTouched[j]?.add(key);
      if (this.#jobs[j]?.onTimer) this.#call(j, key, undefined, atMs, entry);
    }
    for (let j = 0; j < this.#watermarks.length; j++)
      this.#watermarks[j] = Math.max(this.#watermarks[j] as number, clockMs);
    this.#lowestWatermarkMs = Math.min(...this.#watermarks);
    this.#watermarkMs = Math.max(this.#watermarkMs, clockMs);
  }

  #dispatch(event: Event, entry: LogEntry): void {
    for (let j = 0; j < this.#jobs.length; j++) {
      if (event.offset <= (this.#cursors[j] as number)) continue;
      const key = this.#keyOf(j, event, entry);
      if (key !== undefined) this.#call(j, key, event, event.atMs, entry);
    }
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

  /** Has a job handle an event, or its timer when there is none. When it throws, nothing of it stays but a letter. */
  #call(j: number, key: string, event: Event | undefined, atMs: number, source: Source): void {
    const job = this.#jobs[j] as AnyJob<Event>;
    const before = this.#isCareful ? this.#snapshot(j, key) : undefined;
    try {
      const state = this.#touch(j, job, key, atMs);
      if (event) job.onEvent(state, event, this.#scope);
      else job.onTimer?.(state, atMs, this.#scope);
      if (this.#scope.isForgetting) this.#forget(j, key);
      if (before) this.#check(job, key, before);
    } catch (thrown) {
      if (before) this.#undo(j, key, before);
      this.#failed(thrown, job.name, key, event, atMs, source);
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
      ...triesOf(source.letter),
      // A timer is no record of the log: the entry that let it fire has nothing to do with it.
      fields: event ? source.fields : [],
    });
  }

  #snapshot(j: number, key: string): Before {
    const held = this.#keys[j]?.get(key);
    return {
      held,
      packed:
        held && held.fault === undefined && held.life !== "gone"
          ? (this.#packed.get(held) ?? encodeState(held.state))
          : undefined,
      touchedMs: held?.touchedMs ?? CLEAN,
      life: held?.life ?? "kept",
      timerMs: this.#timers.at(j, key),
      isTimerTouched: this.#timersTouched[j]?.has(key) ?? false,
      emits: this.#scope.emits.length,
      late: this.#scope.lateEvents,
    };
  }

  /** Makes sure that what a call left can be committed: a state that cannot be packed or shown is that call's fault. */
  #check(job: AnyJob<Event>, key: string, { held, emits }: Before): void {
    if (this.#scope.emits.length > emits) packr.pack(this.#scope.emits.slice(emits));
    const { state, touchedMs, life } = held as KeyState;
    if (life === "gone") {
      this.#packed.delete(held as KeyState);
      return;
    }
    const packed = encodeState(state);
    if (this.#withViews && job.view) packr.pack(job.view(state, key, touchedMs));
    this.#packed.set(held as KeyState, packed);
  }

  #undo(j: number, key: string, before: Before): void {
    const { held, packed, touchedMs, life, timerMs, isTimerTouched, emits, late } = before;
    this.#scope.emits.length = emits;
    this.#scope.lateEvents = late;
    this.#timers.set(j, key, timerMs);
    if (!isTimerTouched) this.#timersTouched[j]?.delete(key);
    if (!held || held.fault !== undefined) return;
    held.state = packed && decodeState(packed);
    held.life = life;
    held.touchedMs = touchedMs;
    if (touchedMs === CLEAN) this.#dirty[j]?.delete(key);
    if (packed) this.#packed.set(held, packed);
    else this.#packed.delete(held);
  }

  /** Gives up the state and the timer of the key whose call is under way. */
  #forget(j: number, key: string): void {
    const held = this.#keys[j]?.get(key) as KeyState;
    held.state = undefined;
    held.life = "gone";
    this.#timers.set(j, key, undefined);
    this.#timersTouched[j]?.add(key);
  }

  /** What a letter asks for; a call that cannot be made is a letter again. */
  #callsOf(letter: KeptLetter, decoded: Map<number, readonly Event[]>): Call<Event>[] {
    const source: Source = { offset: letter.offset, fields: letter.fields, letter };
    const again = (thrown: unknown): Call<Event>[] => {
      const { id: _, was: __, first: ___, ...record } = letter;
      this.#dead.push({ ...record, reason: messageOf(thrown), ...triesOf(letter) });
      return [];
    };
    try {
      if (letter.timerMs !== undefined && letter.key !== undefined) {
        const job = this.#positionOf(letter);
        return [{ source, job, key: letter.key, event: undefined, atMs: letter.timerMs }];
      }
      const events = decoded.get(letter.offset) ?? this.#topic.decode(letter).events;
      decoded.set(letter.offset, events);
      if (letter.job !== undefined) {
        const event = events.find(({ index }) => index === letter.index);
        if (!event) throw new Error(`entry ${letter.offset} has no event ${letter.index}`);
        return this.#callOf(this.#positionOf(letter), event, source);
      }
      // A job that has yet to come to the entry will read it in the log.
      return events.flatMap((event) =>
        this.#jobs.flatMap((_, j) =>
          (this.#cursors[j] as number) < letter.offset ? [] : this.#callOf(j, event, source),
        ),
      );
    } catch (thrown) {
      return again(thrown);
    }
  }

  #callOf(job: number, event: Event, source: Source): Call<Event>[] {
    const key = this.#keyOf(job, event, source);
    return key === undefined ? [] : [{ source, job, key, event, atMs: event.atMs }];
  }

  #positionOf({ job, offset }: DeadLetter): number {
    const position = this.#jobs.findIndex(({ name }) => name === job);
    if (position < 0) throw new Error(`there is no job ${job} in this version`);
    if ((this.#cursors[position] as number) < offset) throw new Error(`${job} has yet to come to entry ${offset}`);
    return position;
  }

  /** Makes a key's state dirty, points the jobs' scope at it and returns it. */
  #touch(j: number, job: AnyJob<Event>, key: string, atMs: number): unknown {
    const held = this.#keys[j]?.get(key);
    if (!held) throw new Error(`${job.name} gives the event another key the second time`);
    if (held.fault !== undefined) throw new Error(held.fault);
    if (held.life === "gone") {
      held.state = job.initial(key);
      held.life = "anew";
    }
    if (held.touchedMs === CLEAN) this.#dirty[j]?.set(key, held);
    if (atMs < held.touchedMs) held.touchedMs = atMs;
    this.#scope.enter(j, job.name, key, atMs, this.#watermarks[j] as number);
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
      const gone: string[] = [];
      const tells = this.#withViews && job.view !== undefined;
      for (const [key, { state, touchedMs, life }] of this.#dirty[j] as Map<string, KeyState>) {
        // Before a state that has begun anew, too: its view alone would be added to what readers know of the old one.
        if (tells && life !== "kept") views.push([job.name, key, null]);
        if (life === "gone") {
          gone.push(key);
          continue;
        }
        try {
          set.push([key, encodeState(state)]);
          if (tells) views.push([job.name, key, job.view?.(state, key, life === "anew" ? 0 : touchedMs)]);
        } catch (thrown) {
          throw this.#uncommittable(`${job.name} on key ${key}`, thrown);
        }
      }
      states.push({ job: job.name, set, gone });
      for (const key of this.#timersTouched[j] as Set<string>) {
        const atMs = this.#timers.at(j, key);
        const member = job.name + TIMER_SEPARATOR + key;
        if (atMs === undefined) timersGone.push(member);
        else timersSet.push([atMs, member]);
      }
    }
    const { emits } = this.#scope;
    let out: Buffer | undefined;
    try {
      if (views.length > 0 || emits.length > 0)
        out = packr.pack({ previous: lastOut, watermarkMs: this.#watermarkMs, views, emits } satisfies OutRecord);
    } catch (thrown) {
      throw this.#uncommittable("a view or an emit", thrown);
    }
    return {
      watermarkMs: this.#watermarkMs,
      events: this.#total,
      cursors: new Map(this.#jobs.map((job, j) => [job.name, this.#cursors[j] as number])),
      states,
      timersSet,
      timersGone,
      out,
      deadLetters: this.#dead,
      lettersGone: this.#lettersGone,
    };
  }

  /** With care every call has been checked already; then it is a job that gives another answer each time, and nothing is committed. */
  #uncommittable(what: string, thrown: unknown): Error {
    const message = `${what} cannot be committed: ${messageOf(thrown)}`;
    return this.#isCareful ? new Error(message, { cause: thrown }) : new PoisonError(message, { cause: thrown });
  }
}

/** A failing key is told of when its event is dispatched. */
function keyOrNothing<Event extends LogEvent>(job: AnyJob<Event>, event: Event): string | undefined {
  try {
    return job.key(event);
  } catch {
    return undefined;
  }
}

const triesOf = (letter: KeptLetter | undefined): Pick<DeadLetter, "tries" | "was" | "first"> =>
  letter ? { tries: letter.tries + 1, was: letter.id, first: letter.first ?? letter.id } : { tries: 1 };
