/**
 * Faults that no code has foreseen, with a source of them in place of the process; test/cli/commands.redis.test.ts
 * has a process.
 */
import { EventEmitter } from "node:events";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { watchUnexpected } from "../../engine/cli/unexpected-faults.js";

let source: EventEmitter;
let told: string[];
let calls: string[];
let hasBeen: () => boolean;

beforeEach(() => {
  vi.useFakeTimers();
  source = new EventEmitter();
  told = [];
  calls = [];
  hasBeen = watchUnexpected({
    stop: () => void calls.push("stop"),
    report: (message, fields) => void told.push(`${fields?.level} ${message}`),
    exit: (status) => void calls.push(`exit ${status}`),
    limitMs: 5_000,
    source,
  });
});
afterEach(() => vi.useRealTimers());

it("an unhandled rejection is told with its stack and begins the ordinary shutdown", () => {
  expect(hasBeen()).toBe(false);
  source.emit("uncaughtException", new Error("planted"), "unhandledRejection");
  expect(hasBeen()).toBe(true);
  expect(told).toEqual([expect.stringMatching(/^error a rejected promise was not handled: Error: planted\n +at /)]);
  expect(calls).toEqual(["stop"]);
});

it("what is thrown need not be an error", () => {
  source.emit("uncaughtException", "planted", "uncaughtException");
  expect(told).toEqual(["error an exception was not caught: planted"]);
});

it("further ones are told, and the shutdown begins once", () => {
  for (let i = 0; i < 3; i++) source.emit("uncaughtException", new Error(`fault ${i}`), "uncaughtException");
  expect(told).toHaveLength(3);
  expect(calls).toEqual(["stop"]);
});

it("a shutdown that does not end is cut off at its limit", () => {
  source.emit("uncaughtException", new Error("planted"), "uncaughtException");
  vi.advanceTimersByTime(4_999);
  expect(calls).toEqual(["stop"]);
  vi.advanceTimersByTime(1);
  expect(calls).toEqual(["stop", "exit 1"]);
  expect(told[1]).toContain("5000 ms");
});
