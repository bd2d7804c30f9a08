/**
 * Event topics in a real Redis: what is appended is read in order and once, by a job under a worker; what is not valid
 * is rejected as a whole; the clock proceeds without events. Schedules: each due time gets its tick once, whoever asks
 * and however often; after outages by the catch-up rule; never while clocks disagree, nor a second time after the
 * clock was set back.
 */
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ManualClock, systemClock } from "../../engine/kernel/clock.js";
import { zoneOf } from "../../engine/kernel/zone.js";
import { loadStreamLibrary } from "../../engine/stream/commit.js";
import { type NewEvent, type TickPayload, type TopicEvent, topicEventsOf } from "../../engine/stream/event-entry.js";
import {
  type EventTopic,
  type EventTopicOptions,
  eventTopic,
  loadEventsLibrary,
} from "../../engine/stream/event-topic.js";
import type { Job } from "../../engine/stream/job.js";
import { eventKeys } from "../../engine/stream/keys.js";
import { type LogEntry, readLog } from "../../engine/stream/log.js";
import { decodeState } from "../../engine/stream/pack.js";
import { partitionOf } from "../../engine/stream/partition.js";
import { connect, type RedisClient } from "../../engine/stream/redis.js";
import { daily, every, type Schedule } from "../../engine/stream/schedule.js";
import { Worker } from "../../engine/stream/worker.js";
import { withRedis } from "../redis/with-redis.js";
import { deadLettersOf, until } from "./toy-log.js";

const redis = withRedis();
let client: RedisClient;
let clock: ManualClock;
const START = Date.parse("2026-06-18T08:00:00Z");
const MINUTE = 60_000;

beforeAll(async () => {
  client = redis.connect();
  await Promise.all([loadStreamLibrary(client), loadEventsLibrary(client)]);
});
beforeEach(async () => {
  await redis.flush();
  clock = new ManualClock(START);
});

/** A topic's definition without a clock. */
const WITHOUT_CLOCK = { name: "notes", partitions: 1, prefix: "t", zone: zoneOf("Asia/Shanghai") };
const topicWith = (more: Partial<EventTopicOptions> = {}): EventTopic =>
  eventTopic({ ...WITHOUT_CLOCK, redis: client, clock, ...more });
const keysOf = (partition = 0) => eventKeys("t", "notes", partition);
const entries = (partition = 0): Promise<LogEntry[]> => readLog(client, keysOf(partition).log, 0, 10_000);
const eventsIn = async (partition = 0): Promise<TopicEvent[]> =>
  (await entries(partition)).flatMap((entry) => topicEventsOf(entry).events);
const note = (id: string, more: Partial<NewEvent> = {}): NewEvent => ({
  id,
  key: "k",
  kind: "noted",
  payload: { units: 1 },
  ...more,
});
/** Due times as ISO minutes, with how many were missed before. */
const ticksIn = async (): Promise<string[]> =>
  (await eventsIn()).map(({ id, key, kind, atMs, payload }) => {
    const { name, dueMs, missed } = payload as TickPayload;
    const iso = new Date(dueMs).toISOString();
    expect([id, key, kind, atMs]).toEqual([`${name}@${iso}`, name, "tick", dueMs]);
    return `${name} ${iso.slice(11, 19)} ${missed}`;
  });

describe("appended events", () => {
  it("are in the partition of their key, in order, under offsets without gaps", async () => {
    const topic = topicWith({ partitions: 3 });
    const keys = Array.from({ length: 12 }, (_, i) => `key-${i}`);
    await topic.append(keys.map((key) => note(`1-${key}`, { key })));
    clock.moveTo(START + 5);
    await topic.append(keys.map((key) => note(`2-${key}`, { key, atMs: START - 7, payload: [key, null, 2.5, "é"] })));
    for (let partition = 0; partition < 3; partition++) {
      const own = keys.filter((key) => partitionOf(key, 3) === partition);
      const events = await eventsIn(partition);
      expect(events.map(({ id }) => id)).toEqual([...own.map((key) => `1-${key}`), ...own.map((key) => `2-${key}`)]);
      expect(events.map(({ offset, clockMs, atMs }) => [offset, clockMs, atMs])).toEqual([
        ...own.map(() => [1, START, START]),
        ...own.map(() => [2, START + 5, START - 7]),
      ]);
      expect(events.at(-1)?.payload).toEqual([own.at(-1), null, 2.5, "é"]);
      expect(await client.hgetall(keysOf(partition).head)).toEqual({
        offset: "2",
        clock: String(START + 5),
        events: String(2 * own.length),
      });
    }
  });

  it("of more than a thousand are several entries", async () => {
    await topicWith().append(Array.from({ length: 2_500 }, (_, i) => note(`n${i}`)));
    const read = await entries();
    expect(read.map((entry) => topicEventsOf(entry).events.length)).toEqual([1_000, 1_000, 500]);
    expect(read.map((entry) => topicEventsOf(entry).total)).toEqual([1_000, 2_000, 2_500]);
    expect((await eventsIn()).map(({ id }) => id)).toEqual(Array.from({ length: 2_500 }, (_, i) => `n${i}`));
  });

  it("of which one is not valid are rejected as a whole, by name", async () => {
    const topic = topicWith({ partitions: 2 });
    const good = [note("a", { key: "a" }), note("b", { key: "b" })];
    for (const [bad, message] of [
      [note(""), "id: expected 1 to 256 characters"],
      [note("x", { key: "a\u001fb" }), "key: expected 1 to 256 characters without control characters"],
      [note("x", { kind: "k".repeat(257) }), "kind: "],
      [note("x", { atMs: 1.5 }), "atMs: "],
      [note("x", { payload: "p".repeat(70_000) }), "payload: that of x has 70005 bytes, more than 65536"],
    ] as const)
      await expect(topic.append([...good, bad])).rejects.toThrow(message);
    await expect(topic.append(Array.from({ length: 10_001 }, () => note("x")))).rejects.toThrow("10001 in one call");
    expect([...(await entries(0)), ...(await entries(1))]).toEqual([]);
  });

  it("never have a clock that goes back", async () => {
    await topicWith().append([note("a")]);
    await topicWith({ clock: new ManualClock(START - 10_000) }).append([note("b")]);
    expect((await eventsIn()).map(({ clockMs }) => clockMs)).toEqual([START, START]);
  });

  it("have the server's time without a given clock", async () => {
    await eventTopic({ ...WITHOUT_CLOCK, redis: client }).append([note("a")]);
    const [event] = await eventsIn();
    expect(Math.abs((event?.clockMs ?? 0) - systemClock.now())).toBeLessThan(60_000);
  });
});

describe("an entry", () => {
  const packed = async (): Promise<LogEntry> => {
    await topicWith().append([note("a"), note("b")]);
    return (await entries())[0] as LogEntry;
  };
  const text = (name: string, value: string): Buffer[] => [Buffer.from(name), Buffer.from(value)];

  it("with a field of a later release is read when the field's name begins with +, and refused otherwise", async () => {
    const entry = await packed();
    const withField = (name: string): LogEntry => ({ ...entry, fields: [...entry.fields, ...text(name, "x")] });
    expect(topicEventsOf(withField("+y")).events).toHaveLength(2);
    expect(() => topicEventsOf(withField("y"))).toThrow("unknown field y");
  });

  it("that is damaged is refused", async () => {
    const { offset } = await packed();
    const of = (bytes: Buffer): LogEntry => ({
      offset,
      fields: [...text("n", "2"), ...text("t", "5"), Buffer.from("b"), bytes],
    });
    expect(() => topicEventsOf(of(Buffer.from([0x01])))).toThrow("event 0 is not a list of five");
    expect(() => topicEventsOf(of(Buffer.from([0x95, 1, 1, 1, 1, 1])))).toThrow("event 0 has parts of another type");
    expect(() => topicEventsOf(of(Buffer.from([0x95, 1])))).toThrow();
    expect(() => topicEventsOf({ offset, fields: text("t", "5") })).toThrow("no number of events");
  });

  it("is cut down to one event, which keeps its index", async () => {
    const entry = await packed();
    const only = topicWith().only(entry, 1);
    const { events } = topicEventsOf({ offset: entry.offset, fields: only });
    expect(events[1]).toMatchObject({ id: "b", index: 1 });
    expect(events[0]).toMatchObject({ id: "", key: "" });
  });
});

describe("a job on an event topic", () => {
  const job: Job<TopicEvent, { ids: string[]; fired: number }> = {
    name: "counted.1",
    key: ({ key }) => key,
    initial: () => ({ ids: [], fired: 0 }),
    onEvent(state, { id, kind, clockMs }, context) {
      if (kind === "bad") throw new Error("a bad note");
      state.ids.push(id);
      if (kind === "later") context.setTimer(clockMs + 3_000);
    },
    onTimer: (state) => {
      state.fired++;
    },
  };

  it("gets each event once, and its timers fire without further events", async () => {
    const topic = topicWith();
    const worker = new Worker<TopicEvent>({
      topic,
      jobs: [job],
      prefix: "t",
      redis: client,
      openReader: () => connect({ url: redis.url }, true),
      owner: "one",
      clock: systemClock,
      leaseMs: 1_000,
      tickMs: 20,
      retentionMs: 0,
      withViews: false,
      onTrouble: () => {},
    });
    worker.start();
    try {
      await topic.append([note("a"), note("b", { kind: "bad" }), note("c", { kind: "later" })]);
      const state = async () => {
        const bytes = await client.hgetBuffer(keysOf().state(job.name), "k");
        return bytes && (decodeState(bytes) as { ids: string[]; fired: number });
      };
      await until(async () => (await state())?.ids.length === 2, "the events");
      expect(await state()).toEqual({ ids: ["a", "c"], fired: 0 });
      clock.moveTo(START + 3_000);
      await until(async () => (await state())?.fired === 1, "the timer");
      const [letter] = await deadLettersOf(client, keysOf());
      expect(letter).toMatchObject({ job: job.name, index: 1, key: "k", reason: "a bad note", isOwn: true });
    } finally {
      await worker.stop();
    }
  });
});

describe("a tick", () => {
  it("moves the clock of a quiet partition at each heartbeat, and when a timer is due", async () => {
    const topic = topicWith();
    await topic.append([note("a")]);
    await topic.tick(0);
    clock.moveTo(START + MINUTE - 1);
    await topic.tick(0);
    expect(await entries()).toHaveLength(1);
    clock.moveTo(START + MINUTE);
    await topic.tick(0);
    await topic.tick(0);
    expect((await entries()).map((entry) => topicEventsOf(entry).clockMs)).toEqual([START, START + MINUTE]);
    await client.zadd(keysOf().timers, START + MINUTE + 5, "x");
    clock.moveTo(START + MINUTE + 4);
    await topic.tick(0);
    expect(await entries()).toHaveLength(2);
    clock.moveTo(START + MINUTE + 6);
    await topic.tick(0);
    expect(await entries()).toHaveLength(3);
  });
});

describe("schedules", () => {
  const schedule = (name: string, more: Partial<Schedule> = {}): Schedule => ({
    name,
    due: every(15_000),
    catchUp: "every",
    ...more,
  });
  const at = (ms: number, topic: EventTopic): Promise<void> => {
    clock.moveTo(START + ms);
    return topic.tick(0);
  };

  it("fire first at the first due time after they are first seen", async () => {
    const topic = topicWith({ schedules: [schedule("s"), schedule("d", { due: daily("16:01") })] });
    for (const ms of [0, 14_999, 15_000, 15_001, 60_000]) await at(ms, topic);
    expect((await ticksIn()).sort()).toEqual([
      "d 08:01:00 0",
      "s 08:00:15 0",
      "s 08:00:30 0",
      "s 08:00:45 0",
      "s 08:01:00 0",
    ]);
    const overview = await topic.scheduleOverview();
    expect(overview.map(({ name, nextDueMs, lastFiredMs }) => [name, nextDueMs - START, lastFiredMs])).toEqual([
      ["s", 75_000, START + MINUTE],
      ["d", 86_400_000 + MINUTE, START + MINUTE],
    ]);
  });

  it("after an outage fire by their catch-up rules", async () => {
    const hourly = every(3_600_000);
    const topic = topicWith({
      schedules: [
        schedule("all", { due: hourly }),
        schedule("last", { due: hourly, catchUp: "last" }),
        schedule("none", { due: hourly, catchUp: "none" }),
      ],
    });
    await at(0, topic);
    await at(3 * 3_600_000 + MINUTE, topic);
    await at(4 * 3_600_000 + 1_000, topic);
    expect(await ticksIn()).toEqual([
      "all 09:00:00 0",
      "all 10:00:00 0",
      "all 11:00:00 0",
      "last 11:00:00 2",
      "all 12:00:00 0",
      "last 12:00:00 0",
      "none 12:00:00 3",
    ]);
    expect((await topic.scheduleOverview()).map(({ missed }) => missed)).toEqual([0, 2, 3]);
  });

  it("fire once, however many processes call at the same time", async () => {
    const topics = Array.from({ length: 8 }, () => topicWith({ schedules: [schedule("s")] }));
    await at(0, topics[0] as EventTopic);
    clock.moveTo(START + 45_000);
    await Promise.all(topics.map((topic) => topic.tick(0)));
    await Promise.all(topics.map((topic) => topic.tick(0)));
    expect(await ticksIn()).toEqual(["s 08:00:15 0", "s 08:00:30 0", "s 08:00:45 0"]);
  });

  it("fire only in the partition of their name", async () => {
    const topic = topicWith({ partitions: 3, schedules: [schedule("s")] });
    const own = partitionOf("s", 3);
    for (const partition of [0, 1, 2]) await topic.tick(partition);
    clock.moveTo(START + 15_000);
    for (const partition of [0, 1, 2]) await topic.tick(partition);
    expect((await eventsIn(own)).map(({ key }) => key)).toEqual(["s"]);
    for (const partition of [0, 1, 2].filter((other) => other !== own))
      expect(await client.exists(keysOf(partition).schedules)).toBe(0);
  });

  it("that are far behind fire a thousand ticks a call", async () => {
    const topic = topicWith({ schedules: [schedule("s", { due: every(1_000) })] });
    await at(0, topic);
    await at(1_500_000, topic);
    expect(await ticksIn()).toHaveLength(1_000);
    await topic.tick(0);
    expect(await ticksIn()).toHaveLength(1_500);
    expect(new Set(await ticksIn()).size).toBe(1_500);
  });

  it("of a changed definition begin anew from now", async () => {
    await at(0, topicWith({ schedules: [schedule("s")] }));
    const changed = topicWith({ schedules: [schedule("s", { due: every(40_000) })] });
    await at(30_000, changed);
    await at(50_000, changed);
    expect(await ticksIn()).toEqual(["s 08:00:40 0"]);
  });

  it("that an older process does not know miss nothing, and are deleted a week after they were removed", async () => {
    const [newer, older] = [topicWith({ schedules: [schedule("s")] }), topicWith({})];
    await at(0, newer);
    await at(30_000, older);
    expect(await ticksIn()).toEqual([]);
    await at(35_000, newer);
    expect(await ticksIn()).toEqual(["s 08:00:15 0", "s 08:00:30 0"]);
    await at(7 * 86_400_000 + 45_000, older);
    expect(await client.hkeys(keysOf().schedules)).toEqual(["s"]);
    await at(7 * 86_400_000 + 45_001, older);
    expect(await client.hkeys(keysOf().schedules)).toEqual([]);
  });

  it("do not fire a due time twice after the clock was set back, and report that they stand still", async () => {
    await at(0, topicWith({ schedules: [schedule("s")] }));
    const ahead = topicWith({ schedules: [schedule("s")], clock: new ManualClock(START + 60_000) });
    await ahead.tick(0);
    expect(await ticksIn()).toHaveLength(4);
    const back = topicWith({ schedules: [schedule("s")] });
    for (const ms of [15_000, 30_000, 60_000]) await at(ms, back);
    expect(await ticksIn()).toHaveLength(4);
    await at(75_000, back);
    expect(await ticksIn()).toHaveLength(5);
    const farAhead = topicWith({ schedules: [schedule("s")], clock: new ManualClock(START + 600_000) });
    await farAhead.tick(0);
    expect((await back.scheduleOverview()).map(({ standsStill }) => standsStill)).toEqual([true]);
    expect((await farAhead.scheduleOverview()).map(({ standsStill }) => standsStill)).toEqual([false]);
  });

  it("do not fire while the server's clock and this machine's disagree", async () => {
    const schedules = [schedule("s", { due: every(1_000) })];
    const wall = { now: () => systemClock.now() - 3_600_000 };
    const wrong = eventTopic({ ...WITHOUT_CLOCK, redis: client, schedules, wall });
    const right = eventTopic({ ...WITHOUT_CLOCK, redis: client, schedules });
    await wrong.tick(0);
    expect(await client.exists(keysOf().schedules)).toBe(0);
    await right.tick(0);
    const stored = JSON.parse((await client.hget(keysOf().schedules, "s")) as string);
    await client.hset(keysOf().schedules, "s", JSON.stringify({ ...stored, dueMs: stored.dueMs - 5_000 }));
    await wrong.tick(0);
    expect(await eventsIn()).toEqual([]);
    await right.tick(0);
    expect((await eventsIn()).length).toBeGreaterThanOrEqual(4);
  });

  it("whose stored state cannot be read begin anew, with a message", async () => {
    const troubles: string[] = [];
    const topic = topicWith({ schedules: [schedule("s")], onTrouble: (message) => troubles.push(message) });
    await client.hset(keysOf().schedules, "s", "{");
    await at(0, topic);
    await at(15_000, topic);
    expect(await ticksIn()).toEqual(["s 08:00:15 0"]);
    expect(troubles).toEqual(["schedule s: its stored state cannot be read; it begins anew"]);
  });
});

describe("a definition", () => {
  it("with a name that is not valid or occurs twice is rejected", () => {
    const named = (name: string): Schedule => ({ name, due: every(1_000), catchUp: "last" });
    expect(() => topicWith({ name: "No Topic" })).toThrow("No Topic");
    expect(() => topicWith({ schedules: [named("A")] })).toThrow('schedules of notes: "A"');
    expect(() => topicWith({ schedules: [named("a"), named("a")] })).toThrow('"a" occurs twice');
  });
});
