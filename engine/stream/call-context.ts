/**
 * The one JobContext of a step, pointed at each call's key in turn: millions of events make no objects. It gathers
 * what jobs ask for; the step decides what becomes of it when a call throws.
 */
import type { Emit, JobContext } from "./job.js";
import type { Timers } from "./timers.js";

export class CallContext implements JobContext {
  key = "";
  watermarkMs = 0;
  emits: Emit[] = [];
  lateEvents = 0;
  /** Whether the call under way gives its key up. */
  isCleared = false;
  /** Keys whose timers the next commit has to write, by job. */
  readonly timersTouched: readonly Set<string>[];
  readonly #timers: Timers;
  #position = 0;
  #job = "";
  #atMs = 0;

  constructor(timers: Timers, jobs: number) {
    this.#timers = timers;
    this.timersTouched = Array.from({ length: jobs }, () => new Set());
  }

  /** Points it at a call: the job's place in the list and name, the key, and the time of the event or timer. */
  enter(position: number, job: string, key: string, atMs: number, watermarkMs: number): void {
    this.#position = position;
    this.#job = job;
    this.key = key;
    this.#atMs = atMs;
    this.watermarkMs = watermarkMs;
    this.isCleared = false;
  }

  /** Forgets what has left with a commit. */
  committed(): void {
    this.emits = [];
    for (const touched of this.timersTouched) touched.clear();
  }

  emit(kind: string, payload: unknown): void {
    this.emits.push({ job: this.#job, kind, key: this.key, atMs: this.#atMs, payload });
  }

  setTimer(atMs: number | undefined): void {
    // Never at or before the watermark: so a job that is behind cannot be mistaken for one that is due, and no timer
    // loops for good.
    const soonestMs = this.watermarkMs + 1;
    const timeMs = atMs !== undefined && atMs < soonestMs ? soonestMs : atMs;
    if (this.#timers.set(this.#position, this.key, timeMs)) this.timersTouched[this.#position]?.add(this.key);
  }

  late(): void {
    this.lateEvents++;
  }

  clear(): void {
    this.isCleared = true;
  }
}
