/** Days of China's time: 16:00 UTC is its midnight. */
import { expect, it } from "vitest";
import { chinaDayOf, untilNextChinaDayMs } from "../../../connectors/purges/china-day.js";

const MIDNIGHT_MS = Date.parse("2026-06-18T16:00:00Z");

it("begins a day at 16:00 UTC", () => {
  expect(chinaDayOf(MIDNIGHT_MS)).toBe(chinaDayOf(MIDNIGHT_MS - 1) + 1);
  expect(chinaDayOf(MIDNIGHT_MS + 86_399_999)).toBe(chinaDayOf(MIDNIGHT_MS));
});

it("states the time until the next day begins", () => {
  expect(untilNextChinaDayMs(MIDNIGHT_MS)).toBe(86_400_000);
  expect(untilNextChinaDayMs(MIDNIGHT_MS - 1)).toBe(1);
  expect(untilNextChinaDayMs(MIDNIGHT_MS + 1_500)).toBe(86_398_500);
});
