/** The limit of a call's time, also where the process stood still while its answer came. */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { expect, it } from "vitest";
import { within } from "../../engine/kernel/clock.js";

const late = () => new Error("late");
const standStill = (ms: number) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

it("gives a call up after its time", async () => {
  await expect(within(new Promise(() => {}), 5, late)).rejects.toThrow("late");
});

it("passes on what a call returns or throws in time", async () => {
  expect(await within(Promise.resolve(7), 1_000, late)).toBe(7);
  await expect(within(Promise.reject(new Error("refused")), 1_000, late)).rejects.toThrow("refused");
});

it("counts an answer that arrived while the process stood still", async () => {
  const other = new Worker(
    "const { parentPort } = require('node:worker_threads'); parentPort.on('message', () => parentPort.postMessage(7));",
    { eval: true },
  );
  try {
    await once(other, "online");
    // After this the event loop ends timers first, these and others, and then reads.
    await new Promise(setImmediate);
    const answer = once(other, "message");
    other.postMessage("question");
    for (const ms of [60, 70, 80, 90]) setTimeout(() => standStill(2), ms);
    const result = within(answer, 50, late);
    standStill(200);
    expect(await result).toEqual([7]);
  } finally {
    await other.terminate();
  }
});
