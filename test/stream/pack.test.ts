/**
 * The writer against msgpackr: whatever a state is made of, the same bytes; what has been taken stays as it is while
 * more is written.
 */
import fc from "fast-check";
import { Packr, unpack } from "msgpackr";
import { describe, expect, it } from "vitest";
import { decodeState, encodeState, PackWriter } from "../../engine/stream/pack.js";

const packr = new Packr({ useRecords: false });
const plain = fc.anything({
  withNullPrototype: false,
  values: [
    fc.constantFrom(
      0,
      0x1f,
      0x7f,
      0x80,
      0xff,
      0x100,
      0xffff,
      0x10000,
      0xffffffff,
      2 ** 32,
      2 ** 53 - 1,
      -1,
      -0x20,
      -0x21,
    ),
    fc.constantFrom(
      -0x80,
      -0x81,
      -0x8000,
      -0x8001,
      -(2 ** 31),
      -(2 ** 31) - 1,
      -0,
      0.1,
      Number.NaN,
      Number.POSITIVE_INFINITY,
    ),
    fc.integer(),
    fc.double(),
    fc.boolean(),
    fc.constant(null),
    fc.constant(undefined),
    fc.string(),
    fc.string({ unit: "binary", maxLength: 80 }),
    fc.constantFrom(
      "a".repeat(31),
      "a".repeat(32),
      "a".repeat(63),
      "a".repeat(64),
      "水".repeat(64),
      "a".repeat(70_000),
    ),
    fc.uint8Array().map((bytes) => Buffer.from(bytes)),
    fc.date({ noInvalidDate: true }),
    fc.bigInt({ min: 0n, max: 2n ** 63n }),
  ],
});

describe("a packed value", () => {
  it("has the bytes that msgpackr would have written", () => {
    fc.assert(
      fc.property(plain, (value) => {
        expect(encodeState(value).toString("hex")).toBe(packr.pack(value).toString("hex"));
      }),
      { numRuns: 1_000 },
    );
  });

  it("may be larger than a chunk of memory, and its neighbours stay intact", () => {
    const large = { before: 1, texts: Array.from({ length: 60_000 }, (_, i) => `text ${i}`), after: { units: -5 } };
    expect(encodeState(large).equals(packr.pack(large))).toBe(true);
    expect(decodeState(encodeState([large, large]))).toEqual([large, large]);
  });

  it("stays as it was while thousands follow it", () => {
    const states = Array.from({ length: 30_000 }, (_, i) => ({ sku: `SKU-${i}`, units: i, panes: [i, -1 - i, i / 3] }));
    const packed = states.map(encodeState);
    expect(packed.map(decodeState)).toEqual(states);
  });

  it("that cannot be packed is rejected, and the next one is intact", () => {
    expect(() => encodeState({ fine: 1, bad: Symbol("no") })).toThrow("Unknown type");
    expect(decodeState(encodeState({ fine: 1 }))).toEqual({ fine: 1 });
  });
});

describe("bytes written part by part", () => {
  it("are one value: headers, texts, bytes as texts, and values packed before", () => {
    const writer = new PackWriter();
    writer.begin();
    writer.text("dropped");
    writer.begin();
    writer.map(2);
    writer.text("list");
    writer.list(20);
    for (let i = 0; i < 20; i++) writer.number(i * 1_000);
    writer.text("rest");
    writer.list(2);
    writer.bytes(Buffer.from("x".repeat(300)));
    writer.packed(packr.pack({ units: 7 }));
    expect(unpack(writer.take())).toEqual({
      list: Array.from({ length: 20 }, (_, i) => i * 1_000),
      rest: ["x".repeat(300), { units: 7 }],
    });
  });
});
