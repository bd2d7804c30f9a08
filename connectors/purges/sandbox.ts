/**
 * What the sandboxes of purges share: an HTTP server on loopback that counts requests and purged values against a
 * vendor's limits, as the vendor does: a token bucket where it has one, otherwise the requests of any second; and the
 * quotas of a day, where it has them. It keeps what was purged in memory, the newest. Credentials, bodies and answers
 * are the vendor's own.
 */
import { type Clock, systemClock } from "../../engine/kernel/clock.js";
import type { PurgeLimits } from "../purger.js";
import { type SandboxAnswer, SandboxServer } from "../sources/sandbox/server.js";
import { chinaDayOf } from "./china-day.js";

/** A tag or an address that was purged. */
export interface PurgedValue {
  readonly atMs: number;
  readonly value: string;
}

export interface PurgeSandboxSettings {
  readonly port?: number;
  /** Its own; the real one when left out. */
  readonly clock?: Clock;
  /** Called with what each accepted request purges. */
  readonly onPurge?: (values: readonly string[]) => void;
}

const MOST_KEPT = 100_000;
const WINDOW_MS = 1_000;

export abstract class PurgeSandbox extends SandboxServer {
  /** The oldest first. */
  readonly purged: PurgedValue[] = [];
  /** Requests with wrong credentials. */
  denied = 0;
  protected readonly clock: Clock;
  readonly #onPurge: (values: readonly string[]) => void;
  readonly #requests: number[] = [];
  #tokens: number | undefined;
  #filledMs = 0;

  constructor({ clock = systemClock, onPurge = () => {}, ...settings }: PurgeSandboxSettings = {}) {
    super(settings);
    this.clock = clock;
    this.#onPurge = onPurge;
  }

  /**
   * Counts a request that the vendor has understood, and what it purges.
   * @returns undefined: it is purged; otherwise the refusal
   */
  protected purge(values: readonly string[], limits: PurgeLimits): SandboxAnswer | undefined {
    const nowMs = this.clock.now();
    if (!this.#mayTake(nowMs, limits)) {
      this.figures.throttled++;
      return this.throttled();
    }
    this.purged.push(...values.map((value) => ({ atMs: nowMs, value })));
    this.purged.splice(0, Math.max(0, this.purged.length - MOST_KEPT));
    this.#onPurge(values);
    return undefined;
  }

  #mayTake(nowMs: number, { perSecond, burst }: PurgeLimits): boolean {
    if (burst === undefined) {
      const most = Math.max(1, Math.floor(perSecond));
      const windowMs = perSecond < 1 ? WINDOW_MS / perSecond : WINDOW_MS;
      while (this.#requests[0] !== undefined && nowMs - this.#requests[0] >= windowMs) this.#requests.shift();
      if (this.#requests.length >= most) return false;
      this.#requests.push(nowMs);
      return true;
    }
    const tokens = Math.min(burst, (this.#tokens ?? burst) + ((nowMs - this.#filledMs) / 1_000) * perSecond);
    this.#filledMs = nowMs;
    this.#tokens = tokens < 1 ? tokens : tokens - 1;
    return tokens >= 1;
  }
}

/** How many values an account may purge in a day of China's time. */
export class DayQuota {
  readonly #limit: number;
  #day = 0;
  #used = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  hasRoomFor(values: number, nowMs: number): boolean {
    const day = chinaDayOf(nowMs);
    if (this.#day !== day) [this.#day, this.#used] = [day, 0];
    return this.#used + values <= this.#limit;
  }

  /** After `hasRoomFor`. */
  use(values: number): void {
    this.#used += values;
  }
}
