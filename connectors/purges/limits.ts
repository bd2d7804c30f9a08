/**
 * The limits of one CDN that all workers share (limits.lua): when the next request may be sent, and for how many SKUs.
 * Guarantee, as long as Redis keeps its state: in any second a vendor gets no more requests than its limit, or below 1
 * a second no two within 1 / limit; in any 24 hours no more SKUs. A permission is valid for V after it was asked for;
 * N + 1 requests at a distance of (1 + V / N) / N of a second take longer than a second even if the first is late by V.
 * Delays in the network are not covered: a vendor that counts on arrival may refuse one, which is repeated.
 */
import type { Clock } from "../../engine/kernel/clock.js";
import { callFunction, loadLibrary } from "../../engine/stream/functions.js";
import { purgeLimitsKey } from "../../engine/stream/keys.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { nowArgument } from "../../engine/stream/server-clock.js";
import type { PurgeLimits } from "../purger.js";

/** V: longer than a busy process waits for Redis, as a rule. One that comes later is lost. */
export const PERMISSION_MS = 500;
/** Of a vendor's token bucket: the rest is for purges of other clients, such as people at its console. */
const BURST_SHARE = 0.8;

export const loadPurgesLibrary = (redis: RedisClient): Promise<void> =>
  loadLibrary(redis, new URL("./limits.lua", import.meta.url));

export interface PurgeLimitsOptions {
  readonly redis: RedisClient;
  readonly prefix: string;
  /** The CDN's name. */
  readonly name: string;
  readonly limits: PurgeLimits;
  /** Left out: the Redis server's own. */
  readonly serverClock?: Clock;
}

/** What may be sent now: SKUs of one request, or when to ask again. */
export interface PurgePermission {
  readonly skus: number;
  /** Milliseconds; 0 when there are SKUs. */
  readonly waitMs: number;
  /** Whether the day's SKUs are used up. */
  readonly isDayOver: boolean;
}

export class SharedPurgeLimits {
  readonly #options: PurgeLimitsOptions;
  readonly #key: string;

  constructor(options: PurgeLimitsOptions) {
    this.#options = options;
    this.#key = purgeLimitsKey(options.prefix, options.name);
  }

  /** Asks for one request. A permission counts, whether it is used or not. @throws EngineError of Redis */
  async take(wantedSkus: number): Promise<PurgePermission> {
    const { redis, limits, serverClock } = this.#options;
    const { perSecond, perDay, batch, burst = 1 } = limits;
    const reply = await callFunction(
      redis,
      "purges_take",
      [this.#key],
      [
        nowArgument(serverClock),
        intervalMs(perSecond),
        Math.max(1, Math.floor(burst * BURST_SHARE)),
        Math.min(wantedSkus, batch),
        perDay ?? "",
      ],
    );
    const [skus, waitMs, isDayOver] = reply as [number, number, number];
    return { skus, waitMs, isDayOver: isDayOver === 1 };
  }

  /** No worker sends anything for so long. @throws EngineError of Redis */
  async hold(forMs: number): Promise<void> {
    const { redis, serverClock } = this.#options;
    await callFunction(redis, "purges_hold", [this.#key], [nowArgument(serverClock), Math.ceil(forMs)]);
  }
}

/** 1 / limit, and the part of V that keeps a second's requests, or the only one of its time, from coming too close. */
const intervalMs = (perSecond: number): number =>
  1_000 / perSecond + PERMISSION_MS / Math.max(1, Math.floor(perSecond));
