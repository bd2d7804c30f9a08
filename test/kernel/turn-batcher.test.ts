/**
 * What many callers ask in one turn goes out as few calls, and everyone gets back what is theirs: results, errors, or
 * the word that there is too much to do already.
 */
import { describe, expect, it } from "vitest";
import { EngineError } from "../../engine/kernel/errors.js";
import { TurnBatcher } from "../../engine/kernel/turn-batcher.js";

/** A batcher whose calls are recorded and answered by `answer`; the default answers with ten times each item. */
function batcherOf(
  limits: { batchLimit?: number; queueLimit?: number } = {},
  answer: (items: number[]) => Promise<number[]> = async (items) => items.map((item) => item * 10),
) {
  const calls: number[][] = [];
  const batcher = new TurnBatcher<number, number>({
    op: "test.send",
    batchLimit: limits.batchLimit ?? 100,
    queueLimit: limits.queueLimit ?? 1_000,
    send: (items) => {
      calls.push(items);
      return answer(items);
    },
  });
  return { batcher, calls };
}

const fault = async (promise: Promise<unknown>): Promise<EngineError> => {
  const thrown = await promise.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(thrown).toBeInstanceOf(EngineError);
  return thrown as EngineError;
};

describe("the turn batcher", () => {
  it("joins what is added in one turn into one call, in the order it came", async () => {
    const { batcher, calls } = batcherOf();
    const results = await Promise.all([batcher.add([1, 2]), batcher.add([3]), batcher.add([4, 5])]);
    expect(calls).toEqual([[1, 2, 3, 4, 5]]);
    expect(results).toEqual([[10, 20], [30], [40, 50]]);
  });

  it("makes one call a turn", async () => {
    const { batcher, calls } = batcherOf();
    await batcher.add([1]);
    await batcher.add([2]);
    expect(calls).toEqual([[1], [2]]);
  });

  it("splits a turn at the batch limit and joins the results of a split group", async () => {
    const { batcher, calls } = batcherOf({ batchLimit: 3 });
    const results = await Promise.all([batcher.add([1, 2]), batcher.add([3, 4, 5, 6]), batcher.add([7])]);
    expect(calls).toEqual([[1, 2, 3], [4, 5, 6], [7]]);
    expect(results).toEqual([[10, 20], [30, 40, 50, 60], [70]]);
  });

  it("makes no call for no items", async () => {
    const { batcher, calls } = batcherOf();
    expect(await batcher.add([])).toEqual([]);
    expect(calls).toEqual([]);
  });

  it("fails only the callers whose items were in the failed call", async () => {
    const { batcher } = batcherOf({ batchLimit: 2 }, async (items) => {
      if (items.includes(3)) throw new Error("gone");
      return items;
    });
    const [first, second, third, fourth] = [batcher.add([1]), batcher.add([2]), batcher.add([3]), batcher.add([4])];
    const last = batcher.add([5, 6]);
    expect(await Promise.all([first, second, last])).toEqual([[1], [2], [5, 6]]);
    for (const failed of [third, fourth]) {
      expect(await fault(failed)).toMatchObject({
        op: "test.send",
        code: "unavailable",
        retryable: true,
        message: "test.send: gone",
      });
    }
  });

  it("passes an engine error on unchanged", async () => {
    const thrown = new EngineError("no", { op: "deep", code: "bad_version", retryable: false });
    const { batcher } = batcherOf({}, () => Promise.reject(thrown));
    expect(await fault(batcher.add([1]))).toBe(thrown);
  });

  it("continues after a failed call", async () => {
    let calls = 0;
    const { batcher } = batcherOf({}, async (items) => {
      if (calls++ === 0) throw new Error("gone");
      return items;
    });
    await fault(batcher.add([1]));
    expect(await batcher.add([2])).toEqual([2]);
    expect(batcher.depth).toBe(0);
  });

  it("collects items while a call is in flight, and sends them as one call", async () => {
    const held: (() => void)[] = [];
    const { batcher, calls } = batcherOf({}, (items) => new Promise((resolve) => held.push(() => resolve(items))));
    const answers = [batcher.add([1])];
    await new Promise(setImmediate);
    for (const item of [2, 3, 4]) {
      answers.push(batcher.add([item]));
      await new Promise(setImmediate);
    }
    expect(calls).toEqual([[1]]);
    held.shift()?.();
    await answers[0];
    await new Promise(setImmediate);
    expect(calls).toEqual([[1], [2, 3, 4]]);
    held.shift()?.();
    expect(await Promise.all(answers)).toEqual([[1], [2], [3], [4]]);
  });

  it("answers a single item like a group of one", async () => {
    const { batcher, calls } = batcherOf({}, async (items) => {
      if (items.includes(3)) throw new Error("gone");
      return items.map((item) => item * 10);
    });
    expect(await Promise.all([batcher.addOne(1), batcher.add([2])])).toEqual([10, [20]]);
    expect(calls).toEqual([[1, 2]]);
    expect(await fault(batcher.addOne(3))).toMatchObject({ code: "unavailable", retryable: true });
    expect(batcher.depth).toBe(0);
  });

  it("splits many items equally, so that the server works on one call while others travel", async () => {
    const { batcher, calls } = batcherOf({ batchLimit: 500 }, () => new Promise(() => {}));
    const crowd = (size: number) => Array.from({ length: size }, (_, i) => i);
    void batcher.add(crowd(390));
    await new Promise(setImmediate);
    expect(calls.splice(0).map(({ length }) => length)).toEqual([390]);
    void batcher.add(crowd(199));
    await new Promise(setImmediate);
    expect(calls).toEqual([]);
    void batcher.add(crowd(231));
    await new Promise(setImmediate);
    expect(calls.map(({ length }) => length)).toEqual([215, 215]);
  });

  it("sends a full batch without waiting for the call in flight", async () => {
    const { batcher, calls } = batcherOf({ batchLimit: 2 }, () => new Promise(() => {}));
    void batcher.add([1, 2, 3, 4, 5]);
    await new Promise(setImmediate);
    expect(calls).toEqual([
      [1, 2],
      [3, 4],
    ]);
  });

  it("rejects items past its limit, queued and in flight counted together", async () => {
    const held: (() => void)[] = [];
    const { batcher } = batcherOf(
      { queueLimit: 4 },
      (items) => new Promise((resolve) => held.push(() => resolve(items))),
    );
    const first = batcher.add([1, 2]);
    await new Promise(setImmediate);
    const second = batcher.add([3, 4]);
    expect(batcher.depth).toBe(4);
    expect(await fault(batcher.add([5]))).toMatchObject({
      code: "overloaded",
      retryable: true,
      retryAfterMs: expect.any(Number),
    });
    held.shift()?.();
    expect(await first).toEqual([1, 2]);
    await new Promise(setImmediate);
    held.shift()?.();
    expect(await second).toEqual([3, 4]);
    await new Promise(setImmediate);
    expect(batcher.depth).toBe(0);
  });

  it("accepts a group larger than the limit only into an empty queue", async () => {
    const { batcher } = batcherOf({ queueLimit: 2 });
    const large = batcher.add([1, 2, 3]);
    expect(await fault(batcher.add([4]))).toMatchObject({ code: "overloaded" });
    expect(await large).toEqual([10, 20, 30]);
  });
});
