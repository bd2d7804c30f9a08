/** Movements of sources: received in parts, read back by span and partition, each once. */
import { beforeEach, describe, expect, it } from "vitest";
import { DAY_MS, HOUR_MS, ManualClock } from "../../../engine/kernel/clock.js";
import type { Movement } from "../../../engine/reconciliation/model.js";
import {
  type MovementOutcome,
  type MovementPartHeader,
  MovementPartWriter,
  MovementStore,
} from "../../../engine/reconciliation/reports/movement-store.js";
import type { RedisClient } from "../../../engine/stream/redis.js";
import { withRedis } from "../../redis/with-redis.js";
import { PARTITIONS, START_MS } from "./snapshot-bed.js";

const server = withRedis();
let redis: RedisClient;
let clock: ManualClock;
let store: MovementStore;

beforeEach(async () => {
  redis ??= server.connect();
  await server.flush();
  clock = new ManualClock(START_MS);
  store = new MovementStore({ redis, prefix: "t", partitions: PARTITIONS, clock, onTrouble: () => {} });
});

const FROM_MS = START_MS - HOUR_MS;
const movement = (n: number, changes: Partial<Movement> = {}): Movement => ({
  ...{ id: `m-${n}`, sku: `SKU-${n % 7}`, location: "main", units: n % 2 === 0 ? 3 : -2, atMs: FROM_MS + n },
  ...changes,
});
const some = (count: number, first = 0): Movement[] => Array.from({ length: count }, (_, i) => movement(first + i));

async function send(changes: Partial<MovementPartHeader>, rows: readonly Movement[]): Promise<MovementOutcome> {
  const span = { fromMs: FROM_MS, toMs: START_MS };
  const whole = { source: "wms", id: "b1", part: 1, parts: 1, rows: rows.length };
  const writer = await store.receive({ ...span, ...whole, ...changes });
  if (!(writer instanceof MovementPartWriter)) return writer;
  for (const { id, sku, location, units, atMs } of rows) {
    const refusal = writer.add(id, sku, location, units, atMs);
    if (refusal) return writer.refuse(refusal);
    if (writer.isFull) await writer.drain();
  }
  return writer.end();
}

async function read(span: { fromMs: number; toMs: number }): Promise<Movement[]> {
  const found: Movement[] = [];
  for (let partition = 0; partition < PARTITIONS; partition++)
    for await (const chunk of store.read("wms", span, partition)) found.push(...chunk);
  return found.sort((a, b) => a.atMs - b.atMs);
}

describe("movements", () => {
  it("are read back by their time, from batches in parts", async () => {
    await send({ parts: 2, rows: 10_000 }, some(6_000));
    const outcome = await send({ parts: 2, part: 2, rows: 10_000 }, some(4_000, 6_000));
    expect(outcome).toMatchObject({ outcome: "complete", batch: { source: "wms", rows: 10_000, state: "complete" } });
    expect(await read({ fromMs: FROM_MS + 100, toMs: FROM_MS + 5_000 })).toEqual(some(4_900, 100));
  });

  it("come once, although two batches overlap", async () => {
    await send({ id: "b1" }, some(50));
    await send({ id: "b2" }, some(50, 25));
    expect(await read({ fromMs: FROM_MS, toMs: START_MS })).toEqual(some(75));
  });

  it("of a batch that is not complete are not read", async () => {
    await send({ parts: 2, rows: 10 }, some(5));
    expect(await read({ fromMs: FROM_MS, toMs: START_MS })).toEqual([]);
    expect(await store.list()).toMatchObject([{ state: "receiving", rowsReceived: 5 }]);
  });

  it("may have one id at two locations: a transfer", async () => {
    const rows = [movement(1, { units: -2 }), movement(1, { units: 2, location: "W-1" })];
    expect(await send({}, rows)).toMatchObject({ outcome: "complete" });
  });

  it("that were refused take no more than 32 places of a source", async () => {
    for (let n = 0; n < 40; n++) {
      clock.moveTo(START_MS + n);
      await send({ id: `b${n}` }, [movement(1, { units: 0 })]);
    }
    await store.sweep();
    const left = (await store.list()).map(({ id }) => id);
    expect(left.sort()).toEqual(Array.from({ length: 32 }, (_, n) => `b${n + 8}`).sort());
  });

  it("are kept for 8 days", async () => {
    await send({}, some(10));
    clock.moveTo(START_MS + 8 * DAY_MS + 1);
    await store.sweep();
    expect(await store.list()).toEqual([]);
    expect(await server.keys("t:*")).toEqual([]);
  });
});

describe("a batch of movements is refused", () => {
  const cases: [code: string, why: string, changes: Partial<MovementPartHeader>, rows: Movement[]][] = [
    ["outside_span", "for a time outside its span", {}, [movement(1), movement(2, { atMs: START_MS })]],
    ["outside_span", "for a span of three days", { fromMs: START_MS - 3 * DAY_MS }, some(3)],
    ["outside_span", "for a span in the future", { fromMs: START_MS + 3_000, toMs: START_MS + HOUR_MS }, some(3)],
    [
      "outside_span",
      "for a span that nobody reads any more",
      { fromMs: START_MS - 8 * DAY_MS - HOUR_MS, toMs: START_MS - 8 * DAY_MS - 1 },
      some(3),
    ],
    ["too_many_rows", "for more than a batch may have", { rows: 1_000_001 }, some(3)],
    ["outside_span", "for a span that ends before it begins", { toMs: FROM_MS }, some(3)],
    ["duplicate_row", "for a movement that comes twice", {}, [movement(1), movement(2), movement(1)]],
    ["wrong_unit", "for a movement of nothing", {}, [movement(1, { units: 0 })]],
    ["malformed_row", "for an impossible id", {}, [movement(1, { id: "a b" })]],
    ["row_total", "for a wrong number of rows", { rows: 5 }, some(3)],
    ["clock_skew", "for a clock that is far off", { sentAtMs: START_MS + HOUR_MS }, some(3)],
  ];
  for (const [code, why, changes, rows] of cases)
    it(`${why}: ${code}`, async () => {
      const outcome = await send(changes, rows);
      expect(outcome).toMatchObject({ outcome: "refused", refusal: { code } });
      expect(await store.list()).toMatchObject([{ state: "refused", refusal: { code } }]);
      expect(await server.keys("t:*:rows:*")).toEqual([]);
      expect(await send(changes, rows)).toEqual(outcome);
    });
});
