/**
 * Reading JSON without changing a number or a character or choosing between two values, and naming the position at
 * which a text stops being JSON.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseJson, readJson } from "../../../connectors/http/json.js";

const faultOf = (text: string) => {
  const reading = parseJson(text);
  return "fault" in reading ? reading.fault : undefined;
};

describe("JSON read exactly", () => {
  it.each([
    '{"lines":[{"units":1},{"units":9007199254740993}]}',
    '{"lines":[{"units":1},{"units":9007199254740992.5}]}',
    '{"lines":[{"units":1},{"units":1.00000000000000000001}]}',
    '{"lines":[{"units":1},{"units":4503599627370497.2}]}',
    '{"lines":[{"units":1},{"units":0.99999999999999999999}]}',
  ])("refuses a whole number that would be rounded, and names it: %s", (text) => {
    expect(faultOf(text)).toMatchObject({
      field: "lines[1].units",
      message: expect.stringContaining("cannot be represented exactly"),
    });
  });

  it.each([
    "9007199254740991",
    "9007199254740991.0",
    "90071992547409910e-1",
    "1000000000000000000",
    "0.30000000000000004",
    "1e400",
    "-0.0000000000000000",
  ])("accepts what is exact, a fraction, or too large anyway: %s", (text) => {
    expect(parseJson(`{"units":${text}}`)).toEqual({ value: { units: Number(text) } });
  });

  it("does not mistake digits inside a text for a number", () => {
    expect(parseJson('{"sku":"9007199254740993 \\" 9007199254740993"}')).toEqual({
      value: { sku: '9007199254740993 " 9007199254740993' },
    });
  });

  it.each([
    ['{"units":1,"units":5}', "units", 11],
    ['{"lines":[{"sku":"A"},{"sku":"A","units":1,"sku":"A"}]}', "lines[1].sku", 43],
    ['{"a":{"b":1},"\\u0061":{}}', "a", 13],
    ['{"__proto__":1,"__proto__":1}', "__proto__", 15],
    ['{"a":{"x:y\\"":1,"x:y\\"":2}}', 'a.x:y"', 16],
  ])("refuses a name that an object gives twice, and names it: %s", (text, field, position) => {
    expect(faultOf(text)).toEqual({ field, message: `is a duplicate name (at position ${position})` });
  });

  it("accepts a name that several objects have once each", () => {
    const value = { a: { a: [{ a: ":" }, { a: '":' }] }, b: "a\\" };
    expect(parseJson(JSON.stringify(value))).toEqual({ value });
  });

  it("shortens the path of a fault that is deeply nested", () => {
    const depth = 500;
    const fault = faultOf(`${'{"a":'.repeat(depth)}{"b":1,"b":2}${"}".repeat(depth)}`);
    expect(fault?.message).toContain("duplicate name");
    expect(fault?.field).toMatch(/^….*a\.b$/);
    expect(fault?.field.length).toBeLessThan(300);
  });

  it.each([
    ['{"id":"a",}', "position 10"],
    ['{"id" "a"}', "position 6"],
    ['{"lines":[1,2', "ends too early, at position 13"],
    ["", "ends too early, at position 0"],
    ["abc", "position 0"],
    ['{"a":1}x', "position 7"],
    ['{"a":"\u0001"}', "position 5"],
    ['{"a":01}', "position 6"],
    ["[1 2]", "position 3"],
  ])("names the position where a text stops being JSON: %s", (text, where) => {
    expect(faultOf(text)?.message).toContain(where);
  });

  it("refuses bytes that are not UTF-8 instead of replacing them", () => {
    expect(readJson(Buffer.from([0x22, 0xff, 0x22]))).toEqual({ fault: { field: "", message: "is not valid UTF-8" } });
  });

  it("agrees with JSON.parse on every JSON text, and finds a fault in every text that JSON.parse refuses", () => {
    fc.assert(
      fc.property(fc.json(), fc.nat(), fc.string({ maxLength: 2 }), (text, at, insertion) => {
        const changed = text.slice(0, at % (text.length + 1)) + insertion + text.slice(at % (text.length + 1));
        let valid = true;
        try {
          JSON.parse(changed);
        } catch {
          valid = false;
        }
        const fault = faultOf(changed);
        if (valid) expect(fault === undefined || /exactly|twice/.test(fault.message)).toBe(true);
        else expect(fault?.message).toContain("position");
      }),
      { numRuns: 1_000 },
    );
  });

  it("walks many levels without a stack", () => {
    expect(faultOf("[".repeat(1_000))?.message).toContain("ends too early");
  });

  it.each([
    ["levels", "[".repeat(100_000)],
    ["empty objects", `{"lines":[${"{},".repeat(40_000)}{}]}`],
    ["names", `{${Array.from({ length: 11_000 }, (_, i) => `"${i}":1`).join(",")}}`],
    ["empty texts", `["${'","'.repeat(40_000)}"]`],
  ])("refuses a text of too many %s before it is parsed", (_, text) => {
    expect(faultOf(text)).toEqual({ field: "", message: "holds more than 1024 values" });
  });

  it("accepts a long text with any content", () => {
    const value = { reason: '{"[,:'.repeat(20_000) };
    expect(parseJson(JSON.stringify(value))).toEqual({ value });
    expect(faultOf(JSON.stringify(value).slice(0, -2))?.message).toContain("a string with an end");
  });
});
