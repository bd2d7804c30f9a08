/**
 * Timers beside the simplest thing that could be right: a list that is sorted again every time. Random settings,
 * removals and takings must give the same timers in the same order.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Timer, Timers } from "../../engine/stream/timers.js";

const JOBS = 2;
const order = (a: Timer, b: Timer): number => a.atMs - b.atMs || a.job - b.job || (a.key < b.key ? -1 : 1);

class SortedList {
  #timers: Timer[] = [];

  set(job: number, key: string, atMs: number | undefined): void {
    this.#timers = this.#timers.filter((timer) => timer.job !== job || timer.key !== key);
    if (atMs !== undefined) this.#timers.push({ atMs, job, key });
  }

  due(nowMs: number): Timer[] {
    return this.#timers.filter(({ atMs }) => atMs <= nowMs).sort(order);
  }

  take(nowMs: number): Timer | undefined {
    const [first] = this.due(nowMs);
    if (first) this.set(first.job, first.key, undefined);
    return first;
  }

  at(job: number, key: string): number | undefined {
    return this.#timers.find((timer) => timer.job === job && timer.key === key)?.atMs;
  }

  get size(): number {
    return this.#timers.length;
  }
}

const job = fc.nat(JOBS - 1);
const key = fc.constantFrom("a", "b", "c", "d", "e");
const atMs = fc.nat(30);
const operation = fc.oneof(
  { weight: 5, arbitrary: fc.record({ op: fc.constant("set" as const), job, key, atMs }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("remove" as const), job, key }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("take" as const), atMs }) },
);

describe("timers", () => {
  it("agree with a sorted list over random operations", () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 200 }), (operations) => {
        const timers = new Timers(JOBS);
        const list = new SortedList();
        for (const step of operations) {
          if (step.op === "take") {
            expect([...timers.due(step.atMs)].sort(order)).toEqual(list.due(step.atMs));
            expect(timers.take(step.atMs)).toEqual(list.take(step.atMs));
          } else {
            const at = step.op === "set" ? step.atMs : undefined;
            timers.set(step.job, step.key, at);
            list.set(step.job, step.key, at);
            expect(timers.at(step.job, step.key)).toBe(list.at(step.job, step.key));
          }
          expect(timers.size).toBe(list.size);
        }
        for (let left = list.size; left > 0; left--) expect(timers.take(1_000)).toEqual(list.take(1_000));
        expect(timers.take(1_000)).toBeUndefined();
      }),
      { numRuns: 300 },
    );
  });

  it("fire by time, then job, then key", () => {
    const timers = new Timers(2);
    timers.set(1, "a", 5);
    timers.set(0, "b", 5);
    timers.set(0, "a", 5);
    timers.set(1, "z", 4);
    const taken = [1, 2, 3, 4].map(() => timers.take(5));
    expect(taken.map((timer) => `${timer?.atMs}/${timer?.job}/${timer?.key}`)).toEqual([
      "4/1/z",
      "5/0/a",
      "5/0/b",
      "5/1/a",
    ]);
  });

  it("fire at their instant and not a millisecond before", () => {
    const timers = new Timers(1);
    timers.set(0, "a", 60_000);
    expect(timers.take(59_999)).toBeUndefined();
    expect(timers.take(60_000)).toMatchObject({ key: "a" });
  });

  it("keep the heap small when one key moves its timer over and over", () => {
    const timers = new Timers(1);
    for (let atMs = 1; atMs <= 50_000; atMs++) timers.set(0, "session", 1_000_000 + atMs);
    expect(timers.size).toBe(1);
    expect(timers.heapSize).toBeLessThan(200);
    expect(timers.take(2_000_000)).toMatchObject({ atMs: 1_050_000 });
  });
});

describe("timers after the horizon", () => {
  it("are evicted when they are durable, and count as unknown from then on", () => {
    const timers = new Timers(1, 100);
    timers.set(0, "soon", 50);
    timers.set(0, "late", 500);
    expect(timers.size).toBe(2);
    timers.evict(0, ["soon", "late"]);
    expect([timers.at(0, "soon"), timers.at(0, "late")]).toEqual([50, undefined]);
    // It may be durable, and has to be removed there.
    expect(timers.set(0, "late", undefined)).toBe(true);
    expect(timers.set(0, "late", 500)).toBe(true);
  });

  it("are the latest ones when there are too many: memory stays bounded, however long none is due", () => {
    const timers = new Timers(1);
    let most = 0;
    for (let i = 0; i < 50_000; i++) {
      const key = `k${i}`;
      timers.set(0, key, 1_000 + i);
      timers.evict(0, [key]);
      timers.shrink(1_000, 500);
      most = Math.max(most, timers.size);
    }
    expect(most).toBeLessThanOrEqual(1_001);
    expect(timers.heapSize).toBeLessThanOrEqual(2_100);
    const taken: number[] = [];
    for (let timer = timers.take(Number.POSITIVE_INFINITY); timer; timer = timers.take(Number.POSITIVE_INFINITY)) {
      taken.push(timer.atMs);
    }
    expect(taken).toEqual(Array.from({ length: taken.length }, (_, i) => 1_000 + i));
    expect(timers.horizonMs).toBe(taken.at(-1));
  });

  it("are kept or evicted together when they have one time", () => {
    const timers = new Timers(1);
    for (let i = 0; i < 50; i++) timers.set(0, `k${i}`, 7);
    timers.shrink(20, 10);
    expect(timers.size).toBe(50);
  });
});
