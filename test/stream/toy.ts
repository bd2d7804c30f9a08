/**
 * A topic and a job as small as they can be, for tests of the runtime: an entry is a clock and a list of
 * JSON events, and the job does what an event's word asks (arms its timer, emits, throws, …) and records
 * everything it saw. `Store` is what a task leaves in Redis, in memory: bodies of commits go in, a
 * processor that starts again comes out.
 */

import { BatchProcessor } from "../../engine/stream/batch-processor.js";
import type { CommitBody } from "../../engine/stream/commit.js";
import type { DeadLetter } from "../../engine/stream/dead-letter.js";
import type { TimerPage } from "../../engine/stream/durable-timers.js";
import type { Emit, Job, LogEvent } from "../../engine/stream/job.js";
import { PoisonError } from "../../engine/stream/job-calls.js";
import { field, type LogEntry } from "../../engine/stream/log.js";
import { decodeOut, type OutRecord } from "../../engine/stream/out-record.js";
import { stateOf } from "../../engine/stream/state-codec.js";
import type { Topic } from "../../engine/stream/topic.js";

export interface ToyWords {
  key: string;
  units?: number;
  /** How long before the clock it happened. */
  behindMs?: number;
  word?: "arm" | "disarm" | "emit" | "poison" | "late" | "trap" | "clear" | "snap";
  /** For `arm`: the timer's time after the clock. */
  inMs?: number;
  /** For `arm` and `disarm`: the name of one of the job's named timers. */
  timer?: string;
  /** For `arm`: how often the timer arms itself again, a second later each. */
  again?: number;
}
export interface ToyEvent extends LogEvent, ToyWords {}
export interface ToyEntry {
  clockMs: number;
  events: ToyWords[];
}
export interface ToyState {
  units: number;
  events: number;
  fired: number[];
  watermarks: number[];
  again: number;
  trap: boolean;
}

/** Fields of an entry: `t` the clock, `e` the events. */
export const toyFields = ({ clockMs, events }: ToyEntry): [string, string, string, string] => [
  "t",
  String(clockMs),
  "e",
  JSON.stringify(events),
];

export const toyEntries = (entries: readonly ToyEntry[], first = 1): LogEntry[] =>
  entries.map((entry, i) => ({ offset: first + i, fields: toyFields(entry).map((text) => Buffer.from(text)) }));

export const garbage = (offset: number): LogEntry => ({ offset, fields: [Buffer.from("e"), Buffer.from("[")] });

const timeOf = (entry: LogEntry): number => {
  const text = field(entry, "t")?.toString();
  if (text === undefined) throw new Error("no time");
  return Number(text);
};

export const toyTopic = (more: Partial<Topic<ToyEvent>> = {}): Topic<ToyEvent> => ({
  name: "toys",
  partitions: 1,
  timeOf,
  decode(entry) {
    const clockMs = timeOf(entry);
    const words = JSON.parse(field(entry, "e")?.toString() ?? "") as ToyWords[];
    const events = words.map((word, index) => ({
      ...word,
      offset: entry.offset,
      index,
      atMs: clockMs - (word.behindMs ?? 0),
      clockMs,
    }));
    return { clockMs, events };
  },
  ...more,
});

export const toyJob = (name = "toy.1"): Job<ToyEvent, ToyState> => ({
  name,
  viewedEmits: ["seen", "fired"],
  key: (event) => (event.key === "" ? undefined : event.key),
  initial: () => ({ units: 0, events: 0, fired: [], watermarks: [], again: 0, trap: false }),
  onEvent(state, event, context) {
    // Changed before it throws: what a poisoned event did must not stay.
    state.units += event.units ?? 1;
    state.events++;
    state.watermarks = [...state.watermarks, context.watermarkMs].slice(-3);
    // Called first: what the call does to state and timer afterwards is discarded, too.
    if (event.word === "clear" || event.word === "snap") context.clear();
    if (event.word === "snap") throw new Error("bad end");
    if (event.word === "poison") throw new Error("bad toy");
    if (event.word === "trap") state.trap = true;
    if (event.word === "late") context.late();
    if (event.word === "emit") context.emit("seen", { units: state.units, at: event.offset });
    if (event.word === "disarm") context.setTimer(undefined, event.timer);
    if (event.word === "arm") {
      state.again = event.again ?? 0;
      context.setTimer(event.clockMs + (event.inMs ?? 0), event.timer);
    }
  },
  onTimer(state, atMs, context, timer) {
    if (state.trap) {
      state.trap = false;
      throw new Error("bad timer");
    }
    state.fired = [...state.fired, atMs].slice(-20);
    context.emit("fired", { at: atMs, watermark: context.watermarkMs, ...(timer === undefined ? {} : { timer }) });
    if (state.again > 0) {
      state.again--;
      context.setTimer(atMs + 1_000, timer);
    }
  },
  view: (state, key, sinceMs) => ({ key, units: state.units, sinceMs }),
});

/** What a task has left behind, and the loop of a runner without Redis. */
export class Store {
  readonly states = new Map<string, Map<string, Buffer>>();
  readonly timers = new Map<string, number>();
  cursors = new Map<string, number>();
  watermarkMs = 0;
  readonly outs: OutRecord[] = [];
  readonly deadLetters: DeadLetter[] = [];
  /** By `<job> <period> <key>`; the first of each stays. */
  readonly closings = new Map<string, Buffer>();
  format: number | undefined;
  readonly loads: string[] = [];

  /** Timers of one read; 0: all are passed at the start. */
  pageTimers = 0;

  step(jobs: readonly Job<ToyEvent, ToyState>[], topic = toyTopic()): BatchProcessor<ToyEvent> {
    return new BatchProcessor<ToyEvent>({
      topic,
      jobs,
      cursors: this.cursors,
      watermarkMs: this.watermarkMs,
      timers: this.pageTimers === 0 ? [...this.timers] : [],
      ...(this.pageTimers === 0 ? {} : { loadTimers: async (afterMs: number) => this.#timersAfter(afterMs) }),
      loadStates: async (job, keys) => {
        this.loads.push(...keys);
        return keys.map((key) => this.states.get(job)?.get(key) ?? null);
      },
      withViews: true,
      ...(this.format === undefined ? {} : { format: () => this.format as number }),
    });
  }

  #timersAfter(afterMs: number): TimerPage {
    const later = [...this.timers].filter(([, atMs]) => atMs > afterMs).sort(([, a], [, b]) => a - b);
    const last = later[this.pageTimers - 1];
    if (!last) return { timers: later, upToMs: Number.POSITIVE_INFINITY };
    return { timers: later.filter(([, atMs]) => atMs <= last[1]), upToMs: last[1] };
  }

  write(body: CommitBody): void {
    for (const { job, set, tombstones, closings = [] } of body.states) {
      for (const { period, key, bytes } of closings) {
        const name = `${job} ${period} ${key}`;
        if (!bytes) this.closings.delete(name);
        else if (!this.closings.has(name)) this.closings.set(name, bytes);
      }
      const states = this.states.get(job) ?? new Map<string, Buffer>();
      this.states.set(job, states);
      for (const [key, state] of set) states.set(key, state);
      for (const key of tombstones) states.delete(key);
    }
    for (const [atMs, member] of body.timersSet) this.timers.set(member, atMs);
    for (const member of body.timersRemoved) this.timers.delete(member);
    for (const [job, offset] of body.cursors) this.cursors.set(job, offset);
    this.watermarkMs = body.watermarkMs;
    if (body.out) this.outs.push(decodeOut(body.out));
    this.deadLetters.push(...body.deadLetters);
  }

  /**
   * Reads `entries` in pieces of the given lengths (again and again); `restart` starts the step anew before every
   * piece.
   */
  async run(
    jobs: readonly Job<ToyEvent, ToyState>[],
    entries: readonly LogEntry[],
    cuts: readonly number[] = [entries.length],
    restart = false,
  ): Promise<this> {
    let isCareful = false;
    let step = this.step(jobs);
    const last = entries.at(-1)?.offset ?? 0;
    for (let turn = 0; step.readAfter < last; turn++) {
      if (restart) step = this.step(jobs);
      const after = step.readAfter;
      const piece = entries.filter(({ offset }) => offset > after).slice(0, cuts[turn % cuts.length]);
      try {
        this.write(await step.process(piece, 0, isCareful));
        step.committed();
        isCareful = false;
      } catch (thrown) {
        if (!(thrown instanceof PoisonError)) throw thrown;
        isCareful = true;
        step = this.step(jobs);
      }
    }
    return this;
  }

  state(key: string, job = "toy.1"): ToyState | undefined {
    const bytes = this.states.get(job)?.get(key);
    return bytes && stateOf<ToyState>({ name: job }, key, bytes);
  }

  emits(job?: string): Emit[] {
    return this.outs.flatMap(({ emits }) => emits).filter((emit) => job === undefined || emit.job === job);
  }

  /** Everything that must not depend on cuts and restarts. */
  picture(job?: string): unknown {
    const mine = (name: string) => job === undefined || name.startsWith(job);
    // Jobs at different offsets write their dead letters at different times.
    const deadLetters = this.deadLetters.filter((deadLetter) => deadLetter.job === undefined || mine(deadLetter.job));
    const sorted = <V>(map: Iterable<[string, V]>) => [...map].sort(([a], [b]) => (a < b ? -1 : 1));
    return {
      states: sorted(this.states)
        .filter(([name]) => mine(name))
        .map(([name, states]) => [name, sorted(states).map(([key, bytes]) => [key, bytes.toString("hex")])]),
      timers: sorted(this.timers).filter(([member]) => mine(member)),
      emits: this.emits(job),
      closings: sorted(this.closings)
        .filter(([name]) => mine(name))
        .map(([name, bytes]) => [name, bytes.toString("hex")]),
      deadLetters: job === undefined ? deadLetters : deadLetters.map((deadLetter) => JSON.stringify(deadLetter)).sort(),
    };
  }
}
