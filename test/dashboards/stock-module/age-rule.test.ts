/**
 * The rule that a page must keep: no number that can be older than 15 seconds is shown, whatever the device's clock
 * says, through caches, delays, outages and sleep; and while all is well a number is always shown.
 */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ServerClock } from "../../../dashboards/stock-module/server-clock.js";
import { edge, modulePage, START_MS } from "./edge.js";

const MAX_AGE_MS = 15_000;
const STEP_MS = 50;

beforeEach(() => {
  vi.useFakeTimers({ now: START_MS });
  vi.spyOn(Math, "random").mockReturnValue(0.5);
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

type Edge = ReturnType<typeof edge>;

/** Runs for a time and returns the oldest number that was shown, and for how long none was. */
async function watch(shop: Edge, page: ReturnType<typeof modulePage>, forMs: number) {
  let oldestMs = 0;
  let withoutMs = 0;
  for (let passed = 0; passed < forMs; passed += STEP_MS) {
    await vi.advanceTimersByTimeAsync(STEP_MS);
    if (page.shown("A") === undefined) withoutMs += STEP_MS;
    else oldestMs = Math.max(oldestMs, shop.trueMs() - page.newestMs());
  }
  return { oldestMs, withoutMs };
}

const SKEWS = [-3_600_000, -60_000, -14_000, -2_000, 0, 2_000, 14_000, 60_000, 3_600_000];

describe.each(SKEWS)("with a device clock that is %i ms wrong", (skewMs) => {
  beforeEach(() => {
    vi.setSystemTime(START_MS + skewMs);
  });

  it("shows a number all the time while the edge answers", async () => {
    const shop = edge({ displays: new Map([["A", 7]]) });
    const page = modulePage(["A"]);
    page.refresher.look();
    await vi.advanceTimersByTimeAsync(100);
    expect(page.shown("A")).toBe(7);
    const { oldestMs, withoutMs } = await watch(shop, page, 120_000);
    expect(withoutMs).toBe(0);
    expect(oldestMs).toBeLessThanOrEqual(MAX_AGE_MS);
  });

  it("shows none that is older than 15 s in an outage, and none after it", async () => {
    const shop = edge({ displays: new Map([["A", 7]]) });
    const page = modulePage(["A"]);
    page.refresher.look();
    await vi.advanceTimersByTimeAsync(21_000);
    shop.state.isDown = true;
    const { oldestMs, withoutMs } = await watch(shop, page, 60_000);
    expect(oldestMs).toBeLessThanOrEqual(MAX_AGE_MS);
    expect(withoutMs).toBeGreaterThan(40_000);
    expect(page.shown("A")).toBeUndefined();
    shop.state.isDown = false;
    await vi.advanceTimersByTimeAsync(31_000);
    expect(page.shown("A")).toBe(7);
  });
});

describe("whatever caches do", () => {
  it.each([
    ["keep a body for longer than they may", { keptMs: 40_000 }],
    ["state a date of their own", { headers: "own date", keptMs: 40_000 }],
    ["are behind an engine that lags", { lagMs: 9_000, keptMs: 14_000 }],
    ["are slow", { delayMs: 1_500 }],
    ["are very slow", { delayMs: 4_000 }],
  ] as const)("shows no number that is older than 15 s when they %s", async (_name, change) => {
    const shop = edge({ displays: new Map([["A", 7]]), ...change });
    const page = modulePage(["A"]);
    page.refresher.look();
    const { oldestMs, withoutMs } = await watch(shop, page, 120_000);
    console.log(`${_name}: oldest ${oldestMs} ms, without a number ${withoutMs} ms of 120 s`);
    expect(oldestMs).toBeLessThanOrEqual(MAX_AGE_MS);
    expect(oldestMs).toBeGreaterThan(0);
  });

  it("shows none when they state no time", async () => {
    edge({ displays: new Map([["A", 7]]), headers: "no date" });
    const page = modulePage(["A"]);
    page.refresher.look();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(page.shown("A")).toBeUndefined();
  });
});

describe("a device that sleeps", () => {
  it("shows no number when it wakes, although its monotonic clock stood still, and reads again", async () => {
    const shop = edge({ displays: new Map([["A", 7]]) });
    const page = modulePage(["A"]);
    page.refresher.look();
    await vi.advanceTimersByTimeAsync(2_000);
    expect(page.shown("A")).toBe(7);
    vi.setSystemTime(Date.now() + 600_000);
    const before = shop.requests.length;
    page.refresher.look();
    expect(page.shown("A")).toBeUndefined();
    expect(shop.requests.length).toBe(before + 1);
  });

  it("notices within a second by itself", async () => {
    const shop = edge({ displays: new Map([["A", 7]]) });
    const page = modulePage(["A"]);
    page.refresher.look();
    await vi.advanceTimersByTimeAsync(2_000);
    vi.setSystemTime(Date.now() + 600_000);
    shop.state.isDown = true;
    await vi.advanceTimersByTimeAsync(1_000);
    expect(page.shown("A")).toBeUndefined();
  });

  it("does not believe the time of an answer that waited while it slept", async () => {
    const shop = edge({ displays: new Map([["A", 7]]), delayMs: 400 });
    const page = modulePage(["A"]);
    page.refresher.look();
    await vi.advanceTimersByTimeAsync(300);
    // Ten minutes pass unnoticed by the timers; the answer is there when it wakes.
    vi.setSystemTime(Date.now() + 600_000);
    shop.state.isDown = true;
    await vi.advanceTimersByTimeAsync(5_000);
    expect(page.shown("A")).toBeUndefined();
  });
});

describe("the clock of the server", () => {
  it("is not known before anything was observed, and never earlier than true", () => {
    const clock = new ServerClock();
    expect(clock.latestMs()).toBe(Number.POSITIVE_INFINITY);
    clock.observe(Number.NaN, Number.NaN);
    expect(clock.latestMs()).toBe(Number.POSITIVE_INFINITY);
    clock.observe(1_000);
    expect(clock.latestMs()).toBe(Number.POSITIVE_INFINITY);
    clock.observe(1_000, 3_000);
    expect(clock.latestMs()).toBe(3_000);
    clock.observe(1_500, 2_500);
    expect(clock.latestMs()).toBe(2_500);
  });

  it("believes the later of two times that contradict each other", () => {
    const clock = new ServerClock();
    clock.observe(5_000, 6_000);
    clock.observe(2_000, 3_000);
    expect(clock.latestMs()).toBe(5_000);
    clock.observe(9_000, 9_500);
    expect(clock.latestMs()).toBe(9_000);
  });
});
