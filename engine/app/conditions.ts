/**
 * When the conditions of the engine are met, by what this process sees: orders with late or skipped steps, receivers
 * whose circuit is open, jobs that are behind, new dead letters, and a Redis that is nearly full. Between firing and
 * clearing there is a gap where the figure moves to and fro. Nothing is kept here but since when a circuit is open.
 */
import { ALERTS_TOPIC } from "../jobs/alerts/events.js";
import { MINUTE_MS, monotonicClock, stopwatch } from "../kernel/clock.js";
import { orderOptions } from "../orders/options.js";
import type { Outbox } from "../outbox/outbox.js";
import { deadLetterNews } from "../stream/dead-letter.js";
import type { NewEvent } from "../stream/event-entry.js";
import { partitionKeys, sinkKeys } from "../stream/keys.js";
import type { RedisClient } from "../stream/redis.js";
import { type RedisMemory, readMemory, shareOf } from "../stream/server-memory.js";
import { type Condition, type ConditionReader, ConditionWatch } from "./condition-watch.js";
import type { Engine } from "./engine.js";
import type { EngineRedis } from "./engine-redis.js";
import type { EngineSettings } from "./engine-settings.js";
import { eventTopicNamed, topicNamed } from "./running-topics.js";
import { emitReadersOf, type Tables } from "./tables.js";

/** A circuit is open for a moment whenever a receiver restarts. */
const CIRCUIT_MS = 10_000;
/** Of the floor of orders with an exception: the alert clears below it. */
const CLEAR_SHARE = 0.8;
/** The default of the lag at which new orders are refused. */
const BEHIND_MS = 20_000;
/** The default share at which new orders are refused, and below which there is room again. */
const FULL_SHARE = 0.85;
const ROOM_SHARE = 0.8;
/** Dead letters without a newer one for so long have been seen: the alert clears although they are stored. */
const NEW_MS = 60 * MINUTE_MS;
/** Every partition of every sink is read. */
const DEAD_LETTERS_EVERY_MS = 10_000;

const seconds = (ms: number): number => Math.round(ms / 1_000);

/** The watch of a process that runs jobs. */
export function conditionWatchOf(
  { prefix, partitions, shopTime, exceptionFloor, onTrouble }: EngineSettings,
  tables: Pick<Tables, "connectors" | "ownSinks" | "topics">,
  { redis, viewRedis, owner }: EngineRedis,
  { sinks, topics, orders, clock }: Pick<Engine, "sinks" | "topics" | "orders" | "clock">,
): ConditionWatch {
  const alerts = eventTopicNamed(topics, ALERTS_TOPIC);
  const { follower } = topicNamed(topics, ALERTS_TOPIC);
  const readers = [
    orderExceptions(orders.exceptions, exceptionFloor),
    receiverCircuits(sinks),
    jobsBehind(topics),
    deadLetters({
      ...{ redis: viewRedis, prefix, partitions, topics, readers: emitReadersOf(tables) },
      serverNowMs: () => follower.serverNowMs(),
    }),
    redisFull(() => readMemory(redis)),
  ];
  const append = (events: readonly NewEvent[]) => alerts.append(events);
  return new ConditionWatch({
    readers,
    reporter: owner,
    append,
    clock,
    speed: () => shopTime?.speed() ?? 1,
    onTrouble,
  });
}

/** Of the order-flow job. */
interface Exceptions {
  counts(): Promise<{ counts: readonly { step: string; kind: string; open: number }[]; complete: boolean }>;
}

/** Each step and kind with as many orders as the floor, until they are clearly fewer. */
export const orderExceptions = (
  exceptions: Exceptions,
  floor: number = orderOptions.exceptionFloor.default,
): ConditionReader => ({
  rule: "order_exceptions",
  async read(wasMet) {
    const { counts, complete } = await exceptions.counts();
    if (!complete) return undefined;
    return counts.map(({ step, kind, open }): Condition => {
      const subject = `${step}/${kind}`;
      const limit = wasMet(subject) ? CLEAR_SHARE * floor : floor;
      return { subject, isMet: open >= limit, value: open, limit: floor };
    });
  },
});

/** Deliveries wait because a receiver has not answered for a while. */
export function receiverCircuits(
  sinks: readonly { readonly name: string; readonly outbox: Pick<Outbox, "stats"> }[],
  stopwatchOf: () => () => number = stopwatch,
): ConditionReader {
  const openFor = new Map<string, () => number>();
  return {
    rule: "receiver_circuit",
    read: async () =>
      sinks.map(({ name, outbox }): Condition => {
        const { circuit, partitions } = outbox.stats();
        // Without a delivery nothing shows whether the receiver answers again.
        const isOpen = circuit !== "closed" && partitions.some(({ behindMs }) => behindMs > 0);
        if (!isOpen) openFor.delete(name);
        else if (!openFor.has(name)) openFor.set(name, stopwatchOf());
        const openMs = openFor.get(name)?.() ?? 0;
        return { subject: name, isMet: openMs >= CIRCUIT_MS, value: seconds(openMs), limit: seconds(CIRCUIT_MS) };
      }),
  };
}

/** Views of a topic are older than its jobs' normal lag. A topic that is behind half as far has caught up. */
export function jobsBehind(
  topics: readonly { readonly name: string; readonly follower: { oldestAgeMs(): number } }[],
  nowMs: () => number = () => monotonicClock.now(),
): ConditionReader {
  // Earlier lag is unknown to this process.
  const startedMs = nowMs();
  return {
    rule: "jobs_behind",
    read: async (wasMet) =>
      topics.map(({ name, follower }): Condition => {
        const ageMs = Math.min(follower.oldestAgeMs(), nowMs() - startedMs);
        const limitMs = wasMet(name) ? BEHIND_MS / 2 : BEHIND_MS;
        return { subject: name, isMet: ageMs >= limitMs, value: seconds(ageMs), limit: seconds(BEHIND_MS) };
      }),
  };
}

export interface DeadLetterParts {
  readonly redis: RedisClient;
  readonly prefix: string;
  readonly partitions: number;
  /** Topics, and what reads the emits of each. */
  readonly topics: readonly { readonly name: string }[];
  readonly readers: readonly { readonly name: string; readonly topic: string }[];
  /** The Redis server's clock. */
  serverNowMs(): number;
}

/** Dead letters of a topic or a sink are stored, and the newest is younger than an hour. */
export function deadLetters(parts: DeadLetterParts): ConditionReader {
  const { redis, prefix, partitions, topics, readers, serverNowMs } = parts;
  const all = Array.from({ length: partitions }, (_, partition) => partition);
  const owners = [
    ...topics.map(({ name }) => ({
      subject: name,
      keys: all.map((partition) => partitionKeys(prefix, name, partition)),
    })),
    ...readers.map(({ name, topic }) => ({
      subject: `${topic}/${name}`,
      keys: all.map((partition) => sinkKeys(prefix, topic, partition, name)),
    })),
  ];
  let known: { conditions: readonly Condition[]; ageMs: () => number } | undefined;
  return {
    rule: "dead_letters",
    async read() {
      if (known && known.ageMs() < DEAD_LETTERS_EVERY_MS) return known.conditions;
      const conditions = await Promise.all(
        owners.map(async ({ subject, keys }): Promise<Condition> => {
          const found = await Promise.all(keys.map((each) => deadLetterNews(redis, each)));
          const stored = found.reduce((sum, each) => sum + each.deadLetters, 0);
          const newestMs = Math.max(...found.map((each) => each.newestMs));
          return { subject, isMet: stored > 0 && newestMs + NEW_MS > serverNowMs(), value: stored, limit: 0 };
        }),
      );
      known = { conditions, ageMs: stopwatch() };
      return conditions;
    },
  };
}

/** @param read undefined: Redis does not report its memory */
export const redisFull = (read: () => Promise<RedisMemory | undefined>): ConditionReader => ({
  rule: "redis_full",
  async read(wasMet) {
    const memory = await read();
    if (!memory) return undefined;
    const share = Math.round(shareOf(memory) * 1_000) / 1_000;
    const limit = wasMet("redis") ? ROOM_SHARE : FULL_SHARE;
    return [{ subject: "redis", isMet: share >= limit, value: share, limit: FULL_SHARE }];
  },
});
