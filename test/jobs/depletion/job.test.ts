/**
 * The depletion job on a log written by hand, and beside an oracle that counts R8 to R10 minute by minute. Times are of
 * a shop in Shanghai unless a test says otherwise; nothing here is ever later than the log's clock.
 */
import { describe, expect, it } from "vitest";
import {
  type AlertChange,
  type DepletionFigures,
  type DepletionState,
  depletionJob,
} from "../../../engine/jobs/depletion/job.js";
import { seededRandom } from "../../../engine/kernel/random.js";
import { zoneOf } from "../../../engine/kernel/zone.js";
import { lengthOf } from "../../length.js";
import { Shop, type ShopEvent } from "../shop.js";
import { Oracle } from "./oracle.js";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** Thursday noon in Shanghai. */
const NOON = Date.UTC(2026, 5, 18, 4);

const shopIn = (zone = "Asia/Shanghai") => new Shop<DepletionState>(depletionJob(zoneOf(zone)));
const changes = (shop: Shop<DepletionState>) => shop.emits.map(({ payload }) => payload as AlertChange);
const changesOf = (shop: Shop<DepletionState>, fromMs = NOON) =>
  changes(shop).map(({ type, atMs, hourUnits, dailyAverage }) => [type, atMs - fromMs, hourUnits, dailyAverage]);
const configured = (clockMs: number, settings: object): ShopEvent => ({
  clockMs,
  type: "SkuConfigured",
  from: "outside",
  to: "outside",
  units: 0,
  detail: { settings },
});
/** A SKU that has sold so many units on each of the 7 days before. */
async function seasoned(unitsADay: number, zone = "Asia/Shanghai"): Promise<Shop<DepletionState>> {
  const shop = shopIn(zone);
  // At an hour's distance from the test, and never enough to fire.
  for (let day = 8; day >= 1; day--) await shop.append({ clockMs: NOON - day * DAY - 3 * HOUR, units: unitsADay });
  return shop;
}

describe("what counts as depletion", () => {
  it("is what leaves sellable for orders that were accepted as a whole, each line once, and nothing else", async () => {
    const shop = shopIn();
    await shop.append(
      { clockMs: NOON, units: 1 },
      { clockMs: NOON, units: 1_000, uncounted: true },
      { clockMs: NOON, units: 10, type: "LineAccepted", from: "outside", to: "outside" },
      { clockMs: NOON, units: 100, type: "LineOutbound", from: "sellable", to: "outside", presale: true },
      { clockMs: NOON, units: 1_000, type: "LinePaid", from: "sellable", to: "committed" },
      { clockMs: NOON, units: 1_000, type: "LineOutbound", from: "sellable", to: "outside" },
      { clockMs: NOON, units: 1_000, type: "LinePaid", from: "reserved", to: "committed" },
      { clockMs: NOON, units: 1_000, type: "LineOutbound", from: "committed", to: "outside" },
      { clockMs: NOON, units: 1_000, type: "StockReserved", from: "presale", to: "outside" },
      { clockMs: NOON, units: 1_000, type: "StockCorrected", from: "sellable", to: "outside" },
      { clockMs: NOON, units: 1_000, type: "StockMoved", from: "sellable", to: "safety" },
      { clockMs: NOON, units: 1_000, type: "LineCancelled", from: "reserved", to: "sellable" },
    );
    expect(shop.state("cup")?.panes).toEqual([NOON / MINUTE, 111]);
  });

  it("is counted by SKU over all locations", async () => {
    const shop = shopIn();
    await shop.append(
      { clockMs: NOON, units: 3 },
      { clockMs: NOON, units: 4, location: "GZ" },
      { clockMs: NOON, units: 5, sku: "pot" },
    );
    expect(shop.state("cup")?.panes).toEqual([NOON / MINUTE, 7]);
    expect(shop.state("pot")?.panes).toEqual([NOON / MINUTE, 5]);
  });
});

describe("an alert", () => {
  it("fires in cold start at 100 units in the hour, and clears at a minute's end below 80", async () => {
    const shop = shopIn();
    await shop.append({ clockMs: NOON, units: 21 }, { clockMs: NOON + 30 * MINUTE, units: 78 });
    expect(changes(shop)).toEqual([]);
    await shop.append({ clockMs: NOON + 31 * MINUTE, units: 1 });
    expect(changesOf(shop)).toEqual([["fired", 31 * MINUTE, 100, null]]);
    // At 13:00 the first pane is given up: 79 are left.
    await shop.tick(NOON + 60 * MINUTE + 59_999);
    expect(changesOf(shop)).toHaveLength(1);
    await shop.tick(NOON + 61 * MINUTE);
    expect(changesOf(shop).slice(1)).toEqual([["cleared", 61 * MINUTE, 79, null]]);
    expect(changes(shop)[1]?.alert.id).toBe("cup#1");
  });

  it("fires on the deduction that takes the hour above three daily averages", async () => {
    const shop = await seasoned(20);
    await shop.append({ clockMs: NOON, units: 60 });
    expect(changes(shop)).toEqual([]);
    await shop.append({ clockMs: NOON + 1, units: 1 });
    expect(changesOf(shop)).toEqual([["fired", 1, 61, 20]]);
  });

  it("does not clear on a deduction, only at a minute's end", async () => {
    const shop = await seasoned(20);
    await shop.append({ clockMs: NOON, units: 61 });
    await shop.append({ clockMs: NOON + 60 * MINUTE, units: 1 }, { clockMs: NOON + 60 * MINUTE + 30_000, units: 1 });
    expect(changesOf(shop)).toHaveLength(1);
    await shop.tick(NOON + 61 * MINUTE);
    expect(changesOf(shop).slice(1)).toEqual([["cleared", 61 * MINUTE, 2, 20]]);
  });

  it("is one at a time; the next has the next number", async () => {
    const shop = await seasoned(20);
    for (let i = 0; i < 50; i++) await shop.append({ clockMs: NOON + i * MINUTE, units: 30 });
    await shop.append({ clockMs: NOON + 5 * HOUR, units: 70 });
    expect(changes(shop).map(({ type, alert }) => `${type} ${alert.id}`)).toEqual([
      "fired cup#1",
      "cleared cup#1",
      "fired cup#2",
    ]);
  });

  it("reports its clearing with the figures at which it fired, and those of now", async () => {
    const shop = await seasoned(20);
    await shop.append({ clockMs: NOON, units: 70 });
    await shop.tick(NOON + DAY);
    expect(changes(shop)[1]).toMatchObject({
      type: "cleared",
      hourUnits: 0,
      alert: { hourUnits: 70, firedAtMs: NOON },
    });
  });

  it("fires at the end of a day's first minute, when the new average makes it", async () => {
    const shop = shopIn();
    const midnight = NOON + 12 * HOUR;
    // Of the 7 days before today only the first had trade: 140 units, an average of 20. Tomorrow it is no longer one
    // of the 7.
    await shop.append({ clockMs: midnight - 10 * DAY, units: 1 });
    for (const [hour, units] of [
      [1, 49],
      [3, 49],
      [5, 42],
    ] as const)
      await shop.append({ clockMs: midnight - 8 * DAY + hour * HOUR, units });
    await shop.append({ clockMs: midnight - 20 * MINUTE, units: 60 });
    await shop.tick(midnight + MINUTE - 1);
    expect(changes(shop)).toEqual([]);
    await shop.tick(midnight + 3 * MINUTE);
    expect(changesOf(shop, midnight)).toEqual([["fired", MINUTE, 60, 60 / 7]]);
  });

  it("of a SKU in its first evening fires after midnight, when the day has become its average", async () => {
    const shop = shopIn();
    const midnight = NOON + 12 * HOUR;
    await shop.append({ clockMs: midnight - 59 * MINUTE, units: 40 }, { clockMs: midnight - 20 * MINUTE, units: 30 });
    await shop.append({ clockMs: midnight + 30_000, units: 9 });
    // 70 a day: far from it. With settings of its own it is near.
    expect(changes(shop)).toEqual([]);
    const keen = shopIn();
    await keen.append(configured(midnight - HOUR, { alertFactor: 0.9, alertFloorUnits: 10 }));
    await keen.append({ clockMs: midnight - 20 * MINUTE, units: 70 });
    await keen.tick(midnight + 3 * MINUTE);
    expect(changesOf(keen, midnight)).toEqual([["fired", MINUTE, 70, 70]]);
  });

  it("counts days of the shop's zone: the same log alerts in one zone and not in another", async () => {
    const logs = ["Asia/Shanghai", "UTC"].map(async (zone) => {
      const shop = shopIn(zone);
      // 15:30 UTC: before midnight in Shanghai; 16:30 UTC: after it, and still the same day in UTC.
      await shop.append(
        { clockMs: Date.UTC(2026, 5, 18, 15, 30), units: 20 },
        { clockMs: Date.UTC(2026, 5, 18, 16, 45), units: 61 },
      );
      return changesOf(shop, 0).map(([type, , units, average]) => [type, units, average]);
    });
    expect(await Promise.all(logs)).toEqual([[["fired", 61, 20]], []]);
  });

  it.each([
    ["23 hours", Date.UTC(2026, 2, 29), 23],
    ["25 hours", Date.UTC(2026, 9, 24, 23), 25],
  ])("takes a London day of %s as one day", async (_, startMs, hours) => {
    const shop = shopIn("Europe/London");
    const endMs = startMs + hours * HOUR;
    await shop.append({ clockMs: startMs, units: 10 }, { clockMs: endMs - 1, units: 10 });
    expect(shop.state("cup")?.days).toHaveLength(2);
    await shop.append({ clockMs: endMs + 2 * HOUR, units: 61 });
    expect(changesOf(shop, endMs)).toEqual([["fired", 2 * HOUR, 61, 20]]);
  });

  it("survives a restart at any moment", async () => {
    const shop = await seasoned(20);
    shop.restart();
    await shop.append({ clockMs: NOON, units: 61 });
    shop.restart();
    await shop.tick(NOON + 30 * MINUTE);
    shop.restart();
    await shop.tick(NOON + 2 * HOUR);
    expect(changesOf(shop)).toEqual([
      ["fired", 0, 61, 20],
      ["cleared", 61 * MINUTE, 0, 20],
    ]);
  });
});

describe("a deduction that comes late", () => {
  it("counts in its own pane while that is kept, and the rule is evaluated as of now", async () => {
    const shop = await seasoned(20);
    await shop.append(
      { clockMs: NOON, units: 50 },
      { clockMs: NOON + 10 * MINUTE, atMs: NOON - 49 * MINUTE, units: 11 },
    );
    expect(shop.late).toBe(0);
    expect(changesOf(shop)).toEqual([["fired", 10 * MINUTE, 61, 20]]);
    // Its pane is the first to go.
    await shop.tick(NOON + 12 * MINUTE);
    expect(changesOf(shop)).toHaveLength(1);
    expect(shop.state("cup")?.panes).toEqual([NOON / MINUTE, 50]);
  });

  it("never fires before the alert ahead of it has cleared", async () => {
    const shop = await seasoned(20);
    await shop.append({ clockMs: NOON, units: 61 });
    await shop.tick(NOON + 61 * MINUTE);
    await shop.append({ clockMs: NOON + 62 * MINUTE, atMs: NOON + 20 * MINUTE, units: 61 });
    const times = changes(shop).map(({ atMs }) => atMs);
    expect(changes(shop).map(({ type }) => type)).toEqual(["fired", "cleared", "fired"]);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
  });

  it("beyond the hour counts for its day only, and is counted as late", async () => {
    const shop = await seasoned(20);
    await shop.append({ clockMs: NOON, atMs: NOON - 60 * MINUTE, units: 700 });
    expect(shop.late).toBe(1);
    expect(changes(shop)).toEqual([]);
    expect(shop.state("cup")?.panes).toEqual([]);
    await shop.append({ clockMs: NOON, atMs: NOON - DAY, units: 700 });
    await shop.append({ clockMs: NOON, units: 361 });
    expect(changesOf(shop)).toEqual([["fired", 0, 361, 120]]);
  });

  it("may make a SKU older than before", async () => {
    const shop = shopIn();
    await shop.append({ clockMs: NOON, units: 61 });
    expect(changes(shop)).toEqual([]);
    await shop.append({ clockMs: NOON + 1, atMs: NOON - 3 * DAY, units: 3 });
    expect(changesOf(shop)).toEqual([["fired", 1, 61, 1]]);
  });
});

describe("settings", () => {
  it("apply from their place in the log on", async () => {
    const shop = await seasoned(20);
    await shop.append(configured(NOON - MINUTE, { alertFactor: 1, alertFloorUnits: 10 }));
    await shop.append({ clockMs: NOON, units: 20 });
    expect(changes(shop)).toEqual([]);
    await shop.append({ clockMs: NOON, units: 1 });
    expect(changesOf(shop)).toEqual([["fired", 0, 21, 20]]);
  });

  it("that make an alert of what has been sold already fire at the minute's end", async () => {
    const shop = await seasoned(20);
    await shop.append({ clockMs: NOON, units: 40 });
    await shop.append(configured(NOON + 90_000, { alertFactor: 1.5, alertFloorUnits: 10 }));
    await shop.tick(NOON + 2 * MINUTE - 1);
    expect(changes(shop)).toEqual([]);
    await shop.tick(NOON + 2 * MINUTE);
    expect(changesOf(shop)).toEqual([["fired", 2 * MINUTE, 40, 20]]);
  });

  it("that are stricter clear an open alert at the minute's end", async () => {
    const shop = await seasoned(20);
    await shop.append({ clockMs: NOON, units: 70 }, configured(NOON + 1, { alertFactor: 9 }));
    expect(changesOf(shop)).toHaveLength(1);
    await shop.tick(NOON + MINUTE);
    expect(changesOf(shop).slice(1)).toEqual([["cleared", MINUTE, 70, 20]]);
  });

  it("of one kind leave the other as it was", async () => {
    const shop = shopIn();
    await shop.append(
      configured(NOON, { alertFactor: 2 }),
      configured(NOON, { alertFloorUnits: 5 }),
      configured(NOON, { displayCoefficient: 1 }),
    );
    expect(shop.state("cup")?.settings?.own).toEqual({ alertFactor: 2, alertFloorUnits: 5, displayCoefficient: 1 });
  });
});

describe("an acknowledgement", () => {
  const seen = (clockMs: number, alertId: string, actor?: string): ShopEvent => ({
    clockMs,
    type: "AlertAcknowledged",
    from: "outside",
    to: "outside",
    units: 0,
    detail: { alertId, ...(actor && { actor }) },
  });

  it("is recorded once, with its actor", async () => {
    const shop = await seasoned(20);
    await shop.append({ clockMs: NOON, units: 70 }, seen(NOON + 1, "cup#1", "lin"), seen(NOON + 2, "cup#1", "wang"));
    expect(changes(shop).slice(1)).toMatchObject([
      { type: "acknowledged", atMs: NOON + 1, alert: { acknowledgedBy: "lin" } },
    ]);
    await shop.tick(NOON + 2 * HOUR);
    expect(changes(shop).at(-1)).toMatchObject({ type: "cleared", alert: { acknowledgedBy: "lin" } });
  });

  it("of an alert that has cleared, or never was, changes nothing", async () => {
    const shop = await seasoned(20);
    await shop.append(seen(NOON - 1, "cup#1", "lin"));
    await shop.append({ clockMs: NOON, units: 70 });
    await shop.tick(NOON + 2 * HOUR);
    await shop.append(
      seen(NOON + 2 * HOUR, "cup#1", "lin"),
      { clockMs: NOON + 3 * HOUR, units: 80 },
      seen(NOON + 3 * HOUR, "cup#1", "lin"),
    );
    expect(changes(shop).map(({ type }) => type)).toEqual(["fired", "cleared", "fired"]);
    expect(shop.state("cup")?.alert?.acknowledgedBy).toBeNull();
  });
});

describe("the view", () => {
  it("has the panes changed since the last one, the average and the open alert", async () => {
    const shop = await seasoned(20);
    await shop.append({ clockMs: NOON, units: 5 }, { clockMs: NOON + MINUTE, units: 70 });
    const minute = NOON / MINUTE;
    expect(shop.views.at(-1)).toEqual([
      "cup",
      {
        minute: minute + 1,
        dailyAverage: 20,
        panes: [minute + 1, 70],
        alert: expect.objectContaining({ id: "cup#1" }),
      },
    ]);
    await shop.append({ clockMs: NOON + MINUTE, atMs: NOON, units: 1 });
    expect((shop.views.at(-1) as [string, DepletionFigures])[1].panes).toEqual([minute, 6, minute + 1, 70]);
  });
});

describe("beside the oracle", () => {
  const ZONES = ["Asia/Shanghai", "Europe/London", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "UTC"];
  /** Both London changes of 2026, and a quiet time. */
  const STARTS = [Date.UTC(2026, 2, 23, 5), Date.UTC(2026, 9, 19, 5), Date.UTC(2026, 5, 18)];

  /** Each start is met in a short run, too. */
  const SEEDS = lengthOf({ short: 4, long: 6 });

  it.each(ZONES)("gives the same alerts over random sales in %s", async (zone) => {
    const seen = { fired: 0, cleared: 0, atMinuteEnd: 0, late: 0, warm: 0 };
    for (let seed = 1; seed <= SEEDS; seed++) {
      const random = seededRandom(seed * 7_919 + zone.length);
      const shop = shopIn(zone);
      const oracle = new Oracle(zone);
      let clockMs = (STARTS[seed % 3] as number) + random.below(DAY);
      for (let i = 0; i < 160; i++) {
        clockMs +=
          random.pick([0, 1_000, 20_000, MINUTE, 7 * MINUTE, 40 * MINUTE, 3 * HOUR, 9 * HOUR]) + random.below(1_000);
        // Now and then right on a minute, and around the shop's midnight.
        if (random.below(5) === 0) clockMs = Math.ceil(clockMs / MINUTE) * MINUTE;
        if (random.below(12) === 0) clockMs = zoneOf(zone).nextDayMs(clockMs) - random.below(3 * MINUTE);
        if (random.below(6) === 0) shop.restart();
        if (random.below(12) === 0) {
          const settings = { alertFactor: (5 + random.below(40)) / 10, alertFloorUnits: 10 + random.below(80) };
          await shop.append(configured(clockMs, settings));
          oracle.configure(clockMs, { factor: settings.alertFactor, floor: settings.alertFloorUnits });
        } else if (random.below(10) === 0) {
          await shop.tick(clockMs);
          oracle.tick(clockMs);
        } else {
          const behindMs =
            random.below(4) === 0 ? random.below(random.pick([5 * MINUTE, 70 * MINUTE, 3 * DAY, 9 * DAY])) : 0;
          const units = random.below(6) === 0 ? 40 + random.below(150) : 1 + random.below(15);
          await shop.append({ clockMs, atMs: clockMs - behindMs, units });
          oracle.deduct(clockMs, clockMs - behindMs, units);
        }
      }
      clockMs += 3 * DAY;
      await shop.tick(clockMs);
      oracle.tick(clockMs);
      const mine = changes(shop).map(({ type, atMs, hourUnits, dailyAverage }) => ({
        type,
        atMs,
        hourUnits,
        dailyAverage,
      }));
      expect(mine, `seed ${seed} in ${zone}`).toEqual(oracle.alerts);
      expect(shop.timers.size, "an SKU at rest has no timer").toBe(0);
      seen.late += oracle.late;
      for (const { type, atMs, dailyAverage } of oracle.alerts) {
        seen[type]++;
        if (type === "fired" && atMs % MINUTE === 0) seen.atMinuteEnd++;
        if (dailyAverage !== null) seen.warm++;
      }
    }
    for (const [what, count] of Object.entries(seen)) expect(count, what).toBeGreaterThan(1);
  });
});
