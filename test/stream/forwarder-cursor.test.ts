/** A forwarder's cursor when a commit fails: an entry is passed with its dead letters or not at all. */
import { expect, it } from "vitest";
import { systemClock } from "../../engine/kernel/clock.js";
import type { Task } from "../../engine/stream/commit.js";
import type { DeadLetter } from "../../engine/stream/dead-letter.js";
import type { EmitEntry } from "../../engine/stream/emits.js";
import { ForwarderCursor } from "../../engine/stream/forwarder-cursor.js";
import type { ForwarderOptions } from "../../engine/stream/forwarder-task.js";
import { sinkKeys } from "../../engine/stream/keys.js";
import type { Lease } from "../../engine/stream/leased-loop.js";

const entry: EmitEntry = {
  ...{ commit: 7, previous: 5, committedMs: 1, bytes: 1, emits: [] },
  stored: { offset: 7, fields: [] },
};

/** Of a process that is stopping and cannot reach its server. */
function cursorWithoutServer(): ForwarderCursor {
  const task = { epoch: 1, run: "r", commit: 0, watermarkMs: 0, events: 0, cursors: new Map([["entry", 5]]) };
  const options = { redis: {}, clock: systemClock, leaseMs: 1_000 } as unknown as ForwarderOptions;
  return new ForwarderCursor(options, {
    keys: sinkKeys("t", "toys", 0, "to-dst"),
    lease: { task: task as unknown as Task, askedMs: systemClock.now() } as Lease,
    stats: { lagEntries: 0, behindMs: 0, forwarded: 0, deadLetters: 0 },
    signal: AbortSignal.abort(),
    report: () => {},
  });
}

it("stays before an entry whose dead letters cannot be committed, so that the commit at the end does not pass it", async () => {
  const cursor = cursorWithoutServer();
  const deadLetter: DeadLetter = { offset: 7, index: 0, reason: "no event", tries: 1, fields: [], isOwn: true };
  await expect(cursor.pass(entry, [deadLetter])).rejects.toThrow();
  expect([cursor.position, cursor.hasUnwritten, cursor.settledOf(entry)]).toEqual([5, false, 0]);
});

it("passes an entry without dead letters at once, and has to commit it", async () => {
  const cursor = cursorWithoutServer();
  await cursor.pass(entry, []);
  expect([cursor.position, cursor.hasUnwritten]).toEqual([7, true]);
});
