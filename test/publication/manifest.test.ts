/** The manifest: what it looks like, how long it may become, and what is not one. */
import { describe, expect, it } from "vitest";
import { EngineError } from "../../engine/kernel/errors.js";
import {
  encodeManifest,
  MAX_INDEXES,
  MAX_MANIFEST_BYTES,
  type Manifest,
  parseIndexNames,
  parseManifest,
} from "../../engine/publication/manifest.js";

const NAME = "abcdefghijklmno_";
const manifest: Manifest = {
  asOfMs: Date.UTC(2026, 11, 1, 8, 0, 5),
  positions: [12, 0],
  skus: 1_000,
  leaves: 4,
  index: [NAME],
};
const parsed = (text: string) => () => parseManifest(Buffer.from(text), "manifest.json");
const changed = (fields: object): string =>
  JSON.stringify({ ...(JSON.parse(encodeManifest(manifest).toString()) as object), ...fields });

function codeOf(call: () => unknown): string | undefined {
  try {
    call();
  } catch (thrown) {
    return thrown instanceof EngineError ? thrown.code : "another error";
  }
  return undefined;
}

describe("a manifest", () => {
  it("is short and readable", () => {
    expect(encodeManifest(manifest).toString()).toBe(
      `{"v":1,"asOf":"2026-12-01T08:00:05.000Z","positions":[12,0],"skus":1000,"leaves":4,"index":["${NAME}"]}`,
    );
    expect(parseManifest(encodeManifest(manifest), "manifest.json")).toEqual(manifest);
  });

  it.each([
    [96, 96],
    [256, 0],
  ])(
    "of %d partitions with offsets of 12 digits states %d of them, and stays within its limit",
    (partitions, stated) => {
      const largest = {
        ...{ asOfMs: manifest.asOfMs, skus: 999_999_999, leaves: 2 ** 22 },
        positions: new Array<number>(partitions).fill(999_999_999_999),
        index: new Array<string>(MAX_INDEXES).fill(NAME),
      };
      const bytes = encodeManifest(largest);
      expect(bytes.length).toBeLessThanOrEqual(MAX_MANIFEST_BYTES);
      expect(parseManifest(bytes, "manifest.json").positions).toHaveLength(stated);
    },
  );

  it.each([
    ["no JSON", "{"],
    ["no object", "null"],
    ["without a version", changed({ v: undefined })],
    ["of version 0", changed({ v: 0 })],
    ["without an instant", changed({ asOf: 5 })],
    ["with a date that is none", changed({ asOf: "yesterday" })],
    ["with a negative position", changed({ positions: [-1] })],
    ["with a fraction of a SKU", changed({ skus: 1.5 })],
    ["with three leaves", changed({ leaves: 3 })],
    ["with fewer leaves than index objects", changed({ leaves: 1, index: [NAME, NAME] })],
    ["with three index objects", changed({ index: [NAME, NAME, NAME] })],
    ["without index objects", changed({ index: [] })],
    ["with a path for a name", changed({ index: ["../../etc/passwd"] })],
  ])("%s is refused", (_, text) => {
    expect(codeOf(parsed(text))).toBe("undecodable");
  });

  it("of a later version is told apart", () => {
    expect(codeOf(parsed(changed({ v: 2, index: "elsewhere" })))).toBe("newer_version");
  });
});

describe("an index object", () => {
  it("without names of leaves is refused", () => {
    expect(codeOf(() => parseIndexNames(Buffer.from('{"leaves":[]}'), "x.json"))).toBe("undecodable");
    expect(parseIndexNames(Buffer.from(`{"leaves":["${NAME}"],"changes":{}}`), "x.json").leaves).toEqual([NAME]);
  });
});
