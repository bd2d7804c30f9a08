/**
 * The toy topic in a real Redis: a log that a test appends to, what a task has left there, and a runner with settings
 * fit for tests.
 */
import { sleep, systemClock } from "../../engine/kernel/clock.js";
import { readTask } from "../../engine/stream/commit.js";
import { type DeadLetter, listDeadLetters, readDeadLetters } from "../../engine/stream/dead-letter.js";
import { type PartitionKeys, partitionKeys } from "../../engine/stream/keys.js";
import { decodeEmits } from "../../engine/stream/out-record.js";
import { connect, type RedisClient } from "../../engine/stream/redis.js";
import type { RunnerOptions } from "../../engine/stream/runner.js";
import { type ToyEntry, type ToyEvent, toyFields, toyJob, toyTopic } from "./toy.js";

export const toyKeys = (prefix: string, partition = 0): PartitionKeys => partitionKeys(prefix, "toys", partition);

/** Appends entries after those that are there, each atomically with the head. */
export async function append(client: RedisClient, keys: PartitionKeys, entries: readonly ToyEntry[]): Promise<number> {
  let offset = Number((await client.hget(keys.head, "offset")) ?? 0);
  const transaction = client.multi();
  for (const entry of entries) {
    offset++;
    transaction.xadd(keys.log, `${offset}-0`, ...toyFields(entry));
  }
  transaction.hset(keys.head, "offset", offset);
  await transaction.exec();
  return offset;
}

/** Everything a task has left behind, in the shape of `Store.picture()`. */
export async function pictureOf(client: RedisClient, keys: PartitionKeys, jobs: readonly string[]): Promise<unknown> {
  const sorted = <V>(map: Iterable<[string, V]>) => [...map].sort(([a], [b]) => (a < b ? -1 : 1));
  const states: [string, [string, string][]][] = [];
  for (const job of jobs) {
    const all = await client.hgetallBuffer(keys.state(job));
    states.push([job, sorted(Object.entries(all)).map(([key, bytes]) => [key, bytes.toString("hex")])]);
  }
  const flat = await client.zrange(keys.timers, "0", "-1", "WITHSCORES");
  const timers: [string, number][] = [];
  for (let i = 0; i < flat.length; i += 2) timers.push([flat[i] as string, Number(flat[i + 1])]);
  return {
    states: sorted(states),
    timers: sorted(timers),
    emits: await emitsOf(client, keys),
    closings: [],
    deadLetters: await deadLettersOf(client, keys),
  };
}

/** Every emit that is stored, of a deployment in the latest format. */
export const emitsOf = async (client: RedisClient, keys: PartitionKeys) =>
  (await client.xrangeBuffer(keys.emits, "-", "+")).flatMap(([, fields]) => decodeEmits(fields[3] as Buffer).emits);

/** Dead letters with their entries, as the processor made them. */
export async function deadLettersOf(client: RedisClient, keys: PartitionKeys): Promise<DeadLetter[]> {
  const ids = (await listDeadLetters(client, keys, "-", 100_000)).map(({ id }) => id);
  return (await readDeadLetters(client, keys, ids)).map(({ id: _, ...deadLetter }) => deadLetter);
}

/** Waits until a task's jobs have seen the log up to `offset`. */
export async function seen(client: RedisClient, keys: PartitionKeys, offset: number, jobs = ["toy.1"]): Promise<void> {
  await until(async () => {
    const { cursors } = await readTask(client, keys);
    return jobs.every((job) => (cursors.get(job) ?? 0) >= offset);
  }, `offset ${offset}`);
}

/** Asks every few milliseconds until it is so; fails after a minute, and later on a busy machine. */
export async function until(isSo: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (let tries = 0; !(await isSo()); tries++) {
    if (tries > 12_000) throw new Error(`waited in vain for ${what}`);
    await sleep(5);
  }
}

export function runnerOptions(
  redis: RedisClient,
  url: string,
  prefix: string,
  more: Partial<RunnerOptions<ToyEvent>> = {},
): RunnerOptions<ToyEvent> & { troubles: string[] } {
  const troubles: string[] = [];
  return {
    topic: toyTopic(),
    jobs: [toyJob()],
    prefix,
    redis,
    openReader: () => connect({ url }, true),
    owner: "one",
    clock: systemClock,
    leaseMs: 1_000,
    tickMs: 100,
    retentionMs: 0,
    withViews: true,
    onTrouble: (message) => troubles.push(message),
    troubles,
    ...more,
  };
}
