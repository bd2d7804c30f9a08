/**
 * One worker's part of the rate limiter that all workers share: it reserves send times on the common time
 * line (rate-limiter.lua), uses each at its time, and publishes how the receiver answers. Guarantee: in
 * no second, wherever it begins, a receiver with limit L gets more than L requests. Send times are 1/R
 * apart and each is valid for V after its time, so at most R × (1 s + V) + 1 requests are sent in a
 * second; a request that arrives in a second was sent in it or was under way at its beginning, and at
 * most F are. So R × (1 + V) + 1 + F ≤ L holds even if the network delays requests and delivers them at
 * once. A worker that stalls loses its reservations and makes new ones.
 */
import type { Clock } from "../kernel/clock.js";
import { callFunction, loadLibrary } from "../stream/functions.js";
import type { RedisClient } from "../stream/redis.js";
import { nowArgument } from "../stream/server-clock.js";

/** V: a reserved send time is valid for this long. Longer than a common pause of a process; costs 4 % of the rate. */
const SLOT_MS = 40;
/**
 * The largest V. A busy process, whose calls to Redis take long, needs a larger V, or its reservations would end
 * before it uses them. R is lower for it.
 */
const LONGEST_SLOT_MS = 600;
const CALLS_OF_A_SLOT = 4;
/** By this factor V shrinks with each call when calls are quick again. */
const SLOT_DECAY = 0.9;
/** A clock of whole milliseconds may add this to V. */
const CLOCK_STEP_MS = 1;
/** R is at least this part of L; if F would bring it lower, F is smaller. */
const LOWEST_SHARE = 0.5;
/** Answers slower than this, on average, mean that the receiver is overloaded. */
const SLOW_MS = 500;
/** Weight of a new answer in the average: about the last 30 answers count. */
const LATENCY_WEIGHT = 1 / 16;

export const loadRateLimiterLibrary = (redis: RedisClient): Promise<void> =>
  loadLibrary(redis, new URL("./rate-limiter.lua", import.meta.url));

/**
 * F of the arithmetic above: the requests under way that are wanted, but not so many that R falls below its lowest
 * share.
 */
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
  /** The receiver's limit L. */
  limitPerSecond: number;
  /** Requests under way at most, of all workers together. */
  inFlight: number;
  clock: Clock;
  /** Left out: the Redis server's own. */
  serverClock?: Clock;
}

/** The send times of one call. */
interface Reservation {
  /** The earliest and the latest time for the first one, by this machine's clock. */
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
  /** V, from the duration of earlier calls. */
  #slotMs = SLOT_MS;
  #latencyMs = 0;
  #answers = 0;
  #throttled = 0;
  #holdMs = 0;
  /** The requests under way that were last published for this worker. */
  #published = 0;

  constructor(options: RateLimiterOptions) {
    this.#options = options;
    this.inFlight = inFlightOf(options.limitPerSecond, options.inFlight);
  }

  /** The rate of all workers together, as of the last call. */
  get ratePerSecond(): number {
    return this.#ratePerSecond;
  }

  /** Reserved send times that are neither used nor over. */
  reserved(nowMs: number): number {
    this.#drop(nowMs);
    return this.#reservations.reduce((sum, { slots, spent }) => sum + slots - spent, 0);
  }

  /** Uses a reserved send time, if one is due. */
  take(nowMs: number): boolean {
    this.#drop(nowMs);
    const [reservation] = this.#reservations;
    if (!reservation || reservation.fromMs + reservation.spent * reservation.stepMs > nowMs) return false;
    reservation.spent++;
    return true;
  }

  /** How long until the next reserved send time; Infinity when there is none. */
  waitMs(nowMs: number): number {
    this.#drop(nowMs);
    const [reservation] = this.#reservations;
    return reservation
      ? Math.max(0, reservation.fromMs + reservation.spent * reservation.stepMs - nowMs)
      : Number.POSITIVE_INFINITY;
  }

  /** Records an answer of any kind. */
  answered(latencyMs: number): void {
    this.#answers++;
    this.#latencyMs += (latencyMs - this.#latencyMs) * LATENCY_WEIGHT;
  }

  /**
   * Records that the receiver has asked for fewer requests. If it has asked for a pause, all reservations are dropped
   * at once.
   */
  throttled(retryAfterMs: number | undefined): void {
    this.#throttled++;
    this.#holdMs = Math.max(this.#holdMs, retryAfterMs ?? 0);
    if (this.#holdMs > 0) this.#reservations = [];
  }

  /** Whether something has to be published: the receiver throttles, or nothing is under way here any more. */
  hasNews(underWay: number): boolean {
    return this.#throttled > 0 || (underWay === 0 && this.#published > 0);
  }

  /**
   * Publishes how the receiver answers, and reserves send times.
   * @param underWay requests of this worker that have no answer yet
   * @returns how long to wait, in ms, before asking for more makes sense
   */
  async reserve(wanted: number, underWay: number): Promise<number> {
    const { redis, key, owner, limitPerSecond, clock, serverClock } = this.#options;
    const askedMs = clock.now();
    const slotMs = this.#slotMs;
    // An answer that waits because this process is busy is not slow: calls to Redis take longer then, too.
    const isSlow = this.#answers > 0 && this.#latencyMs > SLOW_MS + slotMs - SLOT_MS;
    const [answers, throttled, holdMs] = [this.#answers, this.#throttled, this.#holdMs];
    const mine = underWay + this.reserved(askedMs);
    const reply = await callFunction(
      redis,
      "rate_reserve",
      [key],
      [
        owner,
        nowArgument(serverClock),
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
    // Subtracted only now, so that a failed call is made up for.
    this.#answers -= answers;
    this.#throttled -= throttled;
    if (this.#throttled === 0) this.#holdMs = 0;
    this.#published = mine + slots;
    this.#ratePerSecond = Number(rate);
    // Not when the receiver has asked for a pause meanwhile: the next call publishes it.
    if (slots > 0 && this.#holdMs === 0) {
      // The server's "now" is between request and reply: a send time begins by the later of the two and ends by the
      // earlier, so that a slow reply makes it shorter and never moves it.
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

  /** Drops send times that are over. */
  #drop(nowMs: number): void {
    for (const reservation of this.#reservations) {
      const expired = Math.ceil((nowMs - reservation.untilMs) / reservation.stepMs);
      reservation.spent = Math.min(reservation.slots, Math.max(reservation.spent, expired));
    }
    if (this.#reservations.some(({ slots, spent }) => spent === slots))
      this.#reservations = this.#reservations.filter(({ slots, spent }) => spent < slots);
  }
}
