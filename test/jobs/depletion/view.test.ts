/**
 * The view that screens read: absolute values, so that a repeated or a missed commit does no harm once the next has
 * come.
 */
import { describe, expect, it } from "vitest";
import { type DepletionFigures, type DepletionState, depletionJob } from "../../../engine/jobs/depletion/job.js";
import { DepletionView } from "../../../engine/jobs/depletion/view.js";
import { seededRandom } from "../../../engine/kernel/random.js";
import { zoneOf } from "../../../engine/kernel/zone.js";
import { Shop } from "../shop.js";

const MINUTE = 60_000;
const NOON = Date.UTC(2026, 5, 18, 4);
const M = NOON / MINUTE;
const view = (more: Partial<DepletionFigures>): DepletionFigures => ({
  minute: M,
  dailyAverage: null,
  panes: [],
  alert: null,
  ...more,
});
const alert = (number: number, firedAtMs = NOON, acknowledgedBy: string | null = null) => ({
  id: `cup#${number}`,
  firedAtMs,
  hourUnits: 70,
  dailyAverage: 20,
  acknowledgedBy,
});

describe("the view", () => {
  it("sums the hour that ends with a minute, and leaves out what has none", () => {
    const depletionView = new DepletionView();
    depletionView.onView("cup", view({ panes: [M - 59, 1, M, 10] }));
    depletionView.onView("pot", view({ panes: [M - 59, 5] }));
    expect([...depletionView.hours(M)]).toEqual([
      { sku: "cup", hourUnits: 11 },
      { sku: "pot", hourUnits: 5 },
    ]);
    expect([...depletionView.hours(M + 1)]).toEqual([{ sku: "cup", hourUnits: 10 }]);
    expect([...depletionView.hours(M + 60)]).toEqual([]);
    expect(depletionView.hourUnits("none", M)).toBe(0);
  });

  it("accepts panes as they are published: again, smaller, or for the past", () => {
    const depletionView = new DepletionView();
    depletionView.onView("cup", view({ panes: [M - 1, 4, M, 10] }));
    depletionView.onView("cup", view({ panes: [M, 10] }));
    depletionView.onView("cup", view({ panes: [M - 1, 3] }));
    depletionView.onView("cup", view({ panes: [M - 2, 1] }));
    expect(depletionView.panes("cup", 0)).toEqual([M - 2, 1, M - 1, 3, M, 10]);
    expect(depletionView.panes("cup", M)).toEqual([M, 10]);
    expect(depletionView.revision("cup")).toBe(4);
    expect(depletionView.revision("none")).toBe(0);
  });

  it("keeps an hour of panes, not more", () => {
    const depletionView = new DepletionView();
    for (let minute = M; minute < M + 200; minute++) depletionView.onView("cup", view({ minute, panes: [minute, 1] }));
    expect(depletionView.panes("cup", 0)).toHaveLength(2 * 60);
    expect(depletionView.hourUnits("cup", M + 199)).toBe(60);
  });

  it("lists open alerts, newest first, with who has acknowledged them", () => {
    const depletionView = new DepletionView();
    depletionView.onView("cup", view({ alert: alert(1) }));
    depletionView.onView("pot", view({ alert: { ...alert(1, NOON + 5, "lin"), id: "pot#1" } }));
    expect(depletionView.openAlerts().map(({ id, state }) => `${id} ${state}`)).toEqual([
      "pot#1 acknowledged",
      "cup#1 fired",
    ]);
    expect(depletionView.openAlert("cup")).toMatchObject({
      hourUnits: 70,
      dailyAverage: 20,
      acknowledgedBy: undefined,
      clearedAtMs: undefined,
    });
    depletionView.onView("cup", view({}));
    expect(depletionView.openAlert("cup")).toBeUndefined();
    expect(depletionView.openAlerts()).toHaveLength(1);
  });

  it("keeps the latest cleared alerts, the last first, and no more than it can use", () => {
    const depletionView = new DepletionView();
    const clear = (number: number) =>
      depletionView.onEmit({
        job: "depletion.1",
        kind: "alert",
        key: "cup",
        atMs: NOON,
        payload: {
          type: "cleared",
          sku: "cup",
          atMs: NOON + number,
          hourUnits: 1,
          dailyAverage: 2,
          alert: alert(number),
        },
      });
    for (let number = 1; number <= 600; number++) clear(number);
    depletionView.onEmit({ job: "depletion.1", kind: "other", key: "cup", atMs: NOON, payload: {} });
    expect(depletionView.clearedAlerts()).toHaveLength(500);
    expect(depletionView.clearedAlerts()[0]).toMatchObject({
      id: "cup#600",
      state: "cleared",
      clearedAtMs: NOON + 600,
      hourUnits: 70,
    });
  });

  it("shows the same hours after missed commits as the job's own state, once it has received the last", async () => {
    const random = seededRandom(4);
    const job = depletionJob(zoneOf("Asia/Shanghai"));
    const shop = new Shop<DepletionState>(job);
    const depletionView = new DepletionView();
    let clockMs = NOON;
    for (let i = 0; i < 300; i++) {
      clockMs += random.below(3 * MINUTE);
      await shop.append({
        clockMs,
        atMs: clockMs - random.below(random.pick([1, 40 * MINUTE])),
        units: 1 + random.below(20),
      });
      const views = shop.views.splice(0);
      // Some are missed; then the states are read again, as the follower does.
      if (random.below(10) === 0)
        depletionView.onView("cup", job.view?.(shop.state("cup") as DepletionState, "cup", 0));
      else for (const [sku, view] of views) depletionView.onView(sku, view);
      const { panes } = shop.state("cup") as DepletionState;
      const minute = Math.floor(clockMs / MINUTE);
      const inHour = panes.filter((_, at) => at % 2 === 1 && (panes[at - 1] as number) > minute - 60);
      expect(depletionView.hourUnits("cup", minute)).toBe(inHour.reduce((sum, units) => sum + units, 0));
    }
  });
});
