/** What the module believes of an answer: units as of a time that has been, and only so many SKUs. */
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { KnownStock } from "../../../dashboards/stock-module/known-stock.js";
import { ServerClock } from "../../../dashboards/stock-module/server-clock.js";
import { START_MS } from "./edge.js";

const clock = new ServerClock();
let known = new KnownStock(clock);

beforeEach(() => {
  vi.useFakeTimers({ now: START_MS });
  clock.forget();
  clock.observe(START_MS, START_MS);
  known = new KnownStock(clock);
});
afterEach(() => {
  vi.useRealTimers();
});

it.each([-1, 1.5, "7", "<img src=x onerror=alert(1)>", {}, [], true, undefined])("shows no %j", (display) => {
  known.take("A", display as number, START_MS);
  expect(known.shown("A")).toBeUndefined();
});

it("shows 15 s long at most what says that it will be true next year, and then what comes after it", async () => {
  known.take("A", 5, START_MS + 31_536_000_000);
  expect(known.shown("A")).toBe(5);
  await vi.advanceTimersByTimeAsync(1_000);
  known.take("A", 4, START_MS + 500);
  expect(known.shown("A")).toBe(4);
  await vi.advanceTimersByTimeAsync(14_500);
  expect(known.shown("A")).toBeUndefined();
});

it("ignores an answer without a time", () => {
  known.take("A", 5, Number.NaN);
  expect(known.shown("A")).toBeUndefined();
});

it("remembers no more than a page can use", () => {
  for (let i = 0; i < 25_000; i++) known.take(`A-${i}`, 1, START_MS);
  expect(known.shown("A-0")).toBeUndefined();
  expect(known.shown("A-24999")).toBe(1);
});
