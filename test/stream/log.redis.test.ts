/**
 * Reading and trimming one partition's log in a real Redis: nothing is skipped in silence, and nothing that is still
 * needed goes.
 */
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { seededRandom } from "../../engine/kernel/random.js";
import { assertContiguous, field, type LogEntry, readLog, removeEntries, trimLog } from "../../engine/stream/log.js";
import { withRedis } from "../redis/with-redis.js";

const redis = withRedis();
let client: ReturnType<typeof redis.connect>;
const KEY = "log";

beforeAll(() => {
  client = redis.connect();
});
beforeEach(() => redis.flush());

async function fill(entries: readonly [offset: number, atMs: number][]): Promise<void> {
  const pipeline = client.pipeline();
  for (const [offset, atMs] of entries) pipeline.xadd(KEY, `${offset}-0`, "t", atMs);
  await pipeline.exec();
}
const plain = (count: number): [number, number][] => Array.from({ length: count }, (_, i) => [i + 1, (i + 1) * 10]);
const timeOf = (entry: LogEntry): number => {
  const text = field(entry, "t")?.toString();
  if (text === undefined) throw new Error("no time");
  return Number(text);
};
const left = async (): Promise<number[]> => (await readLog(client, KEY, 0, 10_000)).map(({ offset }) => offset);

describe("reading", () => {
  it("returns the entries after an offset, their fields as they were written", async () => {
    await client.xadd(KEY, "1-0", "b", Buffer.from([0, 255, 10, 13]), "o", "");
    await client.xadd(KEY, "2-0", "t", "5");
    const [first, second, ...rest] = await readLog(client, KEY, 0, 10);
    expect(rest).toEqual([]);
    expect(first && [first.offset, field(first, "b"), field(first, "o")?.length, field(first, "t")]).toEqual([
      1,
      Buffer.from([0, 255, 10, 13]),
      0,
      undefined,
    ]);
    expect(second?.offset).toBe(2);
    expect((await readLog(client, KEY, 1, 10)).map(({ offset }) => offset)).toEqual([2]);
  });

  it("returns at most the given number of entries, and none of an empty log", async () => {
    expect(await readLog(client, KEY, 0, 10)).toEqual([]);
    await fill(plain(5));
    expect((await readLog(client, KEY, 1, 3)).map(({ offset }) => offset)).toEqual([2, 3, 4]);
    expect(await readLog(client, KEY, 5, 3)).toEqual([]);
  });

  it("waits for an entry when requested, and no longer", async () => {
    const reader = redis.connect();
    expect(await readLog(reader, KEY, 0, 10, 30)).toEqual([]);
    const waiting = readLog(reader, KEY, 0, 10, 5_000);
    await fill([[1, 10]]);
    expect((await waiting).map(({ offset }) => offset)).toEqual([1]);
  });
});

describe("contiguity", () => {
  const entry = (offset: number): LogEntry => ({ offset, fields: [] });

  it("holds for entries that follow on an offset", () => {
    expect(() => assertContiguous([entry(4), entry(5)], 3, KEY)).not.toThrow();
    expect(() => assertContiguous([], 3, KEY)).not.toThrow();
  });

  it("a gap before or between entries is named", () => {
    expect(() => assertContiguous([entry(5)], 3, KEY)).toThrow("log: expected entry 4, found 5");
    expect(() => assertContiguous([entry(4), entry(6)], 3, KEY)).toThrow(
      expect.objectContaining({ code: "log_gap", retryable: false }),
    );
  });
});

describe("trimming", () => {
  it("removes old processed entries, and leaves the last processed one", async () => {
    await fill(plain(10));
    expect(await trimLog(client, KEY, 8, 55, timeOf)).toBe(5);
    expect(await left()).toEqual([6, 7, 8, 9, 10]);
  });

  it("never goes above the lowest cursor, however old the entries are", async () => {
    await fill(plain(10));
    expect(await trimLog(client, KEY, 4, 1_000_000, timeOf)).toBe(3);
    expect(await left()).toEqual([4, 5, 6, 7, 8, 9, 10]);
    expect(await trimLog(client, KEY, 4, 1_000_000, timeOf)).toBe(0);
    expect(await trimLog(client, KEY, 0, 1_000_000, timeOf)).toBe(0);
  });

  it("keeps newer entries", async () => {
    await fill(plain(10));
    expect(await trimLog(client, KEY, 10, 10, timeOf)).toBe(0);
    expect(await left()).toHaveLength(10);
  });

  it("does nothing to a log that is empty or does not exist", async () => {
    expect(await trimLog(client, KEY, 10, 1_000, timeOf)).toBe(0);
    await fill([[1, 10]]);
    await client.xtrim(KEY, "MAXLEN", 0);
    expect(await trimLog(client, KEY, 10, 1_000, timeOf)).toBe(0);
  });

  it("skips an entry whose time cannot be read, first or in the middle", async () => {
    await client.xadd(KEY, "1-0", "e", "rubbish");
    await fill(plain(9).map(([offset, atMs]) => [offset + 1, atMs]));
    await client.xadd(KEY, "11-0", "e", "rubbish");
    await client.xadd(KEY, "12-0", "t", "100");
    expect(await trimLog(client, KEY, 12, 50, timeOf)).toBe(5);
    expect(await left()).toEqual([6, 7, 8, 9, 10, 11, 12]);
    // The entry right before the cursor has no next entry with a time, and stays for now.
    expect(await trimLog(client, KEY, 12, 200, timeOf)).toBe(5);
    expect(await left()).toEqual([11, 12]);
  });

  it("skips many entries that follow on each other and whose time cannot be read", async () => {
    await fill(plain(500));
    for (let offset = 501; offset <= 2_000; offset++) await client.xadd(KEY, `${offset}-0`, "x", "");
    await fill(Array.from({ length: 500 }, (_, i) => [2_001 + i, 6_000 + i]));
    // An entry after them is not old: nor are they.
    expect(await trimLog(client, KEY, 2_500, 6_000, timeOf)).toBe(500);
    expect(await trimLog(client, KEY, 2_500, 6_000, timeOf)).toBe(0);
    expect(await trimLog(client, KEY, 1_900, 7_000, timeOf)).toBe(0);
    expect(await trimLog(client, KEY, 2_500, 6_001, timeOf)).toBe(1_501);
    expect((await left())[0]).toBe(2_002);
  });

  it("removes entries one by one, with those before them whose time cannot be read", async () => {
    await fill(plain(100));
    for (let offset = 101; offset <= 300; offset++) await client.xadd(KEY, `${offset}-0`, "x", "");
    await fill(Array.from({ length: 100 }, (_, i) => [301 + i, 3_010 + i]));
    await removeEntries(client, KEY, 50, 390, 3_010, timeOf);
    expect((await left()).slice(48, 52)).toEqual([49, 101, 102, 103]);
    await removeEntries(client, KEY, 50, 390, 3_020, timeOf);
    expect(await left()).toEqual([
      ...Array.from({ length: 49 }, (_, i) => i + 1),
      ...Array.from({ length: 90 }, (_, i) => i + 311),
    ]);
  });

  it("finds the boundary in logs with gaps and with equal times, as a plain search does", async () => {
    const random = seededRandom(20_260_618);
    for (let round = 0; round < 60; round++) {
      await client.del(KEY);
      const entries: [number, number][] = [];
      let offset = 0;
      let atMs = 0;
      for (let i = random.below(25); i > 0; i--) {
        offset += 1 + random.below(4);
        atMs += random.below(3);
        entries.push([offset, atMs]);
      }
      await fill(entries);
      const keepFrom = random.below(offset + 3);
      const beforeMs = random.below(atMs + 3);
      const removed = await trimLog(client, KEY, keepFrom, beforeMs, timeOf);
      const kept = entries.filter(([at, ms]) => at >= keepFrom || ms >= beforeMs).map(([at]) => at);
      expect(await left(), `round ${round}`).toEqual(kept);
      expect(removed).toBe(entries.length - kept.length);
    }
  });
});
