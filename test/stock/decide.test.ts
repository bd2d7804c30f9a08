/**
 * The rules for goods, ids and breakers as sentences (R1–R3, R14). The simulation compares ledger.lua with the same
 * rules.
 */
import { describe, expect, it } from "vitest";
import { DAY_MS } from "../../engine/kernel/clock.js";
import { endBreakers } from "../../engine/stock/breaker-rules.js";
import { DEFAULT_ID_RETENTION_DAYS, HOLD_MARGIN_DAYS, MAX_UNITS } from "../../engine/stock/model.js";
import { given, MINUTE_MS, NOON, newId, Scene, stocked } from "./scene.js";

describe("goods (R1, R2)", () => {
  it("arrive as sellable, or in the pool that is named", () => {
    expect(given({ kind: "receive", units: 5 }, { kind: "receive", units: 2, pool: "safety" }).cell()).toEqual({
      sellable: 5,
      safety: 2,
    });
  });

  it("come back as sellable", () => {
    expect(given({ kind: "return", units: 3 }).cell()).toEqual({ sellable: 3 });
  });

  it("are moved between sellable and safety, and no further than there is", () => {
    const scene = stocked(5).given({ kind: "move", units: 4, from: "sellable", to: "safety" });
    expect(scene.cell()).toEqual({ sellable: 1, safety: 4 });
    expect(scene.when({ kind: "move", units: 2, from: "sellable", to: "safety" }).outcome).toBe("insufficient_units");
    expect(scene.given({ kind: "move", units: 3, from: "safety", to: "sellable" }).cell()).toEqual({
      sellable: 4,
      safety: 1,
    });
  });

  it("are moved to another location, which then exists", () => {
    const scene = stocked(5).given({ kind: "move", units: 2, from: "sellable", to: "sellable", toLocation: "GZ" });
    expect([scene.cell("SH"), scene.cell("GZ")]).toEqual([{ sellable: 3 }, { sellable: 2 }]);
  });

  it("are corrected up and down, down to nothing", () => {
    const scene = stocked(5).given({ kind: "correct", units: 2 }, { kind: "correct", units: -7 });
    expect(scene.cell()).toEqual({});
    expect(scene.when({ kind: "correct", units: -1 }).outcome).toBe("insufficient_units");
  });

  it("are corrected only while the cell holds what is expected, all pools on hand together", () => {
    const scene = stocked(5).given({ kind: "move", units: 2, from: "sellable", to: "safety" });
    const refused = scene.when({ kind: "correct", units: 1, expected: { onHandUnits: 3 } });
    expect([refused.outcome, scene.cell()]).toEqual(["balance_changed", { sellable: 3, safety: 2 }]);
    scene.given({ kind: "correct", units: 1, expected: { onHandUnits: 5 } });
    expect(scene.cell()).toEqual({ sellable: 4, safety: 2 });
  });

  it("of a cell that does not exist are expected to be 0", () => {
    const scene = new Scene();
    expect(scene.when({ kind: "correct", units: 1, expected: { onHandUnits: 1 } }).outcome).toBe("balance_changed");
    expect(scene.when({ kind: "correct", units: -1, expected: { onHandUnits: 0 } }).outcome).toBe("unknown_sku");
    expect(scene.given({ kind: "correct", units: 1, expected: { onHandUnits: 0 } }).cell()).toEqual({ sellable: 1 });
  });

  it("stay refused under the same id, also when the cell holds what was expected again", () => {
    const scene = stocked(5);
    const id = newId();
    const correction = { kind: "correct", id, units: -1, expected: { onHandUnits: 6 } } as const;
    expect(scene.when(correction).outcome).toBe("balance_changed");
    scene.given({ kind: "receive", units: 1 });
    expect(scene.when(correction)).toMatchObject({ outcome: "balance_changed", repeated: true });
    expect(scene.when({ kind: "correct", id, units: -1 }).outcome).toBe("id_reused");
  });

  it("that were never received cannot be taken", () => {
    const scene = new Scene();
    expect(scene.when({ kind: "reserve", units: 1 }).outcome).toBe("unknown_sku");
    expect(scene.when({ kind: "correct", units: -1 }).outcome).toBe("unknown_sku");
    expect(scene.when({ kind: "move", units: 1, from: "safety", to: "sellable" }).outcome).toBe("unknown_sku");
  });

  it("never exceed the largest exact number, all pools on hand together", () => {
    const scene = given({ kind: "receive", units: MAX_UNITS - 10 }, { kind: "receive", units: 10, pool: "safety" });
    expect(scene.when({ kind: "receive", units: 1 }).outcome).toBe("limit_exceeded");
    expect(scene.when({ kind: "return", units: 1 }).outcome).toBe("limit_exceeded");
    expect(scene.when({ kind: "correct", units: 1 }).outcome).toBe("limit_exceeded");
    scene.given({ kind: "receive", units: 1, location: "GZ" });
    expect(
      scene.when({ kind: "move", units: 1, from: "sellable", to: "sellable", toLocation: "SH", location: "GZ" })
        .outcome,
    ).toBe("limit_exceeded");
  });

  it("have a limit apart from presale", () => {
    const scene = given({ kind: "receive", units: MAX_UNITS });
    expect(scene.when({ kind: "receive", units: 1, pool: "presale" }).outcome).toBe("accepted");
  });

  it("reserved for a line cannot be corrected", () => {
    const scene = stocked().line(newId(), 4);
    expect(scene.when({ kind: "correct", units: -1, pool: "reserved" as never }).outcome).toBe("insufficient_units");
    expect(scene.when({ kind: "correct", units: 1, pool: "reserved" as never }).outcome).toBe("insufficient_units");
  });

  describe("committed and then corrected to fewer", () => {
    const id = newId();
    const short = (units: number, format?: number): Scene =>
      new Scene(format)
        .given({ kind: "receive", units })
        .line(id)
        .given({ kind: "pay", id, units: 4 }, { kind: "correct", units: -1, pool: "committed" });

    it("still leave, the rest from sellable", () => {
      const scene = short(10);
      expect(scene.when({ kind: "outbound", id, units: 4 })).toEqual({
        outcome: "accepted",
        repeated: false,
        state: "outbound",
      });
      expect(scene.cell()).toEqual({ sellable: 5 });
    });

    it("are reported as missing when they leave and sellable has none, also in a repeated reply", () => {
      const scene = short(4);
      const left = { outcome: "accepted", state: "outbound", missingUnits: 1 };
      expect(scene.when({ kind: "outbound", id, units: 4 })).toEqual({ ...left, repeated: false });
      expect(scene.when({ kind: "outbound", id, units: 4 })).toEqual({ ...left, repeated: true });
      expect(scene.cell()).toEqual({});
    });

    it("are returned as far as they exist when the line is cancelled, and the rest is reported as missing", () => {
      const scene = short(4);
      const back = { outcome: "cancelled_paid", state: "cancelled_paid", missingUnits: 1 };
      expect(scene.when({ kind: "cancel", id, units: 4 })).toEqual({ ...back, repeated: false });
      expect(scene.when({ kind: "cancel", id, units: 4 })).toEqual({ ...back, repeated: true });
      expect(scene.cell()).toEqual({ sellable: 3 });
    });

    it("keep the line paid in format 1: neither outbound nor cancelled", () => {
      const scene = short(10, 1);
      for (const kind of ["outbound", "cancel"] as const)
        expect(scene.when({ kind, id, units: 4 })).toMatchObject({ outcome: "insufficient_units", state: "paid" });
    });
  });

  it("do not move when a command only configures or acknowledges", () => {
    const scene = stocked().given(
      { kind: "configure", settings: { alertFactor: 2 } },
      { kind: "acknowledge", alertId: "a" },
    );
    expect(scene.cell()).toEqual({ sellable: 10 });
  });
});

describe("the same id again (R3)", () => {
  it("with the same body gets the first answer, and nothing moves", () => {
    const id = newId();
    const scene = stocked().line(id);
    expect(scene.when({ kind: "reserve", id, units: 4 })).toEqual({
      outcome: "accepted",
      repeated: true,
      state: "held",
    });
    expect(scene.cell()).toEqual({ sellable: 6, reserved: 4 });
  });

  it("gets the first refusal again, also when there are enough units by now", () => {
    const id = newId();
    const scene = stocked(1);
    scene.when({ kind: "reserve", id, units: 4 });
    scene.given({ kind: "receive", units: 10 });
    expect(scene.when({ kind: "reserve", id, units: 4 })).toEqual({
      outcome: "insufficient_sellable",
      repeated: true,
      state: "none",
    });
  });

  it("with another body is refused", () => {
    const id = newId();
    const scene = stocked().line(id);
    expect(scene.when({ kind: "reserve", id, units: 5 })).toEqual({
      outcome: "id_reused",
      repeated: false,
      state: "none",
    });
    expect(scene.when({ kind: "receive", id, units: 4 }).outcome).toBe("id_reused");
  });

  it("counts a receipt once", () => {
    const receipt = { kind: "receive", id: newId(), units: 5 } as const;
    const scene = given(receipt);
    expect(scene.when(receipt)).toEqual({ outcome: "accepted", repeated: true, state: "none" });
    expect(scene.cell()).toEqual({ sellable: 5 });
  });

  it("pays, cancels and takes out units once", () => {
    const id = newId();
    const scene = stocked().line(id).given({ kind: "pay", id, units: 4 });
    expect(scene.when({ kind: "pay", id, units: 4 })).toEqual({ outcome: "accepted", repeated: true, state: "paid" });
    scene.given({ kind: "outbound", id, units: 4 });
    expect(scene.when({ kind: "outbound", id, units: 4 })).toEqual({
      outcome: "accepted",
      repeated: true,
      state: "outbound",
    });
    expect(scene.when({ kind: "pay", id, units: 4 })).toEqual({
      outcome: "accepted",
      repeated: true,
      state: "outbound",
    });
    const other = newId();
    scene.line(other).given({ kind: "cancel", id: other, units: 4 });
    expect(scene.when({ kind: "cancel", id: other, units: 4 })).toEqual({
      outcome: "accepted",
      repeated: true,
      state: "cancelled",
    });
    expect(scene.cell()).toEqual({ sellable: 6 });
  });

  it("gets the present state of the line", () => {
    const id = newId();
    const scene = stocked().line(id).given({ kind: "pay", id, units: 4 });
    expect(scene.when({ kind: "reserve", id, units: 4 })).toEqual({
      outcome: "accepted",
      repeated: true,
      state: "paid",
    });
  });
});

describe("an id's day (R3)", () => {
  it("may be as old as the retention, and no older", () => {
    const scene = stocked();
    expect(
      scene.when({ kind: "reserve", id: newId(NOON - DEFAULT_ID_RETENTION_DAYS * DAY_MS), units: 1 }).outcome,
    ).toBe("accepted");
    const older = newId(NOON - (DEFAULT_ID_RETENTION_DAYS + 1) * DAY_MS);
    expect(scene.when({ kind: "reserve", id: older, units: 1 }).outcome).toBe("id_outside_window");
  });

  it("may be tomorrow, because clocks differ, and no later", () => {
    const scene = stocked();
    expect(scene.when({ kind: "reserve", id: newId(NOON + DAY_MS), units: 1 }).outcome).toBe("accepted");
    expect(scene.when({ kind: "reserve", id: newId(NOON + 2 * DAY_MS), units: 1 }).outcome).toBe("id_outside_window");
  });

  it("past the window still gets its first answer until its day is retired, and is never applied again", () => {
    const receipt = { kind: "receive", id: newId(), units: 5 } as const;
    const scene = given(receipt).after((DEFAULT_ID_RETENTION_DAYS + HOLD_MARGIN_DAYS) * DAY_MS);
    expect(scene.when(receipt)).toEqual({ outcome: "accepted", repeated: true, state: "none" });
    expect(scene.after(DAY_MS).when(receipt).outcome).toBe("id_outside_window");
    expect(scene.cell()).toEqual({ sellable: 5 });
  });
});

describe("clocks that disagree", () => {
  it("refuse new reservations without a record, and nothing else", () => {
    const [held, fresh] = [newId(), newId()];
    const scene = stocked().line(held);
    scene.partition.clocksDisagree = true;
    const reserve = { kind: "reserve", id: fresh, units: 4 } as const;
    expect(scene.when(reserve)).toEqual({ outcome: "clocks_disagree", repeated: false, state: "none" });
    expect(scene.when({ ...reserve, id: held })).toMatchObject({ outcome: "accepted", repeated: true });
    scene.given(
      { kind: "pay", id: held, units: 4 },
      { kind: "outbound", id: held, units: 4 },
      { kind: "receive", units: 1 },
    );
    delete scene.partition.clocksDisagree;
    expect(scene.when(reserve)).toMatchObject({ outcome: "accepted", repeated: false });
  });
});

describe("an open breaker (R14)", () => {
  it("refuses new orders in its scope and nowhere else", () => {
    const other = { kind: "reserve", units: 1, location: "GZ" } as const;
    const scene = stocked()
      .given({ kind: "receive", units: 5, location: "GZ" })
      .breaker({ kind: "location", location: "SH" });
    expect(scene.when({ kind: "reserve", units: 1 }).outcome).toBe("breaker_open");
    expect(scene.when(other).outcome).toBe("accepted");
    expect(scene.breaker({ kind: "sku", sku: "SHOE" }).when(other).outcome).toBe("accepted");
    expect(scene.breaker({ kind: "sku", sku: "CUP" }).when(other).outcome).toBe("breaker_open");
    expect(stocked().breaker({ kind: "shop" }).when(other).outcome).toBe("breaker_open");
  });

  it("accepts payments, cancellations and outbound", () => {
    const [first, second] = [newId(), newId()];
    const scene = stocked().line(first).line(second).breaker({ kind: "shop" });
    scene.given(
      { kind: "pay", id: first, units: 4 },
      { kind: "outbound", id: first, units: 4 },
      { kind: "cancel", id: second, units: 4 },
    );
    expect(scene.cell()).toEqual({ sellable: 6 });
  });

  it("leaves no record of the order that it refused: the same id may come again", () => {
    const id = newId();
    const scene = stocked().breaker({ kind: "shop" }, MINUTE_MS);
    expect(scene.when({ kind: "reserve", id, units: 1 })).toEqual({
      outcome: "breaker_open",
      repeated: false,
      state: "none",
    });
    expect(scene.after(MINUTE_MS).when({ kind: "reserve", id, units: 1 })).toEqual({
      outcome: "accepted",
      repeated: false,
      state: "held",
    });
  });

  it("closes when its time is over, to the millisecond", () => {
    const scene = stocked().breaker({ kind: "shop" }, MINUTE_MS);
    expect(scene.after(MINUTE_MS - 1).when({ kind: "reserve", units: 1 }).outcome).toBe("breaker_open");
    expect(scene.after(1).when({ kind: "reserve", units: 1 }).outcome).toBe("accepted");
  });

  it("refuses while it is half-open, which it becomes when its time is over, if it was opened so", () => {
    const reserve = { kind: "reserve", units: 1 } as const;
    const scene = stocked().breaker({ kind: "shop" }, MINUTE_MS, "half_open").after(MINUTE_MS);
    // As long as no tick has come, and after it.
    expect(scene.when(reserve).outcome).toBe("breaker_open");
    const { clockMs } = scene.partition;
    expect(endBreakers(scene.partition)).toEqual([
      {
        type: "BreakerHalfOpened",
        detail: { scope: { kind: "shop" }, actor: "engine", reason: "its time is over", version: 1 },
      },
    ]);
    expect(scene.partition.breakers.get("shop")).toMatchObject({ state: "half_open", sinceMs: clockMs, untilMs: 0 });
    expect(scene.after(MINUTE_MS).when(reserve).outcome).toBe("breaker_open");
    expect(endBreakers(scene.partition)).toEqual([]);
    expect(scene.breaker({ kind: "shop" }, 0, undefined, "close").when(reserve).outcome).toBe("accepted");
    expect(scene.breaker({ kind: "shop" }, 0, undefined, "half_open").when(reserve).outcome).toBe("breaker_open");
  });

  it("still gives a first answer again", () => {
    const id = newId();
    expect(stocked().line(id).breaker({ kind: "shop" }).when({ kind: "reserve", id, units: 4 })).toMatchObject({
      outcome: "accepted",
      repeated: true,
    });
  });
});
