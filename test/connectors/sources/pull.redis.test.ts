/** Pulls of sources into the stores of an engine: what is stored, what is refused, and who pulls. */
import { mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Type } from "typebox";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { defineSourceKind, type SourcePage } from "../../../connectors/source.js";
import {
  type ConfigurationLookup,
  loadSources,
  type SourceConfiguration,
} from "../../../connectors/sources/configuration.js";
import { fileKind } from "../../../connectors/sources/file-kind.js";
import { httpKind } from "../../../connectors/sources/http-kind.js";
import { openSource } from "../../../connectors/sources/open-source.js";
import { loadSourcesLibrary, SourceProgress } from "../../../connectors/sources/progress.js";
import { type PullResult, pullMovements, pullSnapshot } from "../../../connectors/sources/pull.js";
import { SourceRunner } from "../../../connectors/sources/runner.js";
import { SourceSandbox } from "../../../connectors/sources/sandbox.js";
import { systemClock } from "../../../engine/kernel/clock.js";
import { ASK_ALWAYS } from "../../../engine/reconciliation/conflict-policy.js";
import { MovementStore } from "../../../engine/reconciliation/movement-store.js";
import { SnapshotStore } from "../../../engine/reconciliation/snapshot-store.js";
import { SourceRegistry } from "../../../engine/reconciliation/source-registry.js";
import { acquireTask, loadStreamLibrary, type Task } from "../../../engine/stream/commit.js";
import { sourceKeys } from "../../../engine/stream/keys.js";
import { withRedis } from "../../redis/with-redis.js";
import { isEngineError } from "./engine-error.js";

const PREFIX = "test";
const PARTITIONS = 4;
const redisOf = withRedis();
const never = new AbortController().signal;

/** A source of changes in memory: the pages that it gives next. */
let changes: SourcePage[] = [];
let cursors: (string | undefined)[] = [];
const CHANGES = defineSourceKind({
  name: "changes",
  about: "changes",
  connection: Type.Object({}),
  pulls: ["snapshot"],
  gives: "changes",
  fields: { snapshot: { sku: "sku", units: "units", location: "at", version: "v" } },
  perSecond: 100,
  open: async () => ({
    async *pull(request) {
      cursors.push(request.kind === "snapshot" ? request.cursor : undefined);
      yield* changes;
    },
  }),
});

describe("a pull", () => {
  let folder: string;
  let sandbox: SourceSandbox;
  let snapshots: SnapshotStore;
  let movements: MovementStore;
  let registry: SourceRegistry;
  let task: Task;
  let redis: ReturnType<typeof redisOf.connect>;
  const lookup: ConfigurationLookup = { kinds: [httpKind, fileKind, CHANGES], env: () => "token-of-this-test" };

  beforeEach(async () => {
    await redisOf.flush();
    redis = redisOf.connect();
    await loadStreamLibrary(redis);
    await loadSourcesLibrary(redis);
    folder = await mkdtemp(join(tmpdir(), "pull-"));
    sandbox = new SourceSandbox({ token: "token-of-this-test", pageRows: 40 });
    await sandbox.start();
    const shared = { redis, prefix: PREFIX, partitions: PARTITIONS, clock: systemClock, onTrouble: () => {} };
    snapshots = new SnapshotStore({ ...shared, locations: () => new Set(["main", "east"]) });
    movements = new MovementStore(shared);
    registry = new SourceRegistry(redis, PREFIX);
    task = (await acquireTask(redis, sourceKeys(PREFIX, "erp"), "test", 60_000)) as Task;
    changes = [];
    cursors = [];
  });
  afterEach(async () => {
    await sandbox.stop();
    await rm(folder, { recursive: true });
  });

  const configured = async (change: object = {}): Promise<SourceConfiguration> => {
    const path = join(folder, "sources.json");
    const erp = {
      name: "erp",
      kind: "http",
      measure: "on_hand",
      connection: {
        url: `${sandbox.url}/stock`,
        format: "ndjson",
        auth: { bearer: { env: "T" } },
        ...{ paging: { link: {} }, asOf: "x-as-of", id: "x-snapshot-id", totalRows: "x-total-rows" },
        movements: { url: `${sandbox.url}/movements`, fromParameter: "from", toParameter: "to" },
      },
      locations: { A: "main", B: "east" },
      snapshot: { schedule: { every: "1h" }, fields: { sku: "sku", location: "location", units: "units" } },
      retries: 0,
      ...change,
    };
    await writeFile(path, JSON.stringify({ sources: [erp] }));
    return (await loadSources(path, lookup)).sources[0] as SourceConfiguration;
  };
  const progress = () => new SourceProgress(redis, sourceKeys(PREFIX, "erp"), task.epoch);
  const pull = async (
    configuration: SourceConfiguration,
    work: typeof pullSnapshot = pullSnapshot,
    isDry = false,
  ): Promise<PullResult> => {
    const { source, client, close } = await openSource(configuration, { zone: "Asia/Shanghai", secrets: [] });
    const stores = { snapshots, movements, progress: progress() };
    const parts = { configuration, source, client, zone: "Asia/Shanghai", clock: systemClock };
    try {
      return await work({ ...parts, ...(isDry ? {} : { stores }) }, never);
    } finally {
      await close();
    }
  };
  const storedCells = async (source = "erp"): Promise<Record<string, number>> => {
    const snapshot = (await snapshots.newest()).get(source);
    const cells: Record<string, number> = {};
    if (!snapshot) return cells;
    for (let partition = 0; partition < PARTITIONS; partition++)
      for await (const { skus, locations, units } of snapshots.rows(snapshot, partition))
        for (const [i, sku] of skus.entries()) cells[`${sku} ${locations[i]}`] = units[i] as number;
    return cells;
  };

  it("stores a snapshot of several pages under its own instant and id", async () => {
    for (let i = 0; i < 100; i++) sandbox.stock.set(`SKU-${i}`, i % 2 === 0 ? "A" : "B", i);
    const result = await pull(await configured());
    expect(result).toMatchObject({ outcome: "stored", rows: 100, pages: 3, faults: [] });
    const snapshot = (await snapshots.newest()).get("erp");
    expect(snapshot).toMatchObject({ rows: 100, measure: "on_hand", asOfMs: result.reachedMs });
    const cells = await storedCells();
    expect(Object.keys(cells)).toHaveLength(100);
    expect(cells).toMatchObject({ "SKU-0 main": 0, "SKU-99 east": 99 });
  });

  it("adds up outside locations that are one of ours, and refuses an outside cell that comes twice", async () => {
    sandbox.stock.set("SKU", "A", 2);
    sandbox.stock.set("SKU", "B", 3);
    const merged = { locations: { A: "main", B: "main" } };
    expect(await pull(await configured(merged))).toMatchObject({ outcome: "stored" });
    expect(await storedCells()).toEqual({ "SKU main": 5 });
    await writeFile(join(folder, "twice.csv"), "sku,location,units\nSKU,A,1\nSKU,B,1\nSKU,A,1\n");
    const connection = { folder: ".", asOf: "modified" };
    const twice = await pull(await configured({ ...merged, kind: "file", connection }));
    expect(twice).toMatchObject({ outcome: "refused", faults: ["SKU SKU at A: comes twice"] });
  });

  it("stores nothing when one row is at fault, and names it", async () => {
    sandbox.stock.set("GOOD", "A", 1);
    sandbox.stock.set("BAD", "ELSEWHERE", 1);
    const result = await pull(await configured());
    expect(result).toMatchObject({
      outcome: "refused",
      faults: ['erp page 1 line 2: "location" is "ELSEWHERE", which "locations" does not have'],
    });
    expect(await snapshots.list()).toEqual([]);
  });

  it("shows in a dry run what would be stored, and stores nothing", async () => {
    sandbox.stock.set("SKU", "A", 7);
    const result = await pull(await configured(), pullSnapshot, true);
    expect(result).toMatchObject({ outcome: "stored", rows: 1, samples: [{ sku: "SKU", location: "main", units: 7 }] });
    expect(await snapshots.list()).toEqual([]);
  });

  it("counts the same snapshot, given again, as nothing new", async () => {
    await writeFile(join(folder, "a.csv"), "sku,location,units\nSKU,A,1\n");
    const configuration = await configured({ kind: "file", connection: { folder: ".", asOf: "modified" } });
    expect(await pull(configuration)).toMatchObject({ outcome: "stored" });
    await rm(join(folder, "sources.json"));
    // As after a crash between storing it and moving it away.
    await rename(join(folder, "done", "a.csv"), join(folder, "a.csv"));
    expect(await pull(configuration)).toMatchObject({ outcome: "nothing_new" });
    expect(await readdir(join(folder, "done"))).toEqual(["a.csv"]);
    expect(await pull(configuration)).toMatchObject({ outcome: "nothing_new", pages: 0 });
  });

  it("stores movements since the last pull, and goes on from there", async () => {
    const moves = { schedule: { every: "1h" }, fields: { sku: "sku", location: "location", units: "units" } };
    const configuration = await configured({
      movements: { ...moves, fields: { ...moves.fields, id: "id", time: "time" } },
    });
    const atMs = systemClock.now() - 3_600_000;
    sandbox.stock.move({ id: "m1", sku: "SKU", location: "A", units: -2, atMs });
    expect(await pull(configuration, pullMovements)).toMatchObject({ outcome: "stored", rows: 1 });
    expect(await pull(configuration, pullMovements)).toMatchObject({ outcome: "nothing_new" });
    // Booked late, within the overlap.
    sandbox.stock.move({ id: "m2", sku: "SKU", location: "B", units: 5, atMs: systemClock.now() - 60_000 });
    expect(await pull(configuration, pullMovements)).toMatchObject({ outcome: "stored", rows: 1 });
    const read: string[] = [];
    const span = { fromMs: atMs, toMs: systemClock.now() };
    for (let partition = 0; partition < PARTITIONS; partition++)
      for await (const batch of movements.read("erp", span, partition)) read.push(...batch.map(({ id }) => id));
    expect(read.sort()).toEqual(["m1", "m2"]);
  });

  describe("of a source of changes", () => {
    const page = (
      rows: readonly [sku: string, at: string, units: number, v: number][],
      more: Partial<SourcePage> = {},
    ) => ({
      rows: rows.map(([sku, at, units, v]) => ({ fields: { sku, at, units, v }, place: sku })),
      ...more,
    });
    const configuration = () =>
      configured({ kind: "changes", connection: {}, snapshot: { schedule: { every: "1h" } } });

    it("keeps the newest of each cell, acknowledges what is stored, and makes whole snapshots", async () => {
      const acknowledged: number[] = [];
      const acknowledge = (n: number) => async () => void acknowledged.push(n);
      changes = [
        page(
          [
            ["X", "A", 5, 2],
            ["Y", "B", 7, 3],
          ],
          { cursor: "c1", acknowledge: acknowledge(1) },
        ),
        page([["X", "A", 4, 1]], { acknowledge: acknowledge(2) }),
      ];
      expect(await pull(await configuration())).toMatchObject({ outcome: "stored", rows: 3 });
      expect(await storedCells()).toEqual({ "X main": 5, "Y east": 7 });
      changes = [page([["Y", "B", 1, 9]])];
      await pull(await configuration());
      expect(await storedCells()).toEqual({ "X main": 5, "Y east": 1 });
      expect(acknowledged).toEqual([1, 2]);
      expect(cursors).toEqual([undefined, "c1"]);
    });

    it("acknowledges nothing of a page with a faulty row", async () => {
      const acknowledge = vi.fn(async () => {});
      changes = [
        page(
          [
            ["X", "A", 5, 2],
            ["Y", "?", 7, 3],
          ],
          { acknowledge },
        ),
      ];
      expect(await pull(await configuration())).toMatchObject({ outcome: "refused" });
      expect(acknowledge).not.toHaveBeenCalled();
      expect(await progress().countCells()).toBe(0);
    });

    it("rejects what a process still stores after another has taken over", async () => {
      const old = progress();
      await redis.hincrby(sourceKeys(PREFIX, "erp").task, "epoch", 1);
      await expect(old.setCursor("snapshot", "x")).rejects.toSatisfy(isEngineError("stale_epoch", /another process/));
    });

    it("stores nothing of a page that would exceed the number of cells", async () => {
      const small = new SourceProgress(redis, sourceKeys(PREFIX, "erp"), task.epoch, 1);
      const row = { location: "A", theirLocation: "A", units: 1, timeMs: undefined, id: undefined, version: 1 };
      const rows = ["X", "Y"].map((sku) => ({ ...row, sku }));
      await expect(small.storeCells(rows, "c")).rejects.toSatisfy(isEngineError("too_many_cells", /more than 1 cells/));
      expect(await small.countCells()).toBe(0);
    });
  });

  describe("from a folder", () => {
    /** A time as a file's name has it, in the shop's zone. */
    const named = (hoursAgo: number): string =>
      new Date(systemClock.now() - hoursAgo * 3_600_000 + 8 * 3_600_000)
        .toISOString()
        .slice(0, 16)
        .replace(/[-:]/g, "")
        .replace("T", "-");
    const dropped = (connection: object = {}) =>
      configured({ kind: "file", connection: { folder: "drop", asOf: "name", ...connection } });
    beforeEach(() => mkdir(join(folder, "drop")));

    it("reads complete files only, the oldest first, and moves them away", async () => {
      const drop = join(folder, "drop");
      await writeFile(join(drop, `stock-${named(1)}.ndjson`), '{"sku":"X","location":"A","units":1}\n');
      await writeFile(join(drop, `stock-${named(2)}.csv`), "sku,location,units\nX,A,2\n");
      await writeFile(join(drop, "stock.csv.tmp"), "sku,loc");
      const first = await pull(await dropped());
      expect(first).toMatchObject({
        outcome: "stored",
        more: true,
        reachedMs: Math.floor((systemClock.now() - 7_200_000) / 60_000) * 60_000,
      });
      expect(await pull(await dropped())).toMatchObject({ outcome: "stored", more: false });
      expect(await pull(await dropped())).toMatchObject({ outcome: "nothing_new", pages: 0 });
      expect((await readdir(drop)).sort()).toEqual(["done", "stock.csv.tmp"]);
    });

    it("waits for the file that says that one is complete", async () => {
      const drop = join(folder, "drop");
      await writeFile(join(drop, "s-20261130-1700.csv"), "sku,location,units\nX,A,2\n");
      expect(await pull(await dropped({ complete: "done" }))).toMatchObject({ outcome: "nothing_new" });
      await writeFile(join(drop, "s-20261130-1700.csv.done"), "");
      expect(await pull(await dropped({ complete: "done" }))).toMatchObject({ outcome: "stored" });
      expect(await readdir(drop)).toEqual(["done"]);
    });

    it.each([
      ["a faulty row", "s-20261130-1700.csv", "sku,location,units\nX,A,many\n", /line 2: "units" is no number/],
      ["a broken line", "s-20261130-1700.csv", "sku,location,units\nX,A\n", /line 2: has 2 fields/],
      ["no time in its name", "stock.csv", "sku,location,units\nX,A,1\n", /its name has no date and time/],
      ["no rows", "s-20261130-1700.csv", "sku,location,units\n", /the snapshot has no rows/],
    ])("refuses a file with %s, and says why beside it", async (_, name, text, reason) => {
      await writeFile(join(folder, "drop", name), text);
      await pull(await dropped()).catch(() => {});
      expect((await readdir(join(folder, "drop", "refused"))).sort()).toEqual([name, `${name}.reason`]);
      expect(await readFile(join(folder, "drop", "refused", `${name}.reason`), "utf8")).toMatch(reason);
      expect(await snapshots.list()).toEqual([]);
    });

    it("reads no link, and writes through none", async () => {
      const drop = join(folder, "drop");
      const name = "s-20261130-1700.csv";
      const outside = join(folder, "outside.csv");
      await writeFile(outside, "sku,location,units\nX,A,1\n");
      await symlink(outside, join(drop, name));
      await mkdir(join(drop, "refused"));
      await symlink(outside, join(drop, "refused", `${name}.reason`));
      await expect(pull(await dropped())).rejects.toThrow(/is a folder, a link or a device/);
      expect(await readFile(outside, "utf8")).toBe("sku,location,units\nX,A,1\n");
      expect(await readFile(join(drop, "refused", `${name}.reason`), "utf8")).toMatch(/a link/);
      await rm(join(drop, "refused"), { recursive: true });
      await mkdir(join(folder, "elsewhere"));
      await symlink(join(folder, "elsewhere"), join(drop, "refused"));
      await writeFile(join(drop, name), "sku,location,units\nX,A,many\n");
      await expect(pull(await dropped())).rejects.toThrow(/refused: is a link/);
      expect(await readdir(join(folder, "elsewhere"))).toEqual([]);
    });

    it("leaves a file where it is that replaced the one it has read", async () => {
      const path = join(folder, "drop", "stock.csv");
      const configuration = await dropped({ asOf: "modified" });
      await writeFile(path, "sku,location,units\nX,A,1\n");
      const { source, close } = await openSource(configuration, { zone: "Asia/Shanghai", secrets: [] });
      let last: SourcePage | undefined;
      for await (const page of source.pull({ kind: "snapshot" }, never)) last = page;
      await writeFile(`${path}.tmp`, "sku,location,units\nX,A,2\n");
      await rename(`${path}.tmp`, path);
      await last?.acknowledge?.(never);
      await close();
      expect(await readdir(join(folder, "drop"))).toEqual(["stock.csv"]);
      expect(await pull(configuration)).toMatchObject({ outcome: "stored", samples: [{ units: 2 }] });
      expect(await readdir(join(folder, "drop", "done"))).toEqual(["stock.csv"]);
    });

    it("refuses a file with the longest name", async () => {
      const name = `${"x".repeat(251)}.csv`;
      await writeFile(join(folder, "drop", name), "sku,location,units\nX,A,many\n");
      const refused = await pull(await dropped({ asOf: "modified" }));
      expect(refused).toMatchObject({ outcome: "refused" });
      expect(await readdir(join(folder, "drop", "refused"))).toHaveLength(2);
    });

    it("leaves a refused file where it is in a dry run", async () => {
      await writeFile(join(folder, "drop", "s-20261130-1700.csv"), "sku,location,units\nX,A,many\n");
      expect(await pull(await dropped(), pullSnapshot, true)).toMatchObject({ outcome: "refused" });
      expect(await readdir(join(folder, "drop"))).toEqual(["s-20261130-1700.csv"]);
    });
  });

  describe("by runners", () => {
    const runners: SourceRunner[] = [];
    afterEach(async () => {
      await Promise.all(runners.splice(0).map((runner) => runner.stop()));
    });
    const start = (configuration: SourceConfiguration, owner: string): SourceRunner => {
      const runner = new SourceRunner({
        ...{ configuration, redis, registry, snapshots, movements, owner },
        ...{ prefix: PREFIX, clock: systemClock, zone: "Asia/Shanghai", leaseMs: 2_000, secrets: [] },
        onTrouble: () => {},
      });
      runners.push(runner);
      runner.start();
      return runner;
    };
    const state = () => registry.state("erp", "snapshot");

    it("is made by one process, by the schedule, on request, and by another after it has stopped", async () => {
      await redis.del(sourceKeys(PREFIX, "erp").task);
      sandbox.stock.set("SKU", "A", 7);
      const configuration = await configured();
      await registry.configure(
        [{ name: "erp", kind: "http", about: "", measure: "on_hand", pulls: { snapshot: "every 1h" }, freshnessMs: 1 }],
        ASK_ALWAYS,
      );
      const one = start(configuration, "one");
      await vi.waitFor(
        async () => expect(await state()).toMatchObject({ outcome: "stored", rows: 1, process: "one" }),
        10_000,
      );
      const other = start(configuration, "other");
      const first = await state();
      sandbox.stock.set("SKU", "B", 8);
      const request = { atMs: systemClock.now(), actor: "anna", reason: "count" };
      expect(await registry.requestPull(request, ["erp", "unknown"])).toEqual(["erp"]);
      await vi.waitFor(async () => expect(await state()).toMatchObject({ outcome: "stored", rows: 2 }), 10_000);
      expect((await state())?.lastAttemptMs).toBeGreaterThan(first?.lastAttemptMs ?? 0);
      expect([one.isOwned, other.isOwned]).toEqual([true, false]);
      await one.stop();
      await registry.requestPull({ ...request, atMs: systemClock.now() });
      await vi.waitFor(async () => expect(await state()).toMatchObject({ process: "other" }), 10_000);
      expect(await storedCells()).toEqual({ "SKU main": 7, "SKU east": 8 });
    });

    it("reports a failure with its reason, and goes on by itself", async () => {
      await redis.del(sourceKeys(PREFIX, "erp").task);
      sandbox.stock.set("SKU", "A", 7);
      sandbox.fail("fail", 1);
      start(await configured({ snapshot: { ...(await fields()), schedule: { every: "1s" } } }), "one");
      await vi.waitFor(async () => {
        const now = await state();
        expect(now).toMatchObject({ outcome: "stored", failures: 0 });
        expect(now?.faults[0]?.message).toMatch(/HTTP 503: out of service/);
      }, 15_000);
    });
    const fields = async () => ({ fields: { sku: "sku", location: "location", units: "units" } });
  });
});
