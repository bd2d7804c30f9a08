/**
 * A master of the Cluster is killed under load and its replica takes over. Replication lags behind the answers, so
 * without --wait-replicas the newest answers of that master may be lost; what is left must be consistent. With
 * --wait-replicas nothing is lost. The killed master comes back as a replica before the next test. The figures of
 * every test are printed.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { sleep } from "../../engine/kernel/clock.js";
import { stockKeys } from "../../engine/stream/keys.js";
import { withEngines } from "../app/engine-builder.js";
import { ClusterBed } from "../redis/cluster.js";
import type { Server } from "../redis/server.js";
import { until } from "../redis/server.js";
import { compareWithLogs, engineOn, figure, Load, PARTITIONS, seconds } from "./load.js";

let bed: ClusterBed;
let troubles: string[] = [];

beforeAll(async () => {
  bed = await ClusterBed.start();
});
afterAll(() => bed?.stop());
const engines = withEngines();
afterEach(async () => {
  for (const node of bed.nodes) node.thaw();
  await engines.stop();
  troubles = [];
});

/** The partitions of a deployment whose slots a master has. */
async function partitionsOf(prefix: string, master: Server): Promise<number[]> {
  const owners = await Promise.all(
    Array.from({ length: PARTITIONS }, (_, partition) => bed.primaryOf(stockKeys(prefix, partition).head)),
  );
  return owners.flatMap((owner, partition) => (owner === master ? [partition] : []));
}

/** Answers that had not reached the replica: those of a few milliseconds, on a busy machine of a few more. */
const ON_THE_WAY = 1_000;
const WARM_UP_MS = 2_000;
const AFTER_MS = 2_000;

async function failover(
  prefix: string,
  options: { cutOffMs?: number; waitReplicas?: number; freezes?: boolean },
): Promise<{ load: Load; lost: number; pauseMs: number; othersPauseMs: number; summary: string }> {
  const { cutOffMs = 0, waitReplicas = 0, freezes = false } = options;
  const engine = await engineOn(engines, bed.url, prefix, troubles, { waitReplicas });
  const load = new Load(engine);
  await load.start();
  await sleep(WARM_UP_MS);
  const master = await bed.primaryOf(stockKeys(prefix, 0).head);
  const touched = await partitionsOf(prefix, master);
  const others = Array.from({ length: PARTITIONS }, (_, p) => p).filter((p) => !touched.includes(p));
  const [replica] = (await bed.replicasOf(master)) as [Server];
  if (cutOffMs > 0) {
    await cutOff(replica);
    await sleep(cutOffMs);
  }
  if (freezes) master.freeze();
  else await master.kill();
  await until(async () => (await bed.primaryOf(stockKeys(prefix, 0).head)) === replica, "the replica to take over");
  // With nothing on its disk it may come back only now: before, it would have taken its own slots with nothing in them.
  if (!freezes) await master.restart();
  await restore(replica);
  await load.flows(touched);
  master.thaw();
  await sleep(AFTER_MS);
  await load.stop();
  const pauseMs = load.longestPauseMs(touched);
  const othersPauseMs = load.longestPauseMs(others);
  const result = await compareWithLogs(engine, load);
  expect(result.doubled).toEqual([]);
  expect(load.answered(touched)).toBeGreaterThan(0);
  for (const { partition } of result.lost) expect(touched).toContain(partition);
  const lost = result.lost.length;
  const again = [...load.refusals].map(([code, times]) => `${figure(times)} ${code}`).join(", ");
  return {
    load,
    lost,
    pauseMs,
    othersPauseMs,
    summary:
      `${figure(load.sent)} commands, ${figure(load.answers.length)} answered, ${figure(lost)} answered ones lost, sent again ${figure(load.resent)} times (${again}); ` +
      `longest pause ${seconds(pauseMs)} for the dead master's ${touched.length} partitions, ${seconds(othersPauseMs)} for the others`,
  };
}

/** Makes a replica stay behind, as a bad network does: it asks for its master with a password that there is none of. */
async function cutOff(replica: Server): Promise<void> {
  await replica.client.config("SET", "masterauth", "none of this name");
  await replica.client.call("CLIENT", "KILL", "TYPE", "master");
}

async function restore(replica: Server): Promise<void> {
  await replica.client.config("SET", "masterauth", "");
}

describe("after a master has failed under load", () => {
  it("its replica takes over, and what is left is consistent", async () => {
    const { summary, lost } = await failover("sudden", {});
    console.log(`failover: ${summary}`);
    expect(lost).toBeLessThan(ON_THE_WAY);
  });

  it("its replica takes over also when it is only frozen, and the frozen master returns as a replica", async () => {
    const { summary, lost } = await failover("frozen", { freezes: true });
    console.log(`failover from a frozen master: ${summary}`);
    expect(lost).toBeLessThan(ON_THE_WAY);
  });

  it("and its replica was behind, what the replica never had is lost, and what is left is consistent", async () => {
    const { summary, lost } = await failover("behind", { cutOffMs: 500 });
    console.log(`failover with the replica 0.5 s behind: ${summary}`);
    expect(lost).toBeGreaterThan(0);
  });

  it("nothing that was answered is lost with wait-replicas, although the replica was behind", async () => {
    const { summary, lost } = await failover("gated", { cutOffMs: 500, waitReplicas: 1 });
    console.log(`failover with the replica 0.5 s behind, --wait-replicas 1: ${summary}`);
    expect(lost).toBe(0);
  });
});
