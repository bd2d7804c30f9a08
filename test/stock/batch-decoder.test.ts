/**
 * Entries of the log that cannot be read are refused: whatever is done to an entry's bytes, its events are valid in
 * every field or there are none.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EngineError } from "../../engine/kernel/errors.js";
import { ENTRY_COMMANDS_LIMIT, encodeBatch } from "../../engine/stock/batch.js";
import { MAX_BATCH_LIMIT } from "../../engine/stock/ledger.js";
import { type DecodedEntry, ENTRY_BYTES_LIMIT, eventsOf } from "../../engine/stock/log-entry.js";
import {
  ACCOUNTS,
  cellOf,
  DEFAULT_HOLD_MS,
  EVENT_TYPES,
  MAX_UNITS,
  OUTCOMES,
  type StockCommand,
  type StockEvent,
  SWEEP_LIMIT,
} from "../../engine/stock/model.js";
import type { LogEntry } from "../../engine/stream/log.js";
import { at, code, entryOf, idOf, logged, NOW, packr } from "./log-entries.js";

describe("an entry that cannot be read", () => {
  const refusal = (entry: LogEntry): unknown => {
    try {
      eventsOf(entry);
    } catch (thrown) {
      return thrown;
    }
    return undefined;
  };
  const undecodable = expect.objectContaining({ code: "undecodable", retryable: false, op: "stock.decode" });
  const commands: StockCommand[] = [
    { kind: "receive", ...at, units: 2 ** 40, actor: "clerk" },
    { kind: "move", ...at, id: idOf(2), units: 2, from: "sellable", to: "sellable", toLocation: "GZ", atMs: NOW },
  ];

  const raw = (): unknown[] => [
    2,
    "\u0001\u0004",
    ["CUP\u001fSH", "JUG\u001fSH"],
    [1, 2],
    [3, 1],
    [idOf(1), idOf(2)],
    "\u0001\u0001",
    [1, 1],
    [20_000],
    0,
    DEFAULT_HOLD_MS,
    0,
    0,
    0,
  ];
  /** A batch with one column changed. */
  const changed = (column: number, value: unknown): LogEntry => {
    const batch = raw();
    batch[column] = value;
    return entryOf({ t: NOW, b: packr.pack(batch), o: Buffer.from([0, 0]) });
  };

  it("is not a correct one", () => {
    expect(eventsOf(changed(0, 2)).events.map(({ type, units }) => [type, units])).toEqual([
      ["StockReceived", 3],
      ["StockReserved", 1],
    ]);
  });

  it.each<[string, number, unknown, string]>([
    ["another version", 0, 3, "version 3"],
    ["no version", 0, null, "version null"],
    ["kinds for fewer commands", 1, "\u0001", "kinds does not have 2"],
    ["an unknown kind", 1, "\u0001\u001f", "no kind of command 31"],
    ["the mark of an order's line on a receipt", 6, "\u0009\u0001", "cannot have the pool code 9"],
    ["kind 0", 1, "\u0001\u0000", "no kind of command 0"],
    ["a cell without a location", 2, ["CUP", "JUG\u001fSH"], "cell"],
    ["a cell without a SKU", 2, ["\u001fSH", "JUG\u001fSH"], "cell"],
    ["cells that are not texts", 2, [1, 2], "cell names"],
    ["a cell past the names", 3, [1, 3], "cells"],
    ["cell 0", 3, [0, 1], "cells"],
    ["fewer cells than commands", 3, [1], "cells"],
    ["units that are not a number", 4, [Number.NaN, 1], "units"],
    ["units as text", 4, ["3", 1], "units"],
    ["half a unit", 4, [0.5, 1], "units"],
    ["units past the largest exact number", 4, [2 ** 53, 1], "units"],
    ["units below 0 in a receipt", 4, [-3, 1], "receive has units below 0"],
    ["ids that are not texts", 5, [1, 2], "ids"],
    ["a list of another kind", 5, { 0: "a" }, "commands"],
    ["no command", 5, [], "commands"],
    ["a pool code that is not a pool", 6, "\u0001\u0000", "pool code 0"],
    ["a pool code that does not exist", 6, "\u0001\u0006", "pool code 6"],
    ["a day past the days", 7, [1, 2], "days"],
    ["attempts for fewer commands", 9, [1], "attempts"],
    ["a hold that is not a number", 10, "long", "holds"],
    ["times that are not numbers", 11, [NOW, "now"], "times"],
    ["a time past the limit of ids", 11, [NOW, 2 ** 45], "times"],
    ["a target past the cells", 12, [0, 3], "target cells"],
    ["a detail of no command", 13, [[2, {}]], "detail"],
    [
      "two details of a command",
      13,
      [
        [1, {}],
        [1, {}],
      ],
      "details twice",
    ],
    ["a detail that is not a record", 13, [[1, "x"]], "detail"],
    ["a detail that is not a text", 13, [[1, { actor: 5 }]], "detail's actor"],
    ["a setting that is not a number", 13, [[1, { settings: { alertFactor: Number.NaN } }]], "detail's settings"],
    [
      "a setting of a later version that is not a number",
      13,
      [[1, { settings: { colour: "red" } }]],
      "detail's settings",
    ],
    ["settings under another name", 1, "\u0001\u000a", "lacks a required detail"],
    ["an acknowledgement without an alert", 1, "\u0001\u000b", "lacks a required detail"],
  ])("is refused for %s, with the reason", (_, column, value, reason) => {
    const thrown = refusal(changed(column, value));
    expect(thrown).toEqual(undecodable);
    expect((thrown as Error).message).toContain(reason);
  });

  it("is not one of version 1, which had fingerprints among its columns", () => {
    const first = (fingerprints: unknown): LogEntry => {
      const batch = [1, ...raw().slice(1, 6), fingerprints, ...raw().slice(6)];
      return entryOf({ t: NOW, b: packr.pack(batch), o: Buffer.from([0, 0]) });
    };
    expect(eventsOf(first([11, 12])).events).toEqual(eventsOf(changed(0, 2)).events);
    for (const fingerprints of [[11], 0, ["a", "b"], [-1, 1]])
      expect(refusal(first(fingerprints))).toEqual(undecodable);
    expect(refusal(changed(0, 1))).toEqual(undecodable);
  });

  it("is not one with additions of a later release: details and settings, which are kept, and optional fields, which are ignored", () => {
    const later = { colour: "red", settings: { alertFactor: 2, colourFactor: 3 } };
    expect(eventsOf(changed(13, [[1, later]])).events[1]?.detail).toEqual(later);
    const own = { t: NOW, b: packr.pack(raw()), o: Buffer.from([0, 0]) };
    for (const fields of [own, { t: NOW, n: 3 }, { t: NOW, c: Buffer.from("shop"), j: Buffer.from("{}") }])
      expect(eventsOf(entryOf({ ...fields, "+later": Buffer.from([1]) }))).toEqual(eventsOf(entryOf(fields)));
  });

  it("is refused when a column is missing or one too many", () => {
    for (const batch of [raw().slice(0, 13), [...raw(), 0]])
      expect(refusal(entryOf({ t: NOW, b: packr.pack(batch), o: Buffer.from([0, 0]) }))).toEqual(undecodable);
  });

  it("is refused for unknown fields, for a field that occurs twice, and for missing fields", () => {
    const b = packr.pack(raw());
    const o = Buffer.from([0, 0]);
    const bad: Record<string, Buffer | number>[] = [
      { t: NOW, q: 1 },
      { t: NOW, q: 1, "+w": 1 },
      { t: NOW, b, o, compressed: 1 },
      { t: NOW, b, o, c: Buffer.from("shop") },
      { t: NOW, b, o, g: 2 },
      { t: NOW, b, o, s: 1 },
      { t: NOW, b, o: Buffer.from([0, OUTCOMES.length]) },
      { t: NOW, b, o, m: packr.pack([]) },
      { t: NOW, b, o, m: packr.pack([[2, 1]]) },
      { t: NOW, b, o, m: packr.pack([[0]]) },
      { t: NOW, b, o, m: packr.pack([[0, 1, 1, 9, 1]]) },
      { t: NOW, b, o, m: packr.pack([[0, -1]]) },
      { t: NOW, b, o: Buffer.alloc(0) },
      { t: NOW, c: Buffer.from("shop") },
      { t: NOW, o },
      { x: 1 },
      {},
    ];
    for (const fields of bad)
      expect(refusal(entryOf(fields)), JSON.stringify(Object.keys(fields))).toEqual(undecodable);
    const once = entryOf({ t: NOW });
    expect(refusal({ offset: 7, fields: [...once.fields, ...once.fields] })).toEqual(undecodable);
    expect(refusal({ offset: 7, fields: [...once.fields, Buffer.from("n")] })).toEqual(undecodable);
  });

  it.each(["", " ", "1e3", "0x10", "-5", "1.5", "NaN", "later", "99999999999999999999", String(2 ** 45)])(
    "is refused for the time %j",
    (time) => {
      expect(refusal(entryOf({ t: Buffer.from(time) }))).toEqual(undecodable);
    },
  );

  it("is refused for expired holds that no sweep writes", () => {
    const good = [[idOf(1)], [cellOf("CUP", "SH")], [2], [1]];
    const bad: [number, unknown][] = [
      [0, []],
      [0, [1]],
      [1, []],
      [1, ["CUP"]],
      [2, [-1]],
      [2, [Number.NaN]],
      [2, ["2"]],
      [3, [2]],
      [3, [9]],
    ];
    for (const [column, value] of bad) {
      const columns: unknown[] = [...good];
      columns[column] = value;
      expect(refusal(entryOf({ t: NOW, x: packr.pack(columns) })), JSON.stringify(columns)).toEqual(undecodable);
    }
    const many = Array.from({ length: SWEEP_LIMIT + 1 }, () => 1);
    const swept = [many.map(String), many.map(() => cellOf("CUP", "SH")), many, many];
    expect(refusal(entryOf({ t: NOW, x: packr.pack(swept) }))).toEqual(undecodable);
  });

  it("is refused for its length before it is read, and for more commands than the limit of a call", () => {
    const long = refusal(entryOf({ t: NOW, b: Buffer.alloc(ENTRY_BYTES_LIMIT, 0x91), o: Buffer.from([0]) }));
    expect(long).toEqual(undecodable);
    expect((long as Error).message).toContain("bytes long");
    const nested = entryOf({ t: NOW, b: Buffer.alloc(ENTRY_BYTES_LIMIT / 2, 0x91), o: Buffer.from([0]) });
    expect(refusal(nested)).toEqual(undecodable);
    const reserve = (_: unknown, i: number): StockCommand => ({ kind: "reserve", ...at, id: idOf(i), units: 1 });
    const most = Array.from({ length: ENTRY_COMMANDS_LIMIT }, reserve);
    expect(ENTRY_COMMANDS_LIMIT).toBe(MAX_BATCH_LIMIT);
    expect(eventsOf(logged(most)).events).toHaveLength(ENTRY_COMMANDS_LIMIT);
    const thrown = refusal(logged([...most, reserve(0, ENTRY_COMMANDS_LIMIT)]));
    expect((thrown as Error).message).toContain("1001 commands");
  });

  it("is not the largest that the HTTP contract allows, which is far below the limit", () => {
    const longest = (length: number, i: number) => `${i}`.padStart(length, "杯");
    const largest = (i: number): StockCommand => ({
      kind: "move",
      id: `${idOf(i)}-9999`,
      sku: longest(64, i),
      location: "A".repeat(32),
      toLocation: "B".repeat(32),
      units: MAX_UNITS,
      from: "sellable",
      to: "sellable",
      atMs: NOW,
      actor: longest(64, i),
      onBehalfOf: longest(64, i),
      reason: longest(200, i),
    });
    const entry = logged(Array.from({ length: ENTRY_COMMANDS_LIMIT }, (_, i) => largest(i)));
    const bytes = entry.fields.reduce((sum, { length }) => sum + length, 0);
    expect(bytes).toBeGreaterThan(1e6);
    expect(bytes).toBeLessThan(ENTRY_BYTES_LIMIT / 3);
    expect(eventsOf(entry).events).toHaveLength(ENTRY_COMMANDS_LIMIT);
  });

  describe("at random", () => {
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
      if (bytes.length > 0)
        copy[position] = one.how === "flip" ? (copy[position] as number) ^ (1 << one.bit) : one.byte;
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

    it("with changed bytes is refused, or gives events that are valid in every field", () => {
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

    it("with changed values is refused, or gives events that are valid in every field", () => {
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

  it("is refused when its version is unknown", () => {
    const batch = [2, "\u0001", ["CUP\u001fSH"], [1], [1], [at.id], [1], "\u0001", [1], [20_000], 0, 1, 0, 0, 0];
    const thrown = refusal(entryOf({ t: NOW, b: packr.pack(batch), o: Buffer.from([0]) }));
    expect(thrown).toBeInstanceOf(EngineError);
    expect(thrown).toEqual(undecodable);
    expect((thrown as Error).message).toContain("entry 7");
  });

  it("is refused wherever its bytes are cut off", () => {
    const { bytes } = encodeBatch(commands);
    for (let length = 1; length < bytes.length; length++) {
      const thrown = refusal(entryOf({ t: NOW, b: bytes.subarray(0, length), o: Buffer.from([0, 0]) }));
      expect(thrown, `${length} of ${bytes.length} bytes`).toEqual(undecodable);
    }
  });

  it("is refused when an expiry is cut off", () => {
    const swept = packr.pack([[idOf(1)], [cellOf("CUP", "SH")], [2], [1]]);
    for (let length = 1; length < swept.length; length++) {
      expect(refusal(entryOf({ t: NOW, x: swept.subarray(0, length) })), `${length} bytes`).toEqual(undecodable);
    }
  });

  it("is refused when it has more outcomes than commands, no outcomes, or no time", () => {
    const { bytes } = encodeBatch(commands);
    expect(refusal(entryOf({ t: NOW, b: bytes, o: Buffer.from([0, 0, 0]) }))).toEqual(undecodable);
    expect(refusal(entryOf({ t: NOW, b: bytes }))).toEqual(undecodable);
    expect(refusal(entryOf({ b: bytes, o: Buffer.from([0, 0]) }))).toEqual(undecodable);
  });
});
