/**
 * Snapshots while the processes that receive them are killed: parts go to either of two servers, each part again until
 * it is answered, and a server is killed by force at a random moment of every snapshot. Each one ends complete, with
 * every row once, and what killed processes had stored is either read by nobody and expires, or is the snapshot's.
 */
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, it } from "vitest";
import { chainId } from "../../engine/kernel/chain-id.js";
import { sleep, systemClock } from "../../engine/kernel/clock.js";
import { seededRandom } from "../../engine/kernel/random.js";
import { SnapshotStore } from "../../engine/reconciliation/reports/snapshot-store.js";
import { Bed, type Product, planSeed, TOKEN } from "./bed.js";

const PARTITIONS = 4;
const SNAPSHOTS = 12;
const PARTS = 4;
const ROWS_A_PART = 20_000;
const seed = planSeed();
let bed: Bed;
let servers: Product[];

beforeAll(async () => {
  bed = await Bed.open({ partitions: PARTITIONS, leaseMs: 1_000, appendfsync: "everysec" });
  servers = (await bed.startAll(["api", "api", "worker"])).slice(0, 2);
});
afterAll(() => bed.close());

const authorization = { authorization: `Bearer ${TOKEN}` };

async function openLocation(): Promise<void> {
  const id = chainId("TE", systemClock.now());
  for (const { port } of servers) {
    const body = `${JSON.stringify({ id, kind: "receive", sku: "A", location: "main", units: 1 })}\n`;
    const headers = { ...authorization, "content-type": "application/x-ndjson" };
    await fetch(`http://127.0.0.1:${port}/v1/commands`, { method: "POST", headers, body });
    while ((await fetch(`http://127.0.0.1:${port}/v1/stock/A`)).status !== 200) await sleep(50);
  }
}

const bodyOf = (part: number): Uint8Array => {
  let text = "sku,location,units\n";
  for (let i = 0; i < ROWS_A_PART; i++) text += `SKU-${part}-${i},main,${i % 100}\n`;
  return new Uint8Array(gzipSync(text, { level: 1 }));
};

/** Sends a part to one server after the other until it is answered. */
async function sendPart(path: string, body: Uint8Array, first: number): Promise<{ status: number; code?: string }> {
  const headers = { ...authorization, "content-type": "text/csv", "content-encoding": "gzip" };
  for (let attempt = first; ; attempt++) {
    const { port } = servers[attempt % servers.length] as Product;
    try {
      const answer = await fetch(`http://127.0.0.1:${port}${path}`, { method: "POST", headers, body });
      if (answer.status < 429) return { status: answer.status, ...((await answer.json()) as object) };
    } catch {
      // The server was killed, or is not up again.
    }
    await sleep(50);
  }
}

it(`is complete, each row once, whatever is killed (seed ${seed})`, async () => {
  const random = seededRandom(seed);
  const bodies = Array.from({ length: PARTS }, (_, i) => bodyOf(i + 1));
  await openLocation();
  const store = new SnapshotStore({
    ...{ redis: bed.redis, prefix: "shuiwei", partitions: PARTITIONS, clock: systemClock },
    ...{ locations: () => new Set<string>(), onTrouble: () => {} },
  });
  for (let round = 0; round < SNAPSHOTS; round++) {
    const asOf = new Date(systemClock.now()).toISOString();
    const whole = { id: `r${round}`, asOf, measure: "on_hand", parts: `${PARTS}`, rows: `${PARTS * ROWS_A_PART}` };
    const killed = random.pick(servers);
    const killing = sleep(random.below(400)).then(() => killed.restart());
    const outcomes = await Promise.all(
      bodies.map((body, i) => {
        const query = new URLSearchParams({ ...whole, part: String(i + 1) });
        return sendPart(`/v1/snapshots/wms?${query}`, body, random.below(2));
      }),
    );
    await killing;
    expect(outcomes.map(({ status, code }) => code ?? status).filter((each) => each !== 200 && each !== 202)).toEqual(
      [],
    );
    // If the process was killed between the last part and the end, a sweep of the other one ends it.
    while ((await store.find("wms", whole.id))?.state === "receiving") await sleep(100);
    const snapshot = await store.complete("wms", whole.id);
    expect(snapshot).toMatchObject({ rows: PARTS * ROWS_A_PART });
    const skus = new Set<string>();
    let rows = 0;
    for (let partition = 0; partition < PARTITIONS; partition++)
      for await (const chunk of store.rows(snapshot as NonNullable<typeof snapshot>, partition)) {
        rows += chunk.skus.length;
        for (const sku of chunk.skus) skus.add(sku);
      }
    expect([rows, skus.size]).toEqual([PARTS * ROWS_A_PART, PARTS * ROWS_A_PART]);
  }
  for (const key of await bed.redis.keys("*:rows:*")) expect(await bed.redis.pttl(key)).toBeGreaterThan(0);
  expect(servers.flatMap(({ crashes }) => crashes)).toEqual([]);
});
