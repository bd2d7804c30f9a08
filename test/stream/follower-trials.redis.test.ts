/**
 * The follower in two hard cases: a log that never pauses, so that some entry is always not committed yet; and a
 * server that has lost its newest seconds, so that commits which were already published come again with the same
 * numbers and other contents.
 */
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { systemClock } from "../../engine/kernel/clock.js";
import { type RedisServer, startRedis } from "../../engine/redis/embedded.js";
import { loadStreamLibrary, readTask } from "../../engine/stream/commit.js";
import { Follower } from "../../engine/stream/follower.js";
import { connect, type RedisClient } from "../../engine/stream/redis.js";
import { Runner } from "../../engine/stream/runner.js";
import { type ToyEvent, toyFields, toyJob } from "./toy.js";
import { append, runnerOptions, seen, toyKeys, until } from "./toy-log.js";

const PREFIX = "trials";
const T0 = 1_700_000_000_000;
const keys = toyKeys(PREFIX);
const ENTRIES_AT_ONCE = 5;
/** Times that the views are proven fresh. */
const PROOFS = 60;
/** Commits since a proof's time: the follower reads every 20 ms, and a commit takes a millisecond or more. */
const MOST_COMMITS = 500;
const ends: (() => Promise<unknown> | unknown)[] = [];

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function serverIn(dir: string): Promise<RedisServer> {
  const server = await startRedis({ dir });
  ends.push(() => server.stop());
  return server;
}

async function scratch(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "shuiwei-test-"));
  ends.push(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

function clientOf({ socketPath }: RedisServer): RedisClient {
  const client = connect({ url: socketPath });
  ends.push(() => client.disconnect());
  return client;
}

function run(client: RedisClient, { socketPath }: RedisServer): Runner<ToyEvent> {
  const runner = new Runner(0, runnerOptions(client, socketPath, PREFIX, { leaseMs: 300 }));
  ends.push(() => runner.stop());
  runner.start();
  return runner;
}

async function follow(redis: RedisClient): Promise<{ follower: Follower<ToyEvent>; units: Map<string, number> }> {
  const units = new Map<string, number>();
  const recordingView = {
    job: "toy.1",
    onView: (key: string, view: unknown) => void units.set(key, (view as { units: number }).units),
    onReset(isOf: (key: string) => boolean) {
      for (const key of units.keys()) if (isOf(key)) units.delete(key);
    },
  };
  const follower = new Follower<ToyEvent>({
    topic: "toys",
    partitions: 1,
    jobs: [toyJob()],
    views: [recordingView],
    prefix: PREFIX,
    redis,
    clock: systemClock,
    pollMs: 20,
    onTrouble: () => {},
  });
  ends.push(() => follower.stop());
  await follower.start();
  return { follower, units };
}

it("is fresh although the log never pauses", async () => {
  const server = await serverIn(await scratch());
  const client = clientOf(server);
  await loadStreamLibrary(client);
  const runner = run(client, server);
  const { follower } = await follow(clientOf(server));
  await until(() => follower.asOf() > 0, "the first read");
  let isOver = false;
  // A writer that never waits for the jobs: there is hardly an instant without an entry that is not committed.
  const writing = (async () => {
    const own = clientOf(server);
    const underWay: Promise<unknown>[] = [];
    for (let offset = 0; !isOver; ) {
      const transaction = own.multi();
      for (let i = 0; i < ENTRIES_AT_ONCE; i++)
        transaction.xadd(keys.log, `${++offset}-0`, ...toyFields({ clockMs: T0, events: [{ key: "a" }] }));
      underWay.push(transaction.hset(keys.head, "offset", offset).exec());
      if (underWay.length > 1) await underWay.shift();
    }
    await Promise.all(underWay);
  })();
  // Age is counted in commits of the jobs: a machine that stalls makes them wait, too.
  const samples: { atMs: number; commits: number }[] = [];
  let asOfMs = follower.asOf();
  let proofs = 0;
  let oldestCommits = 0;
  const proven = until(() => {
    const { commits } = runner.stats;
    samples.push({ atMs: systemClock.now(), commits });
    const isNewer = follower.asOf() > asOfMs;
    asOfMs = follower.asOf();
    if (!isNewer || follower.lagEntries() === 0) return false;
    const then = samples.findLast(({ atMs }) => atMs <= asOfMs);
    if (then) oldestCommits = Math.max(oldestCommits, commits - then.commits);
    return ++proofs === PROOFS;
  }, "views that are proven fresh while there is always something that no commit has covered");
  await proven.finally(() => {
    isOver = true;
  });
  await writing;
  expect(oldestCommits).toBeLessThan(MOST_COMMITS);
});

it("starts from the states again when its server has lost commits that it has read", async () => {
  const dir = await scratch();
  const backup = join(await scratch(), "before");
  const first = await serverIn(dir);
  const client = clientOf(first);
  await loadStreamLibrary(client);
  const runner = run(client, first);
  const { follower, units } = await follow(clientOf(first));
  await append(client, keys, [{ clockMs: T0, events: [{ key: "kept", units: 3 }] }]);
  await seen(client, keys, 1);
  await cp(join(dir, "appendonlydir"), backup, { recursive: true });
  for (let i = 0; i < 5; i++) {
    await append(client, keys, [{ clockMs: T0, events: [{ key: "lost", units: 1 }] }]);
    await seen(client, keys, i + 2);
  }
  await until(() => units.get("lost") === 5, "the views");
  await runner.stop();
  const publishedCommit = (await readTask(client, keys)).commit;
  await first.stop();

  await rm(join(dir, "appendonlydir"), { recursive: true });
  await cp(backup, join(dir, "appendonlydir"), { recursive: true });
  const second = await serverIn(dir);
  const again = clientOf(second);
  expect((await readTask(again, keys)).commit).toBeLessThan(publishedCommit);
  run(again, second);
  // Fewer commits than were published before: the follower has read their numbers, but not their contents.
  await append(again, keys, [{ clockMs: T0, events: [{ key: "kept", units: 4 }] }]);
  await seen(again, keys, 2);
  const nowMs = systemClock.now();
  await until(() => follower.asOf() >= nowMs, "freshness");
  expect([...units]).toEqual([["kept", 7]]);
  expect((await readTask(again, keys)).commit).toBeLessThan(publishedCommit);
});
