/**
 * The audit against a real ledger and real jobs. It reports nothing as long as nothing is wrong, under load too. When a
 * balance, a state, the log or a line was changed by hand, it names the cell, the numbers and the first differing
 * event.
 */
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { PartitionAudit } from "../../engine/audit/audit.js";
import type { Mismatch } from "../../engine/audit/comparison.js";
import { ShadowFold } from "../../engine/audit/shadow-fold.js";
import { STOREFRONT_JOB, storefrontJob } from "../../engine/jobs/storefront/job.js";
import { chainId } from "../../engine/kernel/chain-id.js";
import { DAY_MS, sleep, stopwatch, systemClock } from "../../engine/kernel/clock.js";
import { seededRandom } from "../../engine/kernel/random.js";
import { Ledger } from "../../engine/stock/ledger.js";
import { type Balances, cellOf, emptyBalances, POOLS, type StockCommand } from "../../engine/stock/model.js";
import { stockTopic } from "../../engine/stock/topic.js";
import { cursorField, loadStreamLibrary } from "../../engine/stream/commit.js";
import { stockKeys } from "../../engine/stream/keys.js";
import { encodeState } from "../../engine/stream/pack.js";
import { connect, type RedisClient } from "../../engine/stream/redis.js";
import { stateOf } from "../../engine/stream/state-codec.js";
import { Worker } from "../../engine/stream/worker.js";
import { lengthOf } from "../length.js";
import { withRedis } from "../redis/with-redis.js";
import { CommandStream } from "../sim/commands.js";

const redis = withRedis();
const PARTITIONS = 2;
const LOCATION = "SH";
const SLICES = lengthOf({ short: 1_000, long: 3_000 });
const SLICES_MS = lengthOf({ short: 4_000, long: 10_000 });
let client: RedisClient;
let prefix = "";
let round = 0;
let ledger: Ledger;
const stops: (() => Promise<void>)[] = [];

beforeAll(async () => {
  client = redis.connect();
  await Promise.all([Ledger.load(client), loadStreamLibrary(client)]);
});
beforeEach(() => {
  prefix = `audit${round++}`;
  ledger = new Ledger({ redis: client, prefix, partitions: PARTITIONS });
});
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

function work(job = storefrontJob, retentionMs = 0): Worker<never> {
  const worker = new Worker({
    topic: stockTopic(ledger),
    jobs: [job],
    prefix,
    redis: client,
    openReader: () => connect({ url: redis.url }, true),
    owner: "test",
    clock: systemClock,
    leaseMs: 5_000,
    tickMs: 1_000,
    retentionMs,
    withViews: false,
    onTrouble: () => {},
  });
  worker.start();
  stops.push(() => worker.stop());
  return worker as unknown as Worker<never>;
}

const keysOf = (sku: string) => stockKeys(prefix, ledger.partitionOf(sku));
const auditOf = (sku: string) => new PartitionAudit(client, prefix, ledger.partitionOf(sku));
const newId = () => chainId("TE", systemClock.now());

/** Waits until the jobs have processed the whole log. */
async function settle(): Promise<void> {
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const keys = stockKeys(prefix, partition);
    const elapsed = stopwatch();
    const isBehind = async () =>
      Number(await client.hget(keys.head, "offset")) >
      Number(await client.hget(keys.task, cursorField(STOREFRONT_JOB)));
    while (await isBehind()) {
      if (elapsed() > 60_000) throw new Error("the jobs do not catch up");
      await sleep(10);
    }
  }
}

async function apply(...commands: Partial<StockCommand>[]): Promise<string[]> {
  const whole = commands.map((command) => ({ id: newId(), location: LOCATION, ...command }) as StockCommand);
  for (const command of whole) expect((await ledger.apply(command)).outcome).toBe("accepted");
  return whole.map(({ id }) => id);
}

/** A shop at rest: a cup with 10 units of which 4 are held, and a hundred other SKUs. */
async function shop(job = storefrontJob): Promise<{ line: string }> {
  work(job);
  await ledger.applyMany(
    Array.from(
      { length: 100 },
      (_, i): StockCommand => ({ kind: "receive", id: newId(), sku: `other-${i}`, location: LOCATION, units: 5 }),
    ),
  );
  const [, line] = await apply(
    { kind: "receive", sku: "cup", units: 10 },
    { kind: "reserve", sku: "cup", units: 4 },
    { kind: "receive", sku: "cup", units: 1, location: "GZ" },
  );
  await settle();
  return { line: line as string };
}

/** Audits slices until the whole partition is done. */
async function cycle(audit: PartitionAudit): Promise<Mismatch[]> {
  const newMismatches: Mismatch[] = [];
  for (let slices = 0; slices < 100; slices++) {
    const report = await audit.slice();
    newMismatches.push(...report.newMismatches);
    if (report.cycleSeconds !== undefined) return newMismatches;
  }
  throw new Error("the cycle does not end");
}

const pack = (balances: Partial<Balances>): Buffer => {
  const bytes = Buffer.alloc(40);
  const whole = { ...emptyBalances(), ...balances };
  for (const [i, pool] of POOLS.entries()) bytes.writeDoubleLE(whole[pool], i * 8);
  return bytes;
};
const setCell = (sku: string, location: string, balances: Partial<Balances>) =>
  client.hset(keysOf(sku).cells, cellOf(sku, location), pack(balances));
const headOf = async (sku: string) => Number(await client.hget(keysOf(sku).head, "offset"));

/** Appends an entry to a log by hand, without the ledger. */
async function forge(sku: string, fields: readonly Buffer[]): Promise<number> {
  const offset = (await headOf(sku)) + 1;
  await client.xadd(keysOf(sku).log, `${offset}-0`, ...fields);
  await client.hset(keysOf(sku).head, "offset", offset);
  return offset;
}

describe("a healthy engine", () => {
  it("compares as well when Redis is full, slice by slice and as a whole", async () => {
    work();
    const skus = ["CUP", "POT", "PAN"];
    await ledger.applyMany(
      skus.map((sku) => ({ kind: "receive", id: newId(), sku, location: LOCATION, units: 9 }) as const),
    );
    await ledger.apply({ kind: "reserve", id: newId(), sku: "CUP", location: LOCATION, units: 2 });
    await settle();
    await redis.onEach((primary) => primary.call("CONFIG", "SET", "maxmemory", "1mb"));
    try {
      await expect(client.set("more", "x")).rejects.toThrow("OOM");
      let heldLines = 0;
      for (let partition = 0; partition < PARTITIONS; partition++) {
        const audit = new PartitionAudit(client, prefix, partition);
        const report = await audit.whole();
        expect(report.mismatches).toEqual([]);
        heldLines += report.heldLines;
        expect(await cycle(new PartitionAudit(client, prefix, partition))).toEqual([]);
      }
      expect(heldLines).toBe(1);
    } finally {
      await redis.onEach((primary) => primary.call("CONFIG", "SET", "maxmemory", "0"));
    }
  });

  it("raises no alarm while commands arrive, over many slices and several whole audits", async () => {
    const random = seededRandom(618);
    const stream = new CommandStream(random, systemClock.now(), 45);
    ledger = new Ledger({ redis: client, prefix, partitions: PARTITIONS, clock: { now: () => stream.timeMs } });
    const worker = work();
    const audits = Array.from({ length: PARTITIONS }, (_, partition) => new PartitionAudit(client, prefix, partition));
    const eventsRead = () => worker.stats().reduce((sum, stats) => sum + stats.events, 0);
    let stopped = false;
    const feeding = [1, 2, 3].map(async () => {
      while (!stopped) {
        await ledger.applyMany([
          ...stream.take(40),
          { kind: "receive", id: newId(), sku: `sku-${random.below(2_000)}`, location: LOCATION, units: 1 },
        ]);
        await sleep(5);
      }
    });
    let [slices, cells, skipped, wholes] = [0, 0, 0, 0];
    const newMismatches: Mismatch[] = [];
    const elapsed = stopwatch();
    try {
      // On a busy machine it takes longer.
      while (slices < SLICES && (elapsed() < SLICES_MS || slices - skipped <= 50 || eventsRead() <= 1_000)) {
        for (const audit of audits) {
          const report = await audit.slice();
          slices++;
          cells += report.cells;
          if (report.lagEntries !== undefined) skipped++;
          newMismatches.push(...report.newMismatches);
        }
        if (elapsed() < ((wholes + 1) * SLICES_MS) / 4) continue;
        wholes++;
        for (let partition = 0; partition < PARTITIONS; partition++)
          newMismatches.push(...(await new PartitionAudit(client, prefix, partition).whole()).mismatches);
      }
    } finally {
      stopped = true;
      await Promise.all(feeding);
    }
    const events = eventsRead();
    expect(
      newMismatches,
      `${slices} slices, ${cells} cells, ${skipped} skipped, ${wholes} wholes, ${events} events`,
    ).toEqual([]);
    expect(slices - skipped).toBeGreaterThan(50);
    expect(events).toBeGreaterThan(1_000);
  });

  it("agrees in every count when it is audited as a whole", async () => {
    await shop();
    const reports = [
      await new PartitionAudit(client, prefix, 0).whole(),
      await new PartitionAudit(client, prefix, 1).whole(),
    ];
    const sum = (of: (report: (typeof reports)[number]) => number) =>
      reports.reduce((total, report) => total + of(report), 0);
    expect(reports.flatMap(({ mismatches }) => mismatches)).toEqual([]);
    expect(sum(({ skus }) => skus)).toBe(101);
    expect(sum(({ cells }) => cells)).toBe(102);
    expect(sum(({ units }) => units)).toBe(511);
    expect(sum(({ events }) => events)).toBe(103);
    expect(sum(({ heldLines }) => heldLines)).toBe(1);
    expect(reports.map(({ fromFirst }) => fromFirst)).toEqual([true, true]);
  });

  it("agrees when the log has been trimmed, and when no job has run yet", async () => {
    for (let i = 0; i < 200; i++) await apply({ kind: "receive", sku: "cup", units: 1 });
    expect(await auditOf("cup").whole()).toMatchObject({ mismatches: [], events: 200, units: 200 });
    work();
    await settle();
    await client.xtrim(keysOf("cup").log, "MINID", "150-0");
    await apply({ kind: "reserve", sku: "cup", units: 7 });
    expect(await auditOf("cup").whole()).toMatchObject({ mismatches: [], fromFirst: false, events: 52, heldLines: 1 });
    expect(await cycle(auditOf("cup"))).toEqual([]);
  });

  it("is not compared while its jobs are far behind", async () => {
    for (let i = 0; i < 300; i++) await apply({ kind: "receive", sku: "cup", units: 1 });
    expect(await auditOf("cup").slice()).toMatchObject({ cells: 0, newMismatches: [], lagEntries: 300 });
  });
});

describe("a balance that somebody has changed", () => {
  it("is found by the shadow fold, with the message that no event has changed it", async () => {
    await shop();
    const audit = auditOf("cup");
    expect(await cycle(audit)).toEqual([]);
    await setCell("cup", LOCATION, { sellable: 9, reserved: 4 });
    const [mismatch, ...more] = await cycle(audit);
    expect(more).toEqual([]);
    expect(mismatch).toMatchObject({
      kind: "balances",
      sku: "cup",
      location: LOCATION,
      pools: [{ pool: "sellable", ledger: 9, job: 6 }],
    });
    expect(mismatch?.first).toBeUndefined();
    expect(mismatch?.words).toContain(`No event has changed it since entry ${await headOf("cup")}`);
    expect(await cycle(audit), "reported once").toEqual([]);
    expect(audit.mismatches.size).toBe(1);
    await setCell("cup", LOCATION, { sellable: 6, reserved: 4 });
    expect(await cycle(audit)).toEqual([]);
    expect(audit.mismatches.size, "agrees again").toBe(0);
  });

  it("is found with the first event since the last agreement", async () => {
    await shop();
    const audit = auditOf("cup");
    await cycle(audit);
    await setCell("cup", LOCATION, { sellable: 9, reserved: 4 });
    const agreed = await headOf("cup");
    const [id] = await apply({ kind: "reserve", sku: "cup", units: 2 }, { kind: "receive", sku: "cup", units: 3 });
    await settle();
    const [mismatch] = await cycle(audit);
    expect(mismatch?.pools).toEqual([{ pool: "sellable", ledger: 10, job: 7 }]);
    expect(mismatch?.first).toMatchObject({ offset: agreed + 1, index: 0, type: "StockReserved", id, units: 2 });
  });

  it("is found when it is out of date, with the first event that it lacks", async () => {
    await shop();
    await apply({ kind: "receive", sku: "cup", units: 30 });
    await setCell("cup", LOCATION, { sellable: 36, reserved: 4 });
    const [missed] = await apply({ kind: "receive", sku: "cup", units: 5 }, { kind: "reserve", sku: "cup", units: 1 });
    await settle();
    await setCell("cup", LOCATION, { sellable: 36, reserved: 4 });
    const { mismatches } = await auditOf("cup").whole();
    expect(mismatches).toHaveLength(1);
    expect(mismatches[0]).toMatchObject({ fault: "ledger", first: { type: "StockReceived", id: missed, units: 5 } });
    expect(mismatches[0]?.pools[0]).toEqual({ pool: "sellable", ledger: 36, job: 40, log: 40 });
  });

  it("is found when it was removed, or never listed", async () => {
    await shop();
    const audit = auditOf("cup");
    await client.hdel(keysOf("cup").cells, cellOf("cup", "GZ"));
    await setCell("cup", "nowhere", { sellable: 1 });
    const found = await cycle(audit);
    expect(found.map(({ location }) => location).sort()).toEqual(["GZ", "nowhere"]);
    expect(found.find(({ location }) => location === "GZ")?.words).toContain("the ledger has no such cell");
    expect((await auditOf("cup").whole()).mismatches).toHaveLength(2);
  });

  it("is found when its bytes cannot be read", async () => {
    await shop();
    await client.hset(keysOf("cup").cells, cellOf("cup", LOCATION), "12");
    const [mismatch] = await cycle(auditOf("cup"));
    expect(mismatch?.words).toContain("sellable is unreadable in the ledger, 6 in the storefront job");
  });
});

describe("the storefront job", () => {
  it("is at fault when its state has been changed", async () => {
    await shop();
    const key = keysOf("cup").state(STOREFRONT_JOB);
    const state = stateOf(storefrontJob, "cup", (await client.hgetBuffer(key, "cup")) as Buffer);
    for (const [location, balances] of state.locations) if (location === LOCATION) balances.committed += 2;
    await client.hset(key, "cup", encodeState(state));
    expect(await cycle(auditOf("cup"))).toMatchObject([{ pools: [{ pool: "committed", ledger: 0, job: 2 }] }]);
    const { mismatches } = await auditOf("cup").whole();
    expect(mismatches).toMatchObject([
      { fault: "job", sku: "cup", pools: [{ pool: "committed", ledger: 0, job: 2, log: 0 }] },
    ]);
    await client.hset(key, "cup", "no state");
    expect(await cycle(auditOf("cup"))).toHaveLength(2);
    await client.hdel(key, "cup");
    expect(await cycle(auditOf("cup"))).toHaveLength(2);
  });

  it("differs by an event that became a dead letter", async () => {
    const poison = newId();
    await shop({
      ...storefrontJob,
      onEvent(state, event, context) {
        if (event.id === poison) throw new Error("cannot take it");
        storefrontJob.onEvent(state, event, context);
      },
    });
    const audit = auditOf("cup");
    await cycle(audit);
    await apply({ kind: "receive", sku: "cup", units: 2 }, { kind: "receive", sku: "cup", units: 5, id: poison });
    await apply({ kind: "receive", sku: "cup", units: 3 });
    await settle();
    const first = { type: "StockReceived", id: poison, units: 5 };
    const [alarm] = await cycle(audit);
    expect(alarm).toMatchObject({ sku: "cup", location: LOCATION, first });
    expect(alarm?.words).toContain("cannot take it");
    expect((await auditOf("cup").whole()).mismatches).toMatchObject([
      { fault: "job", first, pools: [{ pool: "sellable", ledger: 16, job: 11, log: 16 }] },
    ]);
  });
});

describe("the log", () => {
  it("is at fault when an entry is missing", async () => {
    await shop();
    const lost = (await headOf("cup")) + 1;
    await apply({ kind: "receive", sku: "cup", units: 2 }, { kind: "receive", sku: "cup", units: 8 });
    await settle();
    await client.xdel(keysOf("cup").log, `${lost}-0`);
    const { mismatches } = await auditOf("cup").whole();
    expect(mismatches).toMatchObject([
      {
        kind: "balances",
        fault: "log",
        sku: "cup",
        pools: [{ pool: "sellable", ledger: 16, job: 16, log: 14 }],
        first: { offset: lost },
      },
      { kind: "lost_entry", first: { offset: lost } },
    ]);
    expect(mismatches[0]?.words).toContain(`entry ${lost}, which is missing from the log`);
  });

  it("is at fault when an entry cannot be read", async () => {
    await shop();
    const offset = await forge(
      "cup",
      ["t", "1", "b", "rubbish"].map((text) => Buffer.from(text)),
    );
    await settle();
    expect((await auditOf("cup").whole()).mismatches).toMatchObject([{ kind: "unreadable_entry", first: { offset } }]);
  });

  it("reports an event that takes a pool below zero", async () => {
    await shop();
    const { log } = keysOf("cup");
    const entries = await client.xrangeBuffer(log, "-", "+");
    const [, fields] = entries[entries.length - 2] as [Buffer, Buffer[]];
    const audit = auditOf("cup");
    await cycle(audit);
    // The reservation of 4 once more, twice: 6 - 8.
    await forge("cup", fields);
    const offset = await forge("cup", fields);
    await settle();
    expect(await cycle(audit)).toMatchObject([
      {
        sku: "cup",
        pools: [
          { pool: "sellable", ledger: 6, job: -2 },
          { pool: "reserved", ledger: 4, job: 12 },
        ],
      },
    ]);
    const { mismatches } = await auditOf("cup").whole();
    expect(mismatches[0]?.words).toContain(`the log takes it below zero with entry ${offset} number 0, StockReserved`);
  });
});

describe("held lines", () => {
  it("are reported when a record is missing", async () => {
    const { line } = await shop();
    const { lines } = keysOf("cup");
    expect(await client.hdel(lines(Math.floor(systemClock.now() / DAY_MS)), line)).toBe(1);
    const { mismatches } = await auditOf("cup").whole();
    expect(mismatches).toMatchObject([
      {
        fault: "lines",
        sku: "cup",
        location: LOCATION,
        pools: [{ pool: "reserved", ledger: 4, job: 4, log: 4, lines: 0 }],
        first: { type: "StockReserved", id: line, units: 4 },
      },
    ]);
  });

  it("are reported when one is no longer listed, and would never expire", async () => {
    const { line } = await shop();
    await client.zrem(keysOf("cup").holds, line);
    const { mismatches } = await auditOf("cup").whole();
    expect(mismatches).toMatchObject([{ fault: "lines", pools: [{ pool: "reserved", ledger: 4, lines: 0 }] }]);
  });

  it("are summed also when one SKU has more of them than one call has arguments", async () => {
    const lines = 130_000;
    await shop();
    const more = (kind: "receive" | "reserve", units: number) => ({
      kind,
      id: newId(),
      sku: "cup",
      location: LOCATION,
      units,
    });
    await ledger.apply(more("receive", lines));
    for (let i = 0; i < lines; i += 10_000)
      await ledger.applyMany(Array.from({ length: 10_000 }, () => more("reserve", 1)));
    await settle();
    expect(await auditOf("cup").whole()).toMatchObject({ heldLines: lines + 1, mismatches: [] });
  }, 120_000);
});

describe("the shadow fold", () => {
  it("runs by itself over owned partitions, reports an alarm once, and counts", async () => {
    const worker = work();
    await shop();
    const reported: string[] = [];
    const shadow = new ShadowFold({
      redis: client,
      prefix,
      partitions: PARTITIONS,
      owned: (partition) => worker.stats()[partition]?.owned === true,
      onTrouble: (message) => reported.push(message),
      everyMs: 50,
    });
    shadow.start();
    stops.push(() => shadow.stop());
    const until = async (done: () => boolean) => {
      for (const elapsed = stopwatch(); !done(); await sleep(20)) if (elapsed() > 60_000) throw new Error("too late");
    };
    await until(() => shadow.cellsChecked > 300);
    expect(reported).toEqual([]);
    expect(shadow.mismatches).toEqual([]);
    await setCell("cup", LOCATION, { sellable: 7, reserved: 4 });
    await until(() => reported.length > 0);
    await until(() => shadow.cycleSeconds > 0);
    const cells = shadow.cellsChecked;
    await until(() => shadow.cellsChecked > cells + 200);
    expect(reported).toHaveLength(1);
    expect(reported[0]).toContain("ALARM");
    expect(reported[0]).toContain("cup at SH (partition ");
    expect(reported[0]).toContain("sellable is 7 in the ledger, 6 in the storefront job");
    expect(shadow.mismatches).toHaveLength(1);
    expect(shadow.warnings()).toHaveLength(1);
  });
});
