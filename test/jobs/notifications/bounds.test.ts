/**
 * What bounds the state of a recipient: closed alerts, deliveries, addresses; and quiet hours on days on which the
 * clocks change. The bound of open alerts takes long to reach: open-alerts.test.ts. Nothing here waits.
 */
import { describe, expect, it } from "vitest";
import { quietUntilMs } from "../../../engine/jobs/notifications/quiet-hours.js";
import { MAX_CLOSED, MAX_DELIVERIES } from "../../../engine/jobs/notifications/state.js";
import { HOUR_MS, MINUTE_MS } from "../../../engine/kernel/clock.js";
import { zoneOf } from "../../../engine/kernel/zone.js";
import { alertOf, KEY, NotificationsBed, phone, recipientOf, system } from "./bed.js";

const skus = (number: number) => Array.from({ length: number }, (_, i) => `S${i}`);

/** Alerts that come at the same instant are not stored one by one: these tests are about numbers. */
function bedOf(...ladder: ReturnType<typeof phone>[][]): NotificationsBed {
  const bed = new NotificationsBed();
  bed.recipient = recipientOf(ladder);
  return bed;
}

it("closed alerts and their deliveries are removed after a day, and the oldest earlier", () => {
  const bed = bedOf([phone("phone", 1_000)]);
  for (const sku of skus(MAX_CLOSED + 200)) {
    bed.notify(sku);
    bed.pass(3_000);
    bed.clear(sku);
  }
  const { alerts, deliveries } = bed.state;
  expect(alerts.length).toBeLessThanOrEqual(MAX_CLOSED + 50);
  expect(deliveries.length).toBe(alerts.length);
  expect(bed.view.funnelsTo(KEY, 10_000)).toHaveLength(alerts.length);
  expect(bed.view.funnelsOf("S0#1")).toEqual([]);
  bed.pass(26 * HOUR_MS);
  expect(bed.state).toMatchObject({ alerts: [], deliveries: [] });
  expect(bed.view.funnelsTo(KEY, 10)).toEqual([]);
  expect(bed.timerMs).toBeUndefined();
  expect(bed.view.figures().counts.get("web-push")?.sent).toBe(MAX_CLOSED + 200);
});

it("deliveries and addresses are bounded while one alert stays open for months", () => {
  const bed = bedOf([system("system", { perMinute: 600, repeatMs: MINUTE_MS })]);
  bed.notify("OLD");
  for (let day = 0; day < 40; day++) {
    bed.recipient = recipientOf([[phone(`p${day}`), system("system", { perMinute: 600, repeatMs: MINUTE_MS })]]);
    bed.notify(alertOf(`D${day}`));
    bed.clear(`D${day}`);
    bed.pass(24 * HOUR_MS);
  }
  const { deliveries, addresses } = bed.state;
  expect(deliveries.length).toBeLessThan(MAX_DELIVERIES / 10);
  expect(addresses.length).toBeLessThan(6);
  expect(bed.view.funnelsOf("OLD#1")).toHaveLength(1);
  expect(bed.stateBytes).toBeLessThan(10_000);
});

describe("quiet hours", () => {
  const hours = { fromMinute: 90, toMinute: 150 };
  const berlin = zoneOf("Europe/Berlin");

  it("begin and end by the local clock", () => {
    const shanghai = zoneOf("Asia/Shanghai");
    const night = { fromMinute: 22 * 60, toMinute: 7 * 60 };
    const at = (day: number, hour: number) => Date.UTC(2026, 5, day, hour - 8);
    expect(quietUntilMs(night, shanghai, at(18, 21))).toBe(0);
    expect(quietUntilMs(night, shanghai, at(18, 22))).toBe(at(19, 7));
    expect(quietUntilMs(night, shanghai, at(19, 6))).toBe(at(19, 7));
    expect(quietUntilMs(night, shanghai, at(19, 7))).toBe(0);
    expect(quietUntilMs({ fromMinute: 60, toMinute: 60 }, shanghai, at(19, 1))).toBe(0);
    expect(quietUntilMs(undefined, shanghai, at(19, 1))).toBe(0);
  });

  it("end with the gap when the clocks skip their end", () => {
    // 2026-03-29: 02:00 becomes 03:00, so 02:30 is skipped.
    const gapMs = Date.UTC(2026, 2, 29, 1);
    expect(quietUntilMs(hours, berlin, gapMs - 10 * MINUTE_MS)).toBe(gapMs);
    expect(quietUntilMs(hours, berlin, gapMs)).toBe(0);
  });

  it("end once when the clocks show their end twice", () => {
    // 2026-10-25: 03:00 becomes 02:00. 02:30 is first 00:30 UTC.
    const firstMs = Date.UTC(2026, 9, 25, 0, 30);
    expect(quietUntilMs(hours, berlin, firstMs - MINUTE_MS)).toBe(firstMs);
    expect(quietUntilMs(hours, berlin, firstMs + HOUR_MS - MINUTE_MS)).toBe(0);
  });
});
