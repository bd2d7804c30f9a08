/**
 * The rules of stock as sentences (R1–R3, R5, R14): given what has happened, when a command comes, then this is
 * answered and the balances stand so. The simulation holds ledger.lua to these same rules.
 */
import { describe, expect, it } from "vitest";
import { chainIdDay, chainIdFromNumber } from "../../engine/kernel/chain-id.js";
import { DAY_MS } from "../../engine/kernel/clock.js";
import { advance, type Book, breakerKey, decide, emptyBook, evolve } from "../../engine/stock/decide.js";
import {
  type Balances,
  type BreakerScope,
  cellOf,
  DEFAULT_HOLD_MS,
  DEFAULT_ID_RETENTION_DAYS,
  displayUnits,
  emptyBalances,
  HOLD_MARGIN_DAYS,
  MAX_UNITS,
  onHandUnits,
  type Reply,
  type StockCommand,
  SWEEP_LIMIT,
} from "../../engine/stock/model.js";
import { LATEST_FORMAT } from "../../engine/stream/format.js";

const NOON = Date.UTC(2026, 5, 18, 12);
const MINUTE_MS = 60_000;
let salt = 0;
const newId = (timeMs = NOON): string => chainIdFromNumber("S1", timeMs, salt++);
/** Leaves the name of its place to `given`. */
type At<T> = T extends StockCommand ? Omit<T, "id" | "sku" | "location"> & { id?: string; location?: string } : never;
type Brief = At<StockCommand>;

/** A ledger to which things happen; every step checks that no balance is below zero and no unit came from nowhere. */
class Scene {
  readonly book: Book;
  #outside = 0;

  constructor(format = LATEST_FORMAT) {
    this.book = emptyBook(DEFAULT_ID_RETENTION_DAYS, format);
    advance(this.book, NOON);
  }

  when(brief: Brief): Reply {
    const command = { id: newId(), sku: "CUP", location: "SH", ...brief } as StockCommand;
    const decision = decide(this.book, command);
    evolve(this.book, command.id, decision);
    for (const { from, to, units } of decision.transfers) {
      if (from === "outside") this.#outside -= units;
      if (to === "outside") this.#outside += units;
    }
    let present = 0;
    for (const cell of this.book.cells.values()) {
      expect(Math.min(...Object.values(cell))).toBeGreaterThanOrEqual(0);
      present += onHandUnits(cell) + cell.presale;
    }
    expect(present + this.#outside).toBe(0);
    const { outcome, repeated, state, missingUnits } = decision;
    return { outcome, repeated, state, ...(missingUnits !== undefined && { missingUnits }) };
  }

  /** The same, for what went before the sentence. */
  given(...briefs: Brief[]): this {
    for (const brief of briefs) expect(this.when(brief).outcome).toMatch(/accepted|admitted_anew|cancelled_paid/);
    return this;
  }

  line(id: string, units = 4): this {
    return this.given({ kind: "reserve", id, units });
  }

  after(ms: number): this {
    for (const { transfer } of advance(this.book, this.book.clockMs + ms))
      if (transfer.from === "outside") this.#outside -= transfer.units;
    return this;
  }

  breaker(scope: BreakerScope, forMs = 0): this {
    const { clockMs } = this.book;
    this.book.breakers.set(breakerKey(scope), {
      scope,
      untilMs: forMs && clockMs + forMs,
      sinceMs: clockMs,
      actor: "a",
      reason: "r",
    });
    return this;
  }

  cell(location = "SH"): Partial<Balances> {
    const cell = this.book.cells.get(cellOf("CUP", location)) ?? emptyBalances();
    return Object.fromEntries(Object.entries(cell).filter(([, units]) => units !== 0));
  }
}

const given = (...briefs: Brief[]): Scene => new Scene().given(...briefs);
const stocked = (units = 10): Scene => given({ kind: "receive", units });
const presold = (units = 10): Scene => given({ kind: "receive", units, pool: "presale" });

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

  it("that nobody ever received cannot be taken from", () => {
    const scene = new Scene();
    expect(scene.when({ kind: "reserve", units: 1 }).outcome).toBe("unknown_sku");
    expect(scene.when({ kind: "correct", units: -1 }).outcome).toBe("unknown_sku");
    expect(scene.when({ kind: "move", units: 1, from: "safety", to: "sellable" }).outcome).toBe("unknown_sku");
  });

  it("never exceed what can be counted exactly, all pools on hand together", () => {
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

  it("count for the limit apart from presale", () => {
    const scene = given({ kind: "receive", units: MAX_UNITS });
    expect(scene.when({ kind: "receive", units: 1, pool: "presale" }).outcome).toBe("accepted");
  });

  it("reserved for a line are not corrected away from it, nor added to", () => {
    const scene = stocked().line(newId(), 4);
    expect(scene.when({ kind: "correct", units: -1, pool: "reserved" as never }).outcome).toBe("insufficient_units");
    expect(scene.when({ kind: "correct", units: 1, pool: "reserved" as never }).outcome).toBe("insufficient_units");
  });

  describe("committed and then found lost", () => {
    const id = newId();
    const short = (units: number, format?: number): Scene =>
      new Scene(format)
        .given({ kind: "receive", units })
        .line(id)
        .given({ kind: "pay", id, units: 4 }, { kind: "correct", units: -1, pool: "committed" });

    it("go out all the same, the rest from what nobody has been promised", () => {
      const scene = short(10);
      expect(scene.when({ kind: "outbound", id, units: 4 })).toEqual({
        outcome: "accepted",
        repeated: false,
        state: "outbound",
      });
      expect(scene.cell()).toEqual({ sellable: 5 });
    });

    it("are told as missing when they go out and there is nothing else, however often it is told", () => {
      const scene = short(4);
      const gone = { outcome: "accepted", state: "outbound", missingUnits: 1 };
      expect(scene.when({ kind: "outbound", id, units: 4 })).toEqual({ ...gone, repeated: false });
      expect(scene.when({ kind: "outbound", id, units: 4 })).toEqual({ ...gone, repeated: true });
      expect(scene.cell()).toEqual({});
    });

    it("give back what there is when the line is cancelled, and tell the rest as missing", () => {
      const scene = short(4);
      const back = { outcome: "cancelled_paid", state: "cancelled_paid", missingUnits: 1 };
      expect(scene.when({ kind: "cancel", id, units: 4 })).toEqual({ ...back, repeated: false });
      expect(scene.when({ kind: "cancel", id, units: 4 })).toEqual({ ...back, repeated: true });
      expect(scene.cell()).toEqual({ sellable: 3 });
    });

    it("leave the line waiting in format 1: neither outbound nor cancelled", () => {
      const scene = short(10, 1);
      for (const kind of ["outbound", "cancel"] as const)
        expect(scene.when({ kind, id, units: 4 })).toMatchObject({ outcome: "insufficient_units", state: "paid" });
    });
  });

  it("are moved by nothing that only configures or acknowledges", () => {
    const scene = stocked().given(
      { kind: "configure", settings: { alertFactor: 2 } },
      { kind: "acknowledge", alertId: "a" },
    );
    expect(scene.cell()).toEqual({ sellable: 10 });
  });
});

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

  it("takes the last unit and not one more", () => {
    const scene = stocked(4).line(newId(), 4);
    expect(scene.when({ kind: "reserve", units: 1 })).toEqual({
      outcome: "insufficient_sellable",
      repeated: false,
      state: "none",
    });
  });

  it("leaves safety stock alone", () => {
    const scene = given({ kind: "receive", units: 5, pool: "safety" });
    expect(scene.when({ kind: "reserve", units: 1 }).outcome).toBe("insufficient_sellable");
  });

  it("gives its units back when it is cancelled before payment", () => {
    const id = newId();
    const scene = stocked().line(id);
    expect(scene.when({ kind: "cancel", id, units: 4 })).toEqual({
      outcome: "accepted",
      repeated: false,
      state: "cancelled",
    });
    expect(scene.cell()).toEqual({ sellable: 10 });
  });

  it("gives them back after payment too, and says that money has to go back", () => {
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
      expect(scene.book.records.get(chainIdDay(id))?.get(id)?.state).toBe(state);
      const gone = { outcome: "accepted", state: "outbound" };
      expect(scene.when({ kind: "outbound", ...line })).toEqual({ ...gone, repeated: false });
      expect(scene.when({ kind: "outbound", ...line })).toEqual({ ...gone, repeated: true });
      expect(scene.cell()).toEqual({ sellable });
      // Its hold does not end any more.
      expect(scene.after(DAY_MS).cell()).toEqual({ sellable });
    });

    it("is outbound after its hold has expired", () => {
      const scene = stocked().line(id).after(DEFAULT_HOLD_MS);
      expect(scene.when({ kind: "outbound", ...line })).toMatchObject({ outcome: "accepted", state: "outbound" });
      expect(scene.cell()).toEqual({ sellable: 6 });
    });

    it("takes no more than there is when its units have been sold again, and says how many are missing", () => {
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

    it("keeps its units until whoever has them has let go", () => {
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
      // What of an older try arrives late stops nothing any more, nor does it give units back.
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

    it("of an order is not cancelled by the desk before it has been asked for", () => {
      const desk = { ...line, ofOrder: true } as const;
      const scene = paid();
      expect(scene.when({ kind: "cancel", ...desk })).toMatchObject({ outcome: "superseded", state: "paid" });
      scene.given({ kind: "suspend", ...desk }, { kind: "cancel", ...desk });
    });

    it("changes nothing when it is not paid, and is too late when its goods have left", () => {
      const held = stocked().line(id);
      for (const kind of ["suspend", "resume"] as const)
        expect(held.when({ kind, ...line })).toEqual({ outcome: "accepted", repeated: true, state: "held" });
      const gone = paid().given({ kind: "outbound", ...line });
      for (const kind of ["suspend", "resume"] as const)
        expect(gone.when({ kind, ...line })).toMatchObject({ outcome: "already_outbound", state: "outbound" });
    });
  });

  describe("of an order", () => {
    const id = newId();
    const line = { id, units: 4 };
    const reserved = (): Scene => stocked().given({ kind: "reserve", ...line, ofOrder: true });

    it("is moved by the order desk alone", () => {
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

    it("becomes one when the desk takes it over, from before lines had an owner or from a stand-alone reservation", () => {
      const taken = stocked().line(id);
      expect(taken.when({ kind: "reserve", ...line, ofOrder: true })).toMatchObject({ repeated: true });
      expect(taken.when({ kind: "pay", ...line }).outcome).toBe("order_line");
      const paid = stocked()
        .line(id)
        .given({ kind: "pay", ...line, ofOrder: true });
      expect(paid.when({ kind: "cancel", ...line }).outcome).toBe("order_line");
    });

    it("is as any other in format 1", () => {
      const scene = new Scene(1).given({ kind: "receive", units: 4 }, { kind: "reserve", ...line, ofOrder: true });
      expect(scene.when({ kind: "pay", ...line }).outcome).toBe("accepted");
    });
  });

  it("is known by its id only together with place, units and pool", () => {
    const id = newId();
    const scene = stocked().line(id);
    const mismatch = { outcome: "line_mismatch", repeated: false, state: "held" };
    expect(scene.when({ kind: "pay", id, units: 3 })).toEqual(mismatch);
    expect(scene.when({ kind: "pay", id, units: 4, location: "GZ" })).toEqual(mismatch);
    expect(scene.when({ kind: "pay", id, units: 4, pool: "presale" })).toEqual(mismatch);
  });

  it("that was never reserved, or refused, is unknown", () => {
    const id = newId();
    const scene = stocked(1);
    expect(scene.when({ kind: "pay", id, units: 4 }).outcome).toBe("unknown_line");
    scene.when({ kind: "reserve", id, units: 4 });
    expect(scene.when({ kind: "pay", id, units: 4 }).outcome).toBe("unknown_line");
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

  it("gets a first refusal again, also when there would be enough by now", () => {
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

  it("pays, cancels and sends out once", () => {
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

  it("tells where the line stands by now", () => {
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
  it("may be as old as ids are remembered, and no older", () => {
    const scene = stocked();
    expect(
      scene.when({ kind: "reserve", id: newId(NOON - DEFAULT_ID_RETENTION_DAYS * DAY_MS), units: 1 }).outcome,
    ).toBe("accepted");
    const older = newId(NOON - (DEFAULT_ID_RETENTION_DAYS + 1) * DAY_MS);
    expect(scene.when({ kind: "reserve", id: older, units: 1 }).outcome).toBe("id_outside_window");
  });

  it("may be tomorrow, for clocks differ, and no later", () => {
    const scene = stocked();
    expect(scene.when({ kind: "reserve", id: newId(NOON + DAY_MS), units: 1 }).outcome).toBe("accepted");
    expect(scene.when({ kind: "reserve", id: newId(NOON + 2 * DAY_MS), units: 1 }).outcome).toBe("id_outside_window");
  });

  it("past the window still gets its first answer until its bucket is forgotten, and is never applied again", () => {
    const receipt = { kind: "receive", id: newId(), units: 5 } as const;
    const scene = given(receipt).after((DEFAULT_ID_RETENTION_DAYS + HOLD_MARGIN_DAYS) * DAY_MS);
    expect(scene.when(receipt)).toEqual({ outcome: "accepted", repeated: true, state: "none" });
    expect(scene.after(DAY_MS).when(receipt).outcome).toBe("id_outside_window");
    expect(scene.cell()).toEqual({ sellable: 5 });
  });
});

describe("a line that holds units (R3)", () => {
  it.each([60, 100, 200, 365])(
    "is known after %i days: it goes out, its units leave, and repeats are answered",
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
      // One that has ended is known no longer than any other id, counted from its end.
      expect(scene.when({ kind: "cancel", id: other, units: 4 }).outcome).toBe("unknown_line");
      scene.after((DEFAULT_ID_RETENTION_DAYS + HOLD_MARGIN_DAYS + 2) * DAY_MS);
      expect(scene.when({ kind: "outbound", id: late, units: 4 }).outcome).toBe("unknown_line");
      expect(scene.book.records.size).toBe(0);
    },
  );
});

describe("a hold (R3)", () => {
  it("expires after 30 minutes and gives its units back", () => {
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

  it("paid after it expired is refused when the units are gone, and may be asked again", () => {
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

  it("is not given back twice", () => {
    const scene = stocked().line(newId()).after(DEFAULT_HOLD_MS).after(DAY_MS);
    expect(scene.cell()).toEqual({ sellable: 10 });
  });

  it("waits for its turn when more are due than one sweep gives back, the oldest first", () => {
    const scene = stocked(SWEEP_LIMIT + 2);
    const late = newId();
    scene.given({ kind: "reserve", id: late, units: 1, holdMs: 2 * MINUTE_MS });
    for (let i = 0; i <= SWEEP_LIMIT; i++) scene.given({ kind: "reserve", units: 1, holdMs: MINUTE_MS });
    scene.after(DAY_MS);
    expect(scene.cell()).toEqual({ sellable: SWEEP_LIMIT, reserved: 2 });
    expect(scene.when({ kind: "pay", id: late, units: 1 }).outcome).toBe("accepted");
    expect(scene.after(0).cell()).toEqual({ sellable: SWEEP_LIMIT + 1, committed: 1 });
  });

  it("is not forgotten while it waits, however much time has passed", () => {
    const scene = stocked(SWEEP_LIMIT + 2);
    for (let i = 0; i < SWEEP_LIMIT + 2; i++) scene.given({ kind: "reserve", units: 1 });
    scene.after(365 * DAY_MS);
    expect(scene.cell()).toEqual({ sellable: SWEEP_LIMIT, reserved: 2 });
    expect(scene.after(0).cell()).toEqual({ sellable: SWEEP_LIMIT + 2 });
    expect(scene.book.records.size).toBe(0);
  });
});

describe("an order's try that is undone (R3)", () => {
  it("gives the units back, and only a later try may reserve the line again", () => {
    const id = newId();
    const scene = stocked().line(id);
    expect(scene.when({ kind: "abort", id, units: 4, attempt: 1 })).toEqual({
      outcome: "accepted",
      repeated: false,
      state: "none",
    });
    expect(scene.cell()).toEqual({ sellable: 10 });
    // What was sent before and arrives only now takes nothing.
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

  it("takes a payment back, and only a later try may pay the line again", () => {
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

  it("is content when there is nothing to undo, and closes the line to tries that are still on their way", () => {
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

  it("a payment that was numbered and refused is refused for good; only a later try may find units again", () => {
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

  it("cannot undo a later try", () => {
    const id = newId();
    const scene = stocked().given({ kind: "reserve", id, units: 4, attempt: 2 });
    expect(scene.when({ kind: "abort", id, units: 4, attempt: 1 })).toEqual({
      outcome: "superseded",
      repeated: false,
      state: "held",
    });
  });

  it("cannot undo a line that a later try has taken over", () => {
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

describe("a presale line (R1)", () => {
  const presale = { units: 4, pool: "presale" } as const;

  it("lowers the presale counter only, until its goods leave from sellable", () => {
    const id = newId();
    const scene = presold().given({ kind: "receive", units: 5 }, { kind: "reserve", id, ...presale });
    expect(scene.cell()).toEqual({ sellable: 5, presale: 6 });
    expect(scene.given({ kind: "pay", id, ...presale }).cell()).toEqual({ sellable: 5, presale: 6 });
    expect(scene.given({ kind: "outbound", id, ...presale }).cell()).toEqual({ sellable: 1, presale: 6 });
  });

  it("that goes out before its goods have come is told as missing", () => {
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

  it("gives back to the counter when cancelled, aborted or expired", () => {
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

describe("clocks that disagree", () => {
  it("stop new reservations, which are not remembered, and nothing else", () => {
    const [held, fresh] = [newId(), newId()];
    const scene = stocked().line(held);
    scene.book.clocksDisagree = true;
    const reserve = { kind: "reserve", id: fresh, units: 4 } as const;
    expect(scene.when(reserve)).toEqual({ outcome: "clocks_disagree", repeated: false, state: "none" });
    expect(scene.when({ ...reserve, id: held })).toMatchObject({ outcome: "accepted", repeated: true });
    scene.given(
      { kind: "pay", id: held, units: 4 },
      { kind: "outbound", id: held, units: 4 },
      { kind: "receive", units: 1 },
    );
    delete scene.book.clocksDisagree;
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

  it("lets payments, cancellations and outbound go on", () => {
    const [first, second] = [newId(), newId()];
    const scene = stocked().line(first).line(second).breaker({ kind: "shop" });
    scene.given(
      { kind: "pay", id: first, units: 4 },
      { kind: "outbound", id: first, units: 4 },
      { kind: "cancel", id: second, units: 4 },
    );
    expect(scene.cell()).toEqual({ sellable: 6 });
  });

  it("is forgotten by the order it refused: the same id may come again", () => {
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

  it("does not hide a first answer", () => {
    const id = newId();
    expect(stocked().line(id).breaker({ kind: "shop" }).when({ kind: "reserve", id, units: 4 })).toMatchObject({
      outcome: "accepted",
      repeated: true,
    });
  });
});

describe("display stock (R5)", () => {
  it("is sellable and 0.3 of what is reserved, rounded down", () => {
    expect([displayUnits(10, 0), displayUnits(10, 3), displayUnits(10, 4), displayUnits(0, 100)]).toEqual([
      10, 10, 11, 30,
    ]);
  });

  it("loses no unit to binary fractions", () => {
    expect(displayUnits(0, 10)).toBe(3);
    for (let tens = 1; tens <= 1_000; tens++) expect(displayUnits(0, tens * 10)).toBe(tens * 3);
  });

  it("has a coefficient of its own for a SKU", () => {
    expect([displayUnits(5, 10, 0), displayUnits(5, 10, 0.5), displayUnits(5, 10, 1)]).toEqual([5, 10, 15]);
  });

  it("does not let an order in that the ledger would not", () => {
    const scene = stocked(4).line(newId(), 4);
    expect(displayUnits(scene.cell().sellable ?? 0, 4)).toBe(1);
    expect(scene.when({ kind: "reserve", units: 1 }).outcome).toBe("insufficient_sellable");
  });
});
