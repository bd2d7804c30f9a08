/**
 * What follows the first message of an alert: what is recorded of each delivery, changes and repeats for systems that
 * keep alerts of their own, and tests of a recipient's channels.
 */
import { describe, expect, it } from "vitest";
import { HOUR_MS, MINUTE_MS } from "../../../engine/kernel/clock.js";
import { KEY, NotificationsBed, phone, recipientOf, robot, START_MS, system } from "./bed.js";

describe("a system that keeps alerts of its own", () => {
  it("is sent the acknowledgement and the end of what it had, once each", () => {
    const bed = new NotificationsBed([system(), phone()]);
    bed.notify("CUP");
    bed.news();
    for (let i = 0; i < 2; i++) bed.acknowledge("CUP");
    expect(bed.texts()).toEqual(["system change CUP"]);
    expect(bed.sent.at(-1)?.request.message.alerts[0]?.acknowledgedBy).toBe("wang");
    for (let i = 0; i < 2; i++) bed.clear("CUP");
    bed.acknowledge("CUP");
    expect(bed.texts()).toEqual(["system change CUP"]);
    expect(bed.sent.at(-1)?.request.message.alerts[0]?.state).toBe("cleared");
    expect(bed.sent.at(-1)?.request.expiresMs).toBe(bed.nowMs + 10 * MINUTE_MS);
    bed.clear("UNKNOWN");
    expect(bed.texts()).toEqual([]);
  });

  it("is not sent changes of what it never had", () => {
    const bed = new NotificationsBed([phone()], [system()]);
    bed.notify("CUP");
    bed.clear("CUP");
    bed.pass(HOUR_MS);
    expect(bed.texts()).toEqual(["phone alert CUP"]);
  });

  it("is sent many changes together when its limit is reached, the newest of each alert", () => {
    const bed = new NotificationsBed([system("system", { perMinute: 6 })]);
    bed.notify("A", "B", "C", "D");
    for (const sku of ["A", "B", "C", "D"]) bed.acknowledge(sku);
    bed.clear("B");
    expect(bed.texts().slice(4)).toEqual(["system change A"]);
    bed.pass(MINUTE_MS);
    expect(bed.texts()).toEqual(["system change B D C"]);
  });

  it("is sent an open alert again after its time, together with others, until it clears", () => {
    const bed = new NotificationsBed([system("system", { repeatMs: 4 * MINUTE_MS })]);
    bed.notify("A");
    bed.pass(10_000);
    bed.notify("B");
    bed.acknowledge("B");
    bed.news();
    bed.pass(4 * MINUTE_MS);
    expect(bed.texts()).toEqual(["system repeat A B"]);
    expect(bed.sent.at(-1)?.request.message.alerts[1]?.state).toBe("acknowledged");
    bed.clear("A");
    bed.pass(4 * MINUTE_MS);
    expect(bed.texts()).toEqual(["system change A", "system repeat B"]);
    bed.clear("B");
    bed.pass(HOUR_MS);
    expect(bed.texts()).toEqual(["system change B"]);
    expect(bed.view.funnelsOf("A#1")).toHaveLength(1);
  });

  it("is sent nothing further of a silenced alert until it clears", () => {
    const bed = new NotificationsBed([system("system", { repeatMs: 4 * MINUTE_MS })]);
    bed.notify("A");
    bed.silence("A");
    bed.pass(HOUR_MS);
    expect(bed.texts()).toEqual(["system alert A"]);
    bed.clear("A");
    expect(bed.texts()).toEqual(["system change A"]);
  });
});

describe("a delivery", () => {
  const funnel = (bed: NotificationsBed) => bed.view.funnelsOf("CUP#1")[0];

  it("goes through its steps, whatever comes late, repeated or out of order", () => {
    const bed = new NotificationsBed([phone()]);
    bed.notify("CUP");
    const [sent] = bed.sent as [never];
    bed.pass(100);
    bed.report(sent, "displayed");
    bed.pass(100);
    for (const result of ["accepted", "displayed", "failed"] as const) bed.report(sent, result);
    expect(funnel(bed)).toEqual({
      ...{ alertId: "CUP#1", recipient: KEY, channel: "web-push", to: "phone", messageId: `${KEY}/1` },
      ...{ sentMs: START_MS, acceptedMs: START_MS + 100, displayedMs: START_MS + 100 },
    });
    expect(bed.view.figures().counts.get("web-push")).toMatchObject({ sent: 1, accepted: 1, displayed: 1, failed: 0 });
  });

  it("that failed may still be accepted, and is counted once", () => {
    const bed = new NotificationsBed([phone()]);
    bed.notify("CUP");
    const [sent] = bed.sent as [never];
    bed.report(sent, "failed", { reason: "timeout" });
    bed.report(sent, "failed", { reason: "again" });
    expect(funnel(bed)).toMatchObject({ failure: "timeout" });
    bed.report(sent, "accepted");
    expect(funnel(bed)).not.toHaveProperty("failure");
    expect(bed.view.figures().counts.get("web-push")).toMatchObject({ accepted: 1, failed: 1 });
  });

  it("of a summary is one of each alert in it", () => {
    const bed = new NotificationsBed([phone()], [robot()]);
    bed.notify(...Array.from({ length: 40 }, (_, i) => `S${i}`));
    bed.pass(10_000);
    bed.report(bed.sent.at(-1) as never, "displayed");
    expect(bed.view.funnelsOf("S39#1")).toEqual([
      expect.objectContaining({ displayedMs: bed.nowMs, messageId: `${KEY}/5` }),
    ]);
    bed.news();
    bed.pass(HOUR_MS);
    // Only those of the single messages were not displayed.
    expect(bed.texts()).toEqual(["robot summary S3 S2 S1 S0"]);
    expect(bed.view.funnelsTo(KEY, 10)).toHaveLength(10);
  });

  it("of an unknown message changes nothing", () => {
    const bed = new NotificationsBed([phone()], [robot()]);
    bed.notify("CUP");
    const [sent] = bed.sent as [(typeof bed.sent)[number]];
    const before = structuredClone(bed.state);
    for (const messageId of [
      `${KEY}/2`,
      `${KEY}/0`,
      `${KEY}/x`,
      `${KEY}/`,
      `${KEY}/1.5`,
      "person:wang/1",
      "",
      `${KEY}/-1`,
    ])
      bed.report(sent, "displayed", { messageId });
    bed.report(sent, "displayed", { address: { channel: "web-push", to: "other" } });
    expect(bed.state).toEqual(before);
  });
});

describe("a test", () => {
  it("goes to every address of the ladder at once, in quiet hours, too, and is followed like an alert", () => {
    const bed = new NotificationsBed([phone()], [robot(), phone()], [system()]);
    bed.recipient = recipientOf(bed.recipient.ladder, { quietHours: { fromMinute: 0, toMinute: 1_440 } });
    bed.test("T1");
    bed.test("T1");
    expect(bed.texts()).toEqual(["phone test", "robot test", "system test"]);
    bed.report(bed.sent[0] as never, "displayed");
    expect(bed.view.funnelsOf("test:T1").map(({ to, displayedMs }) => [to, displayedMs])).toEqual([
      ["phone", START_MS],
      ["robot", undefined],
      ["system", undefined],
    ]);
    bed.report(bed.sent[1] as never, "failed");
    bed.pass(HOUR_MS);
    expect(bed.texts()).toEqual([]);
    expect(bed.view.figures()).toMatchObject({ openAlerts: 0, climbs: 0, unreached: 0 });
  });
});
