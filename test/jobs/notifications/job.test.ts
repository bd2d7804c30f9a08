/**
 * How an alert reaches a recipient: the ladder of channels, summaries above the limits, quiet hours and silences.
 */
import { describe, expect, it } from "vitest";
import { HOUR_MS, MINUTE_MS } from "../../../engine/kernel/clock.js";
import { alertOf, KEY, NotificationsBed, phone, recipientOf, robot, START_MS, system } from "./bed.js";

const STEP_MS = MINUTE_MS;
const critical = (subject: string) => alertOf(subject, { severity: "critical" });

describe("an alert", () => {
  it("leaves at once to every address of the first step, each with a message of its own", () => {
    const bed = new NotificationsBed([phone(), robot()], [phone("second")]);
    bed.notify("CUP");
    expect(bed.news().map(({ request }) => request)).toEqual([
      expect.objectContaining({ recipient: KEY, address: { channel: "web-push", to: "phone" } }),
      expect.objectContaining({ recipient: KEY, address: { channel: "dingtalk", to: "robot" } }),
    ]);
    expect(bed.sent.map(({ request }) => request.message.id)).toEqual([`${KEY}/1`, `${KEY}/2`]);
    expect(bed.sent[0]?.request.message).toMatchObject({
      type: "alert",
      total: 1,
      language: "zh",
      alerts: [{ id: "CUP#1" }],
    });
    expect(bed.sent[0]?.request.expiresMs).toBe(START_MS + HOUR_MS);
  });

  it("is recorded once, however often it comes", () => {
    const bed = new NotificationsBed([phone()]);
    bed.notify("CUP", "CUP");
    bed.notifyAt(0, "CUP");
    expect(bed.texts()).toEqual(["phone alert CUP"]);
    expect(bed.view.figures().openAlerts).toBe(1);
  });

  it("is sent again at a higher level, because nobody has acknowledged it", () => {
    const bed = new NotificationsBed([phone()]);
    bed.notify("CUP");
    bed.pass(5 * MINUTE_MS);
    bed.notifyAt(1, "CUP");
    bed.notifyAt(1, "CUP");
    expect(bed.texts()).toEqual(["phone alert CUP", "phone alert CUP"]);
    bed.acknowledge("CUP");
    bed.notifyAt(2, "CUP");
    expect(bed.texts()).toEqual([]);
  });

  it("is not sent when it was acknowledged or cleared before it came", () => {
    const bed = new NotificationsBed([phone()]);
    bed.notify(alertOf("CUP", { state: "acknowledged" }), alertOf("CAP", { state: "cleared" }));
    expect(bed.texts()).toEqual([]);
  });

  it("is rejected with another recipient or without an address", () => {
    const bed = new NotificationsBed([phone()]);
    bed.recipient = recipientOf([[phone()]], { key: "person:wang" });
    expect(() => bed.notify("CUP")).toThrow("the recipient of an event of person:li is person:wang");
    bed.recipient = recipientOf([[]]);
    expect(() => bed.notify("CUP")).toThrow("the ladder of person:li is empty");
    expect(() => bed.event("other", null)).toThrow("the kind of event other is unknown");
  });
});

describe("the ladder", () => {
  it("goes on after a minute without a display, step by step, and ends with its last step", () => {
    const bed = new NotificationsBed([phone()], [phone("tablet")], [robot()]);
    bed.notify("CUP");
    bed.report(bed.sent[0] as never, "accepted");
    bed.pass(STEP_MS - 1);
    expect(bed.texts()).toEqual(["phone alert CUP"]);
    bed.pass(1);
    expect(bed.texts()).toEqual(["tablet alert CUP"]);
    bed.pass(STEP_MS);
    expect(bed.texts()).toEqual(["robot alert CUP"]);
    bed.pass(HOUR_MS);
    expect(bed.texts()).toEqual([]);
    expect(bed.view.figures()).toMatchObject({ climbs: 2, unreached: 0, openAlerts: 1 });
  });

  it("ends when an address has displayed the alert", () => {
    const bed = new NotificationsBed([phone(), phone("tablet")], [robot()]);
    bed.notify("CUP");
    bed.pass(STEP_MS / 2);
    bed.report(bed.sent[1] as never, "displayed");
    bed.pass(HOUR_MS);
    expect(bed.sent).toHaveLength(2);
  });

  it("ends when the alert is acknowledged, cleared or silenced", () => {
    for (const end of ["acknowledge", "clear", "silence"] as const) {
      const bed = new NotificationsBed([phone()], [robot()]);
      bed.notify("CUP");
      bed[end]("CUP");
      bed.pass(HOUR_MS);
      expect(bed.texts()).toEqual(["phone alert CUP"]);
    }
  });

  it("ignores a display of a channel that does not confirm any", () => {
    const bed = new NotificationsBed([robot()], [phone()]);
    bed.notify("CUP");
    bed.report(bed.sent[0] as never, "displayed");
    bed.pass(STEP_MS);
    expect(bed.texts()).toEqual(["robot alert CUP", "phone alert CUP"]);
    expect(bed.view.funnelsOf("CUP#1")[0]).toMatchObject({ acceptedMs: START_MS });
    expect(bed.view.funnelsOf("CUP#1")[0]).not.toHaveProperty("displayedMs");
  });

  it("goes on at once when every address of a step has failed", () => {
    const bed = new NotificationsBed([phone(), robot()], [phone("second")]);
    bed.notify("CUP");
    bed.report(bed.sent[0] as never, "failed", { reason: "410" });
    expect(bed.sent).toHaveLength(2);
    bed.report(bed.sent[1] as never, "failed", { reason: "refused" });
    expect(bed.sent.at(-1)).toMatchObject({ to: "second", atMs: START_MS });
    bed.report(bed.sent[2] as never, "failed");
    expect(bed.view.figures()).toMatchObject({ unreached: 1, climbs: 1 });
    bed.pass(HOUR_MS);
    expect(bed.sent).toHaveLength(3);
  });

  it("does not use an address again that is gone, for alerts under way", () => {
    const bed = new NotificationsBed([phone()], [phone(), robot()]);
    bed.notify("CUP", "CAP");
    bed.report(bed.sent[0] as never, "failed", { isGone: true });
    expect(bed.texts()).toEqual(["phone alert CUP", "phone alert CAP", "robot summary CAP CUP"]);
    bed.pass(1);
    bed.notify("HAT");
    expect(bed.texts()).toEqual(["phone alert HAT"]);
  });

  it("uses the recipient's newest ladder, and leaves an address that is not in it any more", () => {
    const bed = new NotificationsBed([phone()], [phone("tablet")]);
    bed.notify("CUP");
    bed.recipient = recipientOf([[robot()], [phone("new")]]);
    bed.notify("CAP");
    // The phone was the only address of the step.
    expect(bed.texts()).toEqual(["phone alert CUP", "robot alert CAP", "new alert CUP"]);
    bed.pass(STEP_MS);
    expect(bed.texts()).toEqual(["new alert CAP"]);
  });
});

describe("many alerts at once", () => {
  const skus = (number: number, from = 0) => Array.from({ length: number }, (_, i) => `S${i + from}`);

  it("leave as four single messages, the others as one summary of the newest after ten seconds", () => {
    const bed = new NotificationsBed([phone()]);
    bed.notify(...skus(50));
    expect(bed.texts()).toEqual(skus(4).map((sku) => `phone alert ${sku}`));
    bed.pass(10_000);
    expect(bed.texts()).toEqual([`phone summary ${skus(20, 30).reverse().join(" ")} +26`]);
    expect(bed.view.funnelsOf("S10#1")).toHaveLength(1);
  });

  it("go on as one summary every ten seconds", () => {
    const bed = new NotificationsBed([phone()]);
    for (let i = 0; i < 120; i++) {
      bed.notify(`S${i}`);
      bed.pass(500);
    }
    const types = bed.news().map(({ type }) => type);
    expect(types.filter((type) => type === "alert").length).toBeLessThanOrEqual(4);
    expect(types.filter((type) => type === "summary").length).toBeLessThanOrEqual(6);
  });

  it("do not delay what is critical", () => {
    const bed = new NotificationsBed([phone()]);
    bed.notify(...skus(30), critical("BREAKER"));
    expect(bed.texts().at(-1)).toBe("phone alert BREAKER");
    expect(bed.sent.at(-1)?.request.expiresMs).toBe(START_MS + 4 * HOUR_MS);
  });

  it("keep the channel's limit, with one message reserved for what is critical", () => {
    const bed = new NotificationsBed([phone("phone", 3)]);
    bed.notify("A", "B", "C", "D");
    expect(bed.texts()).toEqual(["phone alert A", "phone alert B"]);
    bed.notify(critical("E"), critical("F"));
    expect(bed.texts()).toEqual(["phone alert E"]);
    bed.pass(MINUTE_MS - 1);
    expect(bed.texts()).toEqual([]);
    bed.pass(1);
    expect(bed.texts()).toEqual(["phone alert F", "phone summary D C"]);
  });

  it("reach a channel of one message a minute, too", () => {
    const bed = new NotificationsBed([phone("phone", 1)]);
    bed.notify("A", "B", critical("C"));
    bed.pass(MINUTE_MS);
    bed.pass(MINUTE_MS);
    expect(bed.texts()).toEqual(["phone alert A", "phone alert C", "phone alert B"]);
  });

  it("are left out of a summary when they have ended while they waited", () => {
    const bed = new NotificationsBed([phone()]);
    bed.notify(...skus(8));
    bed.clear("S4");
    bed.acknowledge("S5");
    bed.silence("S6");
    bed.pass(10_000);
    expect(bed.texts().at(-1)).toBe("phone alert S7");
  });

  it("are all listed to a system, in as many summaries as that takes", () => {
    const bed = new NotificationsBed([system()]);
    bed.notify(...skus(54));
    bed.pass(10_000);
    const summaries = bed.news().filter(({ type }) => type === "summary");
    expect(summaries.map(({ listed, total }) => [listed.length, total])).toEqual([
      [20, 20],
      [20, 20],
      [10, 10],
    ]);
    expect(new Set(bed.sent.flatMap(({ listed }) => listed)).size).toBe(54);
  });

  it("wait for the limit of a system, and nothing is dropped", () => {
    const bed = new NotificationsBed([system("system", { perMinute: 5 })]);
    bed.notify(...skus(120));
    bed.pass(10 * MINUTE_MS);
    expect(new Set(bed.sent.flatMap(({ listed }) => listed)).size).toBe(120);
  });
});

describe("quiet hours", () => {
  // 22:00 to 07:00; it is 10:00.
  const quietHours = { fromMinute: 22 * 60, toMinute: 7 * 60 };
  const bedOf = () => {
    const bed = new NotificationsBed([phone()], [robot()]);
    bed.recipient = recipientOf(bed.recipient.ladder, { quietHours });
    return bed;
  };

  it("keep warnings until their end, then they leave as one summary and their ladder begins", () => {
    const bed = bedOf();
    bed.pass(12 * HOUR_MS);
    bed.notify("A", "B", "C");
    bed.pass(HOUR_MS);
    bed.clear("B");
    expect(bed.texts()).toEqual([]);
    expect(bed.view.figures()).toMatchObject({ quiet: 2, openAlerts: 2 });
    bed.pass(8 * HOUR_MS - 1);
    expect(bed.texts()).toEqual([]);
    bed.pass(1);
    expect(bed.texts()).toEqual(["phone summary C A"]);
    bed.pass(STEP_MS);
    expect(bed.texts()).toEqual(["robot summary C A"]);
  });

  it("let what is critical pass at once", () => {
    const bed = bedOf();
    bed.pass(13 * HOUR_MS);
    bed.notify("A", critical("B"));
    expect(bed.texts()).toEqual(["phone alert B"]);
    bed.pass(STEP_MS);
    expect(bed.texts()).toEqual(["robot alert B"]);
  });

  it("hold back the next step of a ladder, and what waits for a summary", () => {
    const bed = bedOf();
    bed.pass(12 * HOUR_MS - 5_000);
    bed.notify("A", "B", "C", "D", "E");
    expect(bed.texts()).toHaveLength(4);
    bed.pass(9 * HOUR_MS);
    expect(bed.texts()).toEqual([]);
    bed.pass(5_000);
    expect(bed.texts()).toEqual(["phone alert E", "robot summary E D C B A"]);
  });
});

it("an alert is sent again when its silence has ended", () => {
  const bed = new NotificationsBed([phone()]);
  bed.notify("A");
  bed.silence("A");
  bed.silence("A");
  bed.pass(HOUR_MS);
  bed.notify("A");
  bed.notify("A");
  expect(bed.texts()).toEqual(["phone alert A", "phone alert A"]);
});
