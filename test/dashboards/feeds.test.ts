/**
 * The product's small feeds: what each sends, and when. Their deltas are whole bodies, so a screen replaces what it
 * has.
 */
import { describe, expect, it } from "vitest";
import type { FeedParameters } from "../../dashboards/feed.js";
import { type AlertBody, alertsFeed } from "../../dashboards/feeds/alerts.js";
import { type BreakerBody, breakersFeed } from "../../dashboards/feeds/breakers.js";
import { type EngineBody, engineFeed } from "../../dashboards/feeds/engine.js";
import { alertedSkus } from "../../dashboards/web/live-model.js";

const engine: EngineBody = {
  zone: "Asia/Tokyo",
  nowMs: 1_781_712_000_000.25,
  speed: 60,
  commandsPerSecond: 8_200.4,
  eventsPerSecond: 8_150.6,
  lagEntries: 12,
  lagMs: 180.2,
  scene: null,
};
const alert = (id: number, state: AlertBody["state"] = "fired"): AlertBody => ({
  id: `a${id}`,
  ...{ rule: "depletion", subject: `S${id}`, severity: "warning", sku: `S${id}`, acknowledgedBy: null },
  state,
  firedAtMs: id,
  clearedAtMs: state === "cleared" ? id + 1 : null,
  hourUnits: 10,
  dailyAverage: null,
});

describe("the feed of the engine", () => {
  it("sends whole numbers", () => {
    const state = engineFeed({ engine: () => engine }).open({});
    expect(state.advance(0)).toEqual({
      ...engine,
      nowMs: 1_781_712_000_000,
      commandsPerSecond: 8_200,
      eventsPerSecond: 8_151,
      lagMs: 180,
    });
  });

  it("sends a changed figure at once, and the clock alone once a second", () => {
    let now = engine;
    const state = engineFeed({ engine: () => now }).open({});
    state.advance(0);
    now = { ...now, nowMs: now.nowMs + 250 };
    expect(state.advance(250)).toBeUndefined();
    expect(state.snapshot()).toMatchObject({ nowMs: 1_781_712_000_250 });
    now = { ...now, lagMs: 190 };
    expect(state.advance(500)).toMatchObject({ lagMs: 190 });
    expect(state.advance(1_250)).toBeUndefined();
    expect(state.advance(1_500)).toMatchObject({ lagMs: 190 });
  });
});

describe("the feed of the alerts", () => {
  const countOf = (parameters: FeedParameters) => {
    const alerts = Array.from({ length: 200 }, (_, id) => alert(id));
    const state = alertsFeed({ alerts: (limit) => alerts.slice(0, limit) }).open(parameters);
    return (state.snapshot() as { alerts: AlertBody[] }).alerts.length;
  };

  it("sends as many alerts as the size allows", () => {
    expect([countOf({ size: "wall" }), countOf({ size: "phone" })]).toEqual([120, 60]);
  });

  it("sends the list when an alert fires, is acknowledged or clears, and only then", () => {
    let alerts = [alert(1)];
    const state = alertsFeed({ alerts: () => alerts }).open({ size: "wall" });
    expect(state.advance(0)).toEqual({ alerts: [alert(1)] });
    expect(state.advance(60_000)).toBeUndefined();
    for (const next of [[alert(2), alert(1)], [alert(2, "acknowledged"), alert(1)], [alert(2, "cleared")], []]) {
      alerts = next;
      expect(state.advance(60_000)).toEqual({ alerts: next });
    }
  });

  it("has the SKUs whose alerts are open for the marks of the other panels", () => {
    const ofSink: AlertBody = { ...alert(4), rule: "receiver_circuit", subject: "wms", sku: "wms" };
    const alerts = [alert(1), alert(2, "acknowledged"), alert(3, "cleared"), ofSink];
    expect(alertedSkus(alerts)).toEqual(new Set(["S1", "S2"]));
  });
});

describe("the feed of the breakers", () => {
  const open: BreakerBody = {
    scope: "shop",
    state: "open",
    untilMs: 9,
    atEnd: "half_open",
    actor: "system",
    reason: "差异 0.83%",
  };

  it("sends the breakers as soon as one opens, is open in more partitions, becomes half-open or closes", () => {
    let breakers: BreakerBody[] = [];
    const state = breakersFeed({ breakers: () => breakers }).open({});
    expect(state.advance(0)).toEqual({ breakers: [] });
    for (const next of [
      [{ ...open, missing: [2] }],
      [open],
      [{ ...open, state: "half_open" as const, untilMs: null }],
      [],
    ]) {
      breakers = next;
      expect(state.advance(250)).toEqual({ breakers: next });
      expect(state.advance(500)).toBeUndefined();
    }
  });
});
