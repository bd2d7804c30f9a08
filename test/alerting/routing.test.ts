/** Whom an alert notifies at which level, and by which addresses. */
import { describe, expect, it } from "vitest";
import type { Alert } from "../../engine/alerting/alert.js";
import { type Directory, NO_CHANNELS } from "../../engine/alerting/directory.js";
import type { ChannelTraits } from "../../engine/alerting/notification.js";
import type { Person } from "../../engine/alerting/people.js";
import { recipientsOf } from "../../engine/alerting/recipients.js";
import { ESCALATE_MS } from "../../engine/alerting/route.js";
import { planOf } from "../../engine/alerting/routing.js";

const traits: ChannelTraits = { perMinute: 20, confirmsDisplay: false, sendsChanges: false };
const push: ChannelTraits = { ...traits, confirmsDisplay: true };
const MINUTE = 12 * 60;

const alert: Alert = {
  ...{ id: "CUP#1", rule: "depletion", subject: "CUP", severity: "warning", state: "fired", firedMs: 1 },
  figures: {},
};

const person = (id: string, own: Partial<Person> = {}): Person => ({
  ...{ id, name: id, roles: [], language: "zh", ladder: [["wecom"]], wecomUserId: `U-${id}` },
  ...own,
});
const robot = (name: string) => ({ name, channel: "dingtalk", language: "en" as const, traits });

const directory = (own: Partial<Directory> = {}): Directory => ({
  ...NO_CHANNELS,
  personChannels: new Map([
    ["web-push", push],
    ["wecom", traits],
  ]),
  people: [],
  devices: [],
  ...own,
});
const device = (id: string, owner: string, silentPushes = 0) => ({
  ...{ id, person: owner, channel: "web-push" as const, silentPushes },
});

const plan = (own: Partial<Directory>, level = 0) => {
  const { recipients, ...rest } = planOf(alert, level, directory(own), MINUTE);
  return { ...rest, to: recipients.map(({ key }) => key) };
};

describe("without a route", () => {
  const people = [person("li.wei", { roles: ["purchasing"] }), person("lin"), person("chen", { roles: ["warehouse"] })];

  it("the rule's roles are notified, and everybody after five minutes", () => {
    expect(plan({ people })).toEqual({
      ...{ level: 0, to: ["person:li.wei", "person:chen"], nextAfterMs: ESCALATE_MS, unreachable: [] },
    });
    expect(plan({ people }, 1)).toMatchObject({ level: 1, to: ["person:li.wei", "person:lin", "person:chen"] });
    expect(plan({ people }, 2)).toMatchObject({ level: 2, to: [], nextAfterMs: undefined });
  });

  it("everybody is notified at once when nobody who can be reached has a role", () => {
    const unreached = person("chen", { roles: ["warehouse"], ladder: [["web-push"]] });
    expect(plan({ people: [person("lin"), unreached] })).toEqual({
      ...{ level: 0, to: ["person:lin"], nextAfterMs: undefined },
      unreachable: ["role:purchasing", "person:chen"],
    });
  });

  it("nobody is notified when there is nobody", () => {
    expect(plan({})).toMatchObject({ level: 0, to: [], nextAfterMs: undefined });
  });

  it("an endpoint that is no person's contact is notified first, unless there are routes for others", () => {
    const endpoints = [robot("ops"), robot("mine")];
    const all = [...people, person("wang", { ladder: [["endpoint:mine"]] })];
    expect(plan({ people: all, endpoints }).to).toEqual(["person:li.wei", "person:chen", "endpoint:ops"]);
    expect(plan({ endpoints }).to).toEqual(["endpoint:ops", "endpoint:mine"]);
    const match = { rules: ["breaker" as const] };
    const routes = [{ name: "breakers", match, levels: [{ afterMs: 0, to: ["endpoint:ops"] }] }];
    expect(plan({ people: all, endpoints, routes }).to).toEqual(["person:li.wei", "person:chen"]);
  });
});

describe("with a route", () => {
  const levels = [
    { afterMs: 0, to: ["role:night", "endpoint:ops"] },
    { afterMs: 60_000, to: ["person:nobody"] },
    { afterMs: 180_000, to: ["person:lin"] },
    { afterMs: 600_000, to: ["everybody"] },
  ];
  const routes = [{ name: "all", match: {}, levels }];
  const people = [person("lin"), person("chen", { roles: ["night"] })];

  it("levels that reach nobody are left out", () => {
    const endpoints = [robot("ops")];
    expect(plan({ people, routes, endpoints })).toMatchObject({
      to: ["person:chen", "endpoint:ops"],
      nextAfterMs: 60_000,
    });
    expect(plan({ people, routes, endpoints }, 1)).toEqual({
      ...{ level: 2, to: ["person:lin"], nextAfterMs: 420_000, unreachable: ["person:nobody"] },
    });
  });

  it("everybody is notified when no level reaches anybody", () => {
    const dead = [{ name: "dead", match: {}, levels: [{ afterMs: 0, to: ["person:gone", "endpoint:gone"] }] }];
    expect(plan({ people, routes: dead })).toEqual({
      ...{ level: 0, to: ["person:lin", "person:chen"], nextAfterMs: undefined },
      unreachable: ["person:gone", "endpoint:gone"],
    });
  });

  it("the hour of the shop's day decides", () => {
    const night = { name: "night", match: { hours: { fromMinute: 22 * 60, toMinute: 6 * 60 } }, levels };
    const at = (minute: number) => planOf(alert, 0, directory({ people, routes: [night] }), minute).recipients.length;
    expect([at(23 * 60), at(MINUTE)]).toEqual([1, 2]);
  });
});

describe("a recipient", () => {
  const one = (own: Partial<Person>, of: Partial<Directory> = {}) =>
    recipientsOf(["everybody"], directory({ people: [person("lin", own)], ...of })).recipients[0];
  const ladder = (own: Partial<Person>, of?: Partial<Directory>) =>
    one(own, of)?.ladder.map((step) => step.map(({ channel, to }) => `${channel} ${to}`));

  it("has an address for each device, and language and quiet hours", () => {
    const quietHours = { fromMinute: 1, toMinute: 2 };
    const own = { ladder: [["web-push"], ["wecom", "endpoint:ops"]], quietHours, language: "en" as const };
    const devices = [device("A", "lin"), device("B", "other"), device("C", "lin")];
    const found = one(own, { devices, endpoints: [robot("ops")] });
    expect(found).toMatchObject({ key: "person:lin", quietHours, language: "en" });
    expect(ladder(own, { devices, endpoints: [robot("ops")] })).toEqual([
      ["web-push A", "web-push C"],
      ["wecom U-lin", "dingtalk ops"],
    ]);
    expect(found?.ladder[0]?.[0]?.traits).toEqual(push);
  });

  it("has no contact that cannot be used, and is none without one", () => {
    const { wecomUserId: _, ...without } = person("lin", { ladder: [["wecom"], ["endpoint:gone"], ["fax"]] });
    expect(recipientsOf(["everybody"], directory({ people: [without] }))).toEqual({
      ...{ recipients: [], unreachable: ["person:lin"] },
    });
    expect(ladder({ ladder: [["web-push"], [], ["wecom"]] })).toEqual([["wecom U-lin"]]);
  });

  it("with a device that displays nothing is reached by the next step at once, too", () => {
    const own = { ladder: [["web-push"], ["wecom"], ["endpoint:ops"]] };
    const endpoints = [robot("ops")];
    const devices = [device("A", "lin", 3), device("B", "lin", 0)];
    expect(ladder(own, { endpoints, devices })).toEqual([
      ["web-push A", "web-push B", "wecom U-lin"],
      ["dingtalk ops"],
    ]);
    expect(ladder(own, { endpoints, devices: [device("A", "lin", 2)] })).toHaveLength(3);
    expect(ladder({ ladder: [["web-push"]] }, { devices })).toEqual([["web-push A", "web-push B"]]);
  });

  it("comes once, however many targets name it", () => {
    const people = [person("lin", { roles: ["a", "b"] })];
    const { recipients } = recipientsOf(["role:a", "person:lin", "role:b", "everybody"], directory({ people }));
    expect(recipients.map(({ key }) => key)).toEqual(["person:lin"]);
  });
});
