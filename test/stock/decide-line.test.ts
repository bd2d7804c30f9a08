/**
 * The rules for order lines as sentences (R1, R3): what each command does in each state of a line.
 */
import { describe, expect, it } from "vitest";
import { chainIdDay } from "../../engine/kernel/chain-id.js";
import { DAY_MS } from "../../engine/kernel/clock.js";
import { DEFAULT_HOLD_MS } from "../../engine/stock/model.js";
import { type Brief, given, newId, Scene, stocked } from "./scene.js";

describe("an order line (R1, R3)", () => {
  it("holds its units until it is paid, commits them until they leave", () => {
    const id = newId();
    const scene = stocked();
    expect(scene.when({ kind: "reserve", id, units: 4 })).toEqual({
      outcome: "accepted",
      repeated: false,
      state: "held",
    });
    expect(scene.cell()).toEqual({ sellable: 6, reserved: 4 });
    expect(scene.when({ kind: "pay", id, units: 4 })).toEqual({ outcome: "accepted", repeated: false, state: "paid" });
    expect(scene.cell()).toEqual({ sellable: 6, committed: 4 });
    expect(scene.when({ kind: "outbound", id, units: 4 })).toEqual({
      outcome: "accepted",
      repeated: false,
      state: "outbound",
    });
    expect(scene.cell()).toEqual({ sellable: 6 });
  });

  it("takes the last unit and no more", () => {
    const scene = stocked(4).line(newId(), 4);
    expect(scene.when({ kind: "reserve", units: 1 })).toEqual({
      outcome: "insufficient_sellable",
      repeated: false,
      state: "none",
    });
  });

  it("does not take safety stock", () => {
    const scene = given({ kind: "receive", units: 5, pool: "safety" });
    expect(scene.when({ kind: "reserve", units: 1 }).outcome).toBe("insufficient_sellable");
  });

  it("returns its units when it is cancelled before payment", () => {
    const id = newId();
    const scene = stocked().line(id);
    expect(scene.when({ kind: "cancel", id, units: 4 })).toEqual({
      outcome: "accepted",
      repeated: false,
      state: "cancelled",
    });
    expect(scene.cell()).toEqual({ sellable: 10 });
  });

  it("returns its units after payment too, with an outcome that asks for a refund", () => {
    const id = newId();
    const scene = stocked().line(id).given({ kind: "pay", id, units: 4 });
    expect(scene.when({ kind: "cancel", id, units: 4 })).toEqual({
      outcome: "cancelled_paid",
      repeated: false,
      state: "cancelled_paid",
    });
    expect(scene.cell()).toEqual({ sellable: 10 });
    expect(scene.when({ kind: "cancel", id, units: 4 })).toEqual({
      outcome: "cancelled_paid",
      repeated: true,
      state: "cancelled_paid",
    });
  });

  it("is not cancelled once it is outbound", () => {
    const id = newId();
    const scene = stocked().line(id).given({ kind: "pay", id, units: 4 }, { kind: "outbound", id, units: 4 });
    expect(scene.when({ kind: "cancel", id, units: 4 }).outcome).toBe("already_outbound");
  });

  it("that was cancelled is not paid", () => {
    const id = newId();
    const scene = stocked().line(id).given({ kind: "cancel", id, units: 4 });
    expect(scene.when({ kind: "pay", id, units: 4 }).outcome).toBe("line_cancelled");
  });

  describe("whose goods have left", () => {
    const id = newId();
    const line = { id, units: 4 };
    const pay = { kind: "pay", ...line } as const;
    const suspend = { kind: "suspend", ...line } as const;
    const cancel = { kind: "cancel", ...line } as const;
    it.each<[string, Brief[], number]>([
      ["held", [], 6],
      ["paid", [pay], 6],
      ["cancelling", [pay, suspend], 6],
      ["cancelled", [cancel], 6],
      ["cancelled_paid", [pay, cancel], 6],
      [
        "unpaid",
        [
          { ...pay, attempt: 2 },
          { kind: "unpay", ...line, attempt: 2 },
        ],
        6,
      ],
    ])("is outbound, whatever its state: %s", (state, before, sellable) => {
      const scene = stocked()
        .line(id)
        .given(...before);
      expect(scene.when({ kind: "suspend", ...line, id: newId() }).outcome).toBe("unknown_line");
      expect(scene.partition.records.get(chainIdDay(id))?.get(id)?.state).toBe(state);
      const left = { outcome: "accepted", state: "outbound" };
      expect(scene.when({ kind: "outbound", ...line })).toEqual({ ...left, repeated: false });
      expect(scene.when({ kind: "outbound", ...line })).toEqual({ ...left, repeated: true });
      expect(scene.cell()).toEqual({ sellable });
      // Its hold does not end any more.
      expect(scene.after(DAY_MS).cell()).toEqual({ sellable });
    });

    it("is outbound after its hold has expired", () => {
      const scene = stocked().line(id).after(DEFAULT_HOLD_MS);
      expect(scene.when({ kind: "outbound", ...line })).toMatchObject({ outcome: "accepted", state: "outbound" });
      expect(scene.cell()).toEqual({ sellable: 6 });
    });

    it("takes only the units that exist when its own were sold again, and reports the missing ones", () => {
      const scene = stocked(5).line(id).given(pay, cancel).line(newId(), 2);
      expect(scene.when({ kind: "outbound", ...line })).toMatchObject({ outcome: "accepted", missingUnits: 1 });
      expect(scene.cell()).toEqual({ reserved: 2 });
    });

    it("is refused for its state in format 1", () => {
      const outcomes = ([[], [cancel], [pay, cancel]] as Brief[][]).map(
        (before) =>
          new Scene(1)
            .given({ kind: "receive", units: 10 })
            .line(id)
            .given(...before)
            .when({ kind: "outbound", ...line }).outcome,
      );
      expect(outcomes).toEqual(["not_paid", "line_cancelled", "line_cancelled"]);
    });
  });

  describe("that is paid and to be cancelled", () => {
    const id = newId();
    const line = { id, units: 4 };
    const paid = (): Scene =>
      stocked()
        .line(id)
        .given({ kind: "pay", ...line });

    it("keeps its units committed until the cancellation is settled", () => {
      const scene = paid();
      expect(scene.when({ kind: "suspend", ...line })).toMatchObject({ outcome: "accepted", state: "cancelling" });
      expect(scene.cell()).toEqual({ sellable: 6, committed: 4 });
      expect(scene.when({ kind: "suspend", ...line })).toMatchObject({ repeated: true, state: "cancelling" });
      expect(scene.when({ kind: "pay", ...line })).toMatchObject({ outcome: "accepted", repeated: true });
      expect(scene.when({ kind: "cancel", ...line })).toMatchObject({ outcome: "cancelled_paid" });
      expect(scene.cell()).toEqual({ sellable: 10 });
      expect(scene.when({ kind: "resume", ...line }).outcome).toBe("line_cancelled");
    });

    it("is paid again when the warehouse refuses", () => {
      const scene = paid().given({ kind: "suspend", ...line });
      expect(scene.when({ kind: "resume", ...line })).toMatchObject({ outcome: "accepted", state: "paid" });
      expect(scene.when({ kind: "resume", ...line })).toMatchObject({ repeated: true, state: "paid" });
      // A late command of an older attempt neither suspends the line nor returns units.
      scene.given({ kind: "resume", ...line, attempt: 3 });
      expect(scene.when({ kind: "suspend", ...line, attempt: 2 })).toMatchObject({
        outcome: "superseded",
        state: "paid",
      });
      scene.given({ kind: "suspend", ...line, attempt: 4, ofOrder: true });
      for (const kind of ["cancel", "resume"] as const)
        expect(scene.when({ kind, ...line, attempt: 3, ofOrder: true })).toMatchObject({
          outcome: "superseded",
          state: "cancelling",
        });
      expect(scene.cell()).toEqual({ sellable: 6, committed: 4 });
    });

    it("of an order is not cancelled by the order service before it is suspended", () => {
      const byOrderService = { ...line, ofOrder: true } as const;
      const scene = paid();
      expect(scene.when({ kind: "cancel", ...byOrderService })).toMatchObject({ outcome: "superseded", state: "paid" });
      scene.given({ kind: "suspend", ...byOrderService }, { kind: "cancel", ...byOrderService });
    });

    it("is not suspended or resumed when it is not paid, or when its goods have left", () => {
      const held = stocked().line(id);
      for (const kind of ["suspend", "resume"] as const)
        expect(held.when({ kind, ...line })).toEqual({ outcome: "accepted", repeated: true, state: "held" });
      const left = paid().given({ kind: "outbound", ...line });
      for (const kind of ["suspend", "resume"] as const)
        expect(left.when({ kind, ...line })).toMatchObject({ outcome: "already_outbound", state: "outbound" });
    });
  });

  describe("of an order", () => {
    const id = newId();
    const line = { id, units: 4 };
    const reserved = (): Scene => stocked().given({ kind: "reserve", ...line, ofOrder: true });

    it("is changed by the order service alone", () => {
      const scene = reserved();
      const briefs: Brief[] = [
        ...(["pay", "cancel", "outbound", "suspend", "resume", "reserve"] as const).map((kind) => ({ kind, ...line })),
        ...(["abort", "unpay"] as const).map((kind) => ({ kind, ...line, attempt: 9 })),
      ];
      for (const brief of briefs)
        expect(scene.when(brief), brief.kind).toEqual({ outcome: "order_line", repeated: false, state: "held" });
      expect(scene.when({ kind: "pay", ...line, ofOrder: true }).outcome).toBe("accepted");
      expect(scene.when({ kind: "cancel", ...line }).outcome).toBe("order_line");
    });

    it("gets its owner when the order service takes it over from a line without one", () => {
      const taken = stocked().line(id);
      expect(taken.when({ kind: "reserve", ...line, ofOrder: true })).toMatchObject({ repeated: true });
      expect(taken.when({ kind: "pay", ...line }).outcome).toBe("order_line");
      const paid = stocked()
        .line(id)
        .given({ kind: "pay", ...line, ofOrder: true });
      expect(paid.when({ kind: "cancel", ...line }).outcome).toBe("order_line");
    });

    it("is like any other line in format 1", () => {
      const scene = new Scene(1).given({ kind: "receive", units: 4 }, { kind: "reserve", ...line, ofOrder: true });
      expect(scene.when({ kind: "pay", ...line }).outcome).toBe("accepted");
    });
  });

  it("is found by its id only together with cell, units and pool", () => {
    const id = newId();
    const scene = stocked().line(id);
    const mismatch = { outcome: "line_mismatch", repeated: false, state: "held" };
    expect(scene.when({ kind: "pay", id, units: 3 })).toEqual(mismatch);
    expect(scene.when({ kind: "pay", id, units: 4, location: "GZ" })).toEqual(mismatch);
    expect(scene.when({ kind: "pay", id, units: 4, pool: "presale" })).toEqual(mismatch);
  });

  it("that was never reserved, or was refused, is unknown", () => {
    const id = newId();
    const scene = stocked(1);
    expect(scene.when({ kind: "pay", id, units: 4 }).outcome).toBe("unknown_line");
    scene.when({ kind: "reserve", id, units: 4 });
    expect(scene.when({ kind: "pay", id, units: 4 }).outcome).toBe("unknown_line");
  });
});
