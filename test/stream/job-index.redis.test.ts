/**
 * The index of keyed states on a real Redis: it agrees with the states after every commit, is read in pages, is counted
 * without being read, and is rebuilt when an owner has not maintained it.
 */
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { seededRandom } from "../../engine/kernel/random.js";
import { acquireTask, commitTask, loadStreamLibrary, readTask, type Task } from "../../engine/stream/commit.js";
import type { Job } from "../../engine/stream/job.js";
import { type FoundEntry, JobIndex, memberOf } from "../../engine/stream/job-index.js";
import { decodeState, encodeState } from "../../engine/stream/pack.js";
import { knownPrimaries, type RedisClient } from "../../engine/stream/redis.js";
import { Runner } from "../../engine/stream/runner.js";
import { withRedis } from "../redis/with-redis.js";
import { type ToyEvent, type ToyState, type ToyWords, toyJob } from "./toy.js";
import { append, runnerOptions, seen, toyKeys, until } from "./toy-log.js";

const redis = withRedis();
const T0 = 1_700_000_000_000;
const JOB = "toy.1";
let client: RedisClient;
let prefix = "";
let round = 0;
const stops: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  client = redis.connect();
  await loadStreamLibrary(client);
});
beforeEach(() => {
  prefix = `i${round++}`;
});
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

const index: NonNullable<Job<ToyEvent, ToyState>["index"]> = ({ units, events }) => [
  { name: units % 2 === 0 ? "even" : "odd", score: units },
  ...(events > 2 ? [{ name: "busy", score: events }] : []),
];
const indexed = (): Job<ToyEvent, ToyState> => ({ ...toyJob(), index });
const keys = () => toyKeys(prefix);
const reader = (partitions = 1) => new JobIndex(client, prefix, "toys", partitions, JOB);

async function run(
  jobs: readonly Job<ToyEvent, ToyState>[],
  withViews: boolean | (() => boolean) = true,
): Promise<() => Promise<void>> {
  const runner = new Runner(0, runnerOptions(client, redis.url, prefix, { jobs, tickMs: 20, withViews }));
  runner.start();
  const stop = () => runner.stop();
  stops.push(stop);
  return stop;
}

async function allPages(list: JobIndex, limit: number): Promise<FoundEntry[]> {
  const found: FoundEntry[] = [];
  for (let after: string | undefined, more = true; more; more = after !== undefined) {
    const page = await list.page(limit, after);
    found.push(...page.entries);
    after = page.next;
  }
  return found;
}

/** The expected entries, computed from the states. */
async function expected(): Promise<string[]> {
  const states = await client.hgetallBuffer(keys().state(JOB));
  return Object.entries(states)
    .flatMap(([key, bytes]) =>
      index(decodeState(bytes) as ToyState, key).map(({ name, score }) => `${score} ${name} ${key}`),
    )
    .sort();
}

async function expectIndexed(): Promise<void> {
  const found = await allPages(reader(), 7);
  expect(found.map(({ name, key, score }) => `${score} ${name} ${key}`).sort()).toEqual(await expected());
  const { counts, complete } = await reader().counts();
  expect(complete).toBe(true);
  const counted = new Map<string, number>();
  for (const { name } of found) counted.set(name, (counted.get(name) ?? 0) + 1);
  expect(new Map([...counts].sort())).toEqual(new Map([...counted].sort()));
}

function drawn(random: ReturnType<typeof seededRandom>, events: number): ToyWords[] {
  return Array.from({ length: events }, () => ({
    key: `k${random.below(40)}`,
    units: random.below(5),
    ...(random.below(6) === 0 ? { word: random.below(2) === 0 ? ("clear" as const) : ("poison" as const) } : {}),
  }));
}

describe("an index", () => {
  it("agrees with the states after every commit, also when keys are cleared and calls are undone", async () => {
    const random = seededRandom(15);
    await run([indexed()]);
    for (let i = 0; i < 12; i++) {
      const offset = await append(client, keys(), [{ clockMs: T0 + i, events: drawn(random, 30) }]);
      await seen(client, keys(), offset);
      await until(async () => (await reader().counts()).complete, "the index");
      await expectIndexed();
    }
  });

  it("is rebuilt after an owner that did not maintain it, and reported as incomplete meanwhile", async () => {
    const random = seededRandom(16);
    const stop = await run([indexed()]);
    const first = await append(client, keys(), [{ clockMs: T0, events: drawn(random, 60) }]);
    await seen(client, keys(), first);
    await stop();
    // As an older release: the same job, without an index.
    const stopOld = await run([toyJob()]);
    const second = await append(client, keys(), [{ clockMs: T0 + 1, events: drawn(random, 60) }]);
    await seen(client, keys(), second);
    expect((await reader().counts()).complete).toBe(false);
    await stopOld();
    await run([indexed()]);
    await until(async () => (await reader().counts()).complete, "the index");
    await expectIndexed();
  });

  it("of 20,000 states is built page by page, while the jobs continue and after an owner has died on the way", async () => {
    const all = 20_000;
    const state = (units: number) => encodeState({ ...toyJob().initial(""), units, events: 1 });
    for (let from = 0; from < all; from += 2_000) {
      const pairs = Array.from({ length: 2_000 }, (_, i) => [`s${from + i}`, state(from + i)] as const).flat();
      await client.hset(keys().state(JOB), ...pairs);
    }
    // An owner that got as far as its first page: with an entry of a state that is gone by now.
    const dead = (await acquireTask(client, keys(), "dead", 1)) as Task;
    const page = { index: [{ name: "odd", key: "gone", score: 1 }], clearsIndex: true };
    const body = { watermarkMs: 0, events: 0, cursors: new Map(), timersSet: [], timersRemoved: [], out: undefined };
    await commitTask(
      client,
      keys(),
      { ...dead, number: 1, leaseMs: 1, lastOut: 0 },
      { ...body, states: [{ job: JOB, set: [], tombstones: [], ...page }], deadLetters: [], resolvedDeadLetters: [] },
    );
    const before = (await readTask(client, keys())).commit;
    await run([indexed()]);
    const offset = await append(client, keys(), [{ clockMs: T0, events: [{ key: "s7", units: 1 }, { key: "new" }] }]);
    await until(async () => (await reader().counts()).complete, "the index");
    await seen(client, keys(), offset);
    const { commit } = await readTask(client, keys());
    // Pages of about 1,000, never all at once.
    expect(commit - before).toBeGreaterThanOrEqual(15);
    const { counts } = await reader().counts();
    expect([...counts.values()].reduce((sum, n) => sum + n, 0)).toBe(all + 1);
    expect(await client.zscore(keys().index(JOB), memberOf("odd", "gone"))).toBeNull();
    expect(Number(await client.zscore(keys().index(JOB), memberOf("even", "s7")))).toBe(8);
    expect(await client.zscore(keys().index(JOB), memberOf("odd", "s7"))).toBeNull();
  });
});

describe("views", () => {
  it("are published as long as they are read, and no longer", async () => {
    let isRead = true;
    await run([indexed()], () => isRead);
    const first = await append(client, keys(), [{ clockMs: T0, events: [{ key: "a" }] }]);
    await seen(client, keys(), first);
    expect(await client.xlen(keys().out)).toBe(1);
    isRead = false;
    const second = await append(client, keys(), [{ clockMs: T0, events: [{ key: "a" }] }]);
    await seen(client, keys(), second);
    expect(await client.xlen(keys().out)).toBe(1);
    await expectIndexed();
  });
});

describe("pages over several partitions", () => {
  const PARTITIONS = 3;

  it("contain every entry once, the lowest scores first, also where many have one score", async () => {
    const random = seededRandom(17);
    const written: string[] = [];
    for (let i = 0; i < 700; i++) {
      const score = random.below(3) === 0 ? 500 : random.below(1_000);
      const member = memberOf("late", `o${i}`);
      await client.zadd(toyKeys(prefix, random.below(PARTITIONS)).index(JOB), score, member);
      written.push(`${String(score).padStart(4, "0")} o${i}`);
    }
    for (const limit of [1, 50, 1_000]) {
      const found = await allPages(reader(PARTITIONS), limit);
      const texts = found.map(({ key, score }) => `${String(score).padStart(4, "0")} ${key}`);
      expect(texts).toEqual(written.toSorted());
    }
  });

  it("leave nothing out when entries are removed between two reads of a page, nor where one score fills more than a read", async () => {
    const key = keys().index(JOB);
    const members = Array.from({ length: 60 }, (_, i) => memberOf("late", `k${String(i).padStart(2, "0")}`));
    for (const [i, member] of members.entries()) await client.zadd(key, i < 20 ? i : 20, member);
    let reads = 0;
    const resolving = new Proxy(client, {
      get: (target, name) =>
        name === "zrangebyscore"
          ? async (of: string, ...args: [string, string, "WITHSCORES", "LIMIT", number, number]) => {
              if (of === key && ++reads === 2) await client.zrem(key, ...members.slice(0, 10));
              return target.zrangebyscore(of, ...args);
            }
          : Reflect.get(target, name, target),
    });
    const { entries } = await new JobIndex(resolving, prefix, "toys", 8, JOB).page(100);
    expect(reads).toBeGreaterThan(2);
    expect(entries.map((entry) => memberOf(entry.name, entry.key))).toEqual(members);
  });

  /** On all primaries, since they started. */
  const scoreReads = async (): Promise<number> => {
    const reports = await Promise.all((await knownPrimaries(client)).map((node) => node.info("commandstats")));
    return reports.reduce((sum, text) => sum + Number(/cmdstat_zrangebyscore:calls=(\d+)/.exec(text)?.[1] ?? 0), 0);
  };

  it("continue after the last entry although it has been removed, and read no more than they return", async () => {
    for (let i = 0; i < 20_000; i += 1_000) {
      const pairs = Array.from({ length: 1_000 }, (_, j) => [i + j, memberOf("late", `o${i + j}`)] as const).flat();
      await client.zadd(toyKeys(prefix, (i / 1_000) % PARTITIONS).index(JOB), ...pairs);
    }
    const first = await reader(PARTITIONS).page(10);
    expect(first.entries.map(({ score }) => score)).toEqual(Array.from({ length: 10 }, (_, i) => i));
    await client.zrem(toyKeys(prefix, 0).index(JOB), memberOf("late", "o9"));
    const before = await scoreReads();
    const second = await reader(PARTITIONS).page(10, first.next);
    const after = await scoreReads();
    expect(second.entries.map(({ score }) => score)).toEqual(Array.from({ length: 10 }, (_, i) => 10 + i));
    expect(after - before).toBeLessThanOrEqual(2 * PARTITIONS);
  });
});

describe("a task with very many timers", () => {
  it("fires each at its time, and has few of them in memory", async () => {
    const count = 50_000;
    // As if they had been armed long ago: every tenth falls due within the next minute of the log's clock.
    for (let from = 0; from < count; from += 5_000) {
      const pairs = Array.from({ length: 5_000 }, (_, i) => {
        const n = from + i;
        return [T0 + (n % 10 === 0 ? n : 10_000_000 + n), `${JOB}\u001fk${n}`] as const;
      }).flat();
      await client.zadd(keys().timers, ...pairs);
    }
    await run([toyJob()]);
    const offset = await append(client, keys(), [{ clockMs: T0 + count, events: [{ key: "x" }] }]);
    await seen(client, keys(), offset);
    expect(await client.zcard(keys().timers)).toBe(count - count / 10);
    expect(await client.hlen(keys().state(JOB))).toBe(count / 10 + 1);
    expect(await client.zcount(keys().timers, "-inf", T0 + count)).toBe(0);
  });
});
