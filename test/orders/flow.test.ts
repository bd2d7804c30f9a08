/** The six steps of an order and what is amiss with them (R16, R17), one table of stories. */
import { describe, expect, it } from "vitest";
import { DAY_MS, HOUR_MS } from "../../engine/kernel/clock.js";
import { seededRandom } from "../../engine/kernel/random.js";
import {
  type Deadlines,
  endMs,
  type FlowEffect,
  newFlow,
  nextDeadlineMs,
  type OrderFlow,
  passTime,
  takeStep,
} from "../../engine/orders/flow.js";
import { ORDER_STEPS, type OrderStep } from "../../engine/orders/model.js";

const DEADLINES: Deadlines = { picking: 50, labelled: 100, waybill: 15, outbound: 200, reported: 300 };

const take = (flow: OrderFlow, step: OrderStep, atMs: number, deadlines = DEADLINES): string[] =>
  takeStep(flow, { step, atMs, source: "test" }, deadlines).map(textOf);
const textOf = (effect: FlowEffect): string =>
  "exception" in effect ? `${effect.kind} ${effect.exception.kind} ${effect.exception.step}` : effect.kind;

/** Created, paid and locked at 1,000. */
function lockedFlow(): OrderFlow {
  const flow = newFlow();
  take(flow, "created", 900);
  take(flow, "paid", 1_000);
  expect(take(flow, "locked", 1_000)).toEqual(["pick"]);
  return flow;
}

describe("the flow of an order", () => {
  it("sends one pick request, when its stock is locked, and ends a day after the carrier's report", () => {
    const flow = lockedFlow();
    expect(take(flow, "locked", 1_001)).toEqual([]);
    for (const [step, atMs] of [
      ["picking", 1_010],
      ["labelled", 1_020],
      ["waybill", 1_025],
      ["outbound", 1_030],
      ["reported", 1_040],
    ] as const)
      expect(take(flow, step, atMs), step).toEqual([]);
    expect(flow.open).toEqual([]);
    expect(nextDeadlineMs(flow, DEADLINES)).toBe(1_040 + DAY_MS);
    expect(endMs(flow)).toBe(1_040 + DAY_MS);
  });

  it("is late at the deadline of the step after the last one, once, until the step comes", () => {
    const flow = lockedFlow();
    expect(nextDeadlineMs(flow, DEADLINES)).toBe(1_050);
    expect(passTime(flow, 1_049, DEADLINES)).toEqual([]);
    expect(passTime(flow, 1_050, DEADLINES).map(textOf)).toEqual(["opened late picking"]);
    expect(passTime(flow, 1_060, DEADLINES)).toEqual([]);
    expect(take(flow, "picking", 1_070)).toEqual(["resolved late picking"]);
    expect(nextDeadlineMs(flow, DEADLINES)).toBe(1_170);
  });

  it("waits 15 minutes for the waybill beside the main path (R17)", () => {
    const flow = lockedFlow();
    take(flow, "picking", 1_010);
    take(flow, "labelled", 1_020);
    expect(nextDeadlineMs(flow, DEADLINES)).toBe(1_035);
    expect(passTime(flow, 1_035, DEADLINES).map(textOf)).toEqual(["opened late waybill"]);
    take(flow, "outbound", 1_100);
    take(flow, "reported", 1_200);
    // The main path has ended, but the waybill is still expected: the flow is kept.
    expect(endMs(flow)).toBeGreaterThan(1_200 + DAY_MS);
    expect(take(flow, "waybill", 1_300)).toEqual(["resolved late waybill"]);
    expect(endMs(flow)).toBe(1_300 + DAY_MS);
  });

  it("reports steps that a later one overtook, and accepts their evidence when it comes after all", () => {
    const flow = lockedFlow();
    expect(take(flow, "outbound", 1_010)).toEqual(["opened skipped picking", "opened skipped labelled"]);
    expect(passTime(flow, 1_309, DEADLINES)).toEqual([]);
    expect(take(flow, "labelled", 1_020)).toEqual(["resolved skipped labelled"]);
    expect(take(flow, "picking", 1_030)).toEqual(["resolved skipped picking"]);
  });

  it("does not wait for a warehouse when there is none", () => {
    const { picking: _, ...deadlines } = DEADLINES;
    const flow = newFlow();
    for (const step of ["created", "paid", "locked"] as const) take(flow, step, 1_000, deadlines);
    expect(nextDeadlineMs(flow, deadlines)).toBe(1_100);
    expect(take(flow, "labelled", 1_010, deadlines)).toEqual([]);
  });

  it("takes a cancellation back from the warehouse while the goods are there, and asks for nothing more", () => {
    const flow = lockedFlow();
    passTime(flow, 1_050, DEADLINES);
    expect(take(flow, "cancelled", 1_060)).toEqual(["resolved late picking", "withdraw"]);
    expect(passTime(flow, 1_000_000, DEADLINES)).toEqual([]);
    expect(nextDeadlineMs(flow, DEADLINES)).toBe(1_060 + DAY_MS);
    const gone = lockedFlow();
    take(gone, "outbound", 1_010);
    expect(take(gone, "cancelled", 1_020)).not.toContain("withdraw");
    const early = newFlow();
    take(early, "paid", 1_000);
    take(early, "cancelled", 1_001);
    expect(take(early, "locked", 1_002)).toEqual([]);
  });

  it("is not asked for when it was cancelled before its payment was recorded", () => {
    const flow = newFlow();
    take(flow, "created", 900);
    take(flow, "cancelled", 1_000);
    expect(endMs(flow)).toBe(1_000 + HOUR_MS);
    expect(nextDeadlineMs(flow, DEADLINES)).toBe(1_000 + HOUR_MS);
    expect(take(flow, "paid", 1_010)).toEqual([]);
    expect(take(flow, "locked", 1_010)).toEqual([]);
    expect(endMs(flow)).toBe(1_010 + DAY_MS);
  });

  it("reports a step that has no payment before it", () => {
    const flow = newFlow();
    take(flow, "created", 900);
    expect(take(flow, "labelled", 1_000)).toEqual([
      "opened skipped paid",
      "opened skipped locked",
      "opened skipped picking",
    ]);
  });

  describe("whose cancellation the warehouse is asked for", () => {
    const at = (step: OrderStep, atMs: number, detail = {}) => ({ step, atMs, source: "test", detail });
    const paid = (): OrderFlow => {
      const flow = newFlow();
      for (const step of ["created", "paid", "locked"] as const) takeStep(flow, at(step, 1_000), DEADLINES);
      return flow;
    };
    const kinds = (effects: readonly FlowEffect[]): string[] =>
      effects.map((effect) =>
        "exception" in effect ? `${effect.kind} ${effect.exception.kind} ${effect.exception.step}` : effect.kind,
      );

    it("is withdrawn once, and ends when the warehouse has withdrawn it", () => {
      const flow = paid();
      expect(kinds(takeStep(flow, at("cancelling", 1_100), DEADLINES))).toEqual(["withdraw"]);
      expect(kinds(takeStep(flow, at("cancelled", 1_200), DEADLINES))).toEqual([]);
      expect(endMs(flow)).toBe(1_200 + DAY_MS);
    });

    it("goes on when the warehouse refuses, with an exception until the goods have left", () => {
      const flow = paid();
      takeStep(flow, at("picking", 1_050), DEADLINES);
      takeStep(flow, at("cancelling", 1_100), DEADLINES);
      expect(kinds(takeStep(flow, at("cancellation_refused", 1_200), DEADLINES))).toEqual([
        "opened cancellation_refused cancelling",
      ]);
      expect(kinds(takeStep(flow, at("outbound", 1_300), DEADLINES))).toContain(
        "resolved cancellation_refused cancelling",
      );
    });

    it("is asked for at the warehouse again when its cancellation is refused before it was there", () => {
      const flow = paid();
      takeStep(flow, at("cancelling", 1_100), DEADLINES);
      const refused = takeStep(flow, at("cancellation_refused", 1_200), DEADLINES);
      expect(kinds(refused)).toEqual(["opened cancellation_refused cancelling", "pick"]);
      expect(takeStep(flow, at("cancelled", 1_300), DEADLINES)).toContainEqual({ kind: "withdraw", again: true });
    });

    it("is withdrawn when its steps were no longer followed, and nothing counts as skipped then", () => {
      const flow = newFlow();
      takeStep(flow, at("created", 1_000), DEADLINES);
      const lateMs = 1_000 + 200 * DAY_MS;
      expect(kinds(takeStep(flow, at("cancelling", lateMs), DEADLINES))).toEqual(["withdraw"]);
      expect(kinds(passTime(flow, lateMs + HOUR_MS, DEADLINES))).toEqual(["opened late cancelled"]);
      takeStep(flow, at("cancellation_refused", lateMs + HOUR_MS), DEADLINES);
      expect(kinds(takeStep(flow, at("outbound", lateMs + 2 * HOUR_MS), DEADLINES))).toEqual([
        "resolved cancellation_refused cancelling",
      ]);
    });

    it.each(["cancelling", "cancelled"] as const)(
      "is withdrawn when only its %s is seen, if that event contains the lock",
      (step) => {
        const begun = (detail = {}): { flow: OrderFlow; effects: string[] } => {
          const flow = newFlow();
          takeStep(flow, at("created", 1_000), DEADLINES);
          return { flow, effects: kinds(takeStep(flow, at(step, 1_100, detail), DEADLINES)) };
        };
        expect(begun().effects).toEqual([]);
        const { flow, effects } = begun({ after: "locked" });
        expect(effects).toEqual(["withdraw"]);
        const isLate = kinds(passTime(flow, 1_100 + HOUR_MS, DEADLINES));
        expect(isLate).toEqual(step === "cancelling" ? ["opened late cancelled"] : []);
      },
    );

    it("is asked for at the warehouse when only the refusal of its cancellation is seen", () => {
      const flow = newFlow();
      takeStep(flow, at("created", 1_000), DEADLINES);
      expect(kinds(takeStep(flow, at("cancellation_refused", 1_200), DEADLINES))).toContain("pick");
      takeStep(flow, at("picking", 1_300), DEADLINES);
      expect(kinds(takeStep(flow, at("cancelled", 1_400, { after: "locked" }), DEADLINES))).toContain("withdraw");
    });

    it("waits for the warehouse's answer and for nothing else, and not for ever", () => {
      const flow = paid();
      takeStep(flow, at("cancelling", 1_100), DEADLINES);
      expect(kinds(passTime(flow, 1_100 + HOUR_MS, DEADLINES))).toEqual(["opened late cancelled"]);
      expect(kinds(takeStep(flow, at("cancelled", HOUR_MS), DEADLINES))).toEqual(["resolved late cancelled"]);
    });

    it("is not asked for at the warehouse when it is paid afterwards", () => {
      const flow = newFlow();
      for (const step of ["created", "cancelling", "paid"] as const) takeStep(flow, at(step, 1_000), DEADLINES);
      expect(kinds(takeStep(flow, at("locked", 1_000), DEADLINES))).toEqual([]);
    });

    it("and whose goods leave nevertheless is an exception that a stock count settles", () => {
      const flow = paid();
      takeStep(flow, at("cancelled", 1_100), DEADLINES);
      expect(kinds(takeStep(flow, at("partly_outbound", 1_200, { lines: "1" }), DEADLINES))).toEqual([
        "opened unexplained_outbound outbound",
      ]);
      takeStep(flow, at("outbound", 1_300, { missing: 2 }), DEADLINES);
      expect(flow.open).toEqual([{ step: "outbound", kind: "unexplained_outbound", sinceMs: 1_200, units: 2 }]);
      expect(kinds(takeStep(flow, at("counted", 1_400), DEADLINES))).toEqual([
        "resolved unexplained_outbound outbound",
      ]);
    });
  });

  it("opens and resolves each exception once, and comes to an end, whatever comes in whatever order", () => {
    const random = seededRandom(618);
    for (let round = 0; round < 500; round++) {
      const flow = newFlow();
      const balance = new Map<string, number>();
      const count = (effects: readonly FlowEffect[]): void => {
        for (const effect of effects) {
          if (!("exception" in effect)) continue;
          const { step, kind } = effect.exception;
          const name = `${step} ${kind}`;
          const open = (balance.get(name) ?? 0) + (effect.kind === "opened" ? 1 : -1);
          balance.set(name, open);
          expect([0, 1]).toContain(open);
        }
      };
      let nowMs = 1_000;
      let picks = 0;
      for (let i = 0; i < 14; i++) {
        nowMs += random.below(120);
        count(passTime(flow, nowMs, DEADLINES));
        const step = random.pick(ORDER_STEPS);
        const detail = random.below(4) === 0 ? { missing: 1 } : {};
        const effects = takeStep(flow, { step, atMs: nowMs, source: "test", detail }, DEADLINES);
        picks += effects.filter(({ kind }) => kind === "pick").length;
        count(effects);
        const open = [...balance].filter(([, each]) => each === 1).map(([name]) => name);
        expect(flow.open.map(({ step, kind }) => `${step} ${kind}`).sort()).toEqual(open.sort());
        expect(nextDeadlineMs(flow, DEADLINES)).toBeGreaterThan(0);
      }
      // Once more when a cancellation was refused.
      expect(picks).toBeLessThanOrEqual(2);
      // Timers alone bring it to its end.
      for (let rounds = 0; nowMs < endMs(flow); rounds++) {
        expect(rounds).toBeLessThan(20);
        nowMs = nextDeadlineMs(flow, DEADLINES);
        count(passTime(flow, nowMs, DEADLINES));
      }
    }
  });
});
