/**
 * One worker's part in the pace that all workers share: it books slots of the common time line (pace.lua), spends
 * each in its time, and tells how the receiver answers. A receiver that takes L requests a second is promised that no
 * second, wherever it begins, brings more. Slots are 1/R apart and each is good for V after its time, so at most R ×
 * (1 s + V) + 1 requests go out in a second; what arrives in a second went out in it or was under way at its
 * beginning, and no more than F are. So R × (1 + V) + 1 + F ≤ L holds whatever network and receiver do: however long
 * they hold requests back and let them go at once. A worker that stalls finds its slots gone by and books new ones.
 */
import type { Clock } from "../kernel/clock.js";
import { callFunction, loadLibrary } from "../stream/functions.js";
import type { RedisClient } from "../stream/redis.js";

/**
 * V: a slot's time is over after this. Longer than a common pause of a process, and a twenty-fifth of a second's
 * promise.
 */
const SLOT_MS = 40;
/**
 * A process that is so busy that calls to Redis take long needs longer, or all its slots would be over before it
 * comes to them. R pays for it.
 */
const LONGEST_SLOT_MS = 600;
const CALLS_OF_A_SLOT = 4;
/** How fast V comes back when calls are quick again, from one to the next. */
const SLOT_DECAY = 0.9;
/** What a clock of whole milliseconds may add to that. */
const CLOCK_STEP_MS = 1;
/** Nor does what may be under way bring it below this part: then fewer are under way. */
const LOWEST_SHARE = 0.5;
/** Answers slower than this, on average, mean that the receiver has too much to do. */
const SLOW_MS = 500;
/** Weight of a new answer in the average: about the last 30 answers count. */
const LATENCY_WEIGHT = 1 / 16;

export const loadRateLimiterLibrary = (redis: RedisClient): Promise<void> =>
  loadLibrary(redis, new URL("./rate-limiter.lua", import.meta.url));

/** F of the arithmetic above: of the requests that are wanted under way, as many as leave R its room. */
export function inFlightOf(limitPerSecond: number, wanted: number): number {
  const stretch = 1 + (SLOT_MS + CLOCK_STEP_MS) / 1_000;
  const room = limitPerSecond * (1 - LOWEST_SHARE * stretch) - 1;
  return Math.max(1, Math.min(wanted, Math.floor(room)));
}

export interface RateLimiterOptions {
  redis: RedisClient;
  /** The hash that all workers share. */
  key: string;
  /** This worker's name. */
  owner: string;
  /** What the receiver takes. */
  limitPerSecond: number;
  /** Requests under way at most, of all workers together. */
  inFlight: number;
  clock: Clock;
  /** Left out: the Redis server's own. */
  serverClock?: Clock;
}

/** Slots of one call. */
interface Reservation {
  /** When the first is to be spent at the earliest, and at the latest; by this machine's clock. */
  readonly fromMs: number;
  readonly untilMs: number;
  readonly stepMs: number;
  readonly slots: number;
  spent: number;
}

export class RateLimiter {
  readonly #options: RateLimiterOptions;
  /** Requests that may be under way, of all workers together. */
  readonly inFlight: number;
  #reservations: Reservation[] = [];
  #ratePerSecond = 0;
  /** V, by how long the calls before took. */
  #slotMs = SLOT_MS;
  #latencyMs = 0;
  #answers = 0;
  #throttled = 0;
  #holdMs = 0;
  /** What the others believe this worker to have under way. */
  #told = 0;

  constructor(options: RateLimiterOptions) {
    this.#options = options;
    this.inFlight = inFlightOf(options.limitPerSecond, options.inFlight);
  }

  /** What all workers together may send now, as of the last call. */
  get ratePerSecond(): number {
    return this.#ratePerSecond;
  }

  /** Slots that are booked and neither spent nor over. */
  reserved(nowMs: number): number {
    this.#drop(nowMs);
    return this.#reservations.reduce((sum, { slots, spent }) => sum + slots - spent, 0);
  }

  /** Spends a slot, if it is the time of one. */
  take(nowMs: number): boolean {
    this.#drop(nowMs);
    const [booking] = this.#reservations;
    if (!booking || booking.fromMs + booking.spent * booking.stepMs > nowMs) return false;
    booking.spent++;
    return true;
  }

  /** How long until the time of the next slot; Infinity when none is held. */
  waitMs(nowMs: number): number {
    this.#drop(nowMs);
    const [booking] = this.#reservations;
    return booking ? Math.max(0, booking.fromMs + booking.spent * booking.stepMs - nowMs) : Number.POSITIVE_INFINITY;
  }

  /** Notes an answer of any kind. */
  answered(latencyMs: number): void {
    this.#answers++;
    this.#latencyMs += (latencyMs - this.#latencyMs) * LATENCY_WEIGHT;
  }

  /**
   * Notes that the receiver has asked for less. If it wants to be left alone, slots that are held are given up at
   * once.
   */
  throttled(retryAfterMs: number | undefined): void {
    this.#throttled++;
    this.#holdMs = Math.max(this.#holdMs, retryAfterMs ?? 0);
    if (this.#holdMs > 0) this.#reservations = [];
  }

  /** Whether the others have to be told of something: less is asked for, or nothing is under way here any more. */
  hasNews(underWay: number): boolean {
    return this.#throttled > 0 || (underWay === 0 && this.#told > 0);
  }

  /**
   * Tells how it goes, and books slots.
   * @param underWay requests of this worker that have no answer yet
   * @returns how long to wait, in ms, before asking for more makes sense
   */
  async reserve(wanted: number, underWay: number): Promise<number> {
    const { redis, key, owner, limitPerSecond, clock, serverClock } = this.#options;
    const askedMs = clock.now();
    const slotMs = this.#slotMs;
    // What this process itself keeps answers waiting, calls to Redis wait as well.
    const isSlow = this.#answers > 0 && this.#latencyMs > SLOW_MS + slotMs - SLOT_MS;
    const [answers, throttled, holdMs] = [this.#answers, this.#throttled, this.#holdMs];
    const mine = underWay + this.reserved(askedMs);
    const reply = await callFunction(
      redis,
      "pace_take",
      [key],
      [
        owner,
        serverClock ? serverClock.now() : "",
        limitPerSecond,
        this.inFlight,
        mine,
        wanted,
        throttled,
        Math.ceil(holdMs),
        isSlow ? 1 : 0,
        Math.ceil(slotMs),
      ],
    );
    const [slots, firstUs, stepUs, waitUs, rate] = reply as [number, number, string, number, string];
    const tookMs = clock.now() - askedMs;
    this.#slotMs = Math.min(LONGEST_SLOT_MS, Math.max(SLOT_MS, slotMs * SLOT_DECAY, tookMs * CALLS_OF_A_SLOT));
    // Kept until now, so that a call which failed is made up for.
    this.#answers -= answers;
    this.#throttled -= throttled;
    if (this.#throttled === 0) this.#holdMs = 0;
    this.#told = mine + slots;
    this.#ratePerSecond = Number(rate);
    // Not when the receiver has asked to be left alone meanwhile: the next call tells so.
    if (slots > 0 && this.#holdMs === 0) {
      // The server's "now" lay somewhere between question and answer: a slot begins by the later of the two and ends
      // by the earlier, so that a slow answer makes it shorter and never moves it.
      const firstMs = firstUs / 1_000;
      const fromMs = clock.now() + firstMs;
      this.#reservations.push({
        fromMs,
        untilMs: askedMs + firstMs + Math.ceil(slotMs),
        stepMs: Number(stepUs) / 1_000,
        slots,
        spent: 0,
      });
    }
    return waitUs / 1_000;
  }

  /** Forgets slots whose time is over. */
  #drop(nowMs: number): void {
    for (const booking of this.#reservations) {
      const gone = Math.ceil((nowMs - booking.untilMs) / booking.stepMs);
      booking.spent = Math.min(booking.slots, Math.max(booking.spent, gone));
    }
    if (this.#reservations.some(({ slots, spent }) => spent === slots))
      this.#reservations = this.#reservations.filter(({ slots, spent }) => spent < slots);
  }
}
