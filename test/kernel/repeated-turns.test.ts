/** Turns of work one after the other, from a start to a stop. */
import { expect, it } from "vitest";
import { RepeatedTurns } from "../../engine/kernel/repeated-turns.js";

it("begins a turn at once, and the next only after a pause after its end", async () => {
  const log: string[] = [];
  let next = () => {};
  const clock = {
    sleep: (ms: number) => {
      log.push(`pause ${ms}`);
      return new Promise<void>((resolve) => {
        next = resolve;
      });
    },
  };
  const turns = new RepeatedTurns(async () => void log.push("turn"), 50, clock);
  await turns.start();
  await turns.start();
  await Promise.resolve();
  expect(log).toEqual(["turn", "pause 50"]);
  next();
  await new Promise(setImmediate);
  expect(log).toEqual(["turn", "pause 50", "turn", "pause 50"]);
  const stopped = turns.stop();
  next();
  await stopped;
  expect(log).toHaveLength(4);
});

it("waits at the stop for the turn that has begun, which can see the stop", async () => {
  let hasEnded = false;
  const turns: RepeatedTurns = new RepeatedTurns(async () => {
    while (!turns.signal.aborted) await new Promise(setImmediate);
    hasEnded = true;
  }, 1);
  void turns.start();
  await turns.stop();
  expect(hasEnded).toBe(true);
});

it("stops before it was started", () => expect(new RepeatedTurns(async () => {}, 1).stop()).resolves.toBeUndefined());
