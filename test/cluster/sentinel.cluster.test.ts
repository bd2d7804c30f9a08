/**
 * A primary that Sentinels watch fails under load: they name a replica, and the engine continues there by itself. Once
 * the primary is killed, once it is frozen and returns as the replica of its successor. What is left must be
 * consistent. The figures are printed.
 */
import { afterEach, describe, expect, it } from "vitest";
import { sleep } from "../../engine/kernel/clock.js";
import { checkRedis, connect } from "../../engine/stream/redis.js";
import { withEngines } from "../app/engine-builder.js";
import { SentinelBed } from "../redis/sentinels.js";
import { type Server, until } from "../redis/server.js";
import { compareWithLogs, engineOn, figure, Load, PARTITIONS, seconds } from "./load.js";

let bed: SentinelBed;
const engines = withEngines();
const troubles: string[] = [];

afterEach(async () => {
  await engines.stop();
  await bed?.stop();
});

/** Answers that had not reached a replica: those of a few milliseconds, on a busy machine of a few more. */
const ON_THE_WAY = 1_000;
const WARM_UP_MS = 1_500;
const AFTER_MS = 1_500;
const ALL = Array.from({ length: PARTITIONS }, (_, partition) => partition);

async function underLoad(
  waitReplicas: number,
  strike: (primary: Server) => Promise<unknown>,
): Promise<{ lost: number; summary: string }> {
  const engine = await engineOn(engines, bed.url, "sentinel", troubles, { waitReplicas });
  const load = new Load(engine);
  await load.start();
  await sleep(WARM_UP_MS);
  const [primary] = (await bed.primaries()) as [Server];
  await strike(primary);
  await bed.successorOf(primary);
  await load.flows(ALL);
  await sleep(AFTER_MS);
  await load.stop();
  const pauseMs = load.longestPauseMs(ALL);
  const { lost, doubled } = await compareWithLogs(engine, load);
  expect(doubled).toEqual([]);
  const again = [...load.refusals].map(([code, times]) => `${figure(times)} ${code}`).join(", ");
  return {
    lost: lost.length,
    summary:
      `${figure(load.sent)} commands, ${figure(load.answers.length)} answered, ${figure(lost.length)} answered ones lost, ` +
      `sent again ${figure(load.resent)} times (${again}); longest pause ${seconds(pauseMs)}`,
  };
}

describe("a primary watched by Sentinels", () => {
  it("is found through them, with a password, and followed when it is killed", async () => {
    bed = await SentinelBed.start({ password: "s€cret/@:" });
    const { lost, summary } = await underLoad(0, (primary) => primary.kill());
    console.log(`Sentinel failover: ${summary}`);
    expect(lost).toBeLessThan(ON_THE_WAY);
  });

  it("loses nothing with wait-replicas when it is frozen, and is left when it returns as a replica", async () => {
    bed = await SentinelBed.start();
    // Both replicas: Sentinels choose the successor by what they last heard, and it need not be the one that has
    // acknowledged most.
    const { lost, summary } = await underLoad(2, async (primary) => {
      primary.freeze();
      void bed.successorOf(primary).then(() => primary.thaw());
    });
    console.log(`Sentinel failover from a frozen primary with two replicas, --wait-replicas 2: ${summary}`);
    expect(lost).toBe(0);
  });

  it("that has become a replica is left at the first refusal, and the refused command is not sent again", async () => {
    bed = await SentinelBed.start({ replicas: 0, sentinels: 1 });
    const [primary] = bed.servers as [Server];
    // Straight to the server, so that no Sentinel announces the change.
    const client = connect({ url: `redis://${primary.address}` });
    try {
      await client.set("a", 1);
      const before = Number(await primary.info("stats", "total_connections_received"));
      // The address of no server: a replica that begins to read the data of a primary may lose its own.
      await primary.client.call("REPLICAOF", "127.0.0.1", 9);
      await expect(client.incr("a")).rejects.toThrow("READONLY");
      await primary.client.call("REPLICAOF", "NO", "ONE");
      await until(() => client.incr("a").then(Boolean, () => false), "the next command to be taken");
      expect(await client.get("a")).toBe("2");
      expect(Number(await primary.info("stats", "total_connections_received"))).toBeGreaterThan(before);
    } finally {
      client.disconnect();
    }
  });

  it("whose Sentinels do not answer is reported as unreachable, in time", async () => {
    bed = new SentinelBed();
    const address = { url: "redis+sentinel://:secret@127.0.0.1:9,127.0.0.1:10/shop", timeoutMs: 1_000 };
    const client = connect(address);
    const fault = await checkRedis(client, address, () => {}).catch((thrown: unknown) => thrown);
    client.disconnect();
    expect(fault).toMatchObject({
      code: "redis_unreachable",
      message: "the Redis at redis+sentinel://127.0.0.1:9,127.0.0.1:10/shop cannot be reached",
    });
  });

  it("must be named", () => {
    bed = new SentinelBed();
    for (const url of ["redis+sentinel://127.0.0.1:9", "redis+sentinel:///shop"])
      expect(() => connect({ url })).toThrow("expected redis+sentinel://host:port,host:port/name");
  });
});
