/**
 * Receiving snapshots: what is complete, what is refused and why, and that two processes, a repeated part, a part that
 * stops half-way and a process that is killed all end in the same state, with nothing left over.
 */
import { beforeEach, describe, expect, it } from "vitest";
import { DAY_MS, HOUR_MS, MINUTE_MS } from "../../../engine/kernel/clock.js";
import type { Snapshot } from "../../../engine/reconciliation/model.js";
import type { SnapshotPartHeader } from "../../../engine/reconciliation/reports/snapshot-rules.js";
import { type SnapshotPartWriter, SnapshotStore } from "../../../engine/reconciliation/reports/snapshot-store.js";
import { partitionOf } from "../../../engine/stream/partition.js";
import type { RedisClient } from "../../../engine/stream/redis.js";
import { withRedis } from "../../redis/with-redis.js";
import {
  fill,
  headerOf,
  PARTITIONS,
  type Row,
  readRows,
  rowsOf,
  type SnapshotBed,
  START_MS,
  sendPart,
  snapshotBed,
} from "./snapshot-bed.js";

const server = withRedis();
let redis: RedisClient;
let bed: SnapshotBed;

beforeEach(async () => {
  redis ??= server.connect();
  await server.flush();
  bed = snapshotBed(redis);
});

const storedRows = () => server.keys("t:*:rows:*");

async function completed(id: string, changes: Partial<SnapshotPartHeader> = {}, rows = rowsOf(3)): Promise<Snapshot> {
  const outcome = await sendPart(bed.store, { id, ...changes }, rows);
  if (outcome.outcome !== "complete") throw new Error(JSON.stringify(outcome));
  return outcome.snapshot;
}

describe("a complete snapshot", () => {
  it("gives back each row once, in the partition of its SKU", async () => {
    const rows = rowsOf(20_000);
    const snapshot = await completed("s1", {}, rows);
    expect(snapshot).toMatchObject({ source: "wms", id: "s1", measure: "on_hand", asOfMs: START_MS, rows: 20_000 });
    const read = await readRows(bed.other, snapshot);
    const expected: Row[][] = Array.from({ length: PARTITIONS }, () => []);
    for (const row of rows) expected[partitionOf(row[0] as string, PARTITIONS)]?.push(row);
    expect(read).toEqual(expected.map((part) => part.sort()));
  });

  it("is complete with its last part, in whatever order the parts come, and is made known once", async () => {
    const parts = { parts: 3, rows: 30 };
    expect(await sendPart(bed.store, { ...parts, part: 3 }, rowsOf(10, 20))).toEqual({
      outcome: "received",
      partsReceived: 1,
      parts: 3,
    });
    await sendPart(bed.other, { ...parts, part: 1 }, rowsOf(10));
    expect(await bed.store.list()).toMatchObject([{ state: "receiving", partsReceived: 2, rowsReceived: 20 }]);
    expect(await bed.store.newest()).toEqual(new Map());
    expect(await sendPart(bed.store, { ...parts, part: 2 }, rowsOf(10, 10))).toMatchObject({ outcome: "complete" });
    await bed.store.sweep();
    await bed.other.sweep();
    expect(bed.announced).toMatchObject([{ source: "wms", id: "s1" }]);
  });

  it("is the newest by its instant, not by when it came", async () => {
    await completed("a", { asOfMs: START_MS - 1_000 });
    await completed("b", { asOfMs: START_MS });
    await completed("c", { source: "erp", asOfMs: START_MS - 5_000 });
    const newest = await bed.other.newest();
    expect([...newest.values()].map(({ id }) => id).sort()).toEqual(["b", "c"]);
  });

  it("is dated by the engine's clock, and the skew of the source's clock is known", async () => {
    const snapshot = await completed("s1", { asOfMs: START_MS + 90_000, sentAtMs: START_MS + 120_000 });
    expect(snapshot).toMatchObject({ asOfMs: START_MS - 30_000, skewMs: 120_000 });
  });

  it("is dated by the skew of the request that was the least delayed, of the source's last ones", async () => {
    const skewMs = async (id: string, delayMs: number, changes: Partial<SnapshotPartHeader> = {}) => {
      bed.clock.moveTo(bed.clock.now() + MINUTE_MS);
      const asOfMs = bed.clock.now();
      return (await completed(id, { asOfMs, sentAtMs: asOfMs + 120_000 - delayMs, ...changes })).skewMs;
    };
    expect(await skewMs("s1", 40)).toBe(119_960);
    expect(await skewMs("s2", 1_500)).toBe(119_960);
    expect(await skewMs("s3", 10)).toBe(119_990);
    expect(await skewMs("other", 900, { source: "erp" })).toBe(119_100);
    // Not of a clock that was set since, and not of long ago.
    expect(await skewMs("s4", 5_000)).toBe(115_000);
    bed.clock.moveTo(bed.clock.now() + HOUR_MS);
    expect(await skewMs("s5", 700)).toBe(119_300);
    expect(await skewMs("s6", 0, { sentAtMs: 0, skewMs: 3_000 })).toBe(3_000);
  });
});

describe("a refused snapshot is listed with its reason and leaves no rows:", () => {
  const cases: [code: string, changes: Partial<SnapshotPartHeader>, rows: Row[], place: string][] = [
    [
      "wrong_unit",
      {},
      [
        ["A", "main", 1],
        ["B", "main", -1],
      ],
      "row 2 of part 1",
    ],
    ["wrong_unit", {}, [["A", "main", 1.5]], "row 1 of part 1"],
    ["wrong_unit", {}, [["A", "main", "7"]], "row 1 of part 1"],
    ["wrong_unit", {}, [["A", "main", 1e12]], "row 1 of part 1"],
    ["wrong_unit", { unit: "carton" }, rowsOf(3), "carton"],
    ["malformed_row", {}, [["A\u001fB", "main", 1]], "row 1 of part 1"],
    ["malformed_row", {}, [["", "main", 1]], "row 1 of part 1"],
    [
      "malformed_row",
      {},
      [
        ["A", "main", 1],
        [undefined, "main", 1],
      ],
      "row 2 of part 1",
    ],
    [
      "unknown_location",
      {},
      [
        ["A", "main", 1],
        ["A", "moon", 1],
      ],
      "row 2 of part 1",
    ],
    [
      "duplicate_row",
      {},
      [
        ["A", "main", 1],
        ["B", "main", 1],
        ["A", "main", 1],
      ],
      "SKU A at main",
    ],
    ["row_total", { rows: 2 }, rowsOf(3), "row 3 of part 1"],
    ["row_total", { rows: 4 }, rowsOf(3), "3 rows together, and 4"],
    ["too_many_rows", { rows: 6_000_000 }, rowsOf(3), "6000000 rows"],
    ["future", { asOfMs: START_MS + 2_001 }, rowsOf(3), "2.001 s ahead"],
    ["clock_skew", { sentAtMs: START_MS + 11 * MINUTE_MS }, rowsOf(3), "660 s ahead"],
    ["clock_skew", { sentAtMs: START_MS - 11 * MINUTE_MS }, rowsOf(3), "660 s behind"],
  ];
  for (const [code, changes, rows, place] of cases)
    it(`${code}: ${place}`, async () => {
      const outcome = await sendPart(bed.store, changes, rows);
      expect(outcome).toMatchObject({ outcome: "refused", refusal: { code } });
      const [record, ...more] = await bed.other.list();
      expect(more).toEqual([]);
      expect(record).toMatchObject({ state: "refused", refusal: { code, message: expect.stringContaining(place) } });
      expect(await bed.store.newest()).toEqual(new Map());
      expect(await storedRows()).toEqual([]);
      // The same part again gets the same answer.
      expect(await sendPart(bed.other, changes, rows)).toEqual(outcome);
    });

  it("older than the source's newest complete one", async () => {
    await completed("a");
    const outcome = await sendPart(bed.store, { id: "b", asOfMs: START_MS - 1 }, rowsOf(3));
    expect(outcome).toMatchObject({ outcome: "refused", refusal: { code: "older" } });
  });

  it("a cell that two parts have", async () => {
    const parts = { parts: 2, rows: 20 };
    await sendPart(bed.store, { ...parts, part: 1 }, rowsOf(10));
    const outcome = await sendPart(bed.other, { ...parts, part: 2 }, rowsOf(10));
    expect(outcome).toMatchObject({ outcome: "refused", refusal: { code: "duplicate_row", part: 2 } });
    expect(await storedRows()).toEqual([]);
  });

  it("parts that do not state the same", async () => {
    const parts = { parts: 2, rows: 6 };
    await sendPart(bed.store, { ...parts, part: 1 }, rowsOf(3));
    const outcome = await sendPart(bed.store, { ...parts, part: 2, measure: "sellable" }, rowsOf(3, 3));
    const message = "part 2 states measure sellable, an earlier part on_hand";
    expect(outcome).toMatchObject({ outcome: "refused", refusal: { code: "header_differs", part: 2, message } });
    expect(await storedRows()).toEqual([]);
  });

  it("a part that comes twice with other rows", async () => {
    const parts = { parts: 2, rows: 6 };
    await sendPart(bed.store, { ...parts, part: 1 }, rowsOf(3));
    const outcome = await sendPart(bed.store, { ...parts, part: 1 }, rowsOf(3, 100));
    expect(outcome).toMatchObject({ outcome: "refused", refusal: { code: "part_differs", part: 1 } });
    expect(await storedRows()).toEqual([]);
  });

  it("parts that have more rows together than were announced, before all have come", async () => {
    const parts = { parts: 1_000, rows: 15 };
    await sendPart(bed.store, { ...parts, part: 1 }, rowsOf(10));
    const outcome = await sendPart(bed.store, { ...parts, part: 2 }, rowsOf(10, 10));
    expect(outcome).toMatchObject({ outcome: "refused", refusal: { code: "row_total" } });
    expect(await storedRows()).toEqual([]);
  });

  it("parts that do not come within an hour", async () => {
    await sendPart(bed.store, { parts: 2, rows: 6 }, rowsOf(3));
    bed.clock.moveTo(START_MS + HOUR_MS + 1);
    await bed.other.sweep();
    expect(await bed.store.list()).toMatchObject([
      { state: "refused", refusal: { code: "incomplete", message: "1 of 2 parts came within an hour" } },
    ]);
    expect(await storedRows()).toEqual([]);
  });

  it("parts whose rows a failover has lost", async () => {
    await sendPart(bed.store, { parts: 2, rows: 6 }, rowsOf(3));
    for (const key of await storedRows()) await redis.del(key);
    const outcome = await sendPart(bed.store, { parts: 2, part: 2, rows: 6 }, rowsOf(3, 3));
    expect(outcome).toMatchObject({ outcome: "refused", refusal: { code: "incomplete" } });
    expect(await storedRows()).toEqual([]);
  });

  it("one that a newer one has overtaken", async () => {
    await sendPart(bed.store, { id: "a", parts: 2, rows: 6, asOfMs: START_MS - 10 }, rowsOf(3));
    await completed("b");
    await bed.store.sweep();
    expect(await bed.store.find("wms", "a")).toMatchObject({ state: "refused", refusal: { code: "incomplete" } });
  });
});

describe("a repeated part", () => {
  it("gets the same answer and stores nothing twice", async () => {
    const parts = { parts: 2, rows: 6 };
    const first = await sendPart(bed.store, { ...parts, part: 1 }, rowsOf(3));
    const keys = await storedRows();
    expect(await sendPart(bed.other, { ...parts, part: 1 }, rowsOf(3))).toEqual(first);
    expect(await storedRows()).toEqual(keys);
    const complete = await sendPart(bed.store, { ...parts, part: 2 }, rowsOf(3, 3));
    expect(await sendPart(bed.other, { ...parts, part: 2 }, rowsOf(3, 3))).toEqual(complete);
    expect(bed.announced).toHaveLength(1);
  });

  it("with other rows changes nothing of a complete snapshot", async () => {
    const snapshot = await completed("s1");
    const outcome = await sendPart(bed.store, {}, rowsOf(3, 50));
    expect(outcome).toMatchObject({ outcome: "refused", refusal: { code: "part_differs" } });
    expect(await bed.store.complete("wms", "s1")).toEqual(snapshot);
    expect((await readRows(bed.store, snapshot)).flat()).toHaveLength(3);
  });
});

describe("interruptions:", () => {
  it("an aborted part leaves nothing, and can be sent again", async () => {
    const writer = (await bed.store.receive(headerOf({ rows: 20_000 }))) as SnapshotPartWriter;
    await fill(writer, rowsOf(20_000));
    await writer.drain();
    expect(await storedRows()).not.toEqual([]);
    await writer.abort();
    expect(await storedRows()).toEqual([]);
    expect(await sendPart(bed.store, {}, rowsOf(20_000))).toMatchObject({ outcome: "complete" });
  });

  it("rows of a process that was killed expire, and do not count", async () => {
    const writer = (await bed.store.receive(headerOf({ rows: 20_000 }))) as SnapshotPartWriter;
    await fill(writer, rowsOf(20_000));
    await writer.drain();
    for (const key of await storedRows()) expect(await redis.pttl(key)).toBeGreaterThan(0);
    const outcome = await sendPart(bed.other, {}, rowsOf(20_000));
    if (outcome.outcome !== "complete") throw new Error(JSON.stringify(outcome));
    expect((await readRows(bed.store, outcome.snapshot)).flat()).toHaveLength(20_000);
  });

  it("another process completes what one had received when it was killed", async () => {
    const killed = killedAfterRecording(redis);
    const last = (await killed.receive(headerOf())) as SnapshotPartWriter;
    await fill(last, rowsOf(3));
    await expect(last.end()).rejects.toThrow("killed");
    expect(await bed.store.list()).toMatchObject([{ state: "receiving", partsReceived: 1 }]);
    await bed.store.sweep();
    await bed.store.sweep();
    expect(await bed.store.list()).toMatchObject([{ state: "complete" }]);
    expect(bed.announced).toHaveLength(1);
  });

  it("two processes that receive the same parts at the same time end in one complete snapshot", async () => {
    for (let round = 0; round < 10; round++) {
      const id = `r${round}`;
      const parts = { id, parts: 2, rows: 400, asOfMs: START_MS + round };
      const outcomes = await Promise.all([
        sendPart(bed.store, { ...parts, part: 1 }, rowsOf(200)),
        sendPart(bed.other, { ...parts, part: 2 }, rowsOf(200, 200)),
        sendPart(bed.other, { ...parts, part: 1 }, rowsOf(200)),
        sendPart(bed.store, { ...parts, part: 2 }, rowsOf(200, 200)),
      ]);
      expect(outcomes.map(({ outcome }) => outcome)).not.toContain("refused");
      const snapshot = (await bed.store.complete("wms", id)) as Snapshot;
      expect((await readRows(bed.other, snapshot)).flat()).toHaveLength(400);
    }
  });

  it("a completion that could not be made known is made known later", async () => {
    let isDown = true;
    const reported: string[] = [];
    const failing = snapshotBed(redis, {
      onComplete: async ({ id }) => {
        if (isDown) throw new Error("no topic");
        reported.push(id);
      },
    });
    expect(await sendPart(failing.store, {}, rowsOf(3))).toMatchObject({ outcome: "complete" });
    expect(failing.troubles).toEqual(["wms/s1 is complete, but was not made known: no topic"]);
    isDown = false;
    await failing.other.sweep();
    await failing.other.sweep();
    expect(reported).toEqual(["s1"]);
  });
});

describe("what is kept", () => {
  it("is the newest snapshots of each source, for some days, and refused ones for a day", async () => {
    bed = snapshotBed(redis, { keep: 2 });
    for (const [i, id] of ["a", "b", "c"].entries()) await completed(id, { asOfMs: START_MS + i });
    await sendPart(bed.store, { id: "bad", asOfMs: START_MS + 9 }, [["A", "moon", 1]]);
    await bed.store.sweep();
    expect((await bed.store.list()).map(({ id }) => id)).toEqual(["bad", "c", "b"]);
    bed.clock.moveTo(START_MS + DAY_MS + 1);
    await bed.store.sweep();
    expect((await bed.store.list()).map(({ id }) => id)).toEqual(["c", "b"]);
    bed.clock.moveTo(START_MS + 7 * DAY_MS + 10);
    await bed.store.sweep();
    expect(await bed.store.list()).toEqual([]);
    expect(await server.keys("t:*")).toEqual([]);
  });

  it("is said to be gone when it is read later", async () => {
    const snapshot = await completed("a");
    bed.clock.moveTo(START_MS + 8 * DAY_MS);
    await bed.store.sweep();
    await expect(readRows(bed.store, snapshot)).rejects.toMatchObject({ code: "snapshot_gone" });
  });
});

describe("bounds", () => {
  it("hold for the snapshots of one source that are being received, and for sources", async () => {
    for (let i = 0; i < 8; i++) await sendPart(bed.store, { id: `p${i}`, parts: 2, rows: 6 }, rowsOf(3));
    expect(await sendPart(bed.store, { id: "p8", parts: 2, rows: 6 }, rowsOf(3))).toMatchObject({
      outcome: "refused",
      refusal: { code: "too_many_snapshots" },
    });
    // Names under which nothing was accepted are no sources.
    for (let i = 0; i < 3; i++) await sendPart(bed.store, { source: `mistake-${i}`, unit: "carton" }, rowsOf(3));
    for (let i = 0; i < 63; i++) await completed("a", { source: `s${i}` });
    expect(await sendPart(bed.store, { source: "s63", id: "a" }, rowsOf(3))).toMatchObject({
      outcome: "refused",
      refusal: { code: "too_many_sources" },
    });
    expect(await bed.store.find("s63", "a")).toBeUndefined();
  });

  it("an impossible header is an error of the caller", async () => {
    for (const changes of [{ source: "Ledger" }, { source: "ledger" }, { id: "a/b" }, { part: 2 }, { rows: 0 }])
      await expect(bed.store.receive(headerOf(changes))).rejects.toMatchObject({ code: "bad_input" });
  });

  it("nothing is decided while the ledger's locations are not known", async () => {
    const early = snapshotBed(redis, { locations: () => undefined });
    await expect(early.store.receive(headerOf())).rejects.toMatchObject({ code: "unavailable", retryable: true });
  });
});

/** A store whose process ends once a part is recorded: nothing after it is done. */
function killedAfterRecording(client: RedisClient): SnapshotStore {
  let isKilled = false;
  const dying = new Proxy(client, {
    get(target, name) {
      const value = Reflect.get(target, name) as unknown;
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        if (isKilled) return Promise.reject(new Error("killed"));
        const [, field] = args;
        if (name === "hsetnx" && field === "1") isKilled = true;
        return (value as (...all: unknown[]) => unknown).apply(target, args);
      };
    },
  });
  return new SnapshotStore({
    redis: dying,
    prefix: "t",
    partitions: PARTITIONS,
    clock: bed.clock,
    locations: () => new Set(["main", "W-1"]),
    onTrouble: () => {},
  });
}
