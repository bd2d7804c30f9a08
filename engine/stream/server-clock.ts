/**
 * The clock that leases, commits and reservations are dated with: the Redis server's own, unless a process brings one
 * (a replay, a demo, a test). It states in one place how that choice is passed to a function and read here.
 */
import type { Clock } from "../kernel/clock.js";
import type { RedisClient } from "./redis.js";

/** The clock argument of a function of a library: the given clock's time in ms, or '' for the server's own. */
export const nowArgument = (serverClock: Clock | undefined): string => (serverClock ? String(serverClock.now()) : "");

/** The time in milliseconds by the given clock, or the server's own. */
export async function serverNowMs(redis: RedisClient, serverClock: Clock | undefined): Promise<number> {
  if (serverClock) return serverClock.now();
  const [seconds, micros] = await redis.time();
  return Number(seconds) * 1_000 + Math.floor(Number(micros) / 1_000);
}
