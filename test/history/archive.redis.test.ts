/**
 * The archive: balances and events across its edge, equal to a fold of the whole log; writing it once, whatever is
 * interrupted; gaps; and removing what is old.
 */
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { Archive } from "../../engine/history/archive.js";
import { readArchiveHead } from "../../engine/history/archive-head.js";
import { ArchiveCache, ArchiveReader } from "../../engine/history/archived-log.js";
import { DAY_MS } from "../../engine/kernel/clock.js";
import { EngineError } from "../../engine/kernel/errors.js";
import { seededRandom } from "../../engine/kernel/random.js";
import { BalanceHistory } from "../../engine/stock/as-of.js";
import { entryTimeMs } from "../../engine/stock/log-entry.js";
import { POOLS, type StockEvent } from "../../engine/stock/model.js";
import { skuEvents } from "../../engine/stock/sku-events.js";
import { ARCHIVE_CURSOR } from "../../engine/stream/archive-cursor.js";
import { cursorField, freeTask } from "../../engine/stream/commit.js";
import { archiveKeys, stockKeys } from "../../engine/stream/keys.js";
import type { LogEntry } from "../../engine/stream/log.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { lengthOf } from "../length.js";
import { withRedis } from "../redis/with-redis.js";
import { SKUS } from "../sim/commands.js";
import { type ArchiveBed, archiveBed, START_MS } from "./archive-bed.js";

const redis = withRedis();
const SEED = Number(process.env["SHUIWEI_SEED"] ?? 618);
const PARTITIONS = 2;
const PREFIX = "archived";
/** After everything: a command's own time may move the ledger's clock ahead. */
const END_MS = START_MS + 365 * DAY_MS;
let client: RedisClient;

beforeAll(() => {
  client = redis.connect();
});
beforeEach(() => redis.flush());

const NO_ANCHORS = { read: async (_: unknown, skus: readonly string[]) => skus.map(() => []) };

/** Units by location and pool, of the events up to an instant; zeros left out. */
function foldOf(events: readonly StockEvent[], sku: string, atMs: number): Record<string, number> {
  const units: Record<string, number> = {};
  const add = (location: string, pool: string, by: number) => {
    if (pool !== "outside") units[`${location} ${pool}`] = (units[`${location} ${pool}`] ?? 0) + by;
  };
  for (const event of events) {
    if (event.sku !== sku || event.clockMs > atMs) continue;
    add(event.location, event.from, -event.units);
    add(event.toLocation ?? event.location, event.to, event.units);
  }
  return Object.fromEntries(Object.entries(units).filter(([, each]) => each !== 0));
}

function readers(bed: ArchiveBed, given: { withAnchors?: boolean; entriesLimit?: number } = {}) {
  const archive = new Archive({ redis: client, prefix: PREFIX, partitions: PARTITIONS, store: bed.store });
  const logOf = archive.logOf("stock", entryTimeMs);
  const { withAnchors = true, entriesLimit = 100_000 } = given;
  const shared = { redis: client, prefix: PREFIX, partitions: PARTITIONS, logOf, entriesLimit };
  return {
    events: shared,
    history: new BalanceHistory({ ...shared, ...(withAnchors && { anchors: archive.anchors(NO_ANCHORS) }) }),
  };
}

async function compare(bed: ArchiveBed, history: BalanceHistory, sku: string, atMs: number): Promise<void> {
  const found = await history.asOf([sku], atMs);
  if (found.outcome !== "found") throw new Error(`SHUIWEI_SEED=${SEED} ${sku} at ${atMs}: ${found.outcome}`);
  const asOfMs = found.positions[0]?.asOfMs as number;
  const wanted = foldOf(await bed.events(bed.ledger.partitionOf(sku)), sku, asOfMs);
  const shown = [...(found.skus.get(sku) ?? [])].flatMap(([location, balances]) =>
    POOLS.map((pool): [string, number] => [`${location} ${pool}`, balances[pool]]).filter(([, units]) => units !== 0),
  );
  expect(Object.fromEntries(shown), `SHUIWEI_SEED=${SEED} ${sku} at ${atMs}`).toEqual(wanted);
}

const place = (partition: number) => ({ prefix: PREFIX, topic: "stock", partition });

describe("balances of an instant and events of a span", () => {
  it("are those of a fold from zero at random instants across the archive's edge", async () => {
    const random = seededRandom(SEED);
    const bed = await archiveBed(client, PREFIX, PARTITIONS, random);
    await bed.trade(lengthOf({ short: 350, long: 3_000 }));
    await bed.archive();
    await bed.trade(60);
    await bed.trim(25);
    const endMs = bed.clock.now();
    expect(endMs - START_MS).toBeGreaterThan(2 * DAY_MS);
    const [first] = await client.xrange(stockKeys(PREFIX, 0).log, "-", "+", "COUNT", 1);
    expect(Number.parseInt(first?.[0] ?? "", 10)).toBeGreaterThan(1);
    const [near, far] = [readers(bed), readers(bed, { withAnchors: false })];
    const instants = lengthOf({ short: 200, long: 1_000 });
    for (let i = 0; i < instants; i++) {
      const sku = random.pick(SKUS.filter((each) => !each.startsWith("GHOST")));
      const all = await bed.events(bed.ledger.partitionOf(sku));
      const atMs = random.pick([
        START_MS + Math.floor(random.next() * (endMs - START_MS)),
        random.pick(all).clockMs + random.pick([-1, 0, 1]),
        Math.ceil(START_MS / DAY_MS + random.below(4)) * DAY_MS - random.below(2),
      ]);
      await compare(bed, (i % 3 === 0 ? far : near).history, sku, Math.max(START_MS - 1, atMs));
    }
    for (const sku of SKUS) {
      const wanted = (await bed.events(bed.ledger.partitionOf(sku))).filter((event) => event.sku === sku);
      const found: StockEvent[] = [];
      for await (const event of skuEvents(near.events, sku, 0, END_MS)) found.push(event);
      expect(found, `SHUIWEI_SEED=${SEED} ${sku}`).toEqual(wanted);
    }
  });

  it("follow from a closing near the instant, so few entries are read", async () => {
    const random = seededRandom(SEED + 1);
    const bed = await archiveBed(client, PREFIX, PARTITIONS, random);
    await bed.trade(500);
    await bed.archive();
    await bed.trim(5);
    const head = await readArchiveHead(client, place(0));
    expect(head.lastClosing).toBeGreaterThan(1);
    const sku = SKUS.find((each) => bed.ledger.partitionOf(each) === 0) as string;
    const all = await bed.events(0);
    // A day's part of the log is less, and the middle is further from both ends.
    const entriesLimit = 15;
    const atMs = all.at(all.length / 2)?.clockMs as number;
    await compare(bed, readers(bed, { entriesLimit }).history, sku, atMs);
    const far = await readers(bed, { withAnchors: false, entriesLimit }).history.asOf([sku], atMs);
    expect(far.outcome).toBe("too_many_entries");
  });

  it("need no object storage where Redis has the log", async () => {
    const random = seededRandom(SEED + 8);
    const bed = await archiveBed(client, PREFIX, PARTITIONS, random);
    await bed.trade(200);
    await bed.archive();
    await bed.trim(20);
    const sku = SKUS.find((each) => bed.ledger.partitionOf(each) === 0) as string;
    let isAway = false;
    const store = {
      ...bed.store,
      put: async () => {},
      delete: async () => {},
      get: async (key: string) => {
        if (isAway) throw new EngineError("away", { op: "objects", code: "objects_unavailable", retryable: true });
        return bed.store.get(key);
      },
    };
    const historyOf = () => {
      const archive = new Archive({ redis: client, prefix: PREFIX, partitions: PARTITIONS, store });
      const logOf = archive.logOf("stock", entryTimeMs);
      const shared = { redis: client, prefix: PREFIX, partitions: PARTITIONS, logOf };
      return new BalanceHistory({ ...shared, anchors: archive.anchors(NO_ANCHORS) });
    };
    const history = historyOf();
    const all = await bed.events(0);
    await compare(bed, history, sku, all.at(-1)?.clockMs as number);
    await compare(bed, history, sku, START_MS + 1);
    isAway = true;
    await compare(bed, history, sku, all.at(-3)?.clockMs as number);
    await compare(bed, historyOf(), sku, all.at(-3)?.clockMs as number);
    await expect(historyOf().asOf([sku], START_MS + 1)).rejects.toThrow("away");
  });

  it("are right while the log is trimmed and archived between two reads", async () => {
    const random = seededRandom(SEED + 2);
    const bed = await archiveBed(client, PREFIX, PARTITIONS, random);
    const reading = readers(bed);
    const sku = SKUS[0] as string;
    for (let round = 0; round < 4; round++) {
      await bed.trade(60);
      await compare(bed, reading.history, sku, START_MS + 1_000);
      await bed.archive();
      await bed.trim(random.below(10));
      await compare(bed, reading.history, sku, START_MS + Math.floor((bed.clock.now() - START_MS) / 2));
    }
  });
});

describe("the log with its archive", () => {
  it("finds an instant before what Redis has, also when that was trimmed since it was asked for", async () => {
    const bed = await archiveBed(client, PREFIX, 1, seededRandom(SEED + 10));
    await bed.trade(120);
    await bed.archive();
    const archive = new Archive({ redis: client, prefix: PREFIX, partitions: 1, store: bed.store });
    const log = archive.logOf("stock", entryTimeMs)(0);
    expect(await log.first()).toBe(1);
    await bed.trim(5);
    const [early] = await log.read(9, 1);
    expect(early?.offset).toBe(10);
    const around = await log.around?.(entryTimeMs(early as LogEntry));
    expect(around?.low).toBeLessThanOrEqual(10);
  });

  it("never takes a manifest that Redis has gone back behind for the one that replaced it", async () => {
    const bed = await archiveBed(client, PREFIX, 1, seededRandom(SEED + 11));
    await bed.trade(150);
    await bed.archive();
    const reader = new ArchiveReader(client, bed.store, place(0), new ArchiveCache());
    const head = await reader.refresh();
    const { number } = head;
    const lost = await reader.manifest(number);
    const { last } = await reader.manifest(number - 1);
    const earlier = { ...head, number: number - 1, sha256: lost.previous, last };
    const fields = { archive: JSON.stringify(earlier), [cursorField(ARCHIVE_CURSOR)]: last };
    await client.hset(archiveKeys(PREFIX, "stock", 0).task, fields);
    await bed.trade(60);
    await bed.archive();
    expect((await reader.refresh()).number).toBeGreaterThan(number);
    expect((await reader.manifest(number)).generation).not.toBe(lost.generation);
  });
});

describe("an archive", () => {
  it("has every entry once when its store fails and its owners change", async () => {
    const random = seededRandom(SEED + 3);
    const bed = await archiveBed(client, PREFIX, PARTITIONS, random);
    await bed.trade(150);
    let puts = 0;
    // Some puts fail after it has stored the object, or before.
    const store = {
      put: async (key: string, bytes: Uint8Array) => {
        puts++;
        if (puts % 11 === 0) throw new Error("refused");
        await bed.store.put(key, bytes);
        if (puts % 13 === 0) throw new Error("the answer was lost");
      },
      get: (key: string) => bed.store.get(key),
      delete: (key: string) => bed.store.delete(key),
    };
    await bed.archive({ store });
    await bed.trade(100);
    await bed.archive({ store });
    await bed.trim(3);
    for (const sku of SKUS) {
      const wanted = (await bed.events(bed.ledger.partitionOf(sku))).filter((event) => event.sku === sku);
      const found: StockEvent[] = [];
      for await (const event of skuEvents(readers(bed).events, sku, 0, END_MS)) found.push(event);
      expect(found).toEqual(wanted);
    }
  });

  it("is not changed by an owner that was frozen and continues after another has taken over", async () => {
    const random = seededRandom(SEED + 9);
    const bed = await archiveBed(client, PREFIX, 1, random);
    await bed.trade(100);
    await bed.archive();
    await bed.trade(50);
    let thaw = () => {};
    const thawed = new Promise<void>((resolve) => {
      thaw = resolve;
    });
    let isFrozen = false;
    const store = {
      get: (key: string) => bed.store.get(key),
      delete: (key: string) => bed.store.delete(key),
      put: async (key: string, bytes: Uint8Array) => {
        if (key.includes("/manifests/") && !isFrozen) {
          isFrozen = true;
          await thawed;
        }
        await bed.store.put(key, bytes);
      },
    };
    const frozen = bed.archiver({ store });
    frozen.start();
    await expect.poll(() => isFrozen).toBe(true);
    await bed.trade(50);
    await freeTask(client, archiveKeys(PREFIX, "stock", 0));
    await bed.archive();
    const before = await readArchiveHead(client, place(0));
    thaw();
    await frozen.stop();
    expect(await readArchiveHead(client, place(0))).toMatchObject({ number: before.number, sha256: before.sha256 });
    await bed.trim(1);
    const shared = { redis: client, prefix: PREFIX, partitions: 1, store: bed.store };
    const logOf = new Archive(shared).logOf("stock", entryTimeMs);
    for (const sku of SKUS) {
      const found: StockEvent[] = [];
      for await (const event of skuEvents({ ...shared, logOf }, sku, 0, END_MS)) found.push(event);
      expect(found).toEqual((await bed.events(0)).filter((event) => event.sku === sku));
    }
  });

  it("records what was removed before it was archived, and reads only what follows the gap", async () => {
    const random = seededRandom(SEED + 4);
    const bed = await archiveBed(client, PREFIX, PARTITIONS, random);
    await bed.trade(100);
    await bed.archive();
    await bed.trade(200);
    await bed.trim(3);
    await bed.archive();
    const head = await readArchiveHead(client, place(0));
    expect(head.unbrokenFrom).toBeGreaterThan(1);
    const sku = SKUS.find((each) => bed.ledger.partitionOf(each) === 0) as string;
    await bed.trim(2);
    const found = await readers(bed).history.asOf([sku], START_MS + 1);
    expect(found.outcome).toBe("outside_retention");
    if (found.outcome === "outside_retention") await compare(bed, readers(bed).history, sku, found.fromMs);
  });

  it("removes segments past its retention, and what they name, but not the newest closing", async () => {
    const random = seededRandom(SEED + 5);
    const bed = await archiveBed(client, PREFIX, PARTITIONS, random);
    await bed.trade(400);
    await bed.archive();
    const before = bed.store.objects.size;
    await bed.trade(20);
    await bed.archive({ retentionMs: DAY_MS });
    await bed.trade(20);
    await bed.archive({ retentionMs: DAY_MS });
    const head = await readArchiveHead(client, place(0));
    expect(head.oldest).toBeGreaterThan(1);
    expect(head.oldest).toBeLessThanOrEqual(head.lastClosing);
    expect(bed.store.objects.size).toBeLessThan(before);
    const sku = SKUS.find((each) => bed.ledger.partitionOf(each) === 0) as string;
    await bed.trim(2);
    const early = await readers(bed).history.asOf([sku], START_MS);
    if (early.outcome !== "outside_retention") throw new Error(early.outcome);
    await compare(bed, readers(bed).history, sku, early.fromMs);
  });

  it("begins anew where Redis is, when Redis has gone back behind it", async () => {
    const random = seededRandom(SEED + 6);
    const bed = await archiveBed(client, PREFIX, 1, random);
    await bed.trade(60);
    await bed.archive();
    const { task } = archiveKeys(PREFIX, "stock", 0);
    const earlier = await client.hgetall(task);
    const log = await client.xrange(stockKeys(PREFIX, 0).log, "-", "+");
    await bed.trade(60);
    await bed.archive();
    // As of the first archive again, with another continuation of the log.
    await client.del(task);
    await client.hset(task, earlier);
    expect(log.length).toBeGreaterThan(0);
    await bed.archive();
    await bed.trim(1);
    const archive = new Archive({ redis: client, prefix: PREFIX, partitions: 1, store: bed.store });
    const options = { redis: client, prefix: PREFIX, partitions: 1, logOf: archive.logOf("stock", entryTimeMs) };
    for (const sku of SKUS) {
      const found: StockEvent[] = [];
      for await (const event of skuEvents(options, sku, 0, END_MS)) found.push(event);
      expect(found).toEqual((await bed.events(0)).filter((event) => event.sku === sku));
    }
  });

  it("has no closing of a day whose balances cannot be found, and goes on", async () => {
    const bed = await archiveBed(client, PREFIX, 1, seededRandom(SEED + 12));
    await bed.trade(150);
    const { log, head } = stockKeys(PREFIX, 0);
    const offset = Number(await client.hget(head, "offset"));
    const clockMs = await client.hget(head, "clock");
    // It has a time, and nothing else that can be read.
    await client.xadd(log, `${offset + 1}-0`, "t", clockMs ?? "", "b", "no batch");
    await client.hset(head, "offset", offset + 1);
    await bed.archive();
    expect(await readArchiveHead(client, place(0))).toMatchObject({ last: offset + 1, lastClosing: 0 });
  });

  it("warns when it is behind, and a missing or changed object is an error that names it", async () => {
    const random = seededRandom(SEED + 7);
    const bed = await archiveBed(client, PREFIX, PARTITIONS, random);
    await bed.trade(150);
    await bed.archive();
    await bed.trim(2);
    const sku = SKUS.find((each) => bed.ledger.partitionOf(each) === 0) as string;
    const read = async () => {
      for await (const _ of skuEvents(readers(bed).events, sku, 0, END_MS));
    };
    const key = [...bed.store.objects.keys()].find((each) => each.includes("/stock/00/segments/")) as string;
    const bytes = bed.store.objects.get(key) as Uint8Array;
    bed.store.objects.set(
      key,
      bytes.map((byte, i) => (i === 20 ? byte ^ 1 : byte)),
    );
    await expect(read()).rejects.toMatchObject({ code: "archive_damaged", message: expect.stringContaining(key) });
    bed.store.objects.delete(key);
    await expect(read()).rejects.toMatchObject({ code: "archive_missing", message: expect.stringContaining(key) });
    bed.store.objects.set(key, bytes);
    await read();
    bed.store.fault = new Error("down");
    await bed.trade(30);
    bed.clock.moveTo(bed.clock.now() + 2 * 3_600_000);
    for (let partition = 0; partition < PARTITIONS; partition++) await bed.ledger.tick(partition);
    const archiver = bed.archiver({ segmentMs: 1 });
    archiver.start();
    await expect.poll(() => archiver.warnings().length).toBeGreaterThan(0);
    expect(archiver.warnings().join()).toContain("minutes behind");
    await archiver.stop();
  });
});
