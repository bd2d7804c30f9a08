/** What a server keeps of a publication in memory, and what it asks the store for. */
import { beforeEach, expect, it } from "vitest";
import { ManualClock } from "../../engine/kernel/clock.js";
import { encodeManifest } from "../../engine/publication/manifest.js";
import { type Encoding, type PackedObjects, PublicationReader } from "../../engine/publication/publication-reader.js";

const text = (name: string): string => JSON.stringify({ [name]: 1 });

/** Counts what it is asked for. */
class CountedStore implements PackedObjects {
  readonly place = "memory";
  readonly objects = new Map<string, string>();
  readonly asked: string[] = [];
  asOfMs = 1_000;
  isDown = false;

  async readManifest() {
    this.asked.push("manifest");
    if (this.isDown) throw new Error("down");
    const json = encodeManifest({ asOfMs: this.asOfMs, positions: [1], skus: 1, leaves: 1, index: ["A".repeat(16)] });
    return { json, version: String(this.asOfMs) };
  }

  read = (name: string) => this.#form(name, "identity");
  readPacked = (name: string, encoding: "gzip" | "br") => this.#form(name, encoding);

  async #form(name: string, encoding: Encoding) {
    this.asked.push(`${name} ${encoding}`);
    if (this.isDown) throw new Error("down");
    const found = this.objects.get(name);
    return found === undefined ? undefined : Buffer.from(`${encoding} ${found}`);
  }
}

let store: CountedStore;
let clock: ManualClock;
let reader: PublicationReader;
beforeEach(() => {
  store = new CountedStore();
  clock = new ManualClock(0);
  reader = new PublicationReader(store, { clock, maxBytes: 100 });
});

it("reads the manifest once for all requests of a fifth of a second", async () => {
  const read = await Promise.all(Array.from({ length: 100 }, () => reader.manifest()));
  expect(read.every((each) => each?.asOfMs === 1_000)).toBe(true);
  clock.moveTo(199);
  await reader.manifest();
  expect(store.asked).toEqual(["manifest"]);
  store.asOfMs = 2_000;
  clock.moveTo(200);
  expect(await reader.manifest()).toMatchObject({ asOfMs: 2_000, version: "2000" });
});

it("reads the manifest again after an error", async () => {
  store.isDown = true;
  await expect(reader.manifest()).rejects.toThrow("down");
  store.isDown = false;
  expect(await reader.manifest()).toMatchObject({ asOfMs: 1_000 });
});

it("reads an object once, for many requests at the same time and later ones", async () => {
  store.objects.set("a", text("a"));
  const read = await Promise.all(Array.from({ length: 1_000 }, () => reader.object("a", "br")));
  expect(new Set(read).size).toBe(1);
  expect(Buffer.from((await reader.object("a", "br")) as Uint8Array).toString()).toBe('br {"a":1}');
  expect(store.asked).toEqual(["a br"]);
});

it("reads each form of an object apart", async () => {
  store.objects.set("a", text("a"));
  for (const form of ["identity", "gzip", "br"] as const)
    expect(Buffer.from((await reader.object("a", form)) as Uint8Array).toString()).toBe(`${form} {"a":1}`);
  expect(store.asked).toEqual(["a identity", "a gzip", "a br"]);
});

it("does not remember that an object does not exist, nor an error", async () => {
  expect(await reader.object("a", "br")).toBeUndefined();
  store.isDown = true;
  await expect(reader.object("a", "br")).rejects.toThrow("down");
  store.isDown = false;
  store.objects.set("a", text("a"));
  expect(await reader.object("a", "br")).toBeDefined();
});

it("drops the objects that were not asked for the longest, so that its bytes are limited", async () => {
  const names = Array.from({ length: 9 }, (_, i) => `object-${i}`);
  for (const name of names) store.objects.set(name, text(name));
  for (const name of names) {
    await reader.object(name, "br");
    // The first one is asked for all the time.
    await reader.object("object-0", "br");
    expect(reader.bytes).toBeLessThanOrEqual(100);
  }
  store.asked.length = 0;
  await reader.object("object-0", "br");
  await reader.object("object-8", "br");
  expect(store.asked).toEqual([]);
  await reader.object("object-1", "br");
  expect(store.asked).toEqual(["object-1 br"]);
});

it("keeps nothing that alone is larger than its limit", async () => {
  store.objects.set("a", "x".repeat(200));
  await reader.object("a", "br");
  expect(reader.bytes).toBe(0);
});
