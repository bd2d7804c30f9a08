/**
 * What counts as another run of a server, by which tasks, followers and the outbox's rate limiter detect that Redis may
 * have lost something: a start and a take-over do; the replication id that a backup changes when it connects and
 * disconnects does not.
 */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { systemClock } from "../../engine/kernel/clock.js";
import { loadRateLimiterLibrary, RateLimiter } from "../../engine/outbox/rate-limiter.js";
import {
  acquireTask,
  isSameRun,
  loadStreamLibrary,
  readTask,
  renewTask,
  type Task,
} from "../../engine/stream/commit.js";
import { Follower } from "../../engine/stream/follower.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { Runner } from "../../engine/stream/runner.js";
import { Server } from "../redis/server.js";
import { onCluster } from "../redis/with-redis.js";
import { toyJob } from "./toy.js";
import { append, runnerOptions, seen, toyKeys, until } from "./toy-log.js";

const PREFIX = "run";
const keys = toyKeys(PREFIX);
const folder = mkdtempSync(join(tmpdir(), "shuiwei-run-"));
const ending: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ending.splice(0).reverse()) await end();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function serverOf(settings: Record<string, string> = {}): Promise<Server> {
  const server = await Server.start({ save: '""', "repl-diskless-sync-delay": "0", ...settings });
  ending.push(() => server.stop());
  return server;
}

async function owned(client: RedisClient): Promise<Task> {
  const task = await acquireTask(client, keys, "one", 60_000);
  if ("heldForMs" in task) throw new Error("held");
  return task;
}

const idOf = (server: Server) => server.info("replication", "master_replid");
const stale = { code: "stale_run", retryable: false };

/** As `shuiwei backup` does it. */
async function backUp(server: Server): Promise<void> {
  const args = ["-p", String(server.port), "--rdb", join(folder, "backup.rdb")];
  await promisify(execFile)("redis-cli", args);
}

async function follow(replica: Server, { port }: Server): Promise<void> {
  await replica.client.replicaof("127.0.0.1", port);
  await until(async () => (await replica.info("replication", "master_link_status")) === "up", "the replica");
}

describe.skipIf(onCluster)("another run of a server", () => {
  it("is not caused by a backup that connects and disconnects: nothing starts again", async () => {
    const server = await serverOf({ "repl-backlog-ttl": "1" });
    const { client } = server;
    await Promise.all([loadStreamLibrary(client), loadRateLimiterLibrary(client)]);
    const options = runnerOptions(client, `redis://${server.address}`, PREFIX);
    const runner = new Runner(0, options);
    runner.start();
    ending.push(() => runner.stop());
    let fills = 0;
    const follower = new Follower({
      ...{
        topic: "toys",
        partitions: 1,
        jobs: [toyJob()],
        prefix: PREFIX,
        redis: client,
        clock: systemClock,
        pollMs: 5,
      },
      views: [{ job: "toy.1", onReset: () => fills++ }],
      onTrouble: (message) => options.troubles.push(message),
    });
    await follower.start();
    ending.push(() => follower.stop());
    const serverClock = { now: () => 1_700_000_000_000 };
    const limits = { limitPerSecond: 1_000, inFlight: 100, clock: serverClock, serverClock };
    const rateLimiter = new RateLimiter({ redis: client, key: "pace", owner: "w", ...limits });
    await rateLimiter.reserve(0, 0);
    const nextReservation = await client.hget("pace", "next");

    let offset = await append(client, keys, [{ clockMs: 1, events: [{ key: "a", units: 1 }] }]);
    await seen(client, keys, offset);
    const { epoch, run } = await readTask(client, keys);
    const ids = [await idOf(server)];
    const goesOn = async () => {
      expect(ids).not.toContain(await idOf(server));
      ids.push(await idOf(server));
      offset = await append(client, keys, [{ clockMs: 1 + offset, events: [{ key: "a", units: 1 }] }]);
      await seen(client, keys, offset);
      await until(() => follower.lagEntries() === 0 && follower.stats()[0]?.offset === offset, "the follower");
      const now = await readTask(client, keys);
      expect(now.epoch).toBe(epoch);
      expect(isSameRun(run, now.run)).toBe(true);
      await rateLimiter.reserve(0, 0);
      expect(await client.hget("pace", "next")).toBe(nextReservation);
      expect([fills, options.troubles]).toEqual([0, []]);
    };
    await backUp(server);
    await goesOn();
    await until(async () => (await idOf(server)) !== ids.at(-1), "the backlog of replicas to be given up");
    await goesOn();
  });

  it("is caused by a restart", async () => {
    const server = await serverOf({ appendonly: "yes", appendfsync: "always" });
    const { client } = server;
    await loadStreamLibrary(client);
    const task = await owned(client);
    await renewTask(client, keys, task, 60_000);
    await server.kill();
    await server.restart();
    await expect(renewTask(client, keys, task, 60_000)).rejects.toMatchObject(stale);
  });

  it("is caused by a take-over, and by another one back to the old primary", async () => {
    const [first, second] = await Promise.all([serverOf(), serverOf()]);
    await loadStreamLibrary(first.client);
    const before = await owned(first.client);
    await follow(second, first);
    await renewTask(first.client, keys, before, 60_000);
    await until(async () => (await second.client.exists(keys.task)) === 1, "the task at the replica");
    // A replica has what its primary had some time ago.
    expect(isSameRun(before.run, (await readTask(second.client, keys)).run)).toBe(false);
    await second.client.replicaof("NO", "ONE");
    await expect(renewTask(second.client, keys, before, 60_000)).rejects.toMatchObject(stale);
    const between = await owned(second.client);

    await follow(first, second);
    expect(isSameRun(before.run, (await readTask(first.client, keys)).run)).toBe(false);
    await first.client.replicaof("NO", "ONE");
    for (const { run } of [before, between])
      await expect(renewTask(first.client, keys, { epoch: between.epoch, run }, 60_000)).rejects.toMatchObject(stale);
    const after = await owned(first.client);
    await renewTask(first.client, keys, after, 60_000);
    // A backup of one that has taken over.
    await backUp(first);
    await renewTask(first.client, keys, after, 60_000);
  });
});
