/**
 * The rules for an order's numbered attempts (R3): what an undone attempt leaves, and which attempts are superseded.
 */
import { describe, expect, it } from "vitest";
import { DEFAULT_HOLD_MS } from "../../engine/stock/model.js";
import { newId, stocked } from "./scene.js";

describe("an order's attempt that is undone (R3)", () => {
  it("returns the units, and only a later attempt may reserve the line again", () => {
    const id = newId();
    const scene = stocked().line(id);
    expect(scene.when({ kind: "abort", id, units: 4, attempt: 1 })).toEqual({
      outcome: "accepted",
      repeated: false,
      state: "none",
    });
    expect(scene.cell()).toEqual({ sellable: 10 });
    // An older reservation that arrives late reserves nothing.
    expect(scene.when({ kind: "reserve", id, units: 4, attempt: 1 })).toEqual({
      outcome: "superseded",
      repeated: false,
      state: "none",
    });
    expect(scene.when({ kind: "reserve", id, units: 5, attempt: 2 }).outcome).toBe("id_reused");
    expect(scene.when({ kind: "pay", id, units: 4 }).outcome).toBe("unknown_line");
    expect(scene.when({ kind: "reserve", id, units: 4, attempt: 2 })).toEqual({
      outcome: "accepted",
      repeated: false,
      state: "held",
    });
  });

  it("reverts a payment, and only a later attempt may pay the line again", () => {
    const id = newId();
    const scene = stocked().line(id).given({ kind: "pay", id, units: 4, attempt: 2 });
    expect(scene.when({ kind: "unpay", id, units: 4, attempt: 2 })).toMatchObject({
      outcome: "accepted",
      state: "unpaid",
    });
    expect(scene.cell()).toEqual({ sellable: 10 });
    expect(scene.when({ kind: "pay", id, units: 4, attempt: 2 })).toEqual({
      outcome: "hold_expired",
      repeated: true,
      state: "unpaid",
    });
    expect(scene.when({ kind: "pay", id, units: 4, attempt: 3 })).toMatchObject({
      outcome: "admitted_anew",
      state: "paid",
    });
  });

  it("is accepted when there is nothing to undo, and blocks older attempts that arrive later", () => {
    const id = newId();
    const scene = stocked();
    for (const attempt of [2, 1]) {
      expect(scene.when({ kind: "abort", id, units: 4, attempt })).toEqual({
        outcome: "accepted",
        repeated: true,
        state: "none",
      });
    }
    expect(scene.when({ kind: "reserve", id, units: 4, attempt: 2 }).outcome).toBe("superseded");
    expect(scene.when({ kind: "receive", id, units: 4 }).outcome).toBe("id_reused");
    expect(scene.when({ kind: "reserve", id, units: 4, attempt: 3 }).outcome).toBe("accepted");
  });

  it("gets the same refusal of a numbered payment for good; only a later attempt may find units again", () => {
    const id = newId();
    const scene = stocked(4).line(id).after(DEFAULT_HOLD_MS).line(newId(), 4);
    expect(scene.when({ kind: "pay", id, units: 4, attempt: 2 })).toMatchObject({
      outcome: "hold_expired",
      state: "unpaid",
    });
    scene.given({ kind: "receive", id: newId(), units: 10 });
    expect(scene.when({ kind: "pay", id, units: 4, attempt: 2 })).toMatchObject({
      outcome: "hold_expired",
      repeated: true,
    });
    expect(scene.when({ kind: "pay", id, units: 4, attempt: 3 }).outcome).toBe("admitted_anew");
  });

  it("cannot undo a later attempt", () => {
    const id = newId();
    const scene = stocked().given({ kind: "reserve", id, units: 4, attempt: 2 });
    expect(scene.when({ kind: "abort", id, units: 4, attempt: 1 })).toEqual({
      outcome: "superseded",
      repeated: false,
      state: "held",
    });
  });

  it("cannot undo a line that a later attempt has taken over", () => {
    const id = newId();
    const scene = stocked().line(id);
    expect(scene.when({ kind: "reserve", id, units: 4, attempt: 2 })).toEqual({
      outcome: "accepted",
      repeated: true,
      state: "held",
    });
    expect(scene.when({ kind: "abort", id, units: 4, attempt: 1 }).outcome).toBe("superseded");
    expect(scene.when({ kind: "abort", id, units: 4, attempt: 2 }).outcome).toBe("accepted");
  });

  it("does not undo what is paid", () => {
    const id = newId();
    const scene = stocked().line(id).given({ kind: "pay", id, units: 4 });
    expect(scene.when({ kind: "abort", id, units: 4, attempt: 1 })).toEqual({
      outcome: "superseded",
      repeated: false,
      state: "paid",
    });
  });
});
