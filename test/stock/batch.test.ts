/**
 * What goes over the wire and into the log comes back as events: for every kind of command the right accounts, times
 * and details. The entries are made by hand as ledger.lua writes them, so that a change of the form on one side only
 * is noticed here. Bytes that are not understood are refused: whatever is done to an entry, its events are right in
 * every field or there are none.
 */
import fc from "fast-check";
import { Packr } from "msgpackr";
import { describe, expect, it } from "vitest";
import { chainIdFromNumber } from "../../engine/kernel/chain-id.js";
import { DAY_MS } from "../../engine/kernel/clock.js";
import { EngineError } from "../../engine/kernel/errors.js";
import {
  type DecodedEntry,
  ENTRY_BYTES_LIMIT,
  ENTRY_COMMANDS_LIMIT,
  encodeBatch,
  entryTimeMs,
  eventsOf,
} from "../../engine/stock/batch.js";
import { fingerprintOf } from "../../engine/stock/fingerprint.js";
import { MAX_BATCH_LIMIT } from "../../engine/stock/ledger.js";
import {
  ACCOUNTS,
  cellOf,
  DEFAULT_HOLD_MS,
  EVENT_TYPES,
  MAX_UNITS,
  OUTCOMES,
  type Outcome,
  type StockCommand,
  type StockEvent,
  SWEEP_LIMIT,
} from "../../engine/stock/model.js";
import type { LogEntry } from "../../engine/stream/log.js";

const NOW = Date.UTC(2026, 5, 18);
const packr = new Packr({ useRecords: false });
const idOf = (number: number, timeMs = NOW): string => chainIdFromNumber("S1", timeMs, number);
const at = { id: idOf(1), sku: "CUP", location: "SH" };
const code = (outcome: Outcome): number => OUTCOMES.indexOf(outcome);

function entryOf(fields: Record<string, Buffer | number>, offset = 7): LogEntry {
  return {
    offset,
    fields: Object.entries(fields).flatMap(([name, value]) => [
      Buffer.from(name),
      typeof value === "number" ? Buffer.from(String(value)) : value,
    ]),
  };
}

/** The entry of a batch whose commands had these outcomes; all accepted when left out. */
function logged(
  commands: StockCommand[],
  outcomes = commands.map(() => 0),
  more: Record<string, Buffer | number> = {},
): LogEntry {
  return entryOf({ t: NOW, b: encodeBatch(commands).bytes, o: Buffer.from(outcomes), ...more });
}

function onlyEvent(command: StockCommand, outcome: Outcome = "accepted"): StockEvent {
  const { events } = eventsOf(logged([command], [code(outcome)]));
  expect(events).toHaveLength(1);
  return events[0] as StockEvent;
}

describe("an event of the log", () => {
  const cases: [StockCommand, Outcome, Partial<StockEvent>][] = [
    [
      { kind: "receive", ...at, units: 5 },
      "accepted",
      { type: "StockReceived", from: "outside", to: "sellable", units: 5 },
    ],
    [{ kind: "receive", ...at, units: 5, pool: "presale" }, "accepted", { from: "outside", to: "presale" }],
    [
      { kind: "return", ...at, units: 2, pool: "safety" },
      "accepted",
      { type: "StockReturned", from: "outside", to: "safety" },
    ],
    [
      { kind: "correct", ...at, units: 3 },
      "accepted",
      { type: "StockCorrected", from: "outside", to: "sellable", units: 3 },
    ],
    [
      { kind: "correct", ...at, units: -3, pool: "committed" },
      "accepted",
      { from: "committed", to: "outside", units: 3 },
    ],
    [
      { kind: "move", ...at, units: 4, from: "safety", to: "sellable" },
      "accepted",
      { type: "StockMoved", from: "safety", to: "sellable" },
    ],
    [
      { kind: "move", ...at, units: 4, from: "sellable", to: "sellable", toLocation: "GZ" },
      "accepted",
      { from: "sellable", to: "sellable", location: "SH", toLocation: "GZ" },
    ],
    [{ kind: "reserve", ...at, units: 1 }, "accepted", { type: "StockReserved", from: "sellable", to: "reserved" }],
    [{ kind: "reserve", ...at, units: 1, pool: "presale" }, "accepted", { from: "presale", to: "outside" }],
    [{ kind: "pay", ...at, units: 1 }, "accepted", { type: "LinePaid", from: "reserved", to: "committed" }],
    [{ kind: "pay", ...at, units: 1 }, "admitted_anew", { from: "sellable", to: "committed" }],
    [{ kind: "pay", ...at, units: 1, pool: "presale" }, "accepted", { from: "outside", to: "outside" }],
    [{ kind: "pay", ...at, units: 1, pool: "presale" }, "admitted_anew", { from: "presale", to: "outside" }],
    [{ kind: "cancel", ...at, units: 1 }, "accepted", { type: "LineCancelled", from: "reserved", to: "sellable" }],
    [{ kind: "cancel", ...at, units: 1 }, "cancelled_paid", { from: "committed", to: "sellable" }],
    [{ kind: "cancel", ...at, units: 1, pool: "presale" }, "cancelled_paid", { from: "outside", to: "presale" }],
    [{ kind: "outbound", ...at, units: 1 }, "accepted", { type: "LineOutbound", from: "committed", to: "outside" }],
    [
      { kind: "outbound", ...at, units: 1, pool: "presale" },
      "accepted",
      { from: "sellable", to: "outside", presale: true },
    ],
    [
      { kind: "abort", ...at, units: 1, attempt: 2 },
      "accepted",
      { type: "LineAborted", from: "reserved", to: "sellable" },
    ],
    [{ kind: "abort", ...at, units: 1, attempt: 1, pool: "presale" }, "accepted", { from: "outside", to: "presale" }],
    [
      { kind: "configure", ...at, settings: { displayCoefficient: 0.5 } },
      "accepted",
      {
        type: "SkuConfigured",
        units: 0,
        from: "outside",
        to: "outside",
        detail: { settings: { displayCoefficient: 0.5 } },
      },
    ],
    [
      { kind: "acknowledge", ...at, alertId: "a-1" },
      "accepted",
      { type: "AlertAcknowledged", units: 0, detail: { alertId: "a-1" } },
    ],
  ];

  for (const [command, outcome, wanted] of cases) {
    const pool = "pool" in command && command.pool ? ` of ${command.pool}` : "";
    it(`of ${command.kind}${pool}, ${outcome}: ${wanted.from ?? "nothing"} → ${wanted.to ?? "nothing"}`, () => {
      expect(onlyEvent(command, outcome)).toMatchObject({
        id: at.id,
        sku: "CUP",
        location: "SH",
        offset: 7,
        index: 0,
        ...wanted,
      });
    });
  }

  it("carries units to the limit exactly, both ways", () => {
    expect(onlyEvent({ kind: "receive", ...at, units: MAX_UNITS }).units).toBe(MAX_UNITS);
    expect(onlyEvent({ kind: "correct", ...at, units: -MAX_UNITS }).units).toBe(MAX_UNITS);
  });

  it("names who caused it and why", () => {
    const command: StockCommand = { kind: "correct", ...at, units: 1, actor: "李", reason: "count" };
    expect(onlyEvent(command).detail).toEqual({ actor: "李", reason: "count" });
    const forAnother: StockCommand = { ...command, actor: "desk", onBehalfOf: "李" };
    expect(onlyEvent(forAnother).detail).toEqual({ actor: "desk", onBehalfOf: "李", reason: "count" });
    expect(onlyEvent({ kind: "receive", ...at, units: 1 })).not.toHaveProperty("detail");
    // Older processes of the deployment could not read it.
    const { bytes } = encodeBatch([forAnother], 1);
    const [event] = eventsOf(entryOf({ t: NOW, b: bytes, o: Buffer.from([0]) })).events;
    expect(event?.detail).toEqual({ actor: "desk", reason: "count" });
  });

  it("exists for what was accepted the first time, in the order of the batch", () => {
    const commands = [1, 2, 3, 4, 5].map(
      (number): StockCommand => ({ kind: "reserve", ...at, id: idOf(number), units: number }),
    );
    const { events } = eventsOf(logged(commands, [0, code("insufficient_sellable"), 0, 128, 0]));
    expect(events.map(({ id, index, units }) => [id, index, units])).toEqual([
      [idOf(1), 0, 1],
      [idOf(3), 2, 3],
      [idOf(5), 4, 5],
    ]);
  });

  it("of a line that counts as demand tells when the line was deducted, and nothing is read without that", () => {
    const accept = { kind: "accept", ...at, units: 2 } as const;
    const lines: StockCommand[] = [accept, { ...accept, id: idOf(2) }, { ...accept, id: idOf(3) }];
    const { bytes } = encodeBatch(lines);
    const entry = (...times: number[]) => {
      const d = Buffer.alloc(8 * times.length);
      for (const [i, time] of times.entries()) d.writeDoubleLE(time, 8 * i);
      return entryOf({ t: NOW, b: bytes, o: Buffer.from([0, 128, 0]), d });
    };
    expect(eventsOf(entry(NOW - 5, NOW)).events).toMatchObject([
      { type: "LineAccepted", id: idOf(1), units: 2, from: "outside", to: "outside", atMs: NOW - 5, clockMs: NOW },
      { type: "LineAccepted", id: idOf(3), atMs: NOW },
    ]);
    for (const bad of [entry(NOW), entry(NOW, NOW, NOW), entry(NOW, NOW + 1), entry(NOW, -1), entry(NOW, Number.NaN)])
      expect(() => eventsOf(bad)).toThrow("entry 7 cannot be read");
    expect(() => eventsOf(entryOf({ t: NOW, b: bytes, o: Buffer.from([0, 0, 0]) }))).toThrow("entry 7 cannot be read");
  });

  it("of a reservation says that it does not count yet, only where all readers know that", () => {
    const reserve: StockCommand = { kind: "reserve", ...at, units: 1, uncounted: true };
    expect(onlyEvent(reserve)).toMatchObject({ type: "StockReserved", from: "sellable", uncounted: true });
    const old = encodeBatch([reserve], 1);
    expect(old.bytes).toEqual(encodeBatch([{ kind: "reserve", ...at, units: 1 }]).bytes);
    expect(fingerprintOf(reserve)).toBe(fingerprintOf({ kind: "reserve", ...at, units: 1 }));
  });

  describe("of what moved otherwise than its command says", () => {
    const commands: StockCommand[] = [
      { kind: "outbound", ...at, units: 5, actor: "wms" },
      { kind: "cancel", ...at, id: idOf(2), units: 3 },
      { kind: "outbound", ...at, id: idOf(3), units: 2 },
      { kind: "outbound", ...at, id: idOf(4), units: 1 },
    ];
    // Accounts by position: outside 0, sellable 1, reserved 2, committed 3.
    const moved = [
      [0, 1, 3, 0, 2, 1, 0, 2],
      [1, 2, 3, 1, 1],
      [2, 2],
    ];

    it("names each pool, and how many units are missing", () => {
      const { events } = eventsOf(logged(commands, [0, 2, 0, 0], { m: packr.pack(moved) }));
      const gone = { type: "LineOutbound", to: "outside" };
      expect(events).toMatchObject([
        { ...gone, index: 0, from: "committed", units: 2 },
        { ...gone, index: 4, from: "sellable", units: 2 },
        { type: "LineCancelled", index: 1, from: "committed", to: "sellable", units: 1 },
        { ...gone, index: 2, from: "outside", units: 2 },
        { ...gone, index: 3, from: "committed", units: 1 },
      ]);
      const detail = { actor: "wms", unexplained: true, missingUnits: 1 };
      expect(events.map((event) => event.detail)).toEqual([
        detail,
        detail,
        { missingUnits: 2 },
        { unexplained: true, missingUnits: 2 },
        undefined,
      ]);
    });
  });

  it("of a line of an order is that of any line, and in format 1 nothing marks it", () => {
    const command: StockCommand = { kind: "reserve", ...at, units: 1, ofOrder: true };
    expect(onlyEvent(command)).toMatchObject({ type: "StockReserved", from: "sellable", to: "reserved" });
    expect(encodeBatch([command], 1).bytes).toEqual(encodeBatch([{ kind: "reserve", ...at, units: 1 }], 1).bytes);
  });

  it("is read from where its segment of the batch starts", () => {
    const commands = [1, 2, 3].map(
      (number): StockCommand => ({ kind: "receive", ...at, id: idOf(number), units: number }),
    );
    const { events } = eventsOf(logged(commands, [0, 0], { s: 1 }));
    expect(events.map(({ index, units }) => [index, units])).toEqual([
      [1, 2],
      [2, 3],
    ]);
  });

  it("happened when the command says, but not after the ledger took it", () => {
    const commands = [NOW - 5, NOW + 5, undefined].map(
      (atMs, number): StockCommand => ({ kind: "receive", ...at, id: idOf(number), units: 1, ...(atMs && { atMs }) }),
    );
    const { events, clockMs } = eventsOf(logged(commands));
    expect(events.map(({ atMs }) => atMs)).toEqual([NOW - 5, NOW, NOW]);
    expect(clockMs).toBe(NOW);
  });

  it("moves a given clock on, refused commands too", () => {
    const commands = [NOW - 5, NOW + 5, NOW + 2, NOW + 9].map(
      (atMs, number): StockCommand => ({ kind: "receive", ...at, id: idOf(number), units: 1, atMs }),
    );
    const { events, clockMs } = eventsOf(logged(commands, [0, 0, 0, code("limit_exceeded")], { g: 1 }));
    expect(events.map(({ atMs, clockMs: clock }) => [atMs, clock])).toEqual([
      [NOW - 5, NOW],
      [NOW + 5, NOW + 5],
      [NOW + 2, NOW + 5],
    ]);
    expect(clockMs).toBe(NOW + 9);
  });

  it("tells of expired holds, from where and to where", () => {
    const swept = packr.pack([
      [idOf(1), idOf(2)],
      [cellOf("CUP", "SH"), cellOf("水杯", "成都")],
      [2, 2 ** 31],
      [1, 5],
    ]);
    const { events } = eventsOf(entryOf({ t: NOW, x: swept }));
    expect(events).toEqual([
      {
        type: "LineExpired",
        offset: 7,
        index: 0,
        id: idOf(1),
        sku: "CUP",
        location: "SH",
        units: 2,
        from: "reserved",
        to: "sellable",
        atMs: NOW,
        clockMs: NOW,
      },
      {
        type: "LineExpired",
        offset: 7,
        index: 1,
        id: idOf(2),
        sku: "水杯",
        location: "成都",
        units: 2 ** 31,
        from: "outside",
        to: "presale",
        atMs: NOW,
        clockMs: NOW,
      },
    ]);
  });

  it("of an expiry has a number of units also where Redis packs a 64-bit integer", () => {
    // [["a"], ["b\x1fc"], [2^53 - 1 as uint64], [1]]
    const swept = Buffer.from("9491a1" + "61" + "91a3621f63" + "91cf001fffffffffffff" + "9101", "hex");
    expect(eventsOf(entryOf({ t: NOW, x: swept })).events[0]?.units).toBe(MAX_UNITS);
  });

  it("is none in a heartbeat or a breaker's entry, which still move the clock", () => {
    expect(eventsOf(entryOf({ t: NOW }))).toEqual({ clockMs: NOW, events: [] });
    expect(eventsOf(entryOf({ t: NOW, c: Buffer.from("shop"), j: Buffer.from("{}") }))).toEqual({
      clockMs: NOW,
      events: [],
    });
    expect(entryTimeMs(entryOf({ t: NOW }))).toBe(NOW);
  });
});

describe("a batch", () => {
  it("names the days of its ids, each once", () => {
    const commands = [NOW, NOW + DAY_MS, NOW].map(
      (timeMs, i): StockCommand => ({ kind: "receive", ...at, id: idOf(i, timeMs), units: 1 }),
    );
    expect(encodeBatch(commands).days).toEqual([NOW / DAY_MS, NOW / DAY_MS + 1]);
  });

  it("has the fingerprints beside it, 8 bytes a command, none for one about a line reserved before", () => {
    const receive: StockCommand = { kind: "receive", ...at, units: 1 };
    const { fingerprints } = encodeBatch([{ kind: "pay", ...at, units: 1 }, receive]);
    expect([0, 8].map((offset) => fingerprints.readDoubleLE(offset))).toEqual([0, fingerprintOf(receive)]);
    expect(fingerprints).toHaveLength(16);
  });
});

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

  it("is not one that is as it should be", () => {
    expect(eventsOf(changed(0, 2)).events.map(({ type, units }) => [type, units])).toEqual([
      ["StockReceived", 3],
      ["StockReserved", 1],
    ]);
  });

  it.each<[string, number, unknown, string]>([
    ["another version", 0, 3, "version 3"],
    ["no version", 0, null, "version null"],
    ["kinds for fewer commands", 1, "\u0001", "kinds are not 2"],
    ["an unknown kind", 1, "\u0001\u001f", "no kind of command 31"],
    ["a line of an order that is no line", 6, "\u0009\u0001", "has not the pools 9"],
    ["kind 0", 1, "\u0001\u0000", "no kind of command 0"],
    ["a cell without a location", 2, ["CUP", "JUG\u001fSH"], "cell"],
    ["a cell without a SKU", 2, ["\u001fSH", "JUG\u001fSH"], "cell"],
    ["cells that are no texts", 2, [1, 2], "cells' names"],
    ["a cell past the names", 3, [1, 3], "cells"],
    ["cell 0", 3, [0, 1], "cells"],
    ["fewer cells than commands", 3, [1], "cells"],
    ["units that are no number", 4, [Number.NaN, 1], "units"],
    ["units as text", 4, ["3", 1], "units"],
    ["half a unit", 4, [0.5, 1], "units"],
    ["units past what is exact", 4, [2 ** 53, 1], "units"],
    ["units below 0 of what is no correction", 4, [-3, 1], "receive has units below 0"],
    ["ids that are no texts", 5, [1, 2], "ids"],
    ["a list of another kind", 5, { 0: "a" }, "commands"],
    ["no command", 5, [], "commands"],
    ["a pool that is none", 6, "\u0001\u0000", "pools"],
    ["an account that is none", 6, "\u0001\u0006", "pools"],
    ["a day past the days", 7, [1, 2], "days"],
    ["attempts for fewer commands", 9, [1], "attempts"],
    ["a hold that is no number", 10, "long", "holds"],
    ["times that are no numbers", 11, [NOW, "now"], "times"],
    ["a time that no id can have", 11, [NOW, 2 ** 45], "times"],
    ["a target past the cells", 12, [0, 3], "target cells"],
    ["a detail of no command", 13, [[2, {}]], "detail"],
    [
      "two details of a command",
      13,
      [
        [1, {}],
        [1, {}],
      ],
      "two details",
    ],
    ["a detail that is no record", 13, [[1, "x"]], "detail"],
    ["a detail that is no text", 13, [[1, { actor: 5 }]], "detail's actor"],
    ["a setting that is no number", 13, [[1, { settings: { alertFactor: Number.NaN } }]], "detail's settings"],
    ["a setting of a later version that is no number", 13, [[1, { settings: { colour: "red" } }]], "detail's settings"],
    ["settings under another name", 1, "\u0001\u000a", "lacks a detail"],
    ["an acknowledgement of nothing", 1, "\u0001\u000b", "lacks a detail"],
  ])("is refused for %s, and says so", (_, column, value, reason) => {
    const thrown = refusal(changed(column, value));
    expect(thrown).toEqual(undecodable);
    expect((thrown as Error).message).toContain(reason);
  });

  it("is none of version 1, which had fingerprints among its columns", () => {
    const first = (fingerprints: unknown): LogEntry => {
      const batch = [1, ...raw().slice(1, 6), fingerprints, ...raw().slice(6)];
      return entryOf({ t: NOW, b: packr.pack(batch), o: Buffer.from([0, 0]) });
    };
    expect(eventsOf(first([11, 12])).events).toEqual(eventsOf(changed(0, 2)).events);
    for (const fingerprints of [[11], 0, ["a", "b"], [-1, 1]])
      expect(refusal(first(fingerprints))).toEqual(undecodable);
    expect(refusal(changed(0, 1))).toEqual(undecodable);
  });

  it("is none that has what a later release can add for itself: details and settings, which stay, and fields, which are passed over", () => {
    const later = { colour: "red", settings: { alertFactor: 2, colourFactor: 3 } };
    expect(eventsOf(changed(13, [[1, later]])).events[1]?.detail).toEqual(later);
    const own = { t: NOW, b: packr.pack(raw()), o: Buffer.from([0, 0]) };
    for (const fields of [own, { t: NOW, n: 3 }, { t: NOW, c: Buffer.from("shop"), j: Buffer.from("{}") }])
      expect(eventsOf(entryOf({ ...fields, "+later": Buffer.from([1]) }))).toEqual(eventsOf(entryOf(fields)));
  });

  it("is refused for a column too many or too few", () => {
    for (const batch of [raw().slice(0, 13), [...raw(), 0]])
      expect(refusal(entryOf({ t: NOW, b: packr.pack(batch), o: Buffer.from([0, 0]) }))).toEqual(undecodable);
  });

  it("is refused for fields that a later version may write, for one that is there twice, and for half a form", () => {
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

  it("is refused for expired holds that no sweep gives back", () => {
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

  it("is refused for its length before anything of it is read, and for more commands than a call takes", () => {
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

  it("is far from the limit when it is the largest that can be asked for", () => {
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

  describe("by chance", () => {
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
    const sound: LogEntry[] = [
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

    const bytesOf = (index: number) => fc.nat(Math.max(0, (sound[index]?.fields.length ?? 1) - 1));
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
      const place = bytes.length === 0 ? 0 : one.at % bytes.length;
      if (one.how === "cut") return copy.subarray(0, place);
      if (one.how === "drop") return Buffer.concat([copy.subarray(0, place), copy.subarray(place + one.length)]);
      if (bytes.length > 0) copy[place] = one.how === "flip" ? (copy[place] as number) ^ (1 << one.bit) : one.byte;
      return copy;
    }

    /** Runs `entry` and looks at whatever comes out. Returns whether it was taken. */
    function isTaken(entry: LogEntry): boolean {
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

    it("its bytes changed: it is refused, or gives events that are right in every field", () => {
      let taken = 0;
      const runs = 4_000;
      const hits = fc.nat(sound.length - 1).chain((which) =>
        fc.record({
          which: fc.constant(which),
          hits: fc.array(fc.tuple(bytesOf(which), damage), { minLength: 1, maxLength: 3 }),
        }),
      );
      fc.assert(
        fc.property(hits, ({ which, hits: all }) => {
          const fields = [...(sound[which] as LogEntry).fields];
          for (const [at, one] of all) fields[at] = damaged(fields[at] as Buffer, one);
          if (isTaken({ offset: 7, fields })) taken++;
        }),
        { numRuns: runs },
      );
      expect(taken).toBeGreaterThan(runs / 40);
      expect(taken).toBeLessThan(runs / 2);
    });

    /** Values as no sound column holds them, or as another one does. */
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
    const place = fc.tuple(
      fc.nat(14),
      fc.option(fc.nat(8)),
      fc.option(fc.constantFrom("0", "1", "settings", "actor", "colour")),
    );

    it("its values changed: it is refused, or gives events that are right in every field", () => {
      let taken = 0;
      const runs = 4_000;
      const { bytes } = encodeBatch(everyKind);
      fc.assert(
        fc.property(fc.boolean(), place, stray, (isBatch, [column, row, part], value) => {
          const columns = packr.unpack(isBatch ? bytes : swept) as unknown[];
          const held = columns[column] as Record<string, unknown> | undefined;
          const inner = row === null ? undefined : (held?.[row] as Record<string, unknown> | undefined);
          if (row === null || typeof held !== "object") columns[column] = value;
          else if (part !== null && typeof inner === "object") inner[part] = value;
          else held[row] = value;
          const packed = packr.pack(columns);
          const fields = isBatch ? { t: NOW, b: packed, o: Buffer.alloc(everyKind.length) } : { t: NOW, x: packed };
          if (isTaken(entryOf(fields))) taken++;
        }),
        { numRuns: runs },
      );
      expect(taken).toBeGreaterThan(runs / 40);
      expect(taken).toBeLessThan(runs / 2);
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
