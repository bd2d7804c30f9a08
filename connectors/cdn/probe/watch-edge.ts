/**
 * Watches one edge: reads a body with `asOf` again and again, at times that are a little random, so that it sees a
 * cache's whole period and not always the same second of it; judges its age by the objective and the promise; and tells
 * when something begins and ends. Bodies are judged only while this machine's clock is right, which it checks once a
 * minute. Errors are no old bodies: they are counted apart and spend no budget. Memory does not grow.
 */
import { MINUTE_MS, monotonicClock, sleep } from "../../../engine/kernel/clock.js";
import { secureBytes } from "../../../engine/kernel/random.js";
import { MAX_AGE_MS } from "../../../engine/publication/freshness.js";
import { BURN_WINDOWS, BurnRate } from "./burn-rate.js";
import { clockOffsetOf, clockText, isClockOff } from "./clock-offset.js";
import { bodyAgeMs, type EdgeReader, type Reading } from "./reader.js";
import { coldAddress } from "./target.js";
import type { ReadOutcome, WatchMetrics } from "./watch-metrics.js";

export interface WatchedEdge {
  /** The label of its metrics. */
  readonly name: string;
  /** A stock answer, a list of them, or the manifest of a publication. */
  readonly url: URL;
}

export interface WatchSettings {
  /** Between two readings, on average. */
  readonly everyMs: number;
  /** The share of bodies that are at most 13 s old. */
  readonly objective: number;
  /** What began or ended, a sentence. */
  onChange(edge: string, text: string): void;
}

/** Of the objective: what is left of 15 s is for what is not foreseen. */
const OBJECTIVE_AGE_MS = 13_000;
const CLOCK_EVERY_MS = MINUTE_MS;
/** One failed reading may be the network's. */
const ERRORS_TO_TELL = 3;

export class EdgeWatch {
  readonly #edge: WatchedEdge;
  readonly #settings: WatchSettings;
  readonly #reader: EdgeReader;
  readonly #metrics: WatchMetrics;
  readonly #burn: BurnRate;
  /** What has begun and not ended. */
  readonly #now = new Set<string>();
  #clockReadAtMs = Number.NEGATIVE_INFINITY;
  #isClockOff = false;
  #errors = 0;
  #lastReadAtMs = monotonicClock.now();

  constructor(edge: WatchedEdge, settings: WatchSettings, reader: EdgeReader, metrics: WatchMetrics) {
    this.#edge = edge;
    this.#settings = settings;
    this.#reader = reader;
    this.#metrics = metrics;
    this.#burn = new BurnRate(settings.objective, settings.everyMs);
  }

  /** Milliseconds since the last reading ended. */
  get silentMs(): number {
    return monotonicClock.now() - this.#lastReadAtMs;
  }

  /** Until the signal aborts; never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#readClock();
      const reading = await this.#reader.read(this.#edge.url);
      if (signal.aborted) return;
      this.#judge(reading);
      this.#lastReadAtMs = monotonicClock.now();
      const share = 0.5 + secureBytes(2).readUInt16BE() / 0x10000;
      await sleep(Math.max(0, this.#settings.everyMs * share - (reading.receivedMs - reading.sentMs)), signal);
    }
  }

  async #readClock(): Promise<void> {
    if (monotonicClock.now() - this.#clockReadAtMs < CLOCK_EVERY_MS) return;
    this.#clockReadAtMs = monotonicClock.now();
    const offset = clockOffsetOf([await this.#reader.read(coldAddress(this.#edge.url))]);
    // An unknown one stays what it was.
    if (offset === undefined) return;
    this.#metrics.clockDiffers(this.#edge.name, (offset.leastMs + offset.mostMs) / 2_000);
    this.#isClockOff = isClockOff(offset);
    this.#turn(
      "clock",
      this.#isClockOff,
      `${clockText(offset)}: bodies are not judged`,
      "the clocks agree: bodies are judged",
    );
  }

  #judge(reading: Reading): void {
    const { name } = this.#edge;
    const outcome = this.#outcomeOf(reading);
    this.#metrics.counted(name, outcome);
    this.#errors = outcome === "error" ? this.#errors + 1 : 0;
    const what = reading.fault ?? `status ${reading.status}`;
    this.#turn("errors", this.#errors >= ERRORS_TO_TELL, `no body to judge: ${what}`, "there are bodies again");
    const ageSeconds = bodyAgeMs(reading) / 1_000;
    if (["fresh", "late", "old"].includes(outcome)) {
      this.#metrics.aged(name, ageSeconds);
      const limit = `${MAX_AGE_MS / 1_000} s`;
      this.#turn(
        "old",
        outcome === "old",
        `a body was ${ageSeconds.toFixed(1)} s old; ${limit} are allowed`,
        `bodies are at most ${limit} old again`,
      );
    }
    const nowMs = monotonicClock.now();
    if (outcome === "late" || outcome === "old") this.#burn.recordBad(nowMs);
    for (const window of BURN_WINDOWS) this.#metrics.burns(name, window, this.#burn.rate(window, nowMs));
    const burning = this.#burn.burning(nowMs);
    this.#turn(
      "burns",
      burning !== undefined,
      `too many bodies are older than ${OBJECTIVE_AGE_MS / 1_000} s: over ${burning?.window} ${burning?.rate.toFixed(1)} times as many as the objective of ${Number((this.#settings.objective * 100).toFixed(4))} % allows`,
      "the objective's budget is no longer spent too fast",
    );
  }

  #outcomeOf(reading: Reading): ReadOutcome {
    if (reading.status !== 200 || reading.asOfMs === undefined) return "error";
    const ageMs = bodyAgeMs(reading);
    if (this.#isClockOff) return "unjudged";
    return ageMs > MAX_AGE_MS ? "old" : ageMs > OBJECTIVE_AGE_MS ? "late" : "fresh";
  }

  /** Tells that something begins or ends; once each. */
  #turn(name: string, isSo: boolean, begins: string, ends: string): void {
    if (isSo === this.#now.has(name)) return;
    if (isSo) this.#now.add(name);
    else this.#now.delete(name);
    this.#settings.onChange(this.#edge.name, isSo ? begins : ends);
  }
}
