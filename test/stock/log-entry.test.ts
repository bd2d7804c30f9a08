/**
 * Log entries come back as events: for every kind of command the right accounts, times and details.
 */
import { describe, expect, it } from "vitest";
import { encodeBatch } from "../../engine/stock/batch.js";
import { fingerprintOf } from "../../engine/stock/fingerprint.js";
import { entryTimeMs, eventsOf } from "../../engine/stock/log-entry.js";
import { cellOf, MAX_UNITS, type Outcome, type StockCommand, type StockEvent } from "../../engine/stock/model.js";
import { at, code, entryOf, idOf, logged, NOW, packr } from "./log-entries.js";

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

  it("has the actor, for whom it acts, and the reason", () => {
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

  it("exists for each command that was accepted for the first time, in the order of the batch", () => {
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

  it("of a line that counts as demand has the time of its deduction; an entry without it is refused", () => {
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

  it("of a reservation says that it is not counted yet, from format 2 on", () => {
    const reserve: StockCommand = { kind: "reserve", ...at, units: 1, uncounted: true };
    expect(onlyEvent(reserve)).toMatchObject({ type: "StockReserved", from: "sellable", uncounted: true });
    const old = encodeBatch([reserve], 1);
    expect(old.bytes).toEqual(encodeBatch([{ kind: "reserve", ...at, units: 1 }]).bytes);
    expect(fingerprintOf(reserve)).toBe(fingerprintOf({ kind: "reserve", ...at, units: 1 }));
  });

  describe("of a command that moved other units than its kind says", () => {
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

    it("has the pool of each transfer, and the number of missing units", () => {
      const { events } = eventsOf(logged(commands, [0, 2, 0, 0], { m: packr.pack(moved) }));
      const left = { type: "LineOutbound", to: "outside" };
      expect(events).toMatchObject([
        { ...left, index: 0, from: "committed", units: 2 },
        { ...left, index: 4, from: "sellable", units: 2 },
        { type: "LineCancelled", index: 1, from: "committed", to: "sellable", units: 1 },
        { ...left, index: 2, from: "outside", units: 2 },
        { ...left, index: 3, from: "committed", units: 1 },
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

  it("of a line of an order is the same as of any line, and in format 1 the line has no mark", () => {
    const command: StockCommand = { kind: "reserve", ...at, units: 1, ofOrder: true };
    expect(onlyEvent(command)).toMatchObject({ type: "StockReserved", from: "sellable", to: "reserved" });
    expect(encodeBatch([command], 1).bytes).toEqual(encodeBatch([{ kind: "reserve", ...at, units: 1 }], 1).bytes);
  });

  it("belongs to its command also when the entry begins in the middle of a batch", () => {
    const commands = [1, 2, 3].map(
      (number): StockCommand => ({ kind: "receive", ...at, id: idOf(number), units: number }),
    );
    const { events } = eventsOf(logged(commands, [0, 0], { s: 1 }));
    expect(events.map(({ index, units }) => [index, units])).toEqual([
      [1, 2],
      [2, 3],
    ]);
  });

  it("has the command's time, but none later than the ledger's clock", () => {
    const commands = [NOW - 5, NOW + 5, undefined].map(
      (atMs, number): StockCommand => ({ kind: "receive", ...at, id: idOf(number), units: 1, ...(atMs && { atMs }) }),
    );
    const { events, clockMs } = eventsOf(logged(commands));
    expect(events.map(({ atMs }) => atMs)).toEqual([NOW - 5, NOW, NOW]);
    expect(clockMs).toBe(NOW);
  });

  it("has a clock that moves on with the commands' times, refused ones too, when the caller gave its clock", () => {
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

  it("of an expired hold has the accounts between which its units moved", () => {
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

  it("does not exist in a heartbeat, which still moves the clock", () => {
    expect(eventsOf(entryOf({ t: NOW }))).toEqual({ clockMs: NOW, events: [] });
    expect(entryTimeMs(entryOf({ t: NOW }))).toBe(NOW);
  });
});

describe("the event of a breaker", () => {
  const by = { actor: "ops", onBehalfOf: "li.wei", reason: "盘点" };
  const entry = (scope: string, change: unknown) =>
    entryOf({ t: NOW, c: Buffer.from(scope), j: Buffer.from(JSON.stringify(change)) });
  const none = { index: 0, units: 0, from: "outside", to: "outside", atMs: NOW, clockMs: NOW };

  it("names scope, cause, end and version; SKU and location as its scope does", () => {
    const [opened] = eventsOf(
      entry("location:SH:1", { action: "open", ...by, untilMs: NOW + 1, version: 7, atEnd: "half_open" }),
    ).events;
    const scope = { kind: "location", location: "SH:1" };
    expect(opened).toMatchObject({
      ...{ type: "BreakerOpened", id: "location:SH:1", sku: "", location: "SH:1", ...none },
      detail: { scope, ...by, untilMs: NOW + 1, version: 7, atEnd: "half_open" },
    });
    expect(eventsOf(entry("sku:A", { action: "half_open", ...by, version: 8 })).events).toMatchObject([
      { type: "BreakerHalfOpened", sku: "A", location: "", detail: { scope: { kind: "sku", sku: "A" }, version: 8 } },
    ]);
    expect(eventsOf(entry("shop", { action: "close", ...by, version: 9 })).events).toMatchObject([
      { type: "BreakerClosed", sku: "", location: "", detail: { scope: { kind: "shop" }, version: 9 } },
    ]);
  });

  it("is the same in an entry of an older format, without end and version", () => {
    const { onBehalfOf: _, ...cause } = by;
    expect(eventsOf(entry("shop", { action: "open", ...cause })).events).toMatchObject([
      { type: "BreakerOpened", ...none, detail: { scope: { kind: "shop" }, ...cause } },
    ]);
  });

  it("is rejected with an unknown action or scope, or a cause that is not a text", () => {
    for (const [scope, change, fault] of [
      ["shop", { ...by, action: "toggle" }, "unknown action"],
      ["shop", { ...by, action: "toString" }, "unknown action"],
      ["store", { ...by, action: "open" }, "scope"],
      ["sku:", { ...by, action: "open" }, "scope"],
      ["shop", { action: "open", actor: "a" }, "reason is not a text"],
      ["shop", { ...by, action: "open", untilMs: 1.5 }, "untilMs is not a whole number"],
      ["shop", null, "not an object"],
    ] as const)
      expect(() => eventsOf(entry(scope, change)), fault).toThrow(fault);
  });
});
