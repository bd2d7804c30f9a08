/**
 * The life of an alert in a whole engine (R10, R11): from the deductions that deplete a SKU over the topics `alerts`
 * and `notifications` to the messages for people, with levels and silences in the shop's time, and what a crash between
 * two appends repeats. No channel is open, so messages wait in the outbox; what matters is that they are there, once.
 */
import { afterEach, describe, expect, it } from "vitest";
import type { AlertDirectory } from "../../engine/alerting/directory.js";
import { NOTIFICATIONS_TOPIC, NOTIFY_EVENT, type NotifyEvent } from "../../engine/alerting/notification.js";
import type { Person } from "../../engine/alerting/people.js";
import type { Engine } from "../../engine/app/engine.js";
import { eventTopicNamed } from "../../engine/app/running-topics.js";
import { PRODUCT_TABLES, type Tables } from "../../engine/app/tables.js";
import { ALERTS_TOPIC, SILENCE_EVENT } from "../../engine/jobs/alerts/events.js";
import { AlertReceiver } from "../../engine/jobs/alerts/receiver.js";
import { AlertsView } from "../../engine/jobs/alerts/view.js";
import { NotificationsView } from "../../engine/jobs/notifications/view.js";
import { chainId } from "../../engine/kernel/chain-id.js";
import { HOUR_MS, MINUTE_MS } from "../../engine/kernel/clock.js";
import { topicEventsOf } from "../../engine/stream/event-entry.js";
import { eventKeys } from "../../engine/stream/keys.js";
import { readLog } from "../../engine/stream/log.js";
import { withRedis } from "../redis/with-redis.js";
import { withEngines } from "./engine-builder.js";
import { LeapingClock } from "./leaping-clock.js";

const redis = withRedis();
const engines = withEngines();
const patience = { timeout: 60_000, interval: 50 };
const CUP = "depletion~CUP";

const traits = { perMinute: 100, confirmsDisplay: false, sendsChanges: false };
const person = (id: string, roles: string[]): Person => ({
  ...{ id, name: id, roles, language: "zh", ladder: [["wecom"]], wecomUserId: id.toUpperCase() },
});
const directory: AlertDirectory = {
  read: async () => ({
    ...{ endpoints: [], routes: [], devices: [], personChannels: new Map([["wecom", traits]]) },
    people: [person("lin", ["purchasing"]), person("chen", []), person("wang", ["operations"])],
  }),
};

/** The product with this directory. @param onAppend called before each append of the alert sink; may throw */
const tablesWith = (onAppend: (topic: string) => void): Tables => ({
  ...PRODUCT_TABLES,
  ownSinks: PRODUCT_TABLES.ownSinks.map((sink) =>
    sink.name === "alerts"
      ? {
          ...sink,
          open: ({ alerts }) =>
            new AlertReceiver({
              ...alerts,
              ...{ name: "alerts", directory },
              async append(topic, events) {
                onAppend(topic);
                await alerts.append(topic, events);
              },
            }),
        }
      : sink,
  ),
});

let rounds = 0;
afterEach(() => engines.stop());

async function openShop(onAppend: (topic: string) => void = () => {}) {
  // No test leaps over midnight: a day that has ended changes the daily average, and with it the threshold.
  const clock = LeapingClock.fromNoon();
  const prefix = `alerts${rounds++}`;
  const shopTime = { clock, speed: () => 1, scene: () => undefined };
  const engine = await engines.start({ redisUrl: redis.url, prefix, shopTime }, tablesWith(onAppend));
  const id = () => chainId("S1", clock.now());
  const { ledger, storefrontView } = engine.stock;
  await ledger.apply({ kind: "receive", id: id(), sku: "CUP", location: "main", units: 500 });
  await ledger.apply({
    kind: "configure",
    id: id(),
    sku: "CUP",
    location: "main",
    settings: {},
    category: "cups",
  });
  await expect.poll(() => storefrontView.get("CUP")?.total.sellable, patience).toBe(500);
  return {
    engine,
    clock,
    view: viewOf(engine, ALERTS_TOPIC, AlertsView),
    notifications: viewOf(engine, NOTIFICATIONS_TOPIC, NotificationsView),
    /** Above the 100 units of the cold start. */
    deplete: () => ledger.apply({ kind: "reserve", id: id(), sku: "CUP", location: "main", units: 120 }),
    acknowledge: (alertId: string) =>
      ledger.apply({ kind: "acknowledge", id: id(), sku: "CUP", location: "main", actor: "lin", alertId }),
    notified: () => notifiedOf(prefix, engine.settings.partitions),
  };
}

function viewOf<Kind>(engine: Engine, topic: string, kind: new () => Kind): Kind {
  return engine.topic(topic).views.find((view) => view instanceof kind) as Kind;
}

/** What was appended to the topic `notifications`: `person:lin CUP#1 0`. */
async function notifiedOf(prefix: string, partitions: number): Promise<string[]> {
  const client = redis.connect();
  const found: string[] = [];
  for (let partition = 0; partition < partitions; partition++)
    for (const entry of await readLog(client, eventKeys(prefix, NOTIFICATIONS_TOPIC, partition).log, 0, 1_000))
      for (const { key, kind, payload } of topicEventsOf(entry).events) {
        if (kind !== NOTIFY_EVENT) continue;
        const { alert, level } = payload as NotifyEvent;
        found.push(`${key} ${alert.id} ${level}`);
      }
  return found.sort();
}

describe("an alert of depletion", () => {
  it("notifies its roles with what explains it, and everybody after five minutes", async () => {
    const { deplete, view, notified, clock, notifications } = await openShop();
    await deplete();
    await expect.poll(() => view.get("CUP#1")?.recipients, patience).toEqual(["person:lin"]);
    const { alert, nextMs } = view.get("CUP#1") ?? {};
    expect(alert).toMatchObject({
      ...{ state: "fired", severity: "warning", category: "cups", locations: ["main"] },
      figures: { hourUnits: 120, dailyAverage: null, thresholdUnits: 100 },
      outlook: { safetyUnits: 0, inboundUnits: 0, suggestedUnits: null },
    });
    expect(alert?.outlook?.minutesLeft).toBeGreaterThan(0);
    expect(nextMs).toBeGreaterThan(clock.now());
    expect(await notified()).toEqual(["person:lin CUP#1 0"]);
    await expect.poll(() => notifications.funnelsOf("CUP#1").length, patience).toBe(1);
    expect(notifications.funnelsOf("CUP#1")[0]).toMatchObject({ recipient: "person:lin", channel: "wecom", to: "LIN" });

    clock.leap(5 * MINUTE_MS);
    await expect.poll(() => view.get("CUP#1")?.level, patience).toBe(1);
    await expect.poll(() => view.get("CUP#1")?.recipients.length, patience).toBe(3);
    expect(await notified()).toEqual([
      ...["person:chen CUP#1 1", "person:lin CUP#1 0", "person:lin CUP#1 1", "person:wang CUP#1 1"],
    ]);
  });

  it("that is acknowledged notifies nobody further, and clears when the hour is over", async () => {
    const { deplete, acknowledge, view, notified, clock } = await openShop();
    await deplete();
    await expect.poll(() => view.get("CUP#1")?.recipients, patience).toEqual(["person:lin"]);
    await acknowledge("CUP#1");
    await expect
      .poll(() => view.get("CUP#1")?.alert, patience)
      .toMatchObject({
        ...{ state: "acknowledged", acknowledgedBy: "lin" },
      });
    clock.leap(HOUR_MS + MINUTE_MS);
    await expect.poll(() => view.get("CUP#1")?.alert.state, patience).toBe("cleared");
    expect(view.cleared().map(({ alert }) => alert.acknowledgedBy)).toEqual(["lin"]);
    expect(await notified()).toEqual(["person:lin CUP#1 0"]);
  });

  it("within a silence notifies nobody until it ends, and at once when somebody ends it", async () => {
    const { deplete, view, notified, clock, engine } = await openShop();
    const { silences } = engine.alerting;
    const common = { reason: "sale", actor: "lin", untilMs: clock.now() + 30 * MINUTE_MS };
    const added = await silences.add({ ...common, category: "cups" });
    if (added === "too_many") throw new Error("there are too many silences");
    await deplete();
    await expect.poll(() => view.get("CUP#1")?.silence?.id, patience).toBe(added.id);
    clock.leap(20 * MINUTE_MS);
    expect(await notified()).toEqual([]);
    await silences.end(added.id, "lin");
    const event = { id: "end", key: CUP, kind: SILENCE_EVENT, payload: { silenceId: added.id } };
    const topic = eventTopicNamed(engine.topics, ALERTS_TOPIC);
    await topic.append([event]);
    await expect.poll(notified, patience).toEqual(["person:lin CUP#1 0"]);
    await expect.poll(() => view.get("CUP#1")?.silence, patience).toBeUndefined();

    await silences.add({ ...common, sku: "CUP", untilMs: clock.now() + 30 * MINUTE_MS });
    await topic.append([event]);
    await expect.poll(() => view.get("CUP#1")?.silence, patience).toBeDefined();
    clock.leap(30 * MINUTE_MS);
    await expect.poll(async () => (await notified()).length, patience).toBe(2);
  });

  it("is sent once although the sink dies between its two appends", async () => {
    let failures = 2;
    const { deplete, view, notified, notifications } = await openShop((topic) => {
      if (topic === ALERTS_TOPIC && failures-- > 0) throw new Error("killed");
    });
    await deplete();
    await expect.poll(() => view.get("CUP#1")?.recipients, patience).toEqual(["person:lin"]);
    expect(await notified()).toEqual(["person:lin CUP#1 0", "person:lin CUP#1 0", "person:lin CUP#1 0"]);
    await expect.poll(() => notifications.funnelsOf("CUP#1").length, patience).toBe(1);
  });
});
