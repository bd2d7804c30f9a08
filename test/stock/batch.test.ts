/**
 * What goes over the wire and into the log comes back as events: for every kind of command the right accounts, times and details.
 * The entries are made by hand as ledger.lua writes them, so that a change of the form on one side only is noticed here.
 * Bytes that are not understood are refused.
 */
import { Packr } from "msgpackr";
import { describe, expect, it } from "vitest";
import { chainIdFromNumber } from "../../engine/kernel/chain-id.js";
import { DAY_MS } from "../../engine/kernel/clock.js";
import { EngineError } from "../../engine/kernel/errors.js";
import { encodeBatch, entryTimeMs, eventsOf } from "../../engine/stock/batch.js";
import {
  cellOf,
  MAX_UNITS,
  OUTCOMES,
  type Outcome,
  type StockCommand,
  type StockEvent,
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
  more: Record<string, number> = {},
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
    [{ kind: "outbound", ...at, units: 1, pool: "presale" }, "accepted", { from: "sellable", to: "outside" }],
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
    expect(onlyEvent({ kind: "receive", ...at, units: 1 })).not.toHaveProperty("detail");
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
