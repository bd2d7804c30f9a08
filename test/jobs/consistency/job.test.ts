/**
 * The breaker's way through comparisons: it opens above the threshold, is half-open after ten minutes, and closes or
 * opens again by a comparison that was asked for after that; operators, lost writes and dry runs.
 */
import { describe, expect, it } from "vitest";
import {
  COMPARISON_FAILED_EVENT,
  REQUESTED_EVENT,
  requestedEvent,
  SNAPSHOT_EVENT,
  snapshotEvent,
} from "../../../engine/jobs/consistency/events.js";
import { HISTORY_KEPT } from "../../../engine/jobs/consistency/state.js";
import { MINUTE_MS } from "../../../engine/kernel/clock.js";
import { TICK_KIND } from "../../../engine/stream/event-entry.js";
import { ConsistencyBed, overBy, START_MS, unknown, within } from "./bed.js";

const OPEN_MS = 10 * MINUTE_MS;

/** The breaker of the shop has opened by itself. */
function opened(): ConsistencyBed {
  const bed = new ConsistencyBed();
  bed.event(TICK_KIND);
  bed.compared(overBy());
  expect(bed.execute()).toHaveLength(1);
  bed.changed();
  bed.refreshes();
  return bed;
}

/** The same, ten minutes later: half-open, and a comparison is asked for. */
function halfOpen(): ConsistencyBed {
  const bed = opened();
  bed.pass(OPEN_MS);
  bed.observe();
  bed.changed();
  return bed;
}

describe("a comparison", () => {
  it("is asked for by the schedule, by every snapshot and on demand, each with its cause", () => {
    const bed = new ConsistencyBed();
    const others = [snapshotEvent({ source: "wms", id: "s", asOfMs: 1 }), requestedEvent("R1", "li.wei")];
    for (const event of [{ kind: TICK_KIND, payload: null, id: "t", key: "comparison" }, ...others]) {
      bed.append(event);
      bed.compared(within());
    }
    expect(bed.view.counts.comparisons).toBe(3);
    expect(bed.view.last?.cause).toBe("demand");
    expect(bed.refreshes()).toBe(1);
    expect(bed.sets()).toEqual([]);
  });

  it("follows once for all that asks while one is under way, for the most important cause", () => {
    const bed = new ConsistencyBed();
    bed.event(SNAPSHOT_EVENT);
    for (const kind of [SNAPSHOT_EVENT, TICK_KIND, REQUESTED_EVENT, SNAPSHOT_EVENT]) bed.event(kind);
    expect(bed.view.isComparing).toBe(true);
    const [first, ...others] = bed.compares();
    expect(others).toEqual([]);
    bed.answer(first as never);
    const [second] = bed.compares();
    expect(second?.cause).toBe("schedule");
    // The first one, reported twice.
    bed.answer(first as never, overBy());
    expect(bed.sets()).toEqual([]);
    bed.answer(second as never);
    expect(bed.view.isComparing).toBe(false);
    expect(bed.compares()).toEqual([]);
  });

  it("without a result for ten minutes is asked for again, and whichever result comes first counts, once", () => {
    const bed = new ConsistencyBed();
    bed.event(TICK_KIND);
    const [first] = bed.compares();
    bed.pass(OPEN_MS);
    const [second] = bed.compares();
    expect(second).toEqual(first);
    bed.answer(first as never, overBy());
    expect(bed.sets()).toHaveLength(1);
    bed.answer(second as never, overBy());
    expect(bed.sets()).toEqual([]);
  });

  it("by schedule that does not take place is overdue, and one that finds no source says so", () => {
    const bed = new ConsistencyBed();
    bed.observe();
    const dueMs = START_MS + 24 * 60 * MINUTE_MS;
    expect(bed.view.nextDueMs).toBe(dueMs);
    bed.pass(dueMs - START_MS + 5 * MINUTE_MS);
    bed.observe();
    expect(bed.view.warnings(bed.nowMs)).toEqual([]);
    expect(bed.view.warnings(dueMs + 11 * MINUTE_MS)).toEqual([
      "the comparison of 2026-06-19T10:00:00.000Z has not taken place",
    ]);
    bed.event(TICK_KIND);
    bed.compared(within());
    expect(bed.view.warnings(bed.nowMs)).toEqual([]);
  });
});

describe("the breaker by itself", () => {
  it("opens for ten minutes above the threshold, with the reason and the evidence", () => {
    const bed = new ConsistencyBed();
    bed.event(TICK_KIND);
    bed.compared(overBy());
    const [command] = bed.execute();
    expect(command).toMatchObject({
      ...{ scope: "shop", action: "open", forMs: OPEN_MS, atEnd: "half_open", actor: "engine", ifVersion: 0 },
      reason: "wms and ledger differ by 1.2 %, more than 0.5 %, most in CUP",
      evidence: { pair: ["wms", "ledger"], share: 0.012 },
    });
    expect(bed.view.breakers()).toMatchObject([
      { scope: "shop", state: "open", isByEngine: true, untilMs: START_MS + OPEN_MS, evidence: { comparison: "C1" } },
    ]);
    expect(bed.changed()).toMatchObject([{ kind: "opened", by: "engine", number: 1, evidence: { share: 0.012 } }]);
    expect(bed.view.warnings(bed.nowMs)[0]).toContain("the breaker shop has opened by itself: wms and ledger differ");
    // While it is open nothing more is asked for.
    bed.event(SNAPSHOT_EVENT);
    bed.compared(overBy());
    expect(bed.sets()).toEqual([]);
  });

  it("asks for fresh snapshots a minute before the end, is compared when half-open, and closes within the threshold", () => {
    const bed = opened();
    bed.pass(OPEN_MS - MINUTE_MS - 1);
    expect(bed.refreshes()).toBe(0);
    bed.pass(1);
    expect(bed.refreshes()).toBe(1);
    bed.pass(MINUTE_MS);
    bed.observe();
    expect(bed.refreshes()).toBe(0);
    expect(bed.compares()).toMatchObject([
      { cause: "half_open", scopes: [{ scope: "shop", pair: ["wms", "ledger"] }] },
    ]);
    bed.observe();
    expect(bed.compares()).toEqual([]);
    bed.answer({ id: bed.state.comparing?.id ?? "", cause: "half_open", scopes: [] }, within());
    expect(bed.execute()).toMatchObject([{ action: "close", scope: "shop" }]);
    expect(bed.view.breakers()).toEqual([]);
    expect(bed.history).toEqual([
      ["closed", "engine", "shop"],
      ["half_opened", "engine", "shop"],
      ["opened", "engine", "shop"],
    ]);
    expect(bed.timerMs).toBeUndefined();
  });

  it("opens again when it is still above the threshold, and when it cannot be compared", () => {
    const bed = halfOpen();
    bed.compared(overBy());
    expect(bed.execute()).toMatchObject([{ action: "open", forMs: OPEN_MS, atEnd: "half_open" }]);
    bed.pass(OPEN_MS);
    bed.observe();
    bed.compared(unknown());
    expect(bed.execute()).toMatchObject([
      { action: "open", reason: "wms and ledger have no fresh snapshots in common: it cannot be compared" },
    ]);
    bed.pass(OPEN_MS);
    bed.observe();
    // Still judged by the pair that opened it.
    expect(bed.compares().at(-1)?.scopes).toEqual([{ scope: "shop", pair: ["wms", "ledger"] }]);
  });

  it("opens again when the comparison fails, which is tried again later", () => {
    const bed = halfOpen();
    const [{ id: request } = { id: "" }] = bed.compares();
    bed.event(COMPARISON_FAILED_EVENT, { request, reason: "entry 7 cannot be read" });
    expect(bed.execute()).toMatchObject([
      {
        ...{ action: "open", evidence: { pair: ["wms", "ledger"] } },
        reason: "the comparison has failed (entry 7 cannot be read): it cannot be compared",
      },
    ]);
    expect(bed.view.warnings(bed.nowMs).join()).toContain("entry 7");
    expect(bed.compares()).toEqual([]);
    bed.pass(OPEN_MS);
    bed.observe();
    // The one that is tried again, and the one of the breaker that is half-open.
    bed.compared();
    bed.compared(within());
    expect(bed.execute()).toMatchObject([{ action: "close" }]);
    expect(bed.view.warnings(bed.nowMs).join()).not.toContain("entry 7");
  });

  it("is not closed by a comparison that was asked for before it became half-open", () => {
    const bed = opened();
    bed.pass(MINUTE_MS);
    bed.event(SNAPSHOT_EVENT);
    const [early] = bed.compares();
    bed.pass(OPEN_MS - MINUTE_MS);
    bed.observe();
    bed.answer(early as never, within());
    expect(bed.sets()).toEqual([]);
    bed.compared(within());
    expect(bed.sets()).toMatchObject([{ action: "close" }]);
  });

  it("asks for a change once until it is observed, and again when it got lost", () => {
    const bed = new ConsistencyBed();
    bed.event(TICK_KIND);
    bed.compared(overBy());
    bed.event(SNAPSHOT_EVENT);
    bed.compared(overBy());
    expect(bed.sets()).toHaveLength(1);
    bed.pass(OPEN_MS);
    bed.compared(overBy());
    expect(bed.sets()).toHaveLength(1);
  });

  it("has a state and a threshold for each scope", () => {
    const bed = new ConsistencyBed();
    bed.event(TICK_KIND);
    bed.compared(overBy("location:SH"), overBy("sku:CUP"));
    expect(bed.execute().map(({ scope }) => scope)).toEqual(["location:SH", "sku:CUP"]);
    bed.pass(OPEN_MS);
    bed.observe();
    bed.compared(within("location:SH"), overBy("sku:CUP"));
    expect(bed.execute().map(({ scope, action }) => [scope, action])).toEqual([
      ["location:SH", "close"],
      ["sku:CUP", "open"],
    ]);
  });
});

describe("an operator", () => {
  it("closes, and only a snapshot that was complete after that opens it again", () => {
    const bed = opened();
    bed.pass(MINUTE_MS);
    bed.set("shop", "close");
    bed.observe();
    expect(bed.changed()).toMatchObject([{ kind: "closed", by: "operator", actor: "li.wei", reason: "by hand" }]);
    bed.event(TICK_KIND);
    bed.compared(overBy("shop", bed.nowMs));
    expect(bed.sets()).toEqual([]);
    bed.event(SNAPSHOT_EVENT);
    bed.compared(overBy("shop", bed.nowMs + 1));
    expect(bed.sets()).toMatchObject([{ action: "open", ifVersion: 2 }]);
  });

  it("opens, and no comparison closes it before its end", () => {
    const bed = new ConsistencyBed();
    bed.set("shop", "open", { untilMs: START_MS + MINUTE_MS });
    bed.observe();
    expect(bed.view.breakers()).toMatchObject([{ scope: "shop", isByEngine: false, actor: "li.wei" }]);
    bed.event(SNAPSHOT_EVENT);
    bed.compared(within());
    expect(bed.sets()).toEqual([]);
    bed.pass(MINUTE_MS);
    bed.observe();
    expect(bed.history[0]).toEqual(["closed", "engine", "shop"]);
    // Its end is no closing by an operator: the next comparison may open it.
    bed.event(SNAPSHOT_EVENT);
    bed.compared(overBy("shop", 1));
    expect(bed.sets()).toMatchObject([{ action: "open" }]);
  });

  it("extends a breaker that opened by itself, and the new end counts", () => {
    const bed = opened();
    bed.set("shop", "open", { untilMs: START_MS + 3 * OPEN_MS, atEnd: "half_open" });
    bed.observe();
    expect(bed.changed()).toMatchObject([{ kind: "extended", by: "operator", untilMs: START_MS + 3 * OPEN_MS }]);
    bed.pass(2 * OPEN_MS);
    bed.observe();
    expect(bed.compares()).toEqual([]);
    bed.pass(OPEN_MS);
    bed.observe();
    bed.compared(within());
    expect(bed.sets()).toMatchObject([{ action: "close" }]);
  });

  it("who is faster than the engine is not overridden", () => {
    const bed = new ConsistencyBed();
    bed.event(TICK_KIND);
    bed.compared(overBy());
    bed.set("shop", "close");
    expect(bed.execute()).toHaveLength(1);
    expect(bed.breakers.get("shop")?.state).toBe("closed");
    expect(bed.sets()).toEqual([]);
    expect(bed.state.scopes["shop"]).toMatchObject({ state: "closed", overriddenMs: START_MS });
    expect(bed.state.scopes["shop"]?.wanted).toBeUndefined();
  });

  it("who opens and closes between two observations is recorded as closing; what was closed before the first is not", () => {
    const bed = new ConsistencyBed();
    bed.set("location:SH", "close");
    bed.observe();
    expect(bed.history).toEqual([]);
    bed.set("location:SH", "close");
    bed.set("shop", "close");
    bed.observe();
    expect(bed.history).toEqual([
      ["closed", "operator", "shop"],
      ["closed", "operator", "location:SH"],
    ]);
  });

  it("half-opens, and the comparison that follows closes it", () => {
    const bed = new ConsistencyBed();
    bed.set("shop", "half_open");
    bed.observe();
    expect(bed.compared(within()).cause).toBe("half_open");
    expect(bed.sets()).toMatchObject([{ action: "close" }]);
  });
});

describe("a lost write", () => {
  it("is set again for the remaining time, with reason and evidence, whoever made it", () => {
    const bed = opened();
    bed.pass(4 * MINUTE_MS);
    bed.breakers.clear();
    bed.observe();
    const [command] = bed.execute();
    expect(command).toMatchObject({ action: "open", forMs: 6 * MINUTE_MS, atEnd: "half_open", ifVersion: 1 });
    expect(command?.evidence?.pair).toEqual(["wms", "ledger"]);
    expect(bed.view.breakers()).toMatchObject([{ isByEngine: true, untilMs: START_MS + OPEN_MS }]);

    bed.set("location:SH", "open");
    bed.observe();
    bed.breakers.delete("location:SH");
    bed.observe();
    expect(bed.execute()).toMatchObject([{ scope: "location:SH", forMs: 0, actor: "li.wei" }]);
    expect(bed.view.breakers()[1]).toMatchObject({ scope: "location:SH", isByEngine: false });
  });

  it("is not assumed of a breaker whose time is over, nor while not all breakers are reported", () => {
    const bed = new ConsistencyBed();
    bed.set("shop", "open", { untilMs: START_MS + MINUTE_MS });
    bed.observe();
    bed.pass(MINUTE_MS);
    bed.breakers.clear();
    bed.observe();
    expect(bed.sets()).toEqual([]);
  });
});

describe("a dry run", () => {
  it("records once that a breaker would have opened, and again only after it was within its threshold", () => {
    const bed = new ConsistencyBed();
    bed.mode = "dry-run";
    for (const verdict of [overBy(), overBy(), within(), overBy()]) {
      bed.event(SNAPSHOT_EVENT);
      bed.compared(verdict);
    }
    expect(bed.sets()).toEqual([]);
    expect(bed.history).toEqual([
      ["would_have_opened", "engine", "shop"],
      ["would_have_opened", "engine", "shop"],
    ]);
    expect(bed.view.wouldBeOpen()).toEqual(["shop"]);
    expect(bed.view.counts).toMatchObject({ openings: 0, wouldHaveOpened: 2 });
    expect(bed.changed()[0]).toMatchObject({ kind: "would_have_opened", evidence: { share: 0.012 } });
    bed.mode = "on";
    bed.event(SNAPSHOT_EVENT);
    bed.compared(overBy());
    expect(bed.execute()).toMatchObject([{ action: "open" }]);
    expect(bed.view.wouldBeOpen()).toEqual([]);
  });

  it("and the mode off leave no breaker half-open that the engine has opened, and leave an operator's alone", () => {
    for (const mode of ["dry-run", "off"] as const) {
      const bed = opened();
      bed.mode = mode;
      bed.pass(OPEN_MS);
      bed.observe();
      bed.compared(overBy());
      expect(bed.execute()).toMatchObject([{ action: "close", reason: expect.stringContaining(mode) }]);
      bed.set("shop", "half_open");
      bed.observe();
      bed.compared(within());
      expect(bed.sets()).toEqual([]);
    }
  });
});

it("keeps the newest changes only, and a view that starts later has the same", () => {
  const bed = new ConsistencyBed();
  for (let i = 0; i < HISTORY_KEPT; i++) {
    bed.pass(1_000);
    bed.set("shop", i % 2 === 0 ? "open" : "close");
    bed.observe();
  }
  bed.set("shop", "open");
  bed.observe();
  expect(bed.state.history).toHaveLength(HISTORY_KEPT);
  expect(bed.view.history()).toEqual([...bed.state.history].reverse());
  expect(bed.view.history(2)).toHaveLength(2);
});
