/**
 * Unexpected faults from an event source instead of a process; test/cli/commands.redis.test.ts tests a process.
 */
import { EventEmitter } from "node:events";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { watchUnexpected } from "../../engine/cli/unexpected-faults.js";

let source: EventEmitter;
let reported: string[];
let calls: string[];
let hasFailed: () => boolean;

beforeEach(() => {
  vi.useFakeTimers();
  source = new EventEmitter();
  reported = [];
  calls = [];
  hasFailed = watchUnexpected({
    stop: () => void calls.push("stop"),
    report: (message, fields) => void reported.push(`${fields?.level} ${message}`),
    exit: (status) => void calls.push(`exit ${status}`),
    limitMs: 5_000,
    source,
  });
});
afterEach(() => vi.useRealTimers());

it("an unhandled rejection is reported with its stack and begins the ordinary shutdown", () => {
  expect(hasFailed()).toBe(false);
  source.emit("uncaughtException", new Error("planted"), "unhandledRejection");
  expect(hasFailed()).toBe(true);
  expect(reported).toEqual([expect.stringMatching(/^error a rejected promise was not handled: Error: planted\n +at /)]);
  expect(calls).toEqual(["stop"]);
});

it("a thrown value that is no error is reported, too", () => {
  source.emit("uncaughtException", "planted", "uncaughtException");
  expect(reported).toEqual(["error an exception was not caught: planted"]);
});

it("later faults are reported, and the shutdown begins once", () => {
  for (let i = 0; i < 3; i++) source.emit("uncaughtException", new Error(`fault ${i}`), "uncaughtException");
  expect(reported).toHaveLength(3);
  expect(calls).toEqual(["stop"]);
});

it("a shutdown that does not end is ended at its limit", () => {
  source.emit("uncaughtException", new Error("planted"), "uncaughtException");
  vi.advanceTimersByTime(4_999);
  expect(calls).toEqual(["stop"]);
  vi.advanceTimersByTime(1);
  expect(calls).toEqual(["stop", "exit 1"]);
  expect(reported[1]).toContain("5000 ms");
});
