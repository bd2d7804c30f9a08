/**
 * The fingerprint identifies a repeated command (R3): every difference of the body changes it, and nothing else does.
 * Free text is tested with values that look like separators.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fingerprintOf } from "../../engine/stock/fingerprint.js";
import { MAX_UNITS, type StockCommand } from "../../engine/stock/model.js";

const ID = "S101K8Z0Q3M00000000X";
const name = fc.stringMatching(/^[A-Z0-9\u4e00-\u4eff -]{1,12}$/);
const freeText = fc.oneof(fc.string(), fc.constantFrom("", "\n", "\nfor x", "1 a\nfor 1 b", "\nby 3 foo", "\nat 5"));
const units = fc.integer({ min: 1, max: MAX_UNITS });
const base = {
  id: fc.constant(ID),
  sku: name,
  location: name,
  atMs: fc.option(fc.integer({ min: 0, max: 2e12 }), { nil: undefined }),
  onBehalfOf: fc.option(freeText, { nil: undefined }),
  reason: fc.option(freeText, { nil: undefined }),
};
const pool = fc.constantFrom(undefined, "sellable", "presale");
const ratio = fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { nil: undefined });

const command = fc
  .oneof(
    fc.record({
      ...base,
      kind: fc.constantFrom("receive", "return"),
      units,
      pool: fc.constantFrom(undefined, "sellable", "safety", "presale"),
    }),
    fc.record({
      ...base,
      kind: fc.constant("correct"),
      units: fc.oneof(
        units,
        units.map((n) => -n),
      ),
      pool,
      expected: fc.option(fc.record({ onHandUnits: fc.integer({ min: 0, max: MAX_UNITS }) }), { nil: undefined }),
    }),
    fc.record({
      ...base,
      kind: fc.constant("move"),
      units,
      from: fc.constantFrom("sellable", "safety"),
      to: fc.constantFrom("sellable", "safety"),
      toLocation: fc.option(name, { nil: undefined }),
    }),
    fc.record({
      ...base,
      kind: fc.constant("reserve"),
      units,
      pool,
      holdMs: fc.option(fc.integer({ min: 1, max: 1e8 }), { nil: undefined }),
    }),
    fc.record({
      ...base,
      kind: fc.constant("configure"),
      settings: fc.record({
        displayCoefficient: ratio,
        alertFactor: ratio,
        alertFloorUnits: fc.option(units, { nil: undefined }),
      }),
    }),
    fc.record({ ...base, kind: fc.constant("acknowledge"), alertId: freeText }),
  )
  .map((made) => withoutUndefined(made) as unknown as StockCommand);

function withoutUndefined(value: object): object {
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, each]) => each !== undefined)
      .map(([key, each]) => [key, typeof each === "object" ? withoutUndefined(each) : each]),
  );
}

/** The body with sorted fields; numbers as they print, so -0 is 0. */
const bodyOf = (of: StockCommand): string =>
  JSON.stringify(Object.entries(of).sort(), (_, value) => (Object.is(value, -0) ? 0 : value));

describe("a command's fingerprint", () => {
  it("differs for every two bodies that differ", () => {
    fc.assert(
      fc.property(command, command, (one, other) => {
        expect(fingerprintOf(one) === fingerprintOf(other)).toBe(bodyOf(one) === bodyOf(other));
      }),
      { numRuns: 2_000 },
    );
  });

  it("changes when any one field is changed or left out", () => {
    const other: Record<string, unknown> = {
      kind: "other",
      from: "other",
      to: "other",
      pool: "other",
      settings: { alertFactor: 9.75 },
    };
    fc.assert(
      fc.property(command, (one) => {
        for (const [field, value] of Object.entries(one)) {
          if (field === "id" || field === "kind") continue;
          const changed = { ...one, [field]: other[field] ?? (typeof value === "number" ? value + 1 : `${value}x`) };
          if (typeof value === "number" && !Number.isSafeInteger(value + 1)) continue;
          expect(fingerprintOf(changed as StockCommand), field).not.toBe(fingerprintOf(one));
        }
        for (const field of ["atMs", "onBehalfOf", "reason", "pool", "holdMs", "toLocation"]) {
          if (!(field in one)) continue;
          const { [field]: _, ...without } = one as unknown as Record<string, unknown>;
          expect(fingerprintOf(without as unknown as StockCommand), field).not.toBe(fingerprintOf(one));
        }
      }),
      { numRuns: 500 },
    );
  });

  it("does not depend on the sender: a repeat with another token is a repeat", () => {
    fc.assert(
      fc.property(command, freeText, (one, actor) => {
        expect(fingerprintOf({ ...one, actor })).toBe(fingerprintOf(one));
      }),
      { numRuns: 200 },
    );
  });

  it("equals that of the release before roles, whose `actor` is `onBehalfOf` now", () => {
    const body = { kind: "receive", id: ID, sku: "A", location: "B", units: 1 } as const;
    expect(fingerprintOf({ ...body, actor: "clerk", onBehalfOf: "li.wei" })).toBe(3834889257895064);
  });

  it("equals that of the release before registered settings, and covers every further setting", () => {
    const body = { kind: "configure", id: ID, sku: "A", location: "B" } as const;
    const first = { displayCoefficient: 0.5, alertFactor: 2, alertFloorUnits: 10 };
    expect(fingerprintOf({ ...body, settings: first })).toBe(1625061662391279);
    expect(fingerprintOf({ ...body, settings: { alertFactor: 2 }, category: "cups" })).toBe(1380426934015175);
    expect(fingerprintOf({ ...body, settings: {}, categorySettings: { alertFloorUnits: 7 } })).toBe(2114992769911542);
    const all = [{}, { b: 1 }, { a: 1 }, { a: 1, b: 1 }, { a: 2 }, { "a 1": 1 }, first, { ...first, b: 1 }];
    expect(new Set(all.map((settings) => fingerprintOf({ ...body, settings }))).size).toBe(all.length);
    expect(fingerprintOf({ ...body, settings: { b: 2, a: 1 } })).toBe(
      fingerprintOf({ ...body, settings: { a: 1, b: 2 } }),
    );
  });

  it("differs when text of one field looks like another field", () => {
    const receive = { kind: "receive", id: ID, sku: "A", location: "B", units: 1 } as const;
    expect(fingerprintOf({ ...receive, onBehalfOf: "x\nfor 1 y" })).not.toBe(
      fingerprintOf({ ...receive, onBehalfOf: "x", reason: "y" }),
    );
    expect(fingerprintOf({ ...receive, sku: "A\nB", location: "C" })).not.toBe(
      fingerprintOf({ ...receive, sku: "A", location: "B\nC" }),
    );
    const acknowledge = { kind: "acknowledge", id: ID, sku: "A", location: "B" } as const;
    expect(fingerprintOf({ ...acknowledge, alertId: "x\nat 5" })).not.toBe(
      fingerprintOf({ ...acknowledge, alertId: "x", atMs: 5 }),
    );
  });

  it("does not depend on the id or the attempt", () => {
    fc.assert(
      fc.property(command, fc.string(), fc.integer({ min: 1, max: 99 }), (one, id, attempt) => {
        expect(fingerprintOf({ ...one, id })).toBe(fingerprintOf(one));
        if (one.kind === "reserve") expect(fingerprintOf({ ...one, attempt })).toBe(fingerprintOf(one));
      }),
    );
  });

  it("is a whole number of 53 bits, which Lua and msgpack keep exactly", () => {
    fc.assert(
      fc.property(command, (one) => {
        const fingerprint = fingerprintOf(one);
        expect(Number.isSafeInteger(fingerprint) && fingerprint >= 0).toBe(true);
      }),
    );
  });
});
