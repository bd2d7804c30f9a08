/**
 * Work that comes when it comes: arrival i is due i ÷ rate seconds after the start, whatever became of the earlier
 * ones. A load that waits for answers before it sends on (closed loop: autocannon, wrk, ab) falls silent exactly
 * while the server stalls, and so leaves the worst out of its figures (coordinated omission). Here every latency
 * counts from the instant at which the arrival was due, so a stall costs all who would have come meanwhile. How late
 * the loop itself was is a figure of its own: a late generator shows as such and not as a slow server.
 */
import { createHistogram, type RecordableHistogram } from "node:perf_hooks";
import { setImmediate as nextTurn } from "node:timers/promises";
import { sleep } from "../../engine/kernel/clock.js";

/** Times since an instant, in milliseconds. */
export interface LatencySummary {
  /** How many were measured. */
  count: number;
  p50Ms: number;
  p90Ms: number;
  p99Ms: number;
  p999Ms: number;
  maxMs: number;
}

/** 3 significant digits from a microsecond to 10 minutes. */
const LONGEST_MICROS = 600_000_000;

/** Milliseconds of the machine's monotonic clock: the same instant is the same number in every process. */
export const monotonicMs = (): number => Number(process.hrtime.bigint() / 1_000n) / 1_000;

/** An HdrHistogram of milliseconds: constant memory, 0.1 % exact. */
export class Latencies {
  readonly #micros: RecordableHistogram = createHistogram({ lowest: 1, highest: LONGEST_MICROS, figures: 3 });

  record(ms: number): void {
    this.#micros.record(Math.min(LONGEST_MICROS, Math.max(1, Math.round(ms * 1_000))));
  }

  summary(): LatencySummary {
    const { count } = this.#micros;
    const at = (percent: number) => (count === 0 ? 0 : this.#micros.percentile(percent) / 1_000);
    const maxMs = count === 0 ? 0 : this.#micros.max / 1_000;
    return { count, p50Ms: at(50), p90Ms: at(90), p99Ms: at(99), p999Ms: at(99.9), maxMs };
  }
}

export interface Arrivals {
  /** Arrivals a second. */
  rate: number;
  arrivals: number;
  /** So many of them, the first ones, warm the server up and are in no figure; 0 when left out. */
  uncounted?: number;
}

export interface LoopReport {
  /**
   * From the instant at which each was due to its whole answer, or to the break of its connection; unanswered ones
   * are not in it.
   */
  reply: LatencySummary;
  /** How late arrivals were begun although they were due. */
  behind: LatencySummary;
  /** Counted arrivals by their answer. */
  answers: Record<string, number>;
  unanswered: number;
  /** From the instant at which the first counted arrival was due to the last answer, or to when it was given up. */
  seconds: number;
  /** CPU time of the load's process, from the first arrival on. */
  cpuSeconds: number;
}

/** After the last arrival was due, what is still unanswered gets so long. */
const GRACE_MS = 10_000;
/** A loop that is behind still lets answers in between. */
const MOST_IN_TURN = 64;

export const dueMsOf = (startMs: number, rate: number, i: number): number => startMs + (i * 1_000) / rate;

/**
 * Begins every arrival when it is due, or as soon after as this process gets to it, and waits for the answers.
 * @param startMs when arrival 0 is due, by `monotonicMs`
 * @param begin begins arrival i without waiting, and calls back once with its answer in a word
 */
export async function runOpenLoop(
  { rate, arrivals, uncounted = 0 }: Arrivals,
  startMs: number,
  begin: (i: number, answered: (answer: string) => void) => void,
): Promise<LoopReport> {
  const reply = new Latencies();
  const behind = new Latencies();
  const answers = new Map<string, number>();
  const cpu = process.cpuUsage();
  let answered = 0;
  let allAnswered = () => {};
  const all = new Promise<void>((resolve) => {
    allAnswered = resolve;
    if (arrivals === 0) resolve();
  });
  const start = (i: number, dueMs: number, nowMs: number): void => {
    if (i >= uncounted) behind.record(nowMs - dueMs);
    begin(i, (answer) => {
      if (i >= uncounted) {
        reply.record(monotonicMs() - dueMs);
        answers.set(answer, (answers.get(answer) ?? 0) + 1);
      }
      if (++answered === arrivals) allAnswered();
    });
  };
  for (let next = 0, inTurn = 0; next < arrivals; ) {
    const nowMs = monotonicMs();
    const dueMs = dueMsOf(startMs, rate, next);
    if (dueMs > nowMs) {
      // A timer's grain is a millisecond: what becomes due meanwhile goes out together.
      await sleep(dueMs - nowMs);
      inTurn = 0;
    } else if (inTurn < MOST_IN_TURN) {
      start(next++, dueMs, nowMs);
      inTurn++;
    } else {
      await nextTurn();
      inTurn = 0;
    }
  }
  const patience = new AbortController();
  await Promise.race([all, sleep(GRACE_MS, patience.signal)]);
  patience.abort();
  const endMs = Math.max(monotonicMs(), dueMsOf(startMs, rate, arrivals));
  const { user, system } = process.cpuUsage(cpu);
  return {
    reply: reply.summary(),
    behind: behind.summary(),
    answers: Object.fromEntries(answers),
    unanswered: arrivals - answered,
    seconds: (endMs - dueMsOf(startMs, rate, uncounted)) / 1_000,
    cpuSeconds: (user + system) / 1e6,
  };
}
