/**
 * The bound of the open alerts of a recipient: what is beyond it is counted in the total of a summary, or takes the
 * place of an alert of which nothing is to be sent. Each test opens 2,000 alerts and takes seconds, so the file runs in
 * the fault suite.
 */
import { describe, expect, it } from "vitest";
import { MAX_OPEN } from "../../../engine/jobs/notifications/state.js";
import { HOUR_MS, MINUTE_MS } from "../../../engine/kernel/clock.js";
import { NotificationsBed, phone, recipientOf, system } from "./bed.js";

const skus = (number: number, from = 0) => Array.from({ length: number }, (_, i) => `S${i + from}`);

/** Alerts that come at the same instant are not stored one by one: these tests are about numbers. */
function bedOf(...ladder: ReturnType<typeof phone>[][]): NotificationsBed {
  const bed = new NotificationsBed();
  bed.recipient = recipientOf(ladder);
  return bed;
}

describe("more open alerts than are recorded", { timeout: 120_000 }, () => {
  it("are part of the total of the next summary", () => {
    const bed = bedOf([phone()]);
    bed.notify(...skus(MAX_OPEN + 30));
    bed.pass(10_000);
    const summary = bed.sent.at(-1);
    // Four have left alone, and are not closed while their ladder goes on.
    expect(summary).toMatchObject({ type: "summary", total: MAX_OPEN + 30 - 4 });
    expect(summary?.listed).toHaveLength(20);
    expect(summary?.listed[0]).toBe(`S${MAX_OPEN + 29}`);
    expect(bed.view.figures()).toMatchObject({ unlisted: 30, openAlerts: MAX_OPEN });
  });

  it("take the place of the oldest of which nothing is to be sent", () => {
    const bed = bedOf([phone()]);
    bed.notify(...skus(MAX_OPEN));
    bed.pass(5 * MINUTE_MS);
    bed.news();
    bed.notify("LAST");
    expect(bed.texts()).toEqual(["phone alert LAST"]);
    expect(bed.view.figures()).toMatchObject({ unlisted: 0, evicted: 1, openAlerts: MAX_OPEN });
  });

  it("reach a system with the newest of them only, and as a number", () => {
    const bed = bedOf([system("system", { perMinute: 600, repeatMs: HOUR_MS })]);
    bed.notify(...skus(MAX_OPEN));
    bed.pass(30_000);
    bed.news();
    bed.notify(...skus(3, MAX_OPEN));
    bed.pass(30_000);
    expect(bed.texts()).toEqual([`system summary S${MAX_OPEN}`, `system summary S${MAX_OPEN + 2} +1`]);
  });
});
