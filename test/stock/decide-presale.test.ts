/**
 * The rules for presale lines (R1): they change the presale counter until their goods leave.
 */
import { describe, expect, it } from "vitest";
import { DEFAULT_HOLD_MS } from "../../engine/stock/model.js";
import { newId, presold } from "./scene.js";

describe("a presale line (R1)", () => {
  const presale = { units: 4, pool: "presale" } as const;

  it("lowers the presale counter only, until its goods leave from sellable", () => {
    const id = newId();
    const scene = presold().given({ kind: "receive", units: 5 }, { kind: "reserve", id, ...presale });
    expect(scene.cell()).toEqual({ sellable: 5, presale: 6 });
    expect(scene.given({ kind: "pay", id, ...presale }).cell()).toEqual({ sellable: 5, presale: 6 });
    expect(scene.given({ kind: "outbound", id, ...presale }).cell()).toEqual({ sellable: 1, presale: 6 });
  });

  it("that leaves before its goods were received is reported as missing", () => {
    const id = newId();
    const scene = presold().given({ kind: "reserve", id, ...presale }, { kind: "pay", id, ...presale });
    expect(scene.when({ kind: "outbound", id, ...presale })).toEqual({
      outcome: "accepted",
      repeated: false,
      state: "outbound",
      missingUnits: 4,
    });
  });

  it("is refused when the counter is too low", () => {
    expect(presold(3).when({ kind: "reserve", ...presale }).outcome).toBe("insufficient_presale");
  });

  it("returns its units to the counter when cancelled, aborted or expired", () => {
    const [paid, held, aborted] = [newId(), newId(), newId()];
    const scene = presold(20);
    for (const id of [paid, held, aborted]) scene.given({ kind: "reserve", id, ...presale });
    scene.given({ kind: "pay", id: paid, ...presale });
    scene.given({ kind: "abort", id: aborted, ...presale, attempt: 1 });
    expect(scene.cell()).toEqual({ presale: 12 });
    expect(scene.when({ kind: "cancel", id: paid, ...presale }).outcome).toBe("cancelled_paid");
    expect(scene.after(DEFAULT_HOLD_MS).cell()).toEqual({ presale: 20 });
  });

  it("paid after it expired is admitted anew from the counter, or refused", () => {
    const [first, second] = [newId(), newId()];
    const scene = presold(4)
      .given({ kind: "reserve", id: first, ...presale })
      .after(DEFAULT_HOLD_MS);
    expect(scene.when({ kind: "pay", id: first, ...presale }).outcome).toBe("admitted_anew");
    scene.given({ kind: "receive", ...presale }, { kind: "reserve", id: second, ...presale }).after(DEFAULT_HOLD_MS);
    scene.given({ kind: "correct", units: -1, pool: "presale" });
    expect(scene.when({ kind: "pay", id: second, ...presale }).outcome).toBe("hold_expired");
  });
});
