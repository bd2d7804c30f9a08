/** The life of an alert: what fires, acknowledges and clears it, and when people are notified of it. */
import { beforeEach, describe, expect, it } from "vitest";
import { BREAKER_EVENT } from "../../../engine/jobs/alerts/events.js";
import { ALERTS_JOB } from "../../../engine/jobs/alerts/job.js";
import {
  CLEARED_KEPT,
  CLEARED_KEPT_MS,
  MAX_RECIPIENTS,
  MAX_REPORTERS,
  NUMBER_KEPT_MS,
} from "../../../engine/jobs/alerts/state.js";
import { DAY_MS, MINUTE_MS } from "../../../engine/kernel/clock.js";
import { AlertsBed, CUP, SHOP, START_MS, VALID_MS, WMS } from "./bed.js";

let bed: AlertsBed;
beforeEach(() => {
  bed = new AlertsBed();
});

const open = (key: string) => bed.state(key)?.open;

it("keeps its stored name", () => expect(ALERTS_JOB).toBe("alerts.1"));

describe("an alert of depletion", () => {
  it("fires with the figures and the id of the depletion job, and notifies", () => {
    bed.depletion("fired", 3);
    const figures = { hourUnits: 70, dailyAverage: 20, thresholdUnits: 60 };
    expect(bed.routes()).toEqual([
      {
        alert: {
          ...{ id: "CUP#3", rule: "depletion", subject: "CUP", severity: "warning", state: "fired", figures },
          firedMs: START_MS,
        },
        ...{ what: "notify", level: 0, recipients: [] },
      },
    ]);
  });

  it("is acknowledged once, by the first, and those who were notified get the change", () => {
    bed.depletion("fired", 1);
    bed.answer(CUP, "CUP#1");
    bed.pass(MINUTE_MS);
    bed.routes();
    bed.depletion("acknowledged", 1);
    bed.depletion("acknowledged", 1, { acknowledgedBy: "lin" });
    expect(bed.routes()).toMatchObject([
      { what: "changed", recipients: ["person:li.wei"], alert: { state: "acknowledged", acknowledgedBy: "li.wei" } },
    ]);
    expect(open(CUP)?.alert).toMatchObject({ acknowledgedMs: START_MS + MINUTE_MS, firedMs: START_MS });
  });

  it("clears, stays in the view for a day, and its number for 30", () => {
    bed.depletion("fired", 1);
    bed.answer(CUP, "CUP#1");
    bed.depletion("cleared", 1);
    expect(bed.routed()).toEqual(["notify CUP#1 0", "changed CUP#1 0"]);
    expect(bed.view.open()).toEqual([]);
    expect(bed.view.get("CUP#1")?.alert).toMatchObject({ state: "cleared", clearedMs: START_MS });
    bed.pass(CLEARED_KEPT_MS - 1);
    expect(bed.view.cleared().map(({ alert }) => alert.id)).toEqual(["CUP#1"]);
    bed.pass(1);
    expect([bed.view.cleared(), bed.state(CUP)?.newest]).toEqual([[], 1]);
    bed.pass(NUMBER_KEPT_MS - CLEARED_KEPT_MS);
    expect([bed.state(CUP), bed.timerMs(CUP)]).toEqual([undefined, undefined]);
  });

  it("that has ended is not opened by a dead letter that is replayed days later", () => {
    const fired = { atMs: START_MS, firedMs: START_MS };
    bed.depletion("fired", 7);
    bed.depletion("cleared", 7);
    bed.breaker("opened", 4);
    bed.breaker("closed", 5);
    bed.routes();
    for (const days of [2, 27, 2]) {
      bed.pass(days * DAY_MS);
      bed.depletion("fired", 7, fired);
      bed.depletion("acknowledged", 6, fired);
      const cause = { scope: "shop", kind: "opened", atMs: START_MS, actor: "engine", reason: "", untilMs: 0 };
      bed.event(SHOP, BREAKER_EVENT, { number: 4, ...cause });
      expect([open(CUP) ?? null, open(SHOP) ?? null, bed.routed()]).toEqual([null, null, []]);
    }
    bed.depletion("fired", 8);
    expect(bed.routed()).toEqual(["notify CUP#8 0"]);
  });

  it("that nobody was notified of is routed again when somebody can be reached, and no other is", () => {
    bed.depletion("fired", 1);
    bed.answer(CUP, "CUP#1", { recipients: [] });
    bed.routes();
    bed.reachable(CUP);
    expect(bed.routed()).toEqual(["notify CUP#1 0"]);
    bed.answer(CUP, "CUP#1");
    bed.reachable(CUP);
    expect(bed.routed()).toEqual([]);
    bed.depletion("cleared", 1);
    bed.routes();
    bed.reachable(CUP);
    expect(bed.routed()).toEqual([]);
  });

  it("does not fire a second time from a change that comes again, or late", () => {
    bed.depletion("fired", 1);
    bed.depletion("fired", 1);
    bed.depletion("cleared", 1);
    bed.depletion("fired", 1);
    bed.depletion("acknowledged", 1);
    expect([bed.routed(), open(CUP)]).toEqual([["notify CUP#1 0"], null]);
    bed.depletion("fired", 2);
    bed.depletion("cleared", 1);
    expect(bed.routed()).toEqual(["notify CUP#2 0"]);
    expect(open(CUP)?.alert.id).toBe("CUP#2");
  });

  it("that is known only by its end is listed, and notifies nobody", () => {
    bed.depletion("cleared", 4, { acknowledgedBy: "lin", firedMs: START_MS - MINUTE_MS });
    expect(bed.routed()).toEqual([]);
    expect(bed.view.get("CUP#4")?.alert).toMatchObject({ state: "cleared", firedMs: START_MS - MINUTE_MS });
    expect(bed.view.get("CUP#4")?.alert.acknowledgedBy).toBe("lin");
  });

  it("clears when a later one has fired although its own end is missing", () => {
    bed.depletion("fired", 1);
    bed.answer(CUP, "CUP#1");
    bed.pass(MINUTE_MS);
    bed.depletion("fired", 2);
    expect(bed.routed()).toEqual(["notify CUP#1 0", "changed CUP#1 0", "notify CUP#2 0"]);
    expect(bed.view.get("CUP#1")?.alert.clearedMs).toBe(START_MS + MINUTE_MS);
  });

  it("is not acknowledged past the ledger", () => {
    bed.depletion("fired", 1);
    bed.acknowledge(CUP, "CUP#1");
    expect(open(CUP)?.alert.state).toBe("fired");
  });

  it("keeps so many cleared ones, the latest", () => {
    for (let number = 1; number <= CLEARED_KEPT + 5; number++) {
      bed.depletion("fired", number);
      bed.depletion("cleared", number);
    }
    const ids = bed.state(CUP)?.cleared.map(({ alert }) => alert.id) ?? [];
    expect([ids.length, ids[0], ids.at(-1)]).toEqual([CLEARED_KEPT, `CUP#${CLEARED_KEPT + 5}`, "CUP#6"]);
  });
});

describe("an alert of a breaker", () => {
  it("fires when it opens, stays while it is half-open or open again, and clears when it closes", () => {
    bed.breaker("opened", 7);
    bed.answer(SHOP, "breaker~shop#7");
    for (const [i, kind] of (["extended", "half_opened", "opened", "half_opened"] as const).entries())
      bed.breaker(kind, 8 + i);
    expect(bed.routed()).toEqual(["notify breaker~shop#7 0"]);
    bed.breaker("closed", 12);
    bed.breaker("closed", 12);
    expect(bed.routed()).toEqual(["changed breaker~shop#7 0"]);
    bed.breaker("opened", 13);
    expect(bed.routed()).toEqual(["notify breaker~shop#13 0"]);
  });

  it("has who opened it, why, and how far sources part", () => {
    bed.breaker("opened", 1);
    const figures = { actor: "engine", reason: "wms and ledger part", divergence: 0.012, untilMs: START_MS + 600_000 };
    expect(open(SHOP)?.alert).toMatchObject({ severity: "critical", figures });
  });

  it("does not fire in a dry run", () => {
    bed.breaker("would_have_opened", 1);
    expect([bed.routed(), bed.state(SHOP)]).toEqual([[], undefined]);
  });

  it("fires also when its opening is missing", () => {
    bed.breaker("half_opened", 3);
    expect(bed.routed()).toEqual(["notify breaker~shop#3 0"]);
  });
});

describe("a condition", () => {
  it("fires when the first reports it, and clears when none does any more", () => {
    bed.condition(true, "a");
    bed.condition(true, "b");
    bed.condition(false, "a");
    expect(bed.routed()).toEqual(["notify receiver_circuit~wms#1 0"]);
    expect(open(WMS)?.alert).toMatchObject({ severity: "critical", figures: { value: 12, limit: 10 } });
    bed.condition(false, "b");
    expect(bed.view.cleared()).toHaveLength(1);
    bed.condition(true, "a");
    expect(bed.routed()).toEqual(["notify receiver_circuit~wms#2 0"]);
  });

  it("clears when its reporters are silent", () => {
    bed.condition(true, "a");
    bed.pass(2 * MINUTE_MS);
    bed.condition(true, "b");
    bed.pass(VALID_MS - 1);
    expect(open(WMS)?.alert.state).toBe("fired");
    bed.pass(1);
    expect(open(WMS)).toBeNull();
  });

  it("stays while it is reported again", () => {
    for (let minutes = 0; minutes < 30; minutes++) {
      bed.condition(true);
      bed.pass(MINUTE_MS);
    }
    expect(bed.routed()).toEqual(["notify receiver_circuit~wms#1 0"]);
  });

  it("that was never met leaves nothing", () => {
    bed.condition(false);
    expect([bed.state(WMS), bed.timerMs(WMS)]).toEqual([undefined, undefined]);
  });

  it("numbers its alerts on after a day without one", () => {
    bed.condition(true);
    bed.condition(false);
    bed.pass(2 * DAY_MS);
    expect(bed.state(WMS)).toMatchObject({ newest: 1, open: null, cleared: [], reporters: [] });
    bed.condition(true);
    expect(open(WMS)?.alert.id).toBe("receiver_circuit~wms#2");
  });

  it("has so many reporters at most", () => {
    for (let i = 0; i < 2 * MAX_REPORTERS; i++) bed.condition(true, `w${i}`);
    expect(bed.state(WMS)?.reporters).toHaveLength(MAX_REPORTERS);
  });

  it("is acknowledged by the first, and by none that comes late", () => {
    bed.condition(true);
    bed.acknowledge(WMS, "receiver_circuit~wms#9");
    bed.acknowledge(WMS, "receiver_circuit~wms#1", "li.wei");
    bed.acknowledge(WMS, "receiver_circuit~wms#1", "lin");
    expect(open(WMS)?.alert).toMatchObject({ state: "acknowledged", acknowledgedBy: "li.wei" });
    bed.condition(false);
    bed.acknowledge(WMS, "receiver_circuit~wms#1", "lin");
    expect(bed.view.cleared()[0]?.alert).toMatchObject({ state: "cleared", acknowledgedBy: "li.wei" });
  });
});

describe("levels", () => {
  const NEXT_MS = START_MS + 5 * MINUTE_MS;

  it("follow when nobody has acknowledged", () => {
    bed.depletion("fired", 1);
    bed.answer(CUP, "CUP#1", { nextMs: NEXT_MS });
    bed.routes();
    bed.pass(5 * MINUTE_MS - 1);
    expect(bed.routed()).toEqual([]);
    bed.pass(1);
    expect(bed.routed()).toEqual(["notify CUP#1 1"]);
    bed.answer(CUP, "CUP#1", { level: 1, recipients: ["person:lin"] });
    bed.pass(DAY_MS);
    expect(bed.routed()).toEqual([]);
    expect(open(CUP)).toMatchObject({ level: 1, recipients: ["person:li.wei", "person:lin"] });
  });

  it.each(["acknowledged", "cleared"] as const)("do not follow when it is %s", (type) => {
    bed.depletion("fired", 1);
    bed.answer(CUP, "CUP#1", { nextMs: NEXT_MS });
    bed.depletion(type, 1);
    bed.routes();
    bed.pass(6 * MINUTE_MS);
    expect(bed.routed()).toEqual([]);
  });

  it("are not delayed, and not taken back, by an answer that comes again", () => {
    bed.depletion("fired", 1);
    bed.answer(CUP, "CUP#1", { nextMs: NEXT_MS });
    bed.answer(CUP, "CUP#1", { nextMs: NEXT_MS + 1_000 });
    expect(open(CUP)?.nextMs).toBe(NEXT_MS);
    bed.pass(5 * MINUTE_MS);
    bed.answer(CUP, "CUP#1", { nextMs: NEXT_MS });
    expect(open(CUP)).toMatchObject({ level: 1, recipients: ["person:li.wei"] });
    expect(open(CUP)?.nextMs).toBeUndefined();
  });

  it("continue at the level that the sink has chosen", () => {
    bed.depletion("fired", 1);
    bed.answer(CUP, "CUP#1", { level: 2, nextMs: NEXT_MS });
    bed.pass(5 * MINUTE_MS);
    expect(bed.routed()).toEqual(["notify CUP#1 0", "notify CUP#1 3"]);
  });

  it("count a bounded number of recipients", () => {
    bed.depletion("fired", 1);
    const recipients = Array.from({ length: MAX_RECIPIENTS + 5 }, (_, i) => `person:p${i}`);
    bed.answer(CUP, "CUP#1", { recipients });
    expect(open(CUP)?.recipients).toHaveLength(MAX_RECIPIENTS);
  });
});

describe("an answer of the sink", () => {
  it.each(["acknowledged", "cleared"] as const)("that comes after it was %s sends the change after it", (type) => {
    bed.depletion("fired", 1);
    bed.depletion(type, 1);
    expect(bed.routed()).toEqual(["notify CUP#1 0"]);
    bed.answer(CUP, "CUP#1", { nextMs: START_MS + MINUTE_MS });
    expect(bed.routes()).toMatchObject([{ what: "changed", recipients: ["person:li.wei"], alert: { state: type } }]);
    bed.answer(CUP, "CUP#1");
    bed.pass(2 * MINUTE_MS);
    expect(bed.routed()).toEqual([]);
  });

  it("adds what is known of the SKU, and keeps it", () => {
    const outlook = { sellableUnits: 9, safetyUnits: 5, inboundUnits: 0, minutesLeft: 7, suggestedUnits: 30 };
    bed.depletion("fired", 1);
    bed.answer(CUP, "CUP#1", { outlook, category: "cups", locations: ["main"] });
    bed.answer(CUP, "CUP#1");
    expect(open(CUP)?.alert).toMatchObject({ outlook, category: "cups", locations: ["main"] });
  });

  it("for an alert that does not exist changes nothing", () => {
    bed.answer(CUP, "CUP#1");
    expect([bed.routed(), bed.state(CUP)]).toEqual([[], undefined]);
  });
});

describe("a silence", () => {
  const UNTIL_MS = START_MS + 10 * MINUTE_MS;
  const silence = { id: "S1", untilMs: UNTIL_MS };

  it("that ends notifies at the same level if the alert is open", () => {
    bed.depletion("fired", 1);
    bed.answer(CUP, "CUP#1", { recipients: [], silence });
    bed.routes();
    bed.pass(10 * MINUTE_MS - 1);
    expect([bed.routed(), open(CUP)?.silence]).toEqual([[], silence]);
    bed.pass(1);
    expect([bed.routed(), open(CUP)?.silence]).toEqual([["notify CUP#1 0"], undefined]);
  });

  it.each(["acknowledged", "cleared"] as const)("that ends notifies nobody when the alert is %s", (type) => {
    bed.depletion("fired", 1);
    bed.answer(CUP, "CUP#1", { recipients: [], silence });
    bed.depletion(type, 1);
    bed.routes();
    bed.pass(20 * MINUTE_MS);
    expect(bed.routed()).toEqual([]);
  });

  it("that is added stops the levels, and those who were notified are named to the sink", () => {
    bed.depletion("fired", 1);
    bed.answer(CUP, "CUP#1", { nextMs: START_MS + 5 * MINUTE_MS });
    bed.routes();
    bed.silence(CUP);
    expect(bed.routes()).toMatchObject([{ what: "notify", level: 0, recipients: ["person:li.wei"] }]);
    bed.answer(CUP, "CUP#1", { recipients: [], silence });
    bed.pass(9 * MINUTE_MS);
    expect(bed.routed()).toEqual([]);
    bed.pass(MINUTE_MS);
    bed.answer(CUP, "CUP#1", { nextMs: UNTIL_MS + 5 * MINUTE_MS });
    expect([bed.routed(), open(CUP)?.nextMs]).toEqual([["notify CUP#1 0"], UNTIL_MS + 5 * MINUTE_MS]);
  });

  it("that is ended before its time routes at once", () => {
    bed.depletion("fired", 1);
    bed.answer(CUP, "CUP#1", { recipients: [], silence });
    bed.routes();
    bed.silence(CUP);
    expect(bed.routed()).toEqual(["notify CUP#1 0"]);
    bed.answer(CUP, "CUP#1");
    expect(open(CUP)?.silence).toBeUndefined();
  });

  it("of nothing open changes nothing", () => {
    bed.silence(CUP);
    expect([bed.routed(), bed.state(CUP)]).toEqual([[], undefined]);
  });
});

it("an unknown kind of event is refused", () => {
  expect(() => bed.event(CUP, "surprise", {})).toThrow("the kind of event surprise is unknown");
});
