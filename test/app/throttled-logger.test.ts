/**
 * What an operator reads when something is wrong: one line of a kind, in words, however often it happens.
 */
import { describe, expect, it } from "vitest";
import { throttledLogger } from "../../engine/app/throttled-logger.js";
import { ManualClock } from "../../engine/kernel/clock.js";

const LOST =
  'Reached the max retries per request limit (which is 0). Refer to "maxRetriesPerRequest" option for details.';

function operator() {
  const clock = new ManualClock(0);
  const read: string[] = [];
  return { clock, read, complain: throttledLogger((line) => read.push(line), clock) };
}

describe("complaints", () => {
  it("are told at once, and those that differ in numbers only are not told again", () => {
    const { read, complain } = operator();
    for (let partition = 0; partition < 16; partition++)
      complain(`stock:${partition}: starting over in ${partition * 50} ms`);
    complain("something else");
    expect(read).toEqual(["stock:0: starting over in 0 ms", "something else"]);
  });

  it("are summed up when they come back after ten seconds", () => {
    const { clock, read, complain } = operator();
    for (let i = 0; i < 5; i++) complain(`trouble ${i}`);
    clock.moveTo(10_000);
    complain("trouble 5");
    expect(read).toEqual(["trouble 0", "trouble 5 (and 4 like it before)"]);
  });

  it("speak of Redis in plain words", () => {
    const { read, complain } = operator();
    complain(`task: ${LOST}; starting over in 50 ms`);
    complain("orders: Command timed out");
    expect(read).toEqual([
      "task: Redis cannot be reached; starting over in 50 ms",
      "orders: Redis does not answer in time",
    ]);
  });
});
