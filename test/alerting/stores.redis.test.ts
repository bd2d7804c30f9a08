/**
 * The stores of people, devices and silences against a real Redis: what concurrent writers of several processes keep,
 * the limits, and what survives a removal at the same moment. A process of its own is a store of its own here.
 */
import { beforeEach, describe, expect, it } from "vitest";
import { deviceIdOf, MAX_DEVICES_EACH } from "../../engine/alerting/device-store.js";
import type { Device, Person } from "../../engine/alerting/people.js";
import { MAX_PEOPLE } from "../../engine/alerting/people-store.js";
import { MAX_ENDED, MAX_SILENCES } from "../../engine/alerting/silence-store.js";
import { type AlertingStores, openAlertingStores } from "../../engine/alerting/stores.js";
import { DAY_MS, HOUR_MS, ManualClock } from "../../engine/kernel/clock.js";
import { alertingKeys } from "../../engine/stream/keys.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { withRedis } from "../redis/with-redis.js";

const PREFIX = "alerting-test";
const START_MS = Date.UTC(2026, 5, 18);
const redis = withRedis();

let client: RedisClient;
let clock: ManualClock;
let one: AlertingStores;
let other: AlertingStores;
let troubles: string[];

beforeEach(async () => {
  await redis.flush();
  client = redis.connect();
  clock = new ManualClock(START_MS);
  troubles = [];
  const open = () =>
    openAlertingStores({ redis: client, prefix: PREFIX, clock, onTrouble: (message) => troubles.push(message) });
  [one, other] = [open(), open()];
});

const person = (id: string, more: Partial<Person> = {}): Person => ({
  id,
  name: "李伟",
  roles: ["purchasing"],
  language: "zh",
  ladder: [["web-push"], ["endpoint:ops"]],
  ...more,
});

type Registration = Parameters<AlertingStores["devices"]["register"]>[0];
const device = (address: string, of = "li.wei"): Registration => ({
  id: deviceIdOf(address),
  person: of,
  label: "iPhone",
  channel: "web-push",
  address: { endpoint: address },
});

const silence = { sku: "TEA", reason: "counted", actor: "li.wei/phone", untilMs: START_MS + HOUR_MS };

describe("people", () => {
  it("are listed by their ids, as another process put them", async () => {
    expect(await one.people.put(person("wang"))).toBe("created");
    expect(await one.people.put(person("li.wei", { quietHours: { fromMinute: 1_380, toMinute: 420 } }))).toBe(
      "created",
    );
    expect(await one.people.put(person("wang", { name: "Wang" }))).toBe("replaced");
    expect(await other.people.list()).toEqual([
      person("li.wei", { quietHours: { fromMinute: 1_380, toMinute: 420 } }),
      person("wang", { name: "Wang" }),
    ]);
  });

  it("keep what two processes change of them at the same moment", async () => {
    await one.people.put(person("li.wei"));
    await Promise.all([
      one.people.change("li.wei", { language: "en" }),
      other.people.change("li.wei", { quietHours: { fromMinute: 0, toMinute: 360 } }),
    ]);
    expect(await one.people.change("li.wei", {})).toMatchObject({
      language: "en",
      quietHours: { fromMinute: 0, toMinute: 360 },
    });
    const changed = await other.people.change("li.wei", { quietHours: null });
    expect(changed).not.toHaveProperty("quietHours");
  });

  it("do not come back when a setting is written while they are removed", async () => {
    await one.people.put(person("li.wei", { language: "en" }));
    expect(await other.people.remove("li.wei")).toBe(true);
    expect(await other.people.remove("li.wei")).toBe(false);
    expect(await one.people.change("li.wei", { language: "zh" })).toBeUndefined();
    await client.hset(alertingKeys(PREFIX).people, "li.wei/language", JSON.stringify("en"));
    expect(await one.people.change("li.wei", {})).toBeUndefined();
    // The next person of this id has nothing of it.
    await one.people.put(person("li.wei", { ladder: [] }));
    expect(await one.people.get("li.wei")).toEqual(person("li.wei", { ladder: [] }));
  });

  it("are limited", async () => {
    for (let i = 0; i < MAX_PEOPLE; i++) await client.hset(alertingKeys(PREFIX).people, `p${i}/identity`, "{}");
    expect(await one.people.put(person("one-more"))).toBe("too_many");
    expect(await one.people.put(person("p7"))).toBe("replaced");
  });
});

describe("devices", () => {
  it("are the same device when their address is registered again, also by another person", async () => {
    const first = (await one.devices.register(device("https://push/1"))) as Device;
    await one.devices.displayed(first.id, START_MS + 5);
    clock.moveTo(START_MS + DAY_MS);
    await other.devices.register(device("https://push/1", "wang"));
    expect(await one.devices.all()).toHaveLength(1);
    expect(await other.devices.of("wang")).toEqual([
      { ...device("https://push/1", "wang"), createdMs: START_MS, displayedMs: START_MS + 5, silentPushes: 0 },
    ]);
    expect(await other.devices.of("li.wei")).toEqual([]);
  });

  it("are found as soon as another process has registered them", async () => {
    const { id } = device("https://push.example/2");
    expect(await one.devices.get(id)).toBeUndefined();
    await other.devices.register(device("https://push.example/2"));
    expect((await one.devices.get(id))?.id).toBe(id);
  });

  it("count what was accepted since something was displayed", async () => {
    const { id } = (await one.devices.register(device("https://push/1"))) as Device;
    await Promise.all([one, other, one].map(({ devices }) => devices.accepted(id)));
    await other.devices.register(device("https://push/2"));
    expect(await other.devices.get(id)).toMatchObject({ silentPushes: 3, displayedMs: 0 });
    await other.devices.displayed(id, START_MS);
    await other.devices.accepted(id);
    await other.devices.register(device("https://push/2"));
    expect(await other.devices.get(id)).toMatchObject({ silentPushes: 1, displayedMs: START_MS });
  });

  it("are removed with a reason for the log, without their address", async () => {
    const { id } = (await one.devices.register(device("https://push/secret"))) as Device;
    expect(await one.devices.remove(id, "gone")).toBe(true);
    expect(await one.devices.remove(id, "gone")).toBe(false);
    await one.devices.accepted(id);
    await one.devices.displayed(id, START_MS);
    expect(await client.hgetall(alertingKeys(PREFIX).devices)).toEqual({});
    expect(troubles).toEqual([
      "the device iPhone of li.wei was removed: its push service has no such subscription any more",
    ]);
  });

  it("are limited for each person", async () => {
    for (let i = 0; i < MAX_DEVICES_EACH; i++) await one.devices.register(device(`https://push/${i}`));
    expect(await one.devices.register(device("https://push/more"))).toBe("too_many");
    expect(await one.devices.register(device("https://push/3"))).not.toBe("too_many");
    expect(await one.devices.register(device("https://push/more", "wang"))).not.toBe("too_many");
  });
});

describe("silences", () => {
  it("end when they are due, or when the first person ends them", async () => {
    const added = await one.silences.add(silence);
    if (added === "too_many") throw new Error("not added");
    expect(await one.silences.list()).toEqual([added]);
    clock.moveTo(START_MS + 5_000);
    await Promise.all([one.silences.end(added.id, "wang/phone"), one.silences.end(added.id, "wang/phone")]);
    clock.moveTo(START_MS + 6_000);
    const ended = await other.silences.end(added.id, "li.wei/phone");
    expect(ended).toEqual({ ...added, untilMs: START_MS + 5_000, endedBy: "wang/phone" });
    expect(await one.silences.end("unknown", "wang/phone")).toBeUndefined();
  });

  it("are listed for a day after their end, and then removed with the next change", async () => {
    await one.silences.add(silence);
    clock.moveTo(silence.untilMs + DAY_MS - 1);
    expect(await one.silences.list()).toHaveLength(1);
    clock.moveTo(silence.untilMs + DAY_MS);
    expect(await one.silences.list()).toEqual([]);
    await one.silences.add({ ...silence, untilMs: clock.now() + 1 });
    expect(await client.hlen(alertingKeys(PREFIX).silences)).toBe(1);
  });

  it("that are added and ended again and again are not all kept", async () => {
    const { silences } = alertingKeys(PREFIX);
    for (let i = 0; i < MAX_ENDED + 20; i++) {
      const id = `S${i}`;
      const old = { ...silence, id, createdMs: START_MS + i, untilMs: START_MS - 1 };
      await client.hset(silences, {
        [id]: JSON.stringify(old),
        [`${id}/end`]: JSON.stringify({ atMs: START_MS - 1, actor: "li.wei" }),
      });
    }
    await one.silences.add(silence);
    expect(await client.hlen(silences)).toBe(2 * MAX_ENDED + 1);
    expect(await client.hexists(silences, "S0")).toBe(0);
  });

  it("are limited to those that have not ended", async () => {
    for (let i = 0; i < MAX_SILENCES; i++) await one.silences.add({ ...silence, sku: `S${i}` });
    expect(await one.silences.add(silence)).toBe("too_many");
    expect(await one.silences.add({ ...silence, sku: "S7" })).toMatchObject({ sku: "S7" });
    clock.moveTo(silence.untilMs);
    expect(await one.silences.add({ ...silence, untilMs: clock.now() + 1 })).not.toBe("too_many");
  });
});

it("keeps its limits when many are added at once", async () => {
  const attempts = Array.from({ length: MAX_SILENCES + 50 }, (_, i) => i);
  await Promise.all(attempts.map((i) => one.silences.add({ ...silence, sku: `S${i}` })));
  expect(await one.silences.list()).toHaveLength(MAX_SILENCES);
  await Promise.all(attempts.slice(0, 50).map((i) => one.devices.register(device(`https://push/${i}`))));
  expect(await one.devices.of("li.wei")).toHaveLength(MAX_DEVICES_EACH);
});

it("reports a failing Redis and recovers with it", async () => {
  await one.people.put(person("li.wei"));
  await client.set(alertingKeys(PREFIX).people, "no hash");
  const reader = openAlertingStores({ redis: client, prefix: PREFIX, clock, onTrouble: () => {} });
  await expect(reader.people.list()).rejects.toThrow("WRONGTYPE");
  await client.del(alertingKeys(PREFIX).people);
  expect(await reader.people.list()).toEqual([]);
});
