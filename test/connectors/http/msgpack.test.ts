/**
 * Reading untrusted msgpack: what JSON can express is accepted, the rest is refused, and no memory is allocated for
 * a length that is only announced.
 */
import fc from "fast-check";
import { Packr } from "msgpackr";
import { describe, expect, it } from "vitest";
import { MsgpackReader } from "../../../connectors/http/msgpack.js";
import { EngineError } from "../../../engine/kernel/errors.js";

const packr = new Packr({ useRecords: false });
const read = (bytes: Uint8Array | readonly number[]) =>
  new MsgpackReader(bytes instanceof Uint8Array ? bytes : Uint8Array.from(bytes)).value();

describe("untrusted msgpack", () => {
  it("reads what JSON can express", () => {
    const value = fc.letrec((tie) => ({
      node: fc.oneof(
        { maxDepth: 4 },
        fc.constant(null),
        fc.boolean(),
        fc.maxSafeInteger(),
        fc.double({ noNaN: true }),
        fc.string({ unit: "grapheme" }),
        fc.array(tie("node"), { maxLength: 5 }),
        fc.dictionary(
          fc.string({ minLength: 1, unit: "grapheme" }).filter((name) => name !== "__proto__"),
          tie("node"),
          { maxKeys: 5 },
        ),
      ),
    })).node;
    fc.assert(
      fc.property(value, (given) => {
        // -0 comes back as 0 where the writer chose an integer.
        expect(JSON.stringify(read(packr.pack(given)))).toBe(JSON.stringify(given));
      }),
    );
  });

  it("accepts 64-bit numbers that are safe and refuses those that would be rounded", () => {
    expect(read([0xcf, 0, 0x1f, 255, 255, 255, 255, 255, 255])).toBe(Number.MAX_SAFE_INTEGER);
    expect(read([0xd3, 255, 255, 255, 255, 255, 255, 255, 255])).toBe(-1);
    expect(() => read([0xcf, 0, 0x20, 0, 0, 0, 0, 0, 1])).toThrow("beyond 2^53");
  });

  it.each([
    ["binary", [0xc4, 1, 0]],
    ["an extension", [0xd4, 0x72, 0x40]],
    ["a reserved type", [0xc1]],
    ["a name that is not a text", [0x81, 1, 1]],
    ["a name given twice", [0x82, 0xa1, 97, 1, 0xa1, 97, 2]],
    ["a text that is not UTF-8", [0xa1, 0xff]],
    ["a huge announced list", [0xdd, 255, 255, 255, 255]],
    ["a huge announced map", [0xdf, 255, 255, 255, 255]],
    ["a huge announced text", [0xdb, 255, 255, 255, 255, 97]],
    ["deep nesting", new Array(1_000).fill(0x91)],
  ])("refuses %s", (_what, bytes) => {
    expect(() => read(bytes)).toThrow(EngineError);
  });

  it("gives no prototype to set", () => {
    const map = read([0x81, 0xa9, ...Buffer.from("__proto__"), 0x81, 0xa1, 97, 1]) as object;
    expect(Object.getPrototypeOf(map)).toBeNull();
    expect(Object.keys(map)).toEqual(["__proto__"]);
  });

  it("refuses every text cut short, and never fails otherwise than with bad_input", () => {
    const whole = packr.pack([{ kind: "receive", sku: "A", units: 3, atMs: 1_750_000_000_000 }]);
    for (let length = 0; length < whole.length; length++)
      expect(() => read(whole.subarray(0, length))).toThrow("ends too early");
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          read(bytes);
        } catch (thrown) {
          expect(thrown).toMatchObject({ code: "bad_input" });
        }
      }),
      { numRuns: 2_000 },
    );
  });
});
