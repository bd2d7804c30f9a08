/**
 * Sends the purges of one CDN that wait in this process: in batches, within the limits that all workers share, again
 * after a failure, and a second time where the vendor needs it. A purge is of use for some seconds only: what cannot be
 * sent by then is dropped and counted, so nothing piles up while a vendor is down, and nothing else waits for it. What
 * waits is lost when the process dies; copies end by themselves all the same.
 */
import type { Scheduler } from "../../engine/kernel/clock.js";
import { messageOf } from "../../engine/kernel/errors.js";
import type { OnTrouble } from "../../engine/kernel/logger.js";
import { Circuit } from "../../engine/outbox/circuit.js";
import { Signal } from "../../engine/outbox/signal.js";
import { hideSecrets } from "../channels/hide-secrets.js";
import type { PurgeOutcome, Purger, PurgeTarget } from "../purger.js";
import { DroppedPurges } from "./dropped-purges.js";
import { CONNECTIONS } from "./http.js";
import { PERMISSION_MS, type SharedPurgeLimits } from "./limits.js";
import { PurgeQueue, type WaitingPurge } from "./queue.js";

/** What became of a SKU's purge. `repeated`: the second purge was accepted, too. */
export type PurgeResult = "purged" | "repeated" | "dropped_late" | "dropped_limit" | "failed";

export interface PurgeDispatcherOptions {
  /** Of the CDN, for operators. */
  readonly name: string;
  readonly vendor: string;
  readonly purger: Purger;
  readonly repeatAfterMs: number | undefined;
  readonly limits: Pick<SharedPurgeLimits, "take" | "hold">;
  /** By which it waits and measures: a clock that cannot be set. */
  readonly timer: Scheduler;
  /** Texts that no reason may have. */
  readonly secrets: readonly string[];
  readonly onTrouble: OnTrouble;
  onResult(result: PurgeResult, skus: number): void;
  /** Called with the time from each SKU's change to the acceptance of its first purge. */
  onPurged(afterMs: number): void;
}

/**
 * Serving processes show a change some 50 ms after its commit (`--poll`), the purge is known as soon: an edge that
 * fetches again at once would get the old state. Ten times that leaves room for a busy machine, and joins what sells
 * out together into one request.
 */
const ORIGIN_DELAY_MS = 500;
/** Three in a row are no chance; half the time that a purge is of use, and a vendor that is back is seen in time. */
const CIRCUIT = { failures: 3, firstPauseMs: 1_000, longestPauseMs: 5_000 };
const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 4_000;
/** A vendor that throttles without a time. */
const THROTTLED_MS = 1_000;
/** What is late is dropped and counted this often while nothing can be sent. */
const CHECK_MS = 1_000;
const IDLE_MS = 60_000;
/** After a call to Redis that failed. */
const TROUBLE_PAUSE_MS = 500;
/** How long a stop waits for what is under way or due soon, a second purge included. */
const STOP_MS = 3_000;
const MOST_REASON_LENGTH = 300;

export class PurgeDispatcher {
  readonly #options: PurgeDispatcherOptions;
  readonly #queue = new PurgeQueue();
  readonly #signal = new Signal();
  readonly #circuit = new Circuit(CIRCUIT);
  readonly #abort = new AbortController();
  readonly #dropped: DroppedPurges;
  #underWay = 0;
  /** The limits have nothing before. */
  #askAgainMs = 0;
  /** Until then, because the day's SKUs are used up. */
  #isDayOver = false;
  /** Why the last request failed; undefined: it did not. */
  #trouble: string | undefined;
  #isRedisInTrouble = false;
  #stopByMs: number | undefined;
  #running: Promise<void> | undefined;

  constructor(options: PurgeDispatcherOptions) {
    this.#options = options;
    this.#dropped = new DroppedPurges(options.timer);
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Sends what is due soon, for some seconds at most. */
  async stop(): Promise<void> {
    this.#stopByMs ??= this.#options.timer.now() + STOP_MS;
    this.#signal.notify();
    await this.#running;
    this.#abort.abort();
  }

  /** @param ageMs how long ago its stock changed */
  add(target: PurgeTarget, isSoldOut: boolean, ageMs: number): void {
    const nowMs = this.#options.timer.now();
    const dueMs = nowMs + ORIGIN_DELAY_MS;
    const changedMs = nowMs - Math.max(0, ageMs);
    const purge = { target, isSoldOut, changedMs, dueMs, failures: 0, isRepeat: false };
    this.#drop("dropped_limit", this.#queue.add(purge));
    this.#signal.notify();
  }

  /** For an operator, in words. */
  warnings(): string[] {
    const { name, vendor } = this.#options;
    const warnings = this.#trouble === undefined ? [] : [`${name} (${vendor}) does not purge: ${this.#trouble}`];
    const dropped = this.#dropped.text();
    return dropped === undefined ? warnings : [...warnings, `${name} (${vendor}): ${dropped}`];
  }

  async #run(): Promise<void> {
    const { timer } = this.#options;
    while (!this.#isOver()) {
      this.#dropUseless();
      this.#tellDrops();
      try {
        const waitMs = this.#waitMs();
        if (waitMs > 0) await this.#signal.wait(timer, waitMs);
        else await this.#turn();
        this.#isRedisInTrouble = false;
      } catch (thrown) {
        // Reported once: others report an unreachable Redis, too.
        if (!this.#isRedisInTrouble) this.#report(`the limits of ${this.#options.name}: ${messageOf(thrown)}`);
        this.#isRedisInTrouble = true;
        await timer.sleep(TROUBLE_PAUSE_MS, this.#abort.signal);
      }
    }
  }

  #dropUseless(): void {
    const nowMs = this.#options.timer.now();
    this.#drop("dropped_late", this.#queue.dropLate(nowMs));
    if (!this.#isDayOver || nowMs >= this.#askAgainMs) return;
    this.#drop("dropped_limit", this.#queue.take(nowMs, Number.POSITIVE_INFINITY).length);
  }

  #tellDrops(): void {
    const { name, vendor } = this.#options;
    const news = this.#dropped.news();
    if (news !== undefined) this.#report(`${name} (${vendor}): ${news}`);
  }

  #isOver(): boolean {
    if (this.#stopByMs === undefined) return false;
    return this.#options.timer.now() >= this.#stopByMs || (this.#queue.size === 0 && this.#underWay === 0);
  }

  /** How long nothing can be sent. */
  #waitMs(): number {
    const nowMs = this.#options.timer.now();
    const stopMs = this.#stopByMs === undefined ? IDLE_MS : Math.max(1, this.#stopByMs - nowMs);
    if (this.#queue.size === 0) return stopMs;
    const isBusy = this.#underWay >= (this.#circuit.state(nowMs) === "closed" ? CONNECTIONS : 1);
    const waitMs = Math.max(this.#queue.waitMs(nowMs), this.#askAgainMs - nowMs, this.#circuit.waitMs(nowMs));
    return isBusy ? Math.min(CHECK_MS, stopMs) : Math.min(waitMs, CHECK_MS, stopMs);
  }

  async #turn(): Promise<void> {
    const { limits, purger, timer } = this.#options;
    const askedMs = timer.now();
    const { skus, waitMs, isDayOver } = await limits.take(Math.min(this.#queue.due(askedMs), purger.limits.batch));
    const nowMs = timer.now();
    this.#askAgainMs = nowMs + waitMs;
    this.#isDayOver = isDayOver;
    // A permission that came too late is lost: the next request might be too close to this one.
    if (skus === 0 || nowMs - askedMs > PERMISSION_MS) return;
    const purges = this.#queue.take(nowMs, skus);
    if (purges.length > 0) void this.#send(purges);
  }

  async #send(purges: readonly WaitingPurge[]): Promise<void> {
    const { purger, timer } = this.#options;
    const isProbe = this.#circuit.sent();
    this.#underWay++;
    let outcome: PurgeOutcome;
    try {
      const targets = purges.map(({ target }) => target);
      outcome = await purger.purge(targets, this.#abort.signal);
    } catch (thrown) {
      outcome = { outcome: "retry", reason: messageOf(thrown) };
    }
    this.#underWay--;
    if (outcome.outcome === "purged") this.#purged(purges);
    else if (this.#abort.signal.aborted) this.#circuit.abandoned(isProbe);
    else {
      this.#setTrouble(outcome.reason);
      if (outcome.outcome === "retry" && outcome.throttled) this.#circuit.answered();
      else this.#circuit.failed(timer.now(), isProbe);
      if (outcome.outcome === "refused") this.#drop("failed", purges.length);
      else await this.#again(purges, outcome);
    }
    this.#signal.notify();
  }

  #purged(purges: readonly WaitingPurge[]): void {
    const { repeatAfterMs, timer, name, vendor, onResult, onPurged } = this.#options;
    const nowMs = timer.now();
    this.#circuit.answered();
    if (this.#trouble !== undefined) this.#options.onTrouble(`${name} purges again`, { level: "info", sink: vendor });
    this.#trouble = undefined;
    for (const purge of purges) {
      onResult(purge.isRepeat ? "repeated" : "purged", 1);
      if (purge.isRepeat) continue;
      onPurged(nowMs - purge.changedMs);
      if (repeatAfterMs === undefined) continue;
      const repeat = { ...purge, isRepeat: true, dueMs: nowMs + repeatAfterMs, failures: 0 };
      this.#drop("dropped_limit", this.#queue.addAgain(repeat));
    }
  }

  async #again(purges: readonly WaitingPurge[], failure: PurgeOutcome & { outcome: "retry" }): Promise<void> {
    const { limits, timer, name } = this.#options;
    const holdMs = failure.retryAfterMs ?? (failure.throttled ? THROTTLED_MS : 0);
    const nowMs = timer.now();
    for (const purge of purges) {
      const failures = purge.failures + 1;
      const pauseMs = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** (failures - 1));
      this.#drop("dropped_limit", this.#queue.addAgain({ ...purge, failures, dueMs: nowMs + pauseMs }));
    }
    if (holdMs === 0) return;
    this.#askAgainMs = Math.max(this.#askAgainMs, nowMs + holdMs);
    await limits.hold(holdMs).catch((thrown) => {
      this.#report(`other workers may send to ${name} before its pause ends: ${messageOf(thrown)}`);
    });
  }

  #setTrouble(text: string): void {
    const { name, secrets } = this.#options;
    const reason = hideSecrets(text, secrets).slice(0, MOST_REASON_LENGTH);
    if (this.#trouble === undefined) this.#report(`${name} does not purge: ${reason}`);
    this.#trouble = reason;
  }

  #drop(result: Exclude<PurgeResult, "purged" | "repeated">, skus: number): void {
    if (skus > 0) this.#options.onResult(result, skus);
    this.#dropped.add(skus);
  }

  #report(message: string): void {
    this.#options.onTrouble(message, { sink: this.#options.vendor });
  }
}
