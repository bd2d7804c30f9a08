/** Pulls of sources into the stores of an engine: what is stored, what is refused, and who pulls. */
import { readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Type } from "typebox";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { defineSourceKind, type SourcePage } from "../../../connectors/source.js";
import type { SourceConfiguration } from "../../../connectors/sources/configuration.js";
import { pullMovements, pullSnapshot } from "../../../connectors/sources/pull.js";
import { SourceRunner } from "../../../connectors/sources/runner.js";
import { systemClock } from "../../../engine/kernel/clock.js";
import { ASK_ALWAYS } from "../../../engine/reconciliation/settlement/conflict-policy.js";
import { sourceKeys } from "../../../engine/stream/keys.js";
import { isEngineError } from "./engine-error.js";
import { PARTITIONS, PREFIX, type PullBed, withPulls } from "./pull-bed.js";

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
  const bed = withPulls(CHANGES);
  const { configured, progress, pull, storedCells } = bed;
  let { folder, sandbox, snapshots, movements, registry, redis } = {} as PullBed;
  beforeEach(() => {
    ({ folder, sandbox, snapshots, movements, registry, redis } = bed);
    changes = [];
    cursors = [];
  });

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

  const moved = () =>
    configured({
      locations: { A: "main", B: "main" },
      movements: {
        schedule: { every: "1h" },
        fields: { sku: "sku", location: "location", units: "units", id: "id", time: "time" },
      },
    });

  it("takes an id at another time for another movement, also where locations are added up", async () => {
    const atMs = systemClock.now() - 3_600_000;
    sandbox.stock.move({ id: "m1", sku: "SKU", location: "A", units: -2, atMs });
    sandbox.stock.move({ id: "m1", sku: "SKU", location: "A", units: -3, atMs: atMs + 1_000 });
    expect(await pull(await moved(), pullMovements)).toMatchObject({ outcome: "stored", rows: 2, faults: [] });
  });

  it("goes on after a time ahead of the clock was stored", async () => {
    await progress().setCursor("movements", String(systemClock.now() + 864_000_000));
    sandbox.stock.move({ id: "m1", sku: "SKU", location: "A", units: -2, atMs: systemClock.now() - 3_600_000 });
    expect(await pull(await moved(), pullMovements)).toMatchObject({ outcome: "stored", rows: 1 });
  });

  it("names faults, and not the total, when so many came that not all rows were read", async () => {
    for (let i = 0; i < 1_100; i++) sandbox.stock.set(`SKU-${i}`, "?", i);
    const result = await pull(await configured());
    expect(result.outcome).toBe("refused");
    expect(result.faults[0]).toMatch(/which "locations" does not have/);
  });

  it("stores a SKU with a line separator in it", async () => {
    sandbox.stock.set("A\u2028B", "A", 1);
    expect(await pull(await configured())).toMatchObject({ outcome: "stored" });
    expect(await storedCells()).toEqual({ "A\u2028B main": 1 });
  });

  it("leaves a file for later when the store has no room now", async () => {
    await writeFile(join(folder, "a.csv"), "sku,location,units\nSKU,A,1\n");
    const configuration = await configured({ kind: "file", connection: { folder: ".", asOf: "modified" } });
    const refusal = { code: "too_many_snapshots", message: "too many snapshots are kept" } as const;
    vi.spyOn(snapshots, "receive").mockResolvedValueOnce({ outcome: "refused", refusal });
    await expect(pull(configuration)).rejects.toSatisfy(isEngineError("too_many_snapshots", /too many/));
    expect(await pull(configuration)).toMatchObject({ outcome: "stored" });
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
      const small = progress(1);
      const row = { location: "A", theirLocation: "A", units: 1, timeMs: undefined, id: undefined, version: 1 };
      const rows = ["X", "Y"].map((sku) => ({ ...row, sku }));
      await expect(small.storeCells(rows, "c")).rejects.toSatisfy(isEngineError("too_many_cells", /more than 1 cells/));
      expect(await small.countCells()).toBe(0);
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
        60_000,
      );
      const other = start(configuration, "other");
      const first = await state();
      sandbox.stock.set("SKU", "B", 8);
      const request = { atMs: systemClock.now(), actor: "anna", reason: "count" };
      expect(await registry.requestPull(request, ["erp", "unknown"])).toEqual(["erp"]);
      await vi.waitFor(async () => expect(await state()).toMatchObject({ outcome: "stored", rows: 2 }), 60_000);
      expect((await state())?.lastAttemptMs).toBeGreaterThan(first?.lastAttemptMs ?? 0);
      expect([one.isOwned, other.isOwned]).toEqual([true, false]);
      await one.stop();
      await registry.requestPull({ ...request, atMs: systemClock.now() });
      await vi.waitFor(async () => expect(await state()).toMatchObject({ process: "other" }), 60_000);
      expect(await storedCells()).toEqual({ "SKU main": 7, "SKU east": 8 });
    });

    it("pulls no more often while Redis takes no record of it", async () => {
      await redis.del(sourceKeys(PREFIX, "erp").task);
      sandbox.stock.set("SKU", "A", 7);
      vi.spyOn(registry, "record").mockRejectedValue(
        new Error("OOM command not allowed when used memory > 'maxmemory'."),
      );
      const looked = vi.spyOn(registry, "requested");
      start(await configured(), "one");
      await vi.waitFor(() => expect(looked.mock.calls.length).toBeGreaterThan(2), 60_000);
      expect(sandbox.figures.requests).toBe(1);
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
