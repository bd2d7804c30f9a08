/**
 * Entries of the log with random damage: an entry is refused as undecodable, or its events are valid in every field.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encodeBatch } from "../../engine/stock/batch.js";
import { type DecodedEntry, eventsOf } from "../../engine/stock/log-entry.js";
import { ACCOUNTS, cellOf, EVENT_TYPES, type StockCommand, type StockEvent } from "../../engine/stock/model.js";
import type { LogEntry } from "../../engine/stream/log.js";
import { at, code, entryOf, idOf, logged, NOW, packr } from "./log-entries.js";

describe("a damaged entry", () => {
  const undecodable = expect.objectContaining({ code: "undecodable", retryable: false, op: "stock.decode" });
  const everyKind: StockCommand[] = [
    { kind: "receive", ...at, units: 2 ** 40, actor: "clerk", pool: "presale" },
    { kind: "move", ...at, id: idOf(2), units: 2, from: "sellable", to: "sellable", toLocation: "GZ", atMs: NOW },
    { kind: "correct", ...at, id: idOf(3), units: -7, reason: "盘点" },
    { kind: "reserve", ...at, id: idOf(4), units: 1, holdMs: 5, attempt: 3, uncounted: true },
    { kind: "configure", ...at, id: idOf(5), settings: { alertFactor: 2.5 }, category: "cups" },
    { kind: "acknowledge", ...at, id: idOf(6), alertId: "CUP#1", actor: "desk", onBehalfOf: "li" },
    { kind: "pay", ...at, id: idOf(4), units: 1 },
    { kind: "cancel", ...at, id: idOf(4), units: 1 },
  ];
  const swept = packr.pack([
    [idOf(1), idOf(2)],
    [cellOf("CUP", "SH"), cellOf("水杯", "成都")],
    [2, 2 ** 31],
    [1, 5],
  ]);
  const valid: LogEntry[] = [
    logged(everyKind, [0, 0, 0, 0, 0, 0, code("admitted_anew"), code("cancelled_paid")], { g: 1, n: 99 }),
    logged(everyKind.slice(0, 3), [0, 14], { s: 1 }),
    entryOf({ n: 3, t: NOW, x: swept }),
    entryOf({ n: 3, t: NOW, c: Buffer.from("shop"), j: Buffer.from("{}") }),
  ];
  const accounts: readonly unknown[] = ACCOUNTS;
  const types: readonly unknown[] = Object.values(EVENT_TYPES);
  const isText = (value: unknown) => typeof value === "string" && value !== "";
  const isTime = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;

  function assertWellFormed(event: StockEvent, clockMs: number): void {
    const { type, id, sku, location, units, from, to, toLocation, atMs, detail, ...rest } = event;
    expect(types).toContain(type);
    expect([id, sku, location, toLocation ?? "none"].every(isText)).toBe(true);
    expect(Number.isSafeInteger(units) && units >= 0).toBe(true);
    expect(accounts).toContain(from);
    expect(accounts).toContain(to);
    expect(isTime(atMs) && atMs <= rest.clockMs && rest.clockMs <= clockMs).toBe(true);
    expect(Number.isInteger(rest.offset) && Number.isInteger(rest.index)).toBe(true);
    for (const value of Object.values(detail?.["settings"] ?? {})) expect(Number.isFinite(value)).toBe(true);
  }

  const bytesOf = (index: number) => fc.nat(Math.max(0, (valid[index]?.fields.length ?? 1) - 1));
  const damage = fc.oneof(
    { weight: 6, arbitrary: fc.record({ how: fc.constant("flip" as const), at: fc.nat(4_000), bit: fc.nat(7) }) },
    { weight: 2, arbitrary: fc.record({ how: fc.constant("set" as const), at: fc.nat(4_000), byte: fc.nat(255) }) },
    { weight: 2, arbitrary: fc.record({ how: fc.constant("cut" as const), at: fc.nat(4_000) }) },
    {
      weight: 1,
      arbitrary: fc.record({
        how: fc.constant("drop" as const),
        at: fc.nat(4_000),
        length: fc.integer({ min: 1, max: 20 }),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ how: fc.constant("replace" as const), bytes: fc.uint8Array({ maxLength: 60 }) }),
    },
  );
  type Damage = typeof damage extends fc.Arbitrary<infer D> ? D : never;

  function damaged(bytes: Buffer, one: Damage): Buffer {
    const copy = Buffer.from(bytes);
    if (one.how === "replace") return Buffer.from(one.bytes);
    const position = bytes.length === 0 ? 0 : one.at % bytes.length;
    if (one.how === "cut") return copy.subarray(0, position);
    if (one.how === "drop") return Buffer.concat([copy.subarray(0, position), copy.subarray(position + one.length)]);
    if (bytes.length > 0) copy[position] = one.how === "flip" ? (copy[position] as number) ^ (1 << one.bit) : one.byte;
    return copy;
  }

  /** Decodes the entry and checks the result. Returns whether it was accepted. */
  function isAcceptedEntry(entry: LogEntry): boolean {
    let decoded: DecodedEntry;
    try {
      decoded = eventsOf(entry);
    } catch (thrown) {
      expect(thrown).toEqual(undecodable);
      return false;
    }
    const { events, clockMs, total } = decoded;
    expect(isTime(clockMs) && (total === undefined || isTime(total))).toBe(true);
    for (const event of events) assertWellFormed(event, clockMs);
    return true;
  }

  it("is refused when bytes are changed, or gives events that are valid in every field", () => {
    let accepted = 0;
    const runs = 4_000;
    const hits = fc.nat(valid.length - 1).chain((which) =>
      fc.record({
        which: fc.constant(which),
        hits: fc.array(fc.tuple(bytesOf(which), damage), { minLength: 1, maxLength: 3 }),
      }),
    );
    fc.assert(
      fc.property(hits, ({ which, hits: all }) => {
        const fields = [...(valid[which] as LogEntry).fields];
        for (const [at, one] of all) fields[at] = damaged(fields[at] as Buffer, one);
        if (isAcceptedEntry({ offset: 7, fields })) accepted++;
      }),
      { numRuns: runs },
    );
    expect(accepted).toBeGreaterThan(runs / 40);
    expect(accepted).toBeLessThan(runs / 2);
  });

  /** Values that a valid column does not hold, or that only another column holds. */
  const stray = fc.oneof(
    fc.constantFrom(null, undefined, true, "", "1", "CUP\u001fSH", "\u0001\u0004", [], {}, [1], { a: 1 }),
    fc.constantFrom(
      Number.NaN,
      Number.POSITIVE_INFINITY,
      -0,
      -1,
      0,
      1,
      0.5,
      2,
      255,
      2 ** 45,
      2 ** 53,
      2 ** 63,
      -(2 ** 53),
    ),
    fc.constantFrom(new Date(0), new Map([[1, 2]]), new Set([1]), Buffer.from("CUP"), 2n ** 63n),
    fc.integer(),
    fc.string({ maxLength: 4 }),
  );
  const target = fc.tuple(
    fc.nat(14),
    fc.option(fc.nat(8)),
    fc.option(fc.constantFrom("0", "1", "settings", "actor", "colour")),
  );

  it("is refused when values are changed, or gives events that are valid in every field", () => {
    let accepted = 0;
    const runs = 4_000;
    const { bytes } = encodeBatch(everyKind);
    fc.assert(
      fc.property(fc.boolean(), target, stray, (isBatch, [column, row, part], value) => {
        const columns = packr.unpack(isBatch ? bytes : swept) as unknown[];
        const held = columns[column] as Record<string, unknown> | undefined;
        const inner = row === null ? undefined : (held?.[row] as Record<string, unknown> | undefined);
        if (row === null || typeof held !== "object") columns[column] = value;
        else if (part !== null && typeof inner === "object") inner[part] = value;
        else held[row] = value;
        const packed = packr.pack(columns);
        const fields = isBatch ? { t: NOW, b: packed, o: Buffer.alloc(everyKind.length) } : { t: NOW, x: packed };
        if (isAcceptedEntry(entryOf(fields))) accepted++;
      }),
      { numRuns: runs },
    );
    expect(accepted).toBeGreaterThan(runs / 40);
    expect(accepted).toBeLessThan(runs / 2);
  });
});
