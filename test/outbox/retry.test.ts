/** When a delivery is tried again, and which failures count for it. */
import { describe, expect, it } from "vitest";
import { seededRandom } from "../../engine/kernel/random.js";
import {
  FIRST_PAUSE_MS,
  LONGEST_PAUSE_MS,
  LONGEST_RETRY_AFTER_MS,
  pauseMs,
  TRIES_LIMIT,
  Tries,
} from "../../engine/outbox/retry.js";

const luck = (next: number) => ({ ...seededRandom(1), next: () => next });

describe("the pause before another attempt", () => {
  it("doubles at most with each failure, up to a limit", () => {
    const longest = Array.from({ length: 20 }, (_, i) => pauseMs(i + 1, undefined, luck(1)));
    expect(longest.slice(0, 4)).toEqual([1, 2, 4, 8].map((n) => n * FIRST_PAUSE_MS));
    expect(Math.max(...longest)).toBe(LONGEST_PAUSE_MS);
  });

  it("is drawn from all of that", () => {
    const random = seededRandom(618);
    const pauses = Array.from({ length: 1_000 }, () => pauseMs(5, undefined, random));
    expect(Math.min(...pauses)).toBeLessThan(FIRST_PAUSE_MS);
    expect(Math.max(...pauses)).toBeGreaterThan(15 * FIRST_PAUSE_MS);
    expect(pauses.reduce((sum, each) => sum + each, 0) / 1_000).toBeCloseTo(8 * FIRST_PAUSE_MS, -2);
  });

  it("is never shorter than the receiver asks for, and spread beyond that", () => {
    expect(pauseMs(1, 3_000, luck(0))).toBe(3_000);
    expect(pauseMs(1, 3_000, luck(1))).toBe(3_000 + FIRST_PAUSE_MS);
  });

  it("is not the year that a receiver asks for", () => {
    expect(pauseMs(1, 365 * 86_400_000, luck(0))).toBe(LONGEST_RETRY_AFTER_MS);
  });
});

describe("a failure", () => {
  it("does not count for a delivery while the receiver accepts nothing", () => {
    const tries = new Tries();
    for (let i = 0; i < 1_000; i++) {
      tries.started({ taken: 7, failed: i });
      expect(tries.failed({ taken: 7, failed: i }, false)).toBe(false);
    }
    expect(tries).toMatchObject({ failures: 1_000, counted: 0 });
  });

  it("counts for it when others were accepted meanwhile, and only that often", () => {
    const tries = new Tries();
    let taken = 0;
    let givenUpAfter = 0;
    for (let i = 1; givenUpAfter === 0; i++) {
      tries.started({ taken, failed: i - 1 });
      taken += i % 2;
      if (tries.failed({ taken, failed: i - 1 }, false)) givenUpAfter = tries.failures;
    }
    expect(tries.counted).toBe(TRIES_LIMIT);
    expect(givenUpAfter).toBe(2 * TRIES_LIMIT - 1);
  });

  it("does not count when the receiver throttled", () => {
    const tries = new Tries();
    for (let taken = 0; taken < 100; taken++) {
      tries.started({ taken, failed: 0 });
      expect(tries.failed({ taken: taken + 1, failed: 0 }, true)).toBe(false);
    }
  });

  it("does not count for a delivery when the receiver fails more often than it accepts", () => {
    const random = seededRandom(618);
    const tries = new Tries();
    const all = { taken: 0, failed: 0 };
    for (let round = 0; round < 200; round++) {
      tries.started({ ...all });
      for (let i = 0; i < 50; i++) random.below(10) < 7 ? all.failed++ : all.taken++;
      expect(tries.failed({ ...all }, false)).toBe(false);
      all.failed++;
    }
  });
});
