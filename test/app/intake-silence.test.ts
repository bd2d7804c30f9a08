/**
 * A Redis that stands still: it has accepted the connection and answers nothing. The process is not ready a second
 * later, long before the client gives up, and ready again with the first answer; a process that is itself late does
 * not take its own lateness for Redis'.
 */
import { afterEach, expect, it } from "vitest";
import { Intake } from "../../engine/app/intake.js";
import type { RedisClient } from "../../engine/stream/redis.js";

const soon = { timeout: 20_000, interval: 20 };
const intakes: Intake[] = [];
let answer: () => void = () => {};
afterEach(async () => {
  answer();
  for (const intake of intakes.splice(0)) await intake.stop();
});

function watching(ping: () => Promise<string>): Intake {
  const redis = { ping, info: async () => "", time: async () => [0, 0] } as unknown as RedisClient;
  const wall = { now: () => 0 };
  const intake = new Intake({ redis, wall, followers: [], maxLagMs: 20_000, maxMemoryShare: 0.85 });
  intakes.push(intake);
  intake.start();
  return intake;
}

it("a Redis that answers nothing is told after a second, and is well with its first answer", async () => {
  let stands = true;
  const intake = watching(() =>
    stands
      ? new Promise((resolve) => {
          answer = () => resolve("PONG");
        })
      : Promise.resolve("PONG"),
  );
  expect(intake.wrong()).toEqual([]);
  await expect.poll(() => intake.wrong(), soon).toEqual([expect.stringMatching(/^Redis has not answered for \d+ s$/)]);
  stands = false;
  answer();
  await expect.poll(() => intake.wrong(), soon).toEqual([]);
});

it("an answer that has come while the process was busy is not late", async () => {
  const seen: string[][] = [];
  let asked = 0;
  const intake = watching(() => {
    asked++;
    return new Promise((resolve) => {
      // The answer is there, and is read in the first turn after the process was held up, behind its timers.
      setImmediate(() => {
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
        setImmediate(() => {
          seen.push(intake.wrong());
          resolve("PONG");
        });
      });
    });
  });
  await expect.poll(() => asked, soon).toBeGreaterThanOrEqual(6);
  expect(seen.flat()).toEqual([]);
});
