/** What the alert sink appends for what the job emits. */
import { describe, expect, it } from "vitest";
import type { Alert } from "../../../engine/alerting/alert.js";
import { NO_CHANNELS } from "../../../engine/alerting/directory.js";
import type { Person } from "../../../engine/alerting/people.js";
import type { Silence } from "../../../engine/alerting/silence.js";
import type { RouteCommand } from "../../../engine/jobs/alerts/events.js";
import { AlertReceiver, type StockFacts } from "../../../engine/jobs/alerts/receiver.js";
import { ManualClock } from "../../../engine/kernel/clock.js";
import { badInput } from "../../../engine/kernel/errors.js";
import { zoneOf } from "../../../engine/kernel/zone.js";
import type { NewEvent } from "../../../engine/stream/event-entry.js";
import { START_MS } from "./bed.js";

const traits = { perMinute: 20, confirmsDisplay: false, sendsChanges: false };
const alert: Alert = {
  ...{ id: "CUP#1", rule: "depletion", subject: "CUP", severity: "warning", state: "fired", firedMs: START_MS },
  figures: { hourUnits: 120, dailyAverage: 30, thresholdUnits: 90 },
};
const STOCK: StockFacts = {
  ...{ category: "cups", locations: ["main"], sellableUnits: 50, safetyUnits: 10, hourUnits: 60, dailyAverage: 30 },
};
const silence: Silence = {
  ...{ id: "S1", category: "cups", untilMs: START_MS + 60_000, reason: "sale", actor: "lin", createdMs: START_MS },
};

function bed() {
  const appended: { topic: string; event: NewEvent }[] = [];
  const people: Person[] = [
    { id: "lin", name: "Lin", roles: ["purchasing"], language: "zh", ladder: [["wecom"]], wecomUserId: "LIN" },
  ];
  const world = {
    appended,
    people,
    silences: [] as Silence[],
    stock: STOCK as StockFacts | undefined,
    clock: new ManualClock(START_MS),
    failsAfter: Number.POSITIVE_INFINITY,
    fault: undefined as Error | undefined,
  };
  const receiver = new AlertReceiver({
    name: "alerts",
    directory: {
      read: async () => ({ ...NO_CHANNELS, personChannels: new Map([["wecom", traits]]), people, devices: [] }),
    },
    silences: async () => world.silences,
    stockOf: () => world.stock,
    inboundUnits: async () => 4,
    zone: zoneOf("UTC"),
    clock: world.clock,
    async append(topic, events) {
      if (world.fault) throw world.fault;
      if (world.failsAfter-- <= 0) throw new Error("no answer");
      for (const event of events) appended.push({ topic, event });
    },
  });
  const deliver = (command: Partial<RouteCommand> = {}, atMs = START_MS) => {
    const payload: RouteCommand = { alert, what: "notify", level: 0, recipients: [], ...command };
    const id = "alerts/0/1.0";
    return receiver.deliver({ id, kind: "route", key: "depletion~CUP", atMs, payload });
  };
  const events = () =>
    appended.splice(0).map(({ topic, event: { key, kind, payload } }) => ({ at: `${topic} ${key} ${kind}`, payload }));
  return { ...world, world, receiver, deliver, events };
}

const NOTIFY = "notifications person:lin notify";
const CHANGED = "notifications person:lin changed";
const ROUTED = "alerts depletion~CUP routed";

describe("to notify", () => {
  it("appends the alert with what explains it for each recipient, then the answer", async () => {
    const { deliver, events } = bed();
    expect(await deliver()).toEqual({ outcome: "done" });
    const outlook = {
      ...{ sellableUnits: 50, safetyUnits: 10, inboundUnits: 4 },
      // 50 units at 120 an hour; 1.8 × 10 + 3 × 30 − 50 − 4 units.
      ...{ minutesLeft: 25, suggestedUnits: 54 },
    };
    const facts = { outlook, category: "cups", locations: ["main"] };
    const recipient = { key: "person:lin", language: "zh", ladder: [[{ channel: "wecom", to: "LIN", traits }]] };
    expect(events()).toEqual([
      { at: NOTIFY, payload: { alert: { ...alert, ...facts }, level: 0, recipient } },
      {
        at: ROUTED,
        payload: { alertId: "CUP#1", level: 0, recipients: ["person:lin"], nextMs: START_MS + 300_000, ...facts },
      },
    ]);
  });

  it("uses the pace of now at a later level, and none where nothing is sold", async () => {
    const { deliver, events, world } = bed();
    const minutesLeft = async () => {
      await deliver({ level: 1 });
      return (events()[0]?.payload as { alert: Alert } | undefined)?.alert.outlook?.minutesLeft;
    };
    expect(await minutesLeft()).toBe(50);
    world.stock = { ...STOCK, hourUnits: 0 };
    expect(await minutesLeft()).toBeNull();
  });

  it("suggests nothing in cold start", async () => {
    const { deliver, events, world } = bed();
    world.stock = { ...STOCK, dailyAverage: undefined };
    await deliver();
    expect(events()[1]?.payload).toMatchObject({ outlook: { suggestedUnits: null } });
  });

  it("notifies also when nothing is known of the SKU", async () => {
    const { deliver, events, world } = bed();
    world.stock = undefined;
    await deliver();
    expect(events()[0]).toMatchObject({ at: NOTIFY, payload: { alert } });
  });

  it("names a bounded number of the locations", async () => {
    const { deliver, events, world } = bed();
    world.stock = { ...STOCK, locations: Array.from({ length: 500 }, (_, i) => `L${i}`) };
    world.silences = [{ ...silence, category: "plates" }];
    await deliver();
    const [notify, routed] = events() as { payload: { alert?: Alert; locations?: string[] } }[];
    expect([notify?.payload.alert?.locations?.length, routed?.payload.locations?.length]).toEqual([20, 20]);
  });

  it("counts the next level from now when the command has waited", async () => {
    const { deliver, events, clock } = bed();
    clock.moveTo(START_MS + 600_000);
    await deliver();
    expect(events()[1]?.payload).toMatchObject({ nextMs: START_MS + 900_000 });
  });

  it("answers that nobody was notified when there is nobody, and warns when there is somebody", async () => {
    const { deliver, events, people, receiver } = bed();
    people.length = 0;
    await deliver();
    expect(events()).toMatchObject([{ at: ROUTED, payload: { recipients: [] } }]);
    expect(receiver.warnings()).toEqual([]);
    people.push({ id: "chen", name: "Chen", roles: [], language: "zh", ladder: [] });
    await deliver();
    expect(receiver.warnings()).toEqual([
      "the last alert has notified nobody: no person and no endpoint can be reached",
    ]);
  });

  it("names to the operator whom it does not reach", async () => {
    const { deliver, people, receiver } = bed();
    people.push({ id: "chen", name: "Chen", roles: ["warehouse"], language: "zh", ladder: [] });
    await deliver();
    expect(receiver.warnings()).toEqual([
      "alerts do not reach person:chen: nobody is there, or no contact of the person can be used",
    ]);
  });
});

describe("within a silence", () => {
  it("notifies nobody, and answers when it ends", async () => {
    const { deliver, events, world } = bed();
    world.silences = [silence];
    await deliver();
    expect(events()).toMatchObject([
      { at: ROUTED, payload: { recipients: [], silence: { id: "S1", untilMs: silence.untilMs } } },
    ]);
  });

  it("ends what those who were notified before receive", async () => {
    const { deliver, events, world } = bed();
    world.silences = [silence];
    await deliver({ recipients: ["person:lin"] });
    expect(events()).toMatchObject([{ at: CHANGED, payload: { isSilenced: true } }, { at: ROUTED }]);
  });

  it("that has ended by the log's clock notifies, although this machine's clock is behind", async () => {
    const { deliver, events, world } = bed();
    world.silences = [silence];
    await deliver({}, silence.untilMs);
    expect(events().map(({ at }) => at)).toEqual([NOTIFY, ROUTED]);
  });
});

describe("of a change", () => {
  it("appends it for each who was notified", async () => {
    const { deliver, events } = bed();
    const cleared: Alert = { ...alert, state: "cleared" };
    await deliver({ what: "changed", alert: cleared, recipients: ["person:lin", "endpoint:ops"] });
    expect(events()).toEqual([
      { at: CHANGED, payload: { alert: cleared } },
      { at: "notifications endpoint:ops changed", payload: { alert: cleared } },
    ]);
  });
});

it("becomes a dead letter when no topic takes its content", async () => {
  const { deliver, world } = bed();
  world.fault = badInput("events.append", "payload", "too large");
  expect(await deliver()).toMatchObject({ outcome: "refused", reason: expect.stringContaining("too large") });
});

it("tries again what could not be appended, from the beginning", async () => {
  const { deliver, events, world } = bed();
  world.failsAfter = 1;
  expect(await deliver()).toEqual({ outcome: "retry", reason: "alerts/0/1.0: no answer" });
  world.failsAfter = Number.POSITIVE_INFINITY;
  await deliver();
  expect(events().map(({ at }) => at)).toEqual([NOTIFY, NOTIFY, ROUTED]);
});
