/** How wrong tokens are delayed: by address, with limits, and without delay again after a time. */
import { afterEach, expect, it, vi } from "vitest";
import { FailedLogins, LoginReport } from "../../../connectors/http/failed-logins.js";
import { throttledLogger } from "../../../engine/app/throttled-logger.js";

afterEach(() => {
  vi.useRealTimers();
});

function logins() {
  const time = { nowMs: 1_000_000 };
  const reported: string[] = [];
  const failed = new FailedLogins((address, what) => reported.push(`${address} ${what}`), { now: () => time.nowMs });
  return { time, reported, failed };
}

it("delays an address longer with each failure, up to five seconds, and reports each", () => {
  const { failed, reported } = logins();
  const waits = Array.from({ length: 200 }, () => {
    const waitMs = failed.record("a", "token");
    failed.endDelay("a");
    return waitMs as number;
  });
  expect(waits.slice(0, 3)).toEqual([50, 100, 150]);
  expect(waits.at(-1)).toBe(5_000);
  expect(failed.record("b", "pairing code")).toBe(50);
  expect(reported).toHaveLength(201);
  expect(reported.at(-1)).toBe("b pairing code");
});

it("begins anew after ten quiet minutes", () => {
  const { failed, time } = logins();
  for (let i = 0; i < 3; i++) {
    failed.record("a", "token");
    failed.endDelay("a");
  }
  time.nowMs += 600_001;
  expect(failed.record("a", "token")).toBe(50);
});

it("delays few at a time, of one address and in all, and refuses the others at once", () => {
  const { failed } = logins();
  const ofOne = Array.from({ length: 10 }, () => failed.record("a", "token"));
  expect(ofOne.filter((waitMs) => waitMs !== undefined)).toHaveLength(4);
  const ofMany = Array.from({ length: 300 }, (_, i) => failed.record(`b${i}`, "token"));
  expect(ofMany.filter((waitMs) => waitMs !== undefined)).toHaveLength(96);
  failed.endDelay("a");
  expect(failed.record("c", "token")).toBe(50);
});

it("keeps a limited number of addresses", () => {
  const { failed } = logins();
  for (let i = 0; i < 12_000; i++) failed.record(`a${i}`, "token");
  expect(failed.addresses).toBe(10_000);
});

it("reports an address at once, few addresses one by one, and the number of the others", () => {
  vi.useFakeTimers();
  const reported: string[] = [];
  // As the log writes it: messages that differ in numbers only are of one kind.
  const report = new LoginReport(
    throttledLogger((message, fields) => reported.push(`${message} ${fields?.client ?? ""}`)),
  );
  for (let i = 0; i < 3; i++) report.add("10.0.0.1", "token");
  report.add("10.0.0.2", "token");
  expect(reported).toEqual([
    "a login with a wrong token failed 10.0.0.1",
    "a login with a wrong token failed 10.0.0.2",
  ]);
  for (let i = 0; i < 500; i++) report.add(`2001:db8:${i.toString(16)}:0::/64`, "pairing code");
  expect(reported).toHaveLength(10);
  vi.advanceTimersByTime(10_000);
  expect(reported.slice(10)).toEqual(["logins also failed from 492 other addresses "]);
  report.add("10.0.0.3", "token");
  expect(reported.at(-1)).toBe("a login with a wrong token failed 10.0.0.3");
});
