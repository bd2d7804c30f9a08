/**
 * What has to be written again when displays change: the texts of a publication, and which of them are new.
 */
import { describe, expect, it } from "vitest";
import { Content } from "../../engine/publication/content.js";
import { nameOf } from "../../engine/publication/manifest.js";
import { Turns } from "../../engine/publication/turns.js";

const skuOf = (i: number): string => `SKU-${String(i).padStart(6, "0")}`;
const shopOf = (skus: number) =>
  Content.of(
    Array.from({ length: skus }, (_, i) => [skuOf(i), i % 7] as const),
    skus,
    new Turns(),
  );

/** Publishes, and returns the texts that had to be written. */
function written(content: Content): string[] {
  const draft = content.draft();
  const texts = [...content.texts(draft, (text) => ({ name: nameOf(text), text }))].map(({ text }) => text);
  content.adopt(draft);
  return texts;
}

describe("the texts of a publication", () => {
  it("are one leaf and one index of a small shop, in the order of the SKUs", async () => {
    const rows = [
      ["b", 2],
      ["茶", 3],
      ["a", 1],
    ] as const;
    const content = await Content.of(rows, rows.length, new Turns());
    const leaf = '{"a":1,"b":2,"茶":3}';
    expect(written(content)).toEqual([leaf, `{"leaves":["${nameOf(leaf)}"],"changes":{}}`]);
    expect(content.skus).toBe(3);
  });

  it("of an empty shop are complete, too", async () => {
    expect(written(await shopOf(0))).toEqual(["{}", `{"leaves":["${nameOf("{}")}"],"changes":{}}`]);
  });

  it("have the last display of a SKU that was read twice", async () => {
    const content = await Content.of(new Map([["a", 1]]), 1, new Turns());
    const twice = [["a", 1] as const, ["b", 5] as const, ["a", 2] as const];
    expect(content.skus).toBe(1);
    expect(written(await Content.of(twice, 2, new Turns()))[0]).toBe('{"a":2,"b":5}');
  });

  it("have any name of a SKU", async () => {
    const names = ['"quoted"', "__proto__", "line\nbreak", "\ud83d\ude00", "1"];
    const content = await Content.of(
      names.map((sku) => [sku, 1] as const),
      names.length,
      new Turns(),
    );
    expect(Object.keys(JSON.parse(written(content)[0] as string)).toSorted()).toEqual(names.toSorted());
  });

  it("are not written again without a change", async () => {
    const content = await shopOf(1_000);
    written(content);
    content.set(skuOf(1), 1);
    expect(written(content)).toEqual([]);
  });

  it("state a few changes in the index object alone", async () => {
    const content = await shopOf(100_000);
    expect(content.counts).toEqual({ leaves: 512, indexes: 4 });
    expect(written(content)).toHaveLength(516);
    content.set(skuOf(5), 500);
    content.set("NEW", 8);
    content.set(skuOf(6), undefined);
    const texts = written(content);
    const changes = texts.map((text) => (JSON.parse(text) as { changes: Record<string, number | null> }).changes);
    expect(Object.assign({}, ...changes)).toEqual({ [skuOf(5)]: 500, NEW: 8, [skuOf(6)]: null });
    expect(content.skus).toBe(100_000);
  });

  it("lose a change that is taken back", async () => {
    const content = await shopOf(1_000);
    const [, , , , index] = written(content);
    content.set(skuOf(5), 500);
    expect(written(content)).toHaveLength(1);
    content.set(skuOf(5), 5);
    expect(written(content)).toEqual([index]);
  });

  it("have a leaf again when a quarter of it has changed", async () => {
    const content = await shopOf(100);
    written(content);
    for (let i = 0; i < 25; i++) content.set(skuOf(i), 900);
    expect(written(content)).toHaveLength(1);
    content.set(skuOf(25), 900);
    const [leaf, index] = written(content);
    expect(leaf).toContain(`"${skuOf(25)}":900`);
    expect(index).toContain('"changes":{}');
  });

  it("keep index objects small while all SKUs change in turn", async () => {
    const content = await shopOf(100_000);
    written(content);
    let largest = 0;
    let leaves = 0;
    for (let round = 0; round < 20; round++) {
      for (let i = 0; i < 1_000; i++) content.set(skuOf((round * 1_000 + i) * 5), 10 + round);
      for (const text of written(content)) {
        if (text.startsWith('{"leaves"')) largest = Math.max(largest, text.length);
        else leaves++;
      }
    }
    expect(largest).toBeLessThan(32_768);
    // Every change would rewrite 512 leaves 20 times.
    expect(leaves).toBeLessThan(2_000);
  });

  it("suit the number of SKUs until it has doubled or fallen to an eighth", async () => {
    const content = await shopOf(512);
    expect(content.counts).toEqual({ leaves: 2, indexes: 1 });
    content.set("ONE-MORE", 1);
    expect(content.isSuited).toBe(false);
    const large = await shopOf(4_096);
    for (let i = 0; i < 3_583; i++) large.set(skuOf(i), undefined);
    expect(large.isSuited).toBe(true);
    large.set(skuOf(3_583), undefined);
    for (let i = 3_584; i < 3_900; i++) large.set(skuOf(i), undefined);
    expect(large.isSuited).toBe(false);
  });

  it("are made again by an attempt after one that came to nothing", async () => {
    const content = await shopOf(1_000);
    const failed = content.draft();
    const texts = [...content.texts(failed, (text) => ({ name: nameOf(text), text }))].map(({ text }) => text);
    content.set(skuOf(3), 77);
    const second = written(content);
    expect(second).toHaveLength(texts.length);
    expect(second.join()).toContain(`"${skuOf(3)}":77`);
  });
});
