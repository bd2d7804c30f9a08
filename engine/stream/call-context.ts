/**
 * The JobContext of a batch. One object serves all calls and is set to each call's key in turn, because a batch has
 * thousands of calls. It collects emits and late events; the batch processor undoes them when a call throws.
 */
import type { DurableTimers } from "./durable-timers.js";
import type { Emit, JobContext } from "./job.js";

export class CallContext implements JobContext {
  key = "";
  watermarkMs = 0;
  emits: Emit[] = [];
  readonly lateEvents: number[] = [];
  /** Whether the current call clears its key. */
  isCleared = false;
  readonly #timers: DurableTimers;
  #index = 0;
  #job = "";
  #atMs = 0;

  constructor(timers: DurableTimers) {
    this.#timers = timers;
  }

  /** Sets it to a call: the job's index in the list and its name, the key, and the time of the event or timer. */
  enter(index: number, job: string, key: string, atMs: number, watermarkMs: number): void {
    this.#index = index;
    this.#job = job;
    this.key = key;
    this.#atMs = atMs;
    this.watermarkMs = watermarkMs;
    this.isCleared = false;
  }

  /** Call this when the commit with the emits has been written. */
  committed(): void {
    this.emits = [];
  }

  emit(kind: string, payload: unknown): void {
    this.emits.push({ job: this.#job, kind, key: this.key, atMs: this.#atMs, payload });
  }

  setTimer(atMs: number | undefined, name?: string): void {
    // Always after the watermark: otherwise a timer could set itself again without end, and a timer of a job that is
    // behind could be taken for one that is due.
    const soonestMs = this.watermarkMs + 1;
    this.#timers.set(this.#index, this.key, atMs !== undefined && atMs < soonestMs ? soonestMs : atMs, name);
  }

  late(): void {
    this.lateEvents[this.#index] = (this.lateEvents[this.#index] ?? 0) + 1;
  }

  clear(): void {
    this.isCleared = true;
  }
}
