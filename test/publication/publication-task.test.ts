/**
 * What one owner of a publication does about stores that fail, that do not say what they did, or that do it late, and
 * about what it finds when it takes over. The clock is the test's.
 */
import { describe, expect, it } from "vitest";
import { type Scheduler, sleep } from "../../engine/kernel/clock.js";
import { EngineError, messageOf } from "../../engine/kernel/errors.js";
import { encodeManifest } from "../../engine/publication/manifest.js";
import { newFigures } from "../../engine/publication/publication-figures.js";
import { PublicationTask } from "../../engine/publication/publication-task.js";
import {
  type Gate,
  MemoryPublicationStore,
  MemoryRecord,
  openGate,
  readAsPage,
  Shop,
  ShopView,
  StoredObjects,
  StoredRecord,
} from "./bed.js";

const EVERY_MS = 5_000;
const START_MS = 1_700_000_000_000;
const SKU = "TEA-01";

const EMPTY = { asOfMs: START_MS, positions: [1], skus: 0, leaves: 1, index: ["A".repeat(16)] };

const down = () => new EngineError("the store is away", { op: "test", code: "unavailable", retryable: true });

function bedOf() {
  const [shop, stored, record] = [new Shop(), new StoredObjects(), new StoredRecord()];
  const troubles: string[] = [];
  let nowMs = START_MS;
  const clock: Scheduler = { now: () => nowMs, sleep: (_, signal) => sleep(1, signal) };
  shop.change(SKU, 1);
  const start = (gate: Gate = openGate) => {
    const epoch = ++record.epoch;
    const view = new ShopView(shop, () => nowMs);
    const figures = newFigures();
    const store = new MemoryPublicationStore(stored, gate);
    const stop = new AbortController();
    const settings = { epoch, everyMs: EVERY_MS, leaseMs: 60_000, cacheSeconds: 1, clock };
    const task = new PublicationTask(
      {
        ...settings,
        ...{ store, source: view, record: new MemoryRecord(record, epoch) },
        onTrouble: (message) => troubles.push(message),
      },
      figures,
      Number.POSITIVE_INFINITY,
    );
    let error: string | undefined;
    const ended = task
      .run(stop.signal, () => {})
      .catch((thrown) => {
        error = messageOf(thrown);
      });
    return {
      ...{ view, figures, store, ended },
      error: () => error,
      stop: async () => {
        stop.abort();
        await ended;
      },
      /** Lets a due time come with this display. */
      comeDue(units: number, afterMs = EVERY_MS) {
        shop.change(SKU, units);
        nowMs += afterMs;
        view.follow();
      },
      /** The same, and waits for its publication. */
      async publish(units: number, afterMs = EVERY_MS) {
        const before = figures.publications;
        this.comeDue(units, afterMs);
        await expect.poll(() => figures.publications).toBe(before + 1);
      },
    };
  };
  const display = () => readAsPage(stored).displays.get(SKU);
  return { shop, stored, record, troubles, start, display };
}

describe("the owner of a publication", () => {
  it.each([
    ["before it is done", false],
    ["after it is done", true],
  ])("goes on when the manifest's replacement fails %s", async (_, isDone) => {
    const { start, display } = bedOf();
    let failures = 0;
    const owner = start(async (name, call) => {
      if (name !== "replaceManifest" || ++failures > 1) return call();
      if (isDone) call();
      throw down();
    });
    await owner.publish(7, 0);
    expect(owner.figures.failures).toBe(1);
    expect(display()).toBe(7);
    await owner.publish(8);
    expect(display()).toBe(8);
    await owner.stop();
    expect(owner.error()).toBeUndefined();
  });

  it("does not store again what an attempt has stored that ended with an error", async () => {
    const { start, shop, display } = bedOf();
    // More than one batch of objects.
    for (let i = 0; i < 40_000; i++) shop.change(`SKU-${i}`, i);
    let puts = 0;
    const owner = start(async (name, call) => {
      if (name === "put" && ++puts === 2) throw down();
      return call();
    });
    await owner.publish(7, 0);
    expect(owner.figures.failures).toBe(1);
    expect(display()).toBe(7);
    expect(owner.store.puts).toHaveLength(new Set(owner.store.puts).size);
    await owner.stop();
  });

  it("stores nothing where the store cannot do what is needed", async () => {
    const { start } = bedOf();
    const owner = start(async (name, call) => {
      if (name === "check") throw down();
      return call();
    });
    await owner.ended;
    expect(owner.error()).toBe("the store is away");
    expect(owner.store.puts).toEqual([]);
  });

  it("ends when another has replaced the manifest", async () => {
    const { start, stored, display } = bedOf();
    const owner = start();
    await owner.publish(7, 0);
    stored.manifest = { json: stored.manifest?.json as Uint8Array, version: "another's" };
    owner.comeDue(8);
    await owner.ended;
    expect(owner.error()).toMatch("another process has replaced the manifest");
    expect(display()).toBe(7);
  });

  it("ends when another has replaced the manifest while it did not know what the store had done", async () => {
    const { start, stored } = bedOf();
    let isDown = false;
    const owner = start(async (name, call) => {
      if (isDown && name.endsWith("Manifest")) throw down();
      return call();
    });
    await owner.publish(7, 0);
    isDown = true;
    owner.comeDue(8);
    await expect.poll(() => owner.figures.failures).toBeGreaterThan(1);
    const json = encodeManifest(EMPTY);
    stored.manifest = { json, version: "another's" };
    isDown = false;
    await owner.ended;
    expect(owner.error()).toMatch("another process has replaced the manifest");
  });

  it("ends when its lease is another's, and leaves the other's publication", async () => {
    const { start, display } = bedOf();
    const [first, second] = [start(), start()];
    await first.ended;
    expect(first.error()).toMatch("another owner has taken over");
    second.comeDue(7);
    await expect.poll(display).toBe(7);
    await second.stop();
  });

  it("does not replace a newer publication by its older view", async () => {
    const { start, stored, display } = bedOf();
    // The clock of the owner before is ahead.
    const json = encodeManifest({ ...EMPTY, asOfMs: START_MS + 4_000 });
    const newer = { json, version: "1" };
    stored.manifest = newer;
    const owner = start();
    await expect.poll(() => owner.figures.skipped.older).toBe(1);
    expect(stored.manifest).toBe(newer);
    await owner.publish(8);
    expect(display()).toBe(8);
    await owner.stop();
  });

  it("does not believe a manifest of the future, and says so", async () => {
    const { start, stored, troubles, display } = bedOf();
    const json = encodeManifest({ ...EMPTY, asOfMs: START_MS + 60_000 });
    stored.manifest = { json, version: "1" };
    const owner = start();
    await owner.publish(7);
    expect(troubles.join()).toMatch("as of the future");
    expect(display()).toBe(7);
    await owner.stop();
  });

  it("goes on publishing when its clock is set back", async () => {
    const { start, stored, display } = bedOf();
    const owner = start();
    await owner.publish(7, 600_000);
    owner.comeDue(8, -600_000);
    await expect
      .poll(() => {
        owner.comeDue(9);
        return owner.figures.publications;
      })
      .toBeGreaterThan(1);
    expect(display()).toBe(9);
    expect(readAsPage(stored).manifest.asOfMs).toBeLessThan(START_MS + 600_000);
    await owner.stop();
  });

  it.each([
    ["an index object", (stored: StoredObjects) => void stored.objects.clear(), ".json is missing"],
    [
      "the manifest",
      (stored: StoredObjects) => {
        stored.manifest = { json: Buffer.from("half a man"), version: "1" };
      },
      "manifest.json: is not a JSON object",
    ],
    [
      "what an index object should be",
      (stored: StoredObjects) => {
        for (const name of stored.objects.keys()) stored.objects.set(name, Buffer.from("{}"));
      },
      "is not an index object",
    ],
  ])("writes again what it finds damaged: %s", async (_, damage, message) => {
    const { start, stored, troubles, display } = bedOf();
    const first = start();
    await first.publish(7, 0);
    await first.stop();
    damage(stored);
    const second = start();
    await second.publish(7);
    expect(troubles.join()).toMatch(message);
    expect(display()).toBe(7);
    await second.stop();
  });

  it("writes again an object that the store has lost, though nothing else changes", async () => {
    const { start, stored, troubles, display } = bedOf();
    const owner = start();
    await owner.publish(7, 0);
    const [leaf = ""] = stored.objects.keys();
    stored.objects.delete(leaf);
    await owner.publish(7);
    await expect.poll(() => troubles.join()).toMatch(`memory: ${leaf} missing`);
    await owner.publish(7);
    expect(display()).toBe(7);
    expect(troubles).toHaveLength(1);
    await owner.stop();
  });

  it("leaves a manifest of a later version alone", async () => {
    const { start, stored } = bedOf();
    const later = { json: Buffer.from('{"v":2}'), version: "1" };
    stored.manifest = later;
    const owner = start();
    await owner.ended;
    expect(owner.error()).toMatch("is of version 2");
    expect(stored.manifest).toBe(later);
  });

  it("gives no new object a name that the owner before it may be deleting", async () => {
    const { start, stored, record, display } = bedOf();
    let frozen: (() => void) | undefined;
    const first = start((name, call) => {
      if (name !== "delete") return openGate(name, call);
      return new Promise((_, reject) => {
        frozen = () => {
          call();
          reject(down());
        };
      });
    });
    for (const units of [1, 2]) await first.publish(units);
    first.comeDue(3, 200_000);
    await expect.poll(() => frozen).toBeDefined();
    const second = start();
    // It deletes what the first one is deleting, and the display of that time comes again.
    for (const units of [4, 5]) await second.publish(units);
    expect([...record.discards.keys()].some((member) => member.startsWith("!"))).toBe(true);
    for (const units of [1, 2, 1]) {
      await second.publish(units);
      const names = new Set(stored.objects.keys());
      expect(display()).toBe(units);
      frozen?.();
      expect(names).toEqual(new Set(stored.objects.keys()));
      expect(display()).toBe(units);
    }
    await Promise.all([first.stop(), second.stop()]);
  });

  it("gives no new object a name that it could not delete", async () => {
    const { start, display, troubles } = bedOf();
    const late: (() => unknown)[] = [];
    const owner = start(async (name, call) => {
      if (name !== "delete" || late.length > 0) return call();
      late.push(call);
      throw down();
    });
    for (const units of [1, 2]) await owner.publish(units);
    await owner.publish(3, 200_000);
    await expect.poll(() => troubles.join()).toMatch("are not deleted yet");
    // Deleted now, and the record of it is gone.
    for (const units of [4, 5]) await owner.publish(units);
    expect(owner.store.deletes.length).toBeGreaterThan(0);
    await owner.publish(1);
    late[0]?.();
    expect(display()).toBe(1);
    await owner.stop();
  });
});
