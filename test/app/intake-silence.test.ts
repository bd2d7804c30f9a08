/**
 * A Redis that has accepted the connection and does not answer. After a second the process is not ready, long before
 * the client's own timeout; with the first answer it is ready again. A process that is itself late does not report
 * Redis as late.
 */
import { afterEach, expect, it } from "vitest";
import { Intake } from "../../engine/app/intake.js";
import type { RedisClient } from "../../engine/stream/redis.js";

const soon = { timeout: 60_000, interval: 20 };
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

it("a Redis that does not answer is reported after a second, until its first answer", async () => {
  let isSilent = true;
  const intake = watching(() =>
    isSilent
      ? new Promise((resolve) => {
          answer = () => resolve("PONG");
        })
      : Promise.resolve("PONG"),
  );
  expect(intake.wrong()).toEqual([]);
  await expect.poll(() => intake.wrong(), soon).toEqual([expect.stringMatching(/^Redis has not answered for \d+ s$/)]);
  isSilent = false;
  answer();
  await expect.poll(() => intake.wrong(), soon).toEqual([]);
});

it("an answer that arrived while the process was busy is not late", async () => {
  const seen: string[][] = [];
  let asked = 0;
  const intake = watching(() => {
    asked++;
    return new Promise((resolve) => {
      // The answer has arrived, and is read in the first turn after the process was blocked, after its timers.
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
