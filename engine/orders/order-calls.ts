/**
 * How the order store calls its functions in Redis: the keys of a partition, the keys of the days that a call is
 * about, the clock that each call carries, and the wait for replicas.
 */
import { chainIdDay } from "../kernel/chain-id.js";
import { type Clock, DEFAULT_CLOCK_BOUND_MS, systemClock } from "../kernel/clock.js";
import { EngineError } from "../kernel/errors.js";
import { callFunctionBuffer } from "../stream/functions.js";
import { type OrderKeys, orderKeys } from "../stream/keys.js";
import type { RedisClient } from "../stream/redis.js";
import type { ReplicationBarrier } from "../stream/replication-barrier.js";

export interface OrderCallOptions {
  redis: RedisClient;
  prefix: string;
  partitions: number;
  /** Given: a write is complete only when replicas have it. */
  replicas?: ReplicationBarrier;
  /** Left out: the clock of the Redis server. */
  clock?: Clock;
  /** The server's clock must agree with this one, within a bound; left out: this machine's, and 10 s. */
  wall?: Clock;
  clockBoundMs?: number;
}

export type Argument = string | number | Buffer;

export class OrderCalls {
  readonly redis: RedisClient;
  readonly keys: readonly OrderKeys[];
  readonly #options: OrderCallOptions;

  constructor(options: OrderCallOptions) {
    const { redis, prefix, partitions } = options;
    this.redis = redis;
    this.#options = options;
    this.keys = Array.from({ length: partitions }, (_, partition) => orderKeys(prefix, partition));
  }

  keysOf(partition: number): OrderKeys {
    const keys = this.keys[partition];
    if (keys) return keys;
    throw new EngineError(`no partition ${partition}`, { op: "orders", code: "no_partition", retryable: false });
  }

  write(name: string, keys: string[], args: Argument[]): Promise<unknown> {
    const { redis, replicas } = this.#options;
    return replicas ? replicas.call(name, keys, args) : callFunctionBuffer(redis, name, keys, args);
  }

  /** A call that does not wait for replicas. */
  call(name: string, keys: string[], args: Argument[]): Promise<unknown> {
    return callFunctionBuffer(this.redis, name, keys, args);
  }

  /** The clock argument of a call: see `time_of` in server-time.lua. */
  now(): string {
    const { clock, wall = systemClock, clockBoundMs = DEFAULT_CLOCK_BOUND_MS } = this.#options;
    return clock ? String(clock.now()) : `~${wall.now()},${clockBoundMs}`;
  }
}

/** Keys of a call before those of its days, and how many each day has. */
const [KEYS_BEFORE_DAYS, KEYS_PER_DAY] = [5, 2];

export const keysBeforeDays = (keys: Omit<OrderKeys, "orders" | "buyers">): string[] => [
  keys.head,
  keys.log,
  keys.erasures,
  keys.orderDays,
  keys.lateEnds,
];

/** The number, from 1, of an order's day among the days of a call; a new day's keys are appended to `keys`. */
export function dayNumber(
  keys: string[],
  orders: (day: number) => string,
  buyers: (day: number) => string,
  id: string,
): number {
  const day = chainIdDay(id);
  const index = keys.indexOf(orders(day), KEYS_BEFORE_DAYS);
  const at = index < 0 ? keys.push(orders(day), buyers(day)) - KEYS_PER_DAY : index;
  return (at - KEYS_BEFORE_DAYS) / KEYS_PER_DAY + 1;
}
