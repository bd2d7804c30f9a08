/** When the module reads: while something is seen, at once for what comes into view, and rarely in an outage. */
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { edge, modulePage, START_MS } from "./edge.js";

beforeEach(() => {
  vi.useFakeTimers({ now: START_MS });
  vi.spyOn(Math, "random").mockReturnValue(0.5);
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

const displays = new Map(Array.from({ length: 300 }, (_, i) => [`A-${i}`, i + 1]));
const all = [...displays.keys()];

it("reads every 5 s at most, and sooner when the copy in a cache is about to end", async () => {
  const shop = edge({ displays });
  const page = modulePage(all);
  page.see(["A-0"]);
  await vi.advanceTimersByTimeAsync(60_000);
  const gaps = shop.requests.slice(1).map(({ atMs }, i) => atMs - (shop.requests[i]?.atMs ?? 0));
  expect(Math.max(...gaps)).toBeLessThanOrEqual(5_100);
  expect(Math.min(...gaps)).toBeGreaterThanOrEqual(900);
  expect(shop.requests.length).toBeLessThan(24);
});

it("asks nothing while nothing is seen, and at once when something is", async () => {
  const shop = edge({ displays });
  const page = modulePage(all);
  page.see(["A-0"]);
  await vi.advanceTimersByTimeAsync(1_000);
  page.see([]);
  const before = shop.requests.length;
  await vi.advanceTimersByTimeAsync(120_000);
  expect(shop.requests.length).toBe(before);
  expect(page.shown("A-0")).toBeUndefined();
  page.see(["A-0"]);
  await vi.advanceTimersByTimeAsync(100);
  expect(page.shown("A-0")).toBe(1);
});

it("reads what comes into view without waiting, however fast a page is scrolled", async () => {
  const shop = edge({ displays });
  const page = modulePage(all);
  for (let i = 0; i < 100; i++) {
    page.see([`A-${i * 3}`]);
    await vi.advanceTimersByTimeAsync(10);
  }
  // Three groups of 100 SKUs, each a third of a second in view.
  expect(shop.requests.length).toBeLessThanOrEqual(4);
  await vi.advanceTimersByTimeAsync(400);
  expect(page.shown("A-297")).toBe(298);
});

it("does not ask faster when answers are too old to be shown", async () => {
  const shop = edge({ displays, lagMs: 60_000, keptMs: 0 });
  const page = modulePage(all);
  page.see(["A-0"]);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(page.shown("A-0")).toBeUndefined();
  expect(shop.requests.length).toBeLessThanOrEqual(16);
});

it("goes on when an answer is not what it should be", async () => {
  const shop = edge({ displays });
  const page = modulePage(all);
  shop.state.body = { asOf: "soon", skus: [{ sku: "A-0", display: 1 }], unknown: [] };
  page.see(["A-0"]);
  await vi.advanceTimersByTimeAsync(1_000);
  for (const body of [null, [], 7, "<html>", { asOf: {}, skus: 5 }, { asOf: null, skus: [null], unknown: null }]) {
    shop.state.body = body;
    await vi.advanceTimersByTimeAsync(31_000);
    expect(page.shown("A-0")).toBeUndefined();
  }
  shop.state.body = undefined;
  await vi.advanceTimersByTimeAsync(31_000);
  expect(page.shown("A-0")).toBe(1);
});

it("believes no time of an answer that is not JSON", async () => {
  const shop = edge({ displays });
  const page = modulePage(all);
  shop.state.body = new Blob(["<html>Welcome to our hotel</html>"]);
  page.see(["A-0"]);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(shop.requests.length).toBeGreaterThan(0);
  expect(page.clock.latestMs()).toBe(Number.POSITIVE_INFINITY);
});

it("looks in time when a number expires that is not seen", async () => {
  edge({ displays });
  const page = modulePage(all);
  page.see(["A-0"]);
  await vi.advanceTimersByTimeAsync(1_000);
  page.see([]);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(page.lateMs()).toBeLessThanOrEqual(15_000);
});

it("asks ever less in an outage, and at once when there is a network again", async () => {
  const shop = edge({ displays, isDown: true });
  const page = modulePage(all);
  page.see(["A-0"]);
  await vi.advanceTimersByTimeAsync(120_000);
  expect(shop.requests.length).toBeLessThanOrEqual(9);
  shop.state.isDown = false;
  page.refresher.refresh();
  await vi.advanceTimersByTimeAsync(100);
  expect(page.shown("A-0")).toBe(1);
});

it("ignores what is older than what it knows, and for a moment what a push has overtaken", () => {
  const { known, clock } = modulePage(all);
  clock.observe(START_MS, START_MS);
  known.take("A", 5, START_MS - 2_000);
  known.take("A", 6, START_MS - 3_000);
  expect(known.shown("A")).toBe(5);
  known.take("A", 0, START_MS - 1_500, true);
  known.take("A", 5, START_MS - 1_000);
  expect(known.shown("A")).toBe(0);
  known.take("A", 9, START_MS - 500);
  expect(known.shown("A")).toBe(9);
});
