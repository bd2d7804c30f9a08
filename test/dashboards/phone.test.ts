/** The phone's pure parts: how alerts are grouped, how long stock lasts, and what notification a push becomes. */
import { describe, expect, it } from "vitest";
import { groupsOf, minutesLeftOf, type PhoneAlert } from "../../dashboards/web/phone/phone-model.js";
import { nextMorning } from "../../dashboards/web/phone/shop-day.js";
import { notificationOf, payloadOf } from "../../dashboards/web/phone-worker/notification.js";

const DAY_MS = 86_400_000;
const day = (ms: number) => String(Math.floor(ms / DAY_MS));

const alertOf = (fields: Partial<PhoneAlert>): PhoneAlert => ({
  id: "TEA-01#1",
  rule: "depletion",
  subject: "TEA-01",
  severity: "warning",
  state: "fired",
  firedMs: 0,
  clearedMs: null,
  acknowledgedBy: null,
  hourUnits: 60,
  dailyAverage: 10,
  sellableUnits: 30,
  ...fields,
});

describe("the list on the phone", () => {
  const alerts = [
    alertOf({ id: "a", firedMs: 1 }),
    alertOf({ id: "b", firedMs: 3, state: "acknowledged" }),
    alertOf({ id: "c", firedMs: 2, severity: "critical" }),
    alertOf({ id: "d", state: "cleared", clearedMs: 10 * DAY_MS + 5 }),
    alertOf({ id: "e", state: "cleared", clearedMs: 9 * DAY_MS }),
  ];
  const model = { zone: "UTC", nowMs: 10 * DAY_MS + 9, alerts };
  const ids = (list: readonly PhoneAlert[]) => list.map(({ id }) => id).join("");

  it("has critical alerts first, each group newest first, and what was cleared today", () => {
    const groups = groupsOf(model, "open", day);
    expect([groups.critical, groups.warning, groups.clearedToday].map(ids)).toEqual(["c", "ba", "d"]);
  });

  it("can leave out what is acknowledged", () => {
    expect(ids(groupsOf(model, "unacknowledged", day).warning)).toBe("a");
  });

  it("computes how long stock lasts from the trailing hour", () => {
    expect(minutesLeftOf(alertOf({}))).toBe(30);
    expect(minutesLeftOf(alertOf({ hourUnits: 0 }))).toBeUndefined();
    expect(minutesLeftOf(alertOf({ sellableUnits: null }))).toBeUndefined();
  });
});

describe("the next morning of the shop", () => {
  it.each([
    ["Asia/Shanghai", "2026-06-18T10:00:00Z", "2026-06-19T00:00:00Z"],
    ["Asia/Shanghai", "2026-06-18T17:00:00Z", "2026-06-20T00:00:00Z"],
    ["Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T06:00:00Z"],
    ["America/New_York", "2026-10-31T12:00:00Z", "2026-11-01T13:00:00Z"],
  ])("in %s after %s is %s", (zone, now, morning) => {
    expect(new Date(nextMorning(Date.parse(now), zone, 8)).toISOString()).toBe(morning.replace("Z", ".000Z"));
  });
});

describe("the notification of a push", () => {
  const payload = {
    notification: { title: "TEA-01", body: "60 units", lang: "zh", tag: "TEA-01", navigate: "/phone#alert=TEA-01%231" },
    shuiwei: { messageId: "person:li/1", device: "d", alertIds: ["TEA-01#1"] },
  };

  it("has the payload's texts and a button that acknowledges the one alert", () => {
    const [title, options] = notificationOf(payload, "en");
    expect(title).toBe("TEA-01");
    expect(options).toMatchObject({
      body: "60 units",
      tag: "TEA-01",
      renotify: true,
      data: { alertId: "TEA-01#1", navigate: "/phone#alert=TEA-01%231" },
      actions: [{ action: "acknowledge", title: "确认" }, { action: "open" }],
    });
  });

  it("has no such button for several alerts, or for one that has ended", () => {
    const several = { ...payload, shuiwei: { alertIds: ["a", "b"] } };
    const ended = { ...payload, notification: { ...payload.notification, silent: true } };
    for (const each of [several, ended]) expect(notificationOf(each, "en")[1]).toMatchObject({ actions: [] });
  });

  it("is the same where the browser has read the message itself", () => {
    const { notification, shuiwei } = payload;
    const read = payloadOf({ data: null, notification: { ...notification, data: shuiwei } });
    expect(notificationOf(read, "en")).toEqual(notificationOf(payload, "en"));
    expect(read.shuiwei).toEqual(shuiwei);
    expect(payloadOf({ data: { json: () => payload }, notification })).toBe(payload);
    const json = () => JSON.parse("<html>");
    for (const data of [null, { json }, { json: () => 7 }]) expect(payloadOf({ data })).toEqual({});
  });

  it.each([
    [{}],
    [{ notification: { title: 7, tag: null, navigate: {} }, shuiwei: { alertIds: "x" } }],
    [{ notification: { title: "" }, shuiwei: { alertIds: [1, null] } }],
  ])("is a general notice when the payload is %j", (broken) => {
    const [title, options] = notificationOf(broken, "en-GB");
    expect(title).toBe("Shuiwei: a new alert");
    expect(options).toMatchObject({ body: "Tap to see it", data: { navigate: "/phone" } });
  });
});
