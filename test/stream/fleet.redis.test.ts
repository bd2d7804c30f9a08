/** Who is there, of which release, and which function libraries may go. */
import { beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../engine/kernel/clock.js";
import { Ledger } from "../../engine/stock/ledger.js";
import { loadStreamLibrary } from "../../engine/stream/commit.js";
import {
  callsOldLibrary,
  deleteOldLibraries,
  Heartbeat,
  keepLibraries,
  outdatedProcesses,
  readFleet,
} from "../../engine/stream/fleet.js";
import { LATEST_FORMAT } from "../../engine/stream/format.js";
import { LIBRARIES_KEY, processesKey, workersKey } from "../../engine/stream/keys.js";
import { libraryOf } from "../../engine/stream/library.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { withRedis } from "../redis/with-redis.js";

const redis = withRedis();
let client: RedisClient;
beforeEach(async () => {
  client = redis.connect();
  await redis.flush();
  await Promise.all([loadStreamLibrary(client), Ledger.load(client)]);
});

const load = (text: string) => redis.onEach((primary) => primary.call("FUNCTION", "LOAD", "REPLACE", text));
const unversioned = (name: string) =>
  `#!lua name=${name}\nredis.register_function('${name}_old', function() return 1 end)`;
const names = async (): Promise<string[]> => {
  const listed = (await client.call("FUNCTION", "LIST", "LIBRARYNAME", "shuiwei_*")) as string[][];
  return listed.map((fields) => String(fields[1])).sort();
};

describe("the processes of a deployment", () => {
  it("are listed with the format that they read, also those without heartbeat, until they end", async () => {
    const heartbeat = new Heartbeat({
      redis: client,
      prefix: "fleet",
      name: "host/1/ab",
      release: "1.2.3",
      runsJobs: true,
      clock: systemClock,
      onTrouble: () => {},
    });
    const far = 2 ** 43;
    await client.zadd(processesKey("fleet"), far, `host/2/cd 1.3.0 ${LATEST_FORMAT - 1} serving`);
    await client.zadd(workersKey("fleet", "stock"), far, "host/1/ab", far, "host/3/ef", 1, "host/4/gone");
    heartbeat.start();
    await expect.poll(async () => (await readFleet(client, "fleet")).members.length).toBe(2);
    const fleet = await readFleet(client, "fleet");
    expect(fleet.members).toContainEqual(
      expect.objectContaining({ name: "host/1/ab", release: "1.2.3", format: LATEST_FORMAT, runsJobs: true }),
    );
    expect(fleet.unknownWorkers).toEqual(["host/3/ef"]);
    expect(outdatedProcesses(fleet)).toEqual(["host/2/cd", "host/3/ef"]);
    await heartbeat.stop();
    expect((await readFleet(client, "fleet")).members.map(({ name }) => name)).toEqual(["host/2/cd"]);
  });
});

describe("the function libraries of a Redis", () => {
  it("count as used by the first release when a deleted one is loaded again", async () => {
    expect(await callsOldLibrary(client)).toBe(false);
    await load(unversioned("shuiwei_stream"));
    const calls = callsOldLibrary(client);
    await expect.poll(async () => (await names()).includes("shuiwei_stream")).toBe(false);
    await load(unversioned("shuiwei_stream"));
    expect(await calls).toBe(true);
    // No process loads it any more.
    expect(await callsOldLibrary(client)).toBe(false);
  });

  it("are deleted when they are of the first release and unused; no others are", async () => {
    await load(unversioned("shuiwei_stock"));
    await load(unversioned("shuiwei_outbox"));
    await load(unversioned("shuiwei_of_somebody_else"));
    const before = await names();
    expect(await deleteOldLibraries(client)).toBe(2);
    expect(await names()).toEqual(before.filter((name) => !/^shuiwei_(stock|outbox)$/.test(name)));
    expect(await deleteOldLibraries(client)).toBe(0);
  });

  it("are deleted when their version has not been used for long", async () => {
    const old = libraryOf(unversioned("shuiwei_orders"), "a test");
    await load(old.code);
    await keepLibraries(client);
    expect(await names()).toContain(old.name);
    await client.zadd(LIBRARIES_KEY, 1, old.name);
    const before = await names();
    expect(await keepLibraries(client)).toBe(1);
    expect(await names()).toEqual(before.filter((name) => name !== old.name));
    expect(await client.zscore(LIBRARIES_KEY, old.name)).toBeNull();
    expect(await keepLibraries(client)).toBe(0);
  });
});
