/**
 * The clock that leases, commits and reservations are dated with: the Redis server's own, unless a process brings one
 * (a replay, a demo, a test). It states in one place how that choice is passed to a function and read here.
 */
import { type Clock, DEFAULT_CLOCK_BOUND_MS, systemClock } from "../kernel/clock.js";
import type { RedisClient } from "./redis.js";

/** The clock argument of a function of a library: the given clock's time in ms, or '' for the server's own. */
export const nowArgument = (serverClock: Clock | undefined): string => (serverClock ? String(serverClock.now()) : "");

/** The time in milliseconds by the given clock, or the server's own. */
export async function serverNowMs(redis: RedisClient, serverClock: Clock | undefined): Promise<number> {
  if (serverClock) return serverClock.now();
  const [seconds, micros] = await redis.time();
  return Number(seconds) * 1_000 + Math.floor(Number(micros) / 1_000);
}

/**
 * The server's time for deciding what is old enough to be removed or given up; undefined while it and this process's
 * wall clock differ by more than the bound: one of the two is wrong, and nothing counts as old until they agree. A
 * given clock is always right.
 */
export function agreedMs(serverMs: number, serverClock: Clock | undefined): number | undefined {
  const agrees = serverClock !== undefined || Math.abs(serverMs - systemClock.now()) <= DEFAULT_CLOCK_BOUND_MS;
  return agrees ? serverMs : undefined;
}

/** The server's time for dating what ends unless it is renewed; the later of the two clocks while they differ. */
export const renewalMs = (serverMs: number, serverClock: Clock | undefined): number =>
  agreedMs(serverMs, serverClock) ?? Math.max(serverMs, systemClock.now());

/** The last argument of a function that removes what is old, as `time_of` in server-time.lua reads it. */
export const wallArgument = (): string => `~${systemClock.now()},${DEFAULT_CLOCK_BOUND_MS}`;
