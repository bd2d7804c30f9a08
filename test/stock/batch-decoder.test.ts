/**
 * Entries of the log that cannot be read are refused with the reason: wrong columns, fields, times and lengths. Random
 * damage is tested in batch-decoder-random.test.ts.
 */
import { describe, expect, it } from "vitest";
import { EngineError } from "../../engine/kernel/errors.js";
import { ENTRY_COMMANDS_LIMIT, encodeBatch } from "../../engine/stock/batch.js";
import { MAX_BATCH_LIMIT } from "../../engine/stock/ledger.js";
import { ENTRY_BYTES_LIMIT, eventsOf } from "../../engine/stock/log-entry.js";
import {
  cellOf,
  DEFAULT_HOLD_MS,
  MAX_UNITS,
  OUTCOMES,
  type StockCommand,
  SWEEP_LIMIT,
} from "../../engine/stock/model.js";
import type { LogEntry } from "../../engine/stream/log.js";
import { at, entryOf, idOf, logged, NOW, packr } from "./log-entries.js";

const SETTLED = { comparison: "c", source: "wms", snapshot: "s", proposal: "p", asOfMs: 5 };

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
    [
      "a settlement without its instant",
      13,
      [[1, { settlement: { ...SETTLED, asOfMs: "now" } }]],
      "detail's settlement",
    ],
    ["a settlement of no source", 13, [[1, { settlement: { ...SETTLED, source: 5 } }]], "detail's settlement"],
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
    const change = Buffer.from(JSON.stringify({ action: "open", actor: "a", reason: "b", colour: "red" }));
    for (const fields of [own, { t: NOW, n: 3 }, { t: NOW, c: Buffer.from("shop"), j: change }])
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
