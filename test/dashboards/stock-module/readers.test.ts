/**
 * How the module reads: groups of SKUs whose URLs stay the same, and of a publication only what has changed, so that
 * what it gives is one publication's, whatever a SKU is called.
 */
import { describe, expect, it } from "vitest";
import { publicationReader, queryReader } from "../../../dashboards/stock-module/readers.js";
import { indexOfLeaf, leafOf } from "../../../engine/publication/leaf-of.js";

const AS_OF = "2026-12-01T08:00:00.000Z";
const taker = () => {
  const taken: Record<string, number | null> = Object.create(null);
  const take = (sku: string, display: number | null, asOfMs: number): void => {
    expect(asOfMs).toBe(Date.parse(AS_OF));
    taken[sku] = display;
  };
  return { taken, take };
};

describe("the query", () => {
  const paths: string[] = [];
  const answer = async (path: string) => {
    paths.push(path);
    const skus = new URLSearchParams(path.slice(path.indexOf("?"))).getAll("sku");
    return {
      asOf: AS_OF,
      skus: skus.filter((sku) => sku !== "no").map((sku) => ({ sku, display: 3 })),
      unknown: ["no"],
    };
  };

  it("asks for groups of 100, which stay as they are when SKUs are added and others are seen", async () => {
    const all = Array.from({ length: 250 }, (_, i) => `A-${i}`);
    const read = queryReader(answer);
    const { take } = taker();
    await read(["A-0"], all, take);
    await read(["A-150", "A-199"], all, take);
    await read(["A-0", "A-249"], [...all, "B"], take);
    expect(paths).toHaveLength(4);
    expect(paths.map((path) => path.split("sku=").length - 1)).toEqual([100, 100, 100, 51]);
    expect(paths[0]).toBe(paths[2]);
    expect(paths[0]).toMatch(/^\/v1\/stock\?sku=A-0&sku=A-1&/);
  });

  it("keeps URLs short when SKUs are long, and names any SKU", async () => {
    paths.length = 0;
    const all = ["a/b?c#d&e", "茶 叶", ...Array.from({ length: 30 }, (_, i) => `🍵${i}`.repeat(20))];
    const { taken, take } = taker();
    await queryReader(answer)(all, all, take);
    expect(paths.length).toBeGreaterThan(1);
    expect(Math.max(...paths.map((path) => path.length))).toBeLessThanOrEqual(4_000);
    expect(Object.keys(taken).sort()).toEqual([...all, "no"].sort());
  });

  it("gives nothing of a SKU that was never received, and the oldest time of several answers", async () => {
    const { taken, take } = taker();
    const asOfMs = await queryReader(answer)(["no", "A"], ["no", "A"], take);
    expect(taken).toMatchObject({ no: null, A: 3 });
    expect(asOfMs).toBe(Date.parse(AS_OF));
  });
});

/** A publication of `displays` in memory; the answers that a reader asked for. */
function publication(displays: Record<string, number>, counts = { leaves: 8, indexes: 2 }, changes = {}) {
  const files: Record<string, unknown> = {};
  const perIndex = counts.leaves / counts.indexes;
  const leaves = Array.from({ length: counts.leaves }, (_, leaf) => {
    const own = Object.entries(displays).filter(([sku]) => leafOf(sku, counts.leaves) === leaf);
    const name = `leaf${leaf}-${own.map(([, display]) => display).join("-")}`;
    files[name] = JSON.parse(`{${own.map(([sku, display]) => `${JSON.stringify(sku)}:${display}`).join()}}`);
    return name;
  });
  const index = Array.from({ length: counts.indexes }, (_, i) => {
    const own = Object.entries(changes).filter(([sku]) => indexOfLeaf(leafOf(sku, counts.leaves), counts) === i);
    const entry = { leaves: leaves.slice(i * perIndex, (i + 1) * perIndex), changes: Object.fromEntries(own) };
    const name = `index${i}-${JSON.stringify(entry)}`;
    files[name] = entry;
    return name;
  });
  return { files, manifest: { v: 1, asOf: AS_OF, leaves: counts.leaves, index } };
}

describe("the publication", () => {
  const displays = { "A-1": 1, "A-2": 2, "TEA-01": 3, 茶叶: 4, constructor: 5, "🍵": 6 };

  it.each([
    [1, 1],
    [8, 2],
    [64, 32],
  ])("gives every SKU of %i leaves and %i index objects, and nothing of others", async (leaves, indexes) => {
    const { files, manifest } = publication(displays, { leaves, indexes });
    const { taken, take } = taker();
    const names = [...Object.keys(displays), "unknown", "__proto__", "toString"];
    const read = publicationReader(async (path) => (path.endsWith("manifest.json") ? manifest : files[nameOf(path)]));
    expect(await read(names, names, take)).toBe(Date.parse(AS_OF));
    expect({ ...taken }).toEqual({ ...displays, unknown: null, ["__proto__"]: null, toString: null });
  });

  it("gives what has changed since the leaf was written, also that a SKU is gone", async () => {
    const { files, manifest } = publication(displays, { leaves: 8, indexes: 2 }, { "A-1": 0, "A-2": null });
    const { taken, take } = taker();
    const read = publicationReader(async (path) => (path.endsWith("manifest.json") ? manifest : files[nameOf(path)]));
    await read(["A-1", "A-2", "TEA-01"], [], take);
    expect({ ...taken }).toEqual({ "A-1": 0, "A-2": null, "TEA-01": 3 });
  });

  it("fetches of the next publication only what is new, and after a fault everything", async () => {
    let now = publication(displays);
    let isDown = false;
    const fetched: string[] = [];
    const read = publicationReader(async (path, isImmutable) => {
      expect(isImmutable === true).toBe(!path.endsWith("manifest.json"));
      if (path.endsWith("manifest.json")) return now.manifest;
      if (isDown) throw new Error("down");
      fetched.push(nameOf(path));
      return now.files[nameOf(path)];
    });
    const { taken, take } = taker();
    await read(["A-1", "TEA-01"], [], take);
    const before = fetched.splice(0).length;
    await read(["A-1", "TEA-01"], [], take);
    expect(fetched).toEqual([]);
    now = publication(displays, { leaves: 8, indexes: 2 }, { "A-1": 9 });
    await read(["A-1", "TEA-01"], [], take);
    expect(taken["A-1"]).toBe(9);
    expect(fetched.splice(0)).toHaveLength(1);
    now = publication({ ...displays, "A-1": 10 });
    isDown = true;
    await expect(read(["A-1", "TEA-01"], [], take)).rejects.toThrow("down");
    isDown = false;
    await read(["A-1", "TEA-01"], [], take);
    expect(taken["A-1"]).toBe(10);
    expect(fetched).toHaveLength(before);
  });
});

const nameOf = (path: string): string => /^\/v1\/publication\/(.*)\.json$/s.exec(path)?.[1] as string;
