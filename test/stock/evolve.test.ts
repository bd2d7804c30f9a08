/**
 * What ends by time (R3): holds, and the records of retired days.
 */
import { describe, expect, it } from "vitest";
import { DAY_MS } from "../../engine/kernel/clock.js";
import { DEFAULT_HOLD_MS, DEFAULT_ID_RETENTION_DAYS, HOLD_MARGIN_DAYS, SWEEP_LIMIT } from "../../engine/stock/model.js";
import { MINUTE_MS, newId, stocked } from "./scene.js";

describe("a line that holds units (R3)", () => {
  it.each([60, 100, 200, 365])(
    "is kept for %i days: its units can leave, and repeated commands are answered",
    (days) => {
      const [late, early, other] = [newId(), newId(), newId()];
      const presale = { units: 4, pool: "presale" } as const;
      const scene = stocked(20)
        .line(late)
        .given(
          { kind: "receive", ...presale },
          { kind: "reserve", id: early, ...presale },
          { kind: "pay", id: late, units: 4 },
          { kind: "pay", id: early, ...presale },
        )
        .line(other)
        .given({ kind: "cancel", id: other, units: 4 });
      for (let day = 0; day < days; day++) scene.after(DAY_MS);
      expect(scene.cell()).toEqual({ sellable: 16, committed: 4 });
      for (const brief of [
        { kind: "outbound", id: late, units: 4 },
        { kind: "outbound", id: early, ...presale },
      ] as const) {
        expect(scene.when(brief)).toEqual({ outcome: "accepted", repeated: false, state: "outbound" });
        expect(scene.after(DAY_MS).when(brief)).toEqual({ outcome: "accepted", repeated: true, state: "outbound" });
      }
      expect(scene.cell()).toEqual({ sellable: 12 });
      // After its end a line is kept as long as any id.
      expect(scene.when({ kind: "cancel", id: other, units: 4 }).outcome).toBe("unknown_line");
      scene.after((DEFAULT_ID_RETENTION_DAYS + HOLD_MARGIN_DAYS + 2) * DAY_MS);
      expect(scene.when({ kind: "outbound", id: late, units: 4 }).outcome).toBe("unknown_line");
      expect(scene.partition.records.size).toBe(0);
    },
  );
});

describe("a hold (R3)", () => {
  it("expires after 30 minutes and returns its units", () => {
    const id = newId();
    const scene = stocked()
      .line(id)
      .after(DEFAULT_HOLD_MS - 1);
    expect(scene.cell()).toEqual({ sellable: 6, reserved: 4 });
    expect(scene.after(1).cell()).toEqual({ sellable: 10 });
  });

  it("lasts as long as its order asks for", () => {
    const scene = stocked().given({ kind: "reserve", units: 4, holdMs: MINUTE_MS }).after(MINUTE_MS);
    expect(scene.cell()).toEqual({ sellable: 10 });
  });

  it("ends with payment and does not expire after it", () => {
    const id = newId();
    const scene = stocked().line(id).given({ kind: "pay", id, units: 4 }).after(DAY_MS);
    expect(scene.cell()).toEqual({ sellable: 6, committed: 4 });
  });

  it("paid after it expired is admitted anew when there are units", () => {
    const id = newId();
    const scene = stocked().line(id).after(DEFAULT_HOLD_MS);
    expect(scene.when({ kind: "pay", id, units: 4 })).toEqual({
      outcome: "admitted_anew",
      repeated: false,
      state: "paid",
    });
    expect(scene.cell()).toEqual({ sellable: 6, committed: 4 });
  });

  it("paid after it expired is refused when the units are sold, and may be tried again", () => {
    const id = newId();
    const scene = stocked(4).line(id).after(DEFAULT_HOLD_MS).line(newId(), 4);
    expect(scene.when({ kind: "pay", id, units: 4 })).toEqual({
      outcome: "hold_expired",
      repeated: false,
      state: "expired",
    });
    scene.given({ kind: "receive", units: 4 });
    expect(scene.when({ kind: "pay", id, units: 4 }).outcome).toBe("admitted_anew");
  });

  it("that expired and was cancelled is not admitted anew", () => {
    const id = newId();
    const scene = stocked().line(id).after(DEFAULT_HOLD_MS);
    expect(scene.when({ kind: "cancel", id, units: 4 })).toEqual({
      outcome: "accepted",
      repeated: true,
      state: "cancelled",
    });
    expect(scene.when({ kind: "pay", id, units: 4 }).outcome).toBe("line_cancelled");
  });

  it("does not return its units twice", () => {
    const scene = stocked().line(newId()).after(DEFAULT_HOLD_MS).after(DAY_MS);
    expect(scene.cell()).toEqual({ sellable: 10 });
  });

  it("waits when more are due than the limit of a sweep, the oldest first", () => {
    const scene = stocked(SWEEP_LIMIT + 2);
    const late = newId();
    scene.given({ kind: "reserve", id: late, units: 1, holdMs: 2 * MINUTE_MS });
    for (let i = 0; i <= SWEEP_LIMIT; i++) scene.given({ kind: "reserve", units: 1, holdMs: MINUTE_MS });
    scene.after(DAY_MS);
    expect(scene.cell()).toEqual({ sellable: SWEEP_LIMIT, reserved: 2 });
    expect(scene.when({ kind: "pay", id: late, units: 1 }).outcome).toBe("accepted");
    expect(scene.after(0).cell()).toEqual({ sellable: SWEEP_LIMIT + 1, committed: 1 });
  });

  it("is kept while it waits for a sweep, however much time has passed", () => {
    const scene = stocked(SWEEP_LIMIT + 2);
    for (let i = 0; i < SWEEP_LIMIT + 2; i++) scene.given({ kind: "reserve", units: 1 });
    scene.after(365 * DAY_MS);
    expect(scene.cell()).toEqual({ sellable: SWEEP_LIMIT, reserved: 2 });
    expect(scene.after(0).cell()).toEqual({ sellable: SWEEP_LIMIT + 2 });
    expect(scene.partition.records.size).toBe(0);
  });
});
