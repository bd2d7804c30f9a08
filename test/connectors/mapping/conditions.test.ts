/** The conditions of a mapping's rules. Pure. */
// biome-ignore-all lint/suspicious/noThenProperty: `then` is a field of a mapping's rules, and never a function
import { describe, expect, it } from "vitest";
import type { Condition } from "../../../connectors/mapping/mapping.schema.js";
import { holds, type Json, one, reasonOf } from "./mapping-bed.js";

describe("a condition", () => {
  it.each<[Condition | Json, Record<string, string>, boolean]>([
    [{ column: "kind", startsWith: "C" }, { kind: "C12" }, true],
    [{ column: "kind", startsWith: "C" }, { kind: "12C" }, false],
    [{ column: "kind", startsWith: ["A", "C"] }, { kind: "C12" }, true],
    [{ column: "kind", notStartsWith: ["A", "C"] }, { kind: "A1" }, false],
    [{ column: "kind", notStartsWith: ["A", "C"] }, { kind: "B1" }, true],
    [{ column: "kind", equals: "s" }, { kind: "S" }, false],
    [{ column: "kind", equals: "" }, { kind: "" }, true],
    [{ column: "kind", oneOf: ["R", "S"] }, { kind: "S" }, true],
    [{ column: "kind", oneOf: ["R", "S"] }, { kind: "T" }, false],
    [{ column: "price", ">": 1 }, { price: "1" }, false],
    [{ column: "price", ">": 1 }, { price: "1.01" }, true],
    [{ column: "price", "<": -1.5 }, { price: "-2e0" }, true],
    [{ column: "price", ">=": 1 }, { price: "1" }, true],
    [{ column: "price", "<=": 1 }, { price: "1.5" }, false],
    [{ column: "kind", empty: true }, { kind: "" }, true],
    [{ column: "kind", empty: true }, { kind: " " }, false],
    [{ column: "kind", notEmpty: true }, { kind: "" }, false],
    [
      {
        all: [
          { column: "kind", equals: "S" },
          { column: "price", ">": 0 },
        ],
      },
      {},
      true,
    ],
    [
      {
        all: [
          { column: "kind", equals: "S" },
          { column: "price", ">": 5 },
        ],
      },
      {},
      false,
    ],
    [
      {
        any: [
          { column: "kind", equals: "R" },
          { column: "price", ">": 0 },
        ],
      },
      {},
      true,
    ],
    [
      {
        any: [
          { column: "kind", equals: "R" },
          { column: "price", ">": 5 },
        ],
      },
      {},
      false,
    ],
    [
      {
        all: [
          {
            any: [
              { column: "kind", equals: "R" },
              { column: "kind", equals: "S" },
            ],
          },
          { column: "sku", equals: "A" },
        ],
      },
      {},
      true,
    ],
  ])("%j on %j: %s", (when, row, expected) => {
    expect(holds(when, row)).toBe(expected);
  });

  it.each([
    ["AB", "AB", true],
    ["AB", "ABC", false],
    ["A?", "AB", true],
    ["A?", "A", false],
    ["##", "42", true],
    ["##", "4a", false],
    ["A*", "A", true],
    ["*A*B", "xxAyyAzB", true],
    ["*A*B", "xxByyA", false],
    ["*", "x", true],
    ["a\\*b", "a*b", true],
    ["a\\*b", "axb", false],
    ["\\#\\\\", "#\\", true],
    ["a.c", "abc", false],
  ])("pattern %s on %s: %s", (matches, kind, expected) => {
    expect(holds({ column: "kind", matches }, { kind })).toBe(expected);
  });

  it("matches a hostile pattern in bounded time", () => {
    expect(holds({ column: "kind", matches: `${"*a".repeat(50)}` }, { kind: `${"a".repeat(60_000)}b` })).toBe(false);
  });

  it("rejects the row when a compared field is not a number, unless an earlier part guards it", () => {
    const compared = { column: "price", ">": 0 };
    for (const price of ["", "x", "1,5", "Infinity", "NaN", "0x10", " 1", "1e999"]) {
      expect(reasonOf(one({ rules: [{ when: compared, then: "sale" }] }, { price }))).toBe(
        `price is not a number: ${JSON.stringify(price)}`,
      );
    }
    const either = { any: [compared, { column: "kind", equals: "S" }] };
    expect(reasonOf(one({ rules: [{ when: either, then: "sale" }] }, { price: "x" }))).toMatch(/not a number/);
    const guarded = { all: [{ column: "price", notEmpty: true }, compared] };
    expect(reasonOf(one({ rules: [{ when: guarded, then: "sale" }] }, { price: "" }))).toBe("no rule matches");
  });
});
