/**
 * The soak in short: fifty days of a shop in half a minute; everything that has a retention is filled and deleted
 * again and again. Logs are trimmed while they are written, ids and orders expire while new ones come, and nothing is
 * larger at the end than it was.
 */
import { expect, it } from "vitest";
import { type SoakSample, trendOf } from "../../bench/soak/trends.js";
import { soak } from "../../bench/soak.js";

/** Room for days and trimmings that come and go as a whole. */
const ROOM = 1.3;

it("reports the slope of the straight line through all samples", () => {
  const points = Array.from({ length: 600 }, (_, i) => [i * 1_000, 40 + i / 60 + (i % 2 === 0 ? 1 : -1)] as const);
  const { start, end, slopePerHour } = trendOf("memory", "MiB", points);
  expect(slopePerHour).toBeCloseTo(60, 0);
  expect(start).toBeCloseTo(40.1, 1);
  expect(end).toBeCloseTo(49.9, 1);
});

it("keeps streams, stored ids and memory bounded while days of orders come and go", async () => {
  const { samples, counts, troubles } = await soak({
    partitions: 4,
    skus: 100,
    ordersPerSecond: 150,
    dayMs: 600,
    runtimeSpeed: 60,
    measureMs: 14_000,
    signal: new AbortController().signal,
    onProgress: () => {},
  });
  expect(troubles).toEqual([]);
  expect(counts.refused).toBe(0);
  expect(counts.orders).toBeGreaterThan(500);
  expect(counts.events).toBeGreaterThan(2_000);
  expect(counts.commits).toBeGreaterThan(500);
  const half = Math.floor(samples.length / 2);
  const most = (of: keyof SoakSample, part: readonly SoakSample[]) => Math.max(...part.map((sample) => sample[of]));
  for (const of of ["logEntries", "outEntries", "redisKeys", "redisMiB"] as const) {
    expect(most(of, samples.slice(half)), of).toBeLessThan(most(of, samples.slice(0, half)) * ROOM);
  }
  // Much more was written than is there.
  expect(counts.logEntries).toBeGreaterThan(2 * most("logEntries", samples));
}, 90_000);
