/**
 * The operator's log of problems: one plain line for each kind, however often it happens.
 */
import { describe, expect, it } from "vitest";
import { throttledLogger } from "../../engine/app/throttled-logger.js";
import { ManualClock } from "../../engine/kernel/clock.js";

const LOST =
  'Reached the max retries per request limit (which is 0). Refer to "maxRetriesPerRequest" option for details.';

function loggedLines() {
  const clock = new ManualClock(0);
  const read: string[] = [];
  return { clock, read, report: throttledLogger((line) => read.push(line), clock) };
}

describe("problems", () => {
  it("are reported at once; those that differ in numbers only are not reported again", () => {
    const { read, report } = loggedLines();
    for (let partition = 0; partition < 16; partition++)
      report(`stock:${partition}: starting over in ${partition * 50} ms`);
    report("something else");
    expect(read).toEqual(["stock:0: starting over in 0 ms", "something else"]);
  });

  it("are reported with their number when they occur again after ten seconds", () => {
    const { clock, read, report } = loggedLines();
    for (let i = 0; i < 5; i++) report(`trouble ${i}`);
    clock.moveTo(10_000);
    report("trouble 5");
    expect(read).toEqual(["trouble 0", "trouble 5 (and 4 like it before)"]);
  });

  it("of Redis are reported in plain words", () => {
    const { read, report } = loggedLines();
    report(`task: ${LOST}; starting over in 50 ms`);
    report("orders: Command timed out");
    expect(read).toEqual([
      "task: Redis cannot be reached; starting over in 50 ms",
      "orders: Redis does not answer in time",
    ]);
  });
});
