/**
 * Forwarding from topic to topic in a real Redis: each routed emit becomes one event, in order, across processes that
 * stop and take over; an emit that cannot be mapped becomes a dead letter and is replayed once; chains pass on; calls
 * under an older fence are refused, and repeated ones do nothing. Losses are in `test/sim/forwarding.redis.test.ts`.
 */
import { Packr } from "msgpackr";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../engine/kernel/clock.js";
import { zoneOf } from "../../engine/kernel/zone.js";
import { loadStreamLibrary, readTask } from "../../engine/stream/commit.js";
import { listDeadLetters, requestReplay } from "../../engine/stream/dead-letter.js";
import { type NewEvent, type TopicEvent, topicEventsOf } from "../../engine/stream/event-entry.js";
import { EventProducer } from "../../engine/stream/event-producer.js";
import { type EventTopic, eventTopic, loadEventsLibrary } from "../../engine/stream/event-topic.js";
import { Forwarders } from "../../engine/stream/forwarders.js";
import type { Job } from "../../engine/stream/job.js";
import { eventKeys, partitionKeys, sinkKeys } from "../../engine/stream/keys.js";
import { readLog } from "../../engine/stream/log.js";
import { partitionOf } from "../../engine/stream/partition.js";
import { connect, type RedisClient } from "../../engine/stream/redis.js";
import type { Route } from "../../engine/stream/route.js";
import { ENTRY_CURSOR, forwarderSink } from "../../engine/stream/sinks.js";
import { Worker } from "../../engine/stream/worker.js";
import { withRedis } from "../redis/with-redis.js";
import { deadLettersOf, until } from "./toy-log.js";

const redis = withRedis();
let client: RedisClient;
const PARTITIONS = 2;
const running: { stop(): Promise<void> }[] = [];
let troubles: string[] = [];
/** Whether the route can map emits with `bad`. */
let isMended = false;

beforeAll(async () => {
  client = redis.connect();
  await Promise.all([loadStreamLibrary(client), loadEventsLibrary(client)]);
});
beforeEach(async () => {
  await redis.flush();
  troubles = [];
  isMended = false;
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((part) => part.stop()));
});

interface Said {
  n: number;
  bad?: boolean;
  times?: number;
}

/** Emits what each event says, and counts for each key. */
const speaker: Job<TopicEvent, { said: number }> = {
  name: "speaker.1",
  key: ({ key }) => key,
  initial: () => ({ said: 0 }),
  onEvent(state, { kind, payload }, context) {
    const { times = 1, ...said } = payload as Said;
    for (let i = 0; i < times; i++) context.emit(kind, { ...said, said: ++state.said });
  },
};

const route = (from: string): Route => ({
  from,
  kinds: ["said"],
  event({ key, payload }) {
    const { n, bad, said } = payload as Said & { said: number };
    if (bad && !isMended) throw new Error(`no word for ${n}`);
    return n < 0 ? undefined : { key: `of-${key}`, kind: "said", payload: { n, said } };
  },
});

const topicOf = (name: string, ...routes: Route[]): EventTopic =>
  eventTopic({ name, partitions: PARTITIONS, redis: client, prefix: "t", zone: zoneOf("UTC"), routes });

const SHARED = {
  prefix: "t",
  openReader: () => connect({ url: redis.url }, true),
  clock: systemClock,
  leaseMs: 1_000,
  onTrouble: (message: string) => troubles.push(message),
};

function start<Part extends { start(): void; stop(): Promise<void> }>(part: Part): Part {
  running.push(part);
  part.start();
  return part;
}
const startWorker = (topic: EventTopic) =>
  start(
    new Worker<TopicEvent>({
      ...SHARED,
      topic,
      jobs: [speaker],
      redis: client,
      owner: "worker",
      tickMs: 100,
      retentionMs: 0,
      withViews: false,
    }),
  );
const startForwarders = (target: EventTopic, owner: string) =>
  start(new Forwarders({ ...SHARED, target, partitions: PARTITIONS, redis: client, owner }));

const say = (n: number, more: Partial<Said> = {}): NewEvent => ({
  id: `s${n}`,
  key: `k${Math.abs(n) % 5}`,
  kind: "said",
  payload: { n, ...more },
});
/** All events of a topic, by partition. */
async function eventsOf(topic: string): Promise<TopicEvent[]> {
  const all: TopicEvent[] = [];
  for (let partition = 0; partition < PARTITIONS; partition++)
    for (const entry of await readLog(client, eventKeys("t", topic, partition).log, 0, 100_000)) {
      const { events } = topicEventsOf(entry);
      for (const { key } of events) expect(partitionOf(key, PARTITIONS)).toBe(partition);
      all.push(...events);
    }
  return all;
}
/** What arrived, by key in order. */
const arrived = async (topic: string): Promise<Record<string, number[]>> => {
  const byKey: Record<string, number[]> = {};
  for (const { key, payload } of await eventsOf(topic)) {
    byKey[key] ??= [];
    byKey[key].push((payload as Said).n);
  }
  return byKey;
};
const numbers = async (topic: string): Promise<number[]> =>
  Object.values(await arrived(topic))
    .flat()
    .sort((a, b) => a - b);
const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

describe("forwarding", () => {
  it("makes each routed emit one event, in order for each key, keyed anew, with an id of its origin", async () => {
    const [source, target] = [topicOf("src"), topicOf("dst", route("src"))];
    startWorker(source);
    const forwarders = startForwarders(target, "one");
    for (const from of [0, 10, 20]) await source.append(range(from, from + 10).map((n) => say(n)));
    await source.append([say(-1), { ...say(30), kind: "other" }, say(31, { times: 3 })]);
    await until(async () => (await numbers("dst")).length === 33, "the events");
    for (const [key, ns] of Object.entries(await arrived("dst"))) {
      const own = range(0, 30).filter((n) => key === `of-k${n % 5}`);
      expect(ns).toEqual(key === "of-k1" ? [...own, 31, 31, 31] : own);
    }
    const events = await eventsOf("dst");
    expect(new Set(events.map(({ id }) => id)).size).toBe(events.length);
    for (const { id, kind, atMs, clockMs } of events) {
      expect(id).toMatch(/^src\/0[01]\/\d+\.\d+$/);
      expect(kind).toBe("said");
      expect(atMs).toBeLessThanOrEqual(clockMs);
    }
    await until(() => forwarders.stats().every(({ lagEntries }) => lagEntries === 0), "the figures");
    expect(
      forwarders.stats().map(({ source, target, partition, owned }) => [source, target, partition, owned]),
    ).toEqual([
      ["src", "dst", 0, true],
      ["src", "dst", 1, true],
    ]);
    expect(forwarders.stats().reduce((sum, { forwarded }) => sum + forwarded, 0)).toBe(33);
    expect(troubles).toEqual([]);
  });

  it("goes on where it was, when processes stop and others take over", async () => {
    const [source, target] = [topicOf("src"), topicOf("dst", route("src"))];
    startWorker(source);
    const [one, two] = [startForwarders(target, "one"), startForwarders(target, "two")];
    const owned = (forwarders: Forwarders) => forwarders.stats().filter((each) => each.owned).length;
    await until(() => owned(one) === 1 && owned(two) === 1, "one partition each");
    await source.append(range(0, 50).map((n) => say(n)));
    await one.stop();
    await source.append(range(50, 100).map((n) => say(n)));
    await until(async () => (await numbers("dst")).length >= 100, "all events");
    await two.stop();
    await source.append(range(100, 120).map((n) => say(n)));
    startForwarders(target, "three");
    await until(async () => (await numbers("dst")).length >= 120, "the rest");
    expect(await numbers("dst")).toEqual(range(0, 120));
    for (const ns of Object.values(await arrived("dst"))) expect(ns).toEqual([...ns].sort((a, b) => a - b));
    expect(troubles).toEqual([]);
  });

  it("passes events on through a chain of topics", async () => {
    const [source, middle, last] = [topicOf("src"), topicOf("mid", route("src")), topicOf("last", route("mid"))];
    startWorker(source);
    startWorker(middle);
    startForwarders(middle, "one");
    startForwarders(last, "one");
    await source.append(range(0, 40).map((n) => say(n)));
    await until(async () => (await numbers("last")).length === 40, "the last topic");
    expect(Object.keys(await arrived("last")).sort()).toEqual(range(0, 5).map((k) => `of-of-k${k}`));
  });

  it("keeps emits from being deleted until they are forwarded, and has its cursor in the sink's task", async () => {
    const [source, target] = [topicOf("src"), topicOf("dst", route("src"))];
    startWorker(source);
    const forwarders = startForwarders(target, "one");
    await source.append(range(0, 20).map((n) => say(n)));
    await until(async () => (await numbers("dst")).length === 20, "the events");
    await forwarders.stop();
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const keys = partitionKeys("t", "src", partition);
      expect(await client.hkeys(keys.sinks)).toEqual([forwarderSink("dst")]);
      const { cursors } = await readTask(client, sinkKeys("t", "src", partition, forwarderSink("dst")));
      const { emits } = await readTask(client, keys);
      expect(cursors.get(ENTRY_CURSOR)).toBe(emits?.last);
    }
  });
});

describe("an emit that its route cannot map", () => {
  it("becomes a dead letter, does not hold the others, and is forwarded once when it is replayed", async () => {
    const [source, target] = [topicOf("src"), topicOf("dst", route("src"))];
    startWorker(source);
    startForwarders(target, "one");
    await source.append([say(0), say(5, { bad: true }), say(10)]);
    await until(async () => (await numbers("dst")).length === 2, "the others");
    const partition = partitionOf("k0", PARTITIONS);
    const keys = sinkKeys("t", "src", partition, forwarderSink("dst"));
    await until(async () => (await deadLettersOf(client, keys)).length === 1, "the dead letter");
    const [first] = await deadLettersOf(client, keys);
    expect(first).toMatchObject({ job: "speaker.1", index: 1, key: "k0", reason: "no word for 5", tries: 1 });
    const replay = async () => {
      const [[id] = []] = (await client.xrange(keys.deadLetters, "-", "+")) as [string, string[]][];
      await requestReplay(client, keys, [{ id: id as string, offset: first?.offset as number }]);
    };
    await replay();
    await until(async () => (await deadLettersOf(client, keys))[0]?.tries === 2, "the second try");
    isMended = true;
    await replay();
    await until(async () => (await deadLettersOf(client, keys)).length === 0, "the replay");
    expect(await numbers("dst")).toEqual([0, 5, 10]);
    const replayed = (await eventsOf("dst")).find(({ payload }) => (payload as Said).n === 5);
    expect(replayed?.id).toBe(`src/0${partition}/${first?.offset}.1`);
    expect(troubles[0]).toContain("became a dead letter: entry");
  });
});

describe("requests for dead letters whose bytes are missing", () => {
  it("do not hold up the replay of others", async () => {
    const [source, target] = [topicOf("src"), topicOf("dst", route("src"))];
    startWorker(source);
    startForwarders(target, "one");
    await source.append([say(5, { bad: true })]);
    const keys = sinkKeys("t", "src", partitionOf("k0", PARTITIONS), forwarderSink("dst"));
    await until(async () => (await deadLettersOf(client, keys)).length === 1, "the dead letter");
    const [written] = await listDeadLetters(client, keys, "-", 1);
    const packed = new Packr({ useRecords: false }).pack({ offset: 0, reason: "refused", tries: 1 });
    for (let i = 0; i < 300; i++) await client.xadd(keys.deadLetters, "*", "d", packed);
    await requestReplay(client, keys, await listDeadLetters(client, keys, written?.id as string, 300));
    isMended = true;
    await requestReplay(client, keys, written ? [written] : []);
    await until(async () => (await numbers("dst")).length === 1, "the replay");
    expect(await client.zcard(keys.deadRequests)).toBe(300);
  });
});

describe("a partition of the target", () => {
  const SOURCE = "src/00";
  const keys = eventKeys("t", "dst", 0);
  const producerOf = (epoch: number, run: string): EventProducer =>
    new EventProducer({ redis: client, keys, source: SOURCE, task: { epoch, run }, clockArgument: () => "5" });
  const commit = (number: number, n = 1) => ({
    commit: number,
    digest: Buffer.alloc(8, number),
    events: Array.from({ length: n }, (_, i) =>
      Buffer.from([0x95, 0xa1, 0x61 + i, 0xa1, 0x6b, 0xa1, 0x6b, 0xc0, 0xc0]),
    ),
  });
  const RUN = `${"a".repeat(40)}:${"b".repeat(40)}:1`;
  const OTHER_RUN = `${"c".repeat(40)}:${"d".repeat(40)}:1`;
  const offsets = async (): Promise<number> => Number((await client.hget(keys.head, "events")) ?? 0);

  it("takes each commit once, and skips those that it has", async () => {
    const producer = producerOf(1, RUN);
    expect(await producer.open()).toEqual({ last: 0, marks: [], mayLack: true, overflowed: [] });
    await producer.begin(0);
    await producer.forward([commit(3), commit(5, 2)]);
    await producer.forward([commit(3), commit(5, 2), commit(8)]);
    expect(await offsets()).toBe(4);
    const next = producerOf(2, RUN);
    const { last, marks, mayLack } = await next.open();
    expect([last, marks.map((mark) => [mark.commit, mark.digest[0]]), mayLack]).toEqual([
      8,
      [
        [3, 3],
        [5, 5],
        [8, 8],
      ],
      false,
    ]);
  });

  it("keeps the marks of the newest commits only", async () => {
    const producer = producerOf(1, RUN);
    await producer.open();
    await producer.begin(0);
    await producer.forward(range(1, 301).map((number) => commit(number)));
    const { marks } = await producerOf(2, RUN).open();
    expect(marks.map((mark) => mark.commit)).toEqual(range(45, 301));
  });

  it("takes a commit of more events than an entry holds as a whole", async () => {
    const producer = producerOf(1, RUN);
    await producer.open();
    await producer.begin(0);
    await producer.forward([commit(1, 10), commit(2, 2_500), commit(3, 10)]);
    const entries = await readLog(client, keys.log, 0, 100);
    expect(entries.map((entry) => topicEventsOf(entry).events.length)).toEqual([10, 1_000, 1_000, 510]);
  });

  it("refuses an earlier owner, of the same run by its epoch, and a call that was sent before the last opening", async () => {
    const [old, next] = [producerOf(4, RUN), producerOf(5, RUN)];
    await old.open();
    await old.begin(0);
    await next.open();
    await expect(old.forward([commit(1)])).rejects.toMatchObject({ code: "stale_fence", retryable: true });
    await expect(old.open()).rejects.toMatchObject({ code: "stale_fence" });
    await expect(next.forward([commit(1)])).rejects.toMatchObject({ code: "stale_fence" });
    await next.begin(0);
    await next.forward([commit(1)]);
    await expect(next.begin(0)).rejects.toMatchObject({ code: "stale_fence" });
    const restarted = producerOf(1, OTHER_RUN);
    await restarted.open();
    await expect(next.forward([commit(2)])).rejects.toMatchObject({ code: "stale_fence" });
    expect(await offsets()).toBe(1);
  });

  it("goes back to a commit, and takes those after it again", async () => {
    const producer = producerOf(1, RUN);
    await producer.open();
    await producer.begin(0);
    await producer.forward([commit(1), commit(2), commit(3)]);
    const next = producerOf(2, RUN);
    await next.open();
    await next.begin(1);
    expect((await producerOf(3, RUN).open()).marks.map((mark) => mark.commit)).toEqual([1]);
    const last = producerOf(4, RUN);
    await last.open();
    await last.begin(1);
    await last.forward([commit(2)]);
    expect(await offsets()).toBe(4);
  });

  it("skips a replayed entry of which it has the events, and not one with other emits of the same number", async () => {
    const producer = producerOf(1, RUN);
    await producer.open();
    await producer.begin(0);
    await producer.forward([commit(1), commit(2)]);
    const next = producerOf(2, RUN);
    const { marks } = await next.open();
    await next.begin(2, marks);
    const last = producerOf(3, RUN);
    const { overflowed } = await last.open();
    expect(overflowed).toEqual(marks);
    await last.begin(2, overflowed);
    const { events } = commit(1);
    await last.replay([{ id: "1-0", entry: commit(1), events }]);
    expect(await offsets()).toBe(2);
    await last.replay([{ id: "2-0", entry: { commit: 1, digest: Buffer.alloc(8, 9) }, events }]);
    expect(await offsets()).toBe(3);
  });

  it("replays a dead letter once", async () => {
    const producer = producerOf(1, RUN);
    await producer.open();
    await producer.begin(0);
    const { events } = commit(1, 2);
    await producer.replay([{ id: "1-0", events }]);
    await producer.replay([
      { id: "1-0", events },
      { id: "2-0", events: events.slice(1) },
    ]);
    expect(await offsets()).toBe(3);
  });
});
