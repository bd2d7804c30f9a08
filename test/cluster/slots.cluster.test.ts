/**
 * Slots of the Cluster move to other masters while a load runs: from one master to another, with a pause in the middle
 * when some keys of a partition are on each of the two, and to a master that was added by hand and has no
 * functions. Nothing may be lost or done twice, and every command gets its answer. The figures are printed.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { sleep } from "../../engine/kernel/clock.js";
import { stockKeys } from "../../engine/stream/keys.js";
import { withEngines } from "../app/engine-builder.js";
import { ClusterBed } from "../redis/cluster.js";
import type { Server } from "../redis/server.js";
import { compareWithLogs, engineOn, figure, Load, seconds } from "./load.js";

let bed: ClusterBed;
const troubles: string[] = [];

beforeAll(async () => {
  bed = await ClusterBed.start();
});
afterAll(() => bed?.stop());
const engines = withEngines();
afterEach(async () => {
  await engines.stop();
});

const MOVED = [0, 1, 2, 3];
/** How long a slot stays half on one master and half on the other. */
const HALT_MS = 500;
const BETWEEN_MS = 300;

/** Moves some partitions' slots under load, each to its `target`. */
async function move(prefix: string, waitReplicas: number, target: (from: Server) => Promise<Server>): Promise<string> {
  const engine = await engineOn(engines, bed.url, prefix, troubles, { waitReplicas });
  const load = new Load(engine);
  await load.start();
  await sleep(BETWEEN_MS);
  for (const partition of MOVED) {
    const { head } = stockKeys(prefix, partition);
    const from = await bed.primaryOf(head);
    const to = await target(from);
    expect(to).not.toBe(from);
    await bed.moveSlot(await bed.slotOf(head), to, () => sleep(HALT_MS));
    expect(await bed.primaryOf(head)).toBe(to);
    await load.flows([partition]);
    await sleep(BETWEEN_MS);
  }
  await load.stop();
  const result = await compareWithLogs(engine, load);
  expect(result.doubled).toEqual([]);
  expect(result.lost).toEqual([]);
  expect(load.answers.length).toBe(load.sent);
  const again = [...load.refusals].map(([code, times]) => `${figure(times)} ${code}`).join(", ");
  return (
    `${MOVED.length} slots, ${seconds(HALT_MS)} half-way each: ${figure(load.sent)} commands, ${figure(load.answers.length)} answered, 0 lost, 0 doubled, ` +
    `sent again ${figure(load.resent)} times${again === "" ? "" : ` (${again})`}; longest pause ${seconds(load.longestPauseMs(MOVED))}`
  );
}

/** Another master that has a replica. */
const another = async (from: Server): Promise<Server> => {
  for (const node of bed.nodes) {
    if (
      node !== from &&
      (await node.info("replication", "role")) === "master" &&
      (await bed.replicasOf(node)).length > 0
    )
      return node;
  }
  throw new Error("no other master");
};

describe("slots that move under load", () => {
  it("lose nothing and double nothing", async () => {
    console.log(`slots moved: ${await move("moved", 0, another)}`);
  });

  it("lose nothing and double nothing with wait-replicas", async () => {
    console.log(`slots moved, --wait-replicas 1: ${await move("moved-gated", 1, another)}`);
  });

  it("may come to a master that has no functions yet", async () => {
    const bare = await bed.addBareMaster();
    const libraries = async () => ((await bare.client.call("FUNCTION", "LIST")) as unknown[]).length;
    expect(await libraries()).toBe(0);
    console.log(`slots moved to a bare master: ${await move("moved-bare", 0, async () => bare)}`);
    expect(await libraries()).toBe(5);
  });
});
