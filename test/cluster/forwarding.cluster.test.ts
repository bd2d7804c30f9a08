/**
 * Forwarding from a topic on one primary of a Cluster to a topic on another, while the source's primary dies and a
 * replica without its newest writes takes over. Every emit that the source has in the end is an event of the target, in
 * order. Beside them the target has only events of commits that were lost; with a replication barrier it has none. The
 * figures of every test are printed.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { sleep, systemClock } from "../../engine/kernel/clock.js";
import { zoneOf } from "../../engine/kernel/zone.js";
import { loadStreamLibrary, readTask } from "../../engine/stream/commit.js";
import { type TopicEvent, topicEventsOf } from "../../engine/stream/event-entry.js";
import { eventTopic, loadEventsLibrary } from "../../engine/stream/event-topic.js";
import { Forwarders } from "../../engine/stream/forwarders.js";
import type { Job } from "../../engine/stream/job.js";
import { eventKeys, partitionKeys, sinkKeys } from "../../engine/stream/keys.js";
import { assertContiguous, field, readLog } from "../../engine/stream/log.js";
import { decodeEmits } from "../../engine/stream/out-record.js";
import { connect, openReader, type RedisClient } from "../../engine/stream/redis.js";
import { ReplicationBarrier } from "../../engine/stream/replication-barrier.js";
import type { Route } from "../../engine/stream/route.js";
import { ENTRY_CURSOR, forwarderSink } from "../../engine/stream/sinks.js";
import { Worker } from "../../engine/stream/worker.js";
import { ClusterBed } from "../redis/cluster.js";
import { type Server, until } from "../redis/server.js";
import { figure } from "./load.js";

const ALL = 1_000_000;
const APPEND_EVERY_MS = 5;
const LEASE_MS = 2_000;
const WARM_UP_MS = 1_500;
const CUT_OFF_MS = 700;
const AFTER_MS = 1_500;

let bed: ClusterBed;
let client: RedisClient;
const running: { stop(): Promise<void> }[] = [];
const barriers: ReplicationBarrier[] = [];

beforeAll(async () => {
  bed = await ClusterBed.start();
  client = connect({ url: bed.url });
  await Promise.all([loadStreamLibrary(client), loadEventsLibrary(client)]);
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((part) => part.stop()));
  for (const barrier of barriers.splice(0)) barrier.close();
});
afterAll(async () => {
  client?.disconnect();
  await bed?.stop();
});

/** Emits each event, with a count that a failover sets back. */
const speaker: Job<TopicEvent, { said: number }> = {
  name: "speaker.1",
  key: ({ key }) => key,
  initial: () => ({ said: 0 }),
  onEvent(state, { id }, context) {
    context.emit("said", [id, ++state.said]);
  },
};

/** A topic of one partition on another primary than the source's. */
async function targetOf(prefix: string, source: string): Promise<string> {
  const primary = await bed.primaryOf(eventKeys(prefix, source, 0).log);
  for (let i = 0; ; i++) {
    const name = `heard-${i}`;
    if ((await bed.primaryOf(eventKeys(prefix, name, 0).log)) !== primary) return name;
  }
}

const shown = (id: string, { key, payload }: { key: string; payload: unknown }): string =>
  JSON.stringify([id, key, payload]);

interface Result {
  /** Commits of the source that were lost. */
  lost: number;
  /** Events of the target that are no emits of the source any more, or are there twice. */
  extra: string[];
  forwarded: number;
}

async function forwardOver(prefix: string, replicas: number): Promise<Result> {
  const source = "said";
  const name = await targetOf(prefix, source);
  const route: Route = {
    from: source,
    kinds: ["said"],
    event: ({ key, payload }) => ({ key, kind: "heard", payload }),
  };
  const common = { partitions: 1, redis: client, prefix, zone: zoneOf("UTC") };
  const from = eventTopic({ ...common, name: source });
  const to = eventTopic({ ...common, name, routes: [route] });
  const shared = {
    prefix,
    redis: client,
    openReader: (key: string) => openReader(client, { url: bed.url }, key),
    clock: systemClock,
    leaseMs: LEASE_MS,
    onTrouble: () => {},
  };
  const barrier = new ReplicationBarrier({ open: () => connect({ url: bed.url }), replicas });
  barriers.push(barrier);
  const jobs = { jobs: [speaker], tickMs: 500, retentionMs: 0, withViews: false };
  const parts = [
    new Worker<TopicEvent>({ ...shared, ...jobs, topic: from, owner: "worker" }),
    ...["one", "two"].map(
      (owner) =>
        new Forwarders({ ...shared, target: to, partitions: 1, owner, ...(replicas > 0 && { replicas: barrier }) }),
    ),
  ];
  running.push(...parts);
  for (const part of parts) part.start();

  const keys = { source: partitionKeys(prefix, source, 0), target: eventKeys(prefix, name, 0) };
  const sink = sinkKeys(prefix, source, 0, forwarderSink(name));
  const feed = feedOf((n) => from.append([{ id: `n${n}`, key: `k${n % 3}`, kind: "noted", payload: null }]));
  await sleep(WARM_UP_MS);
  const master = await bed.primaryOf(keys.source.log);
  const [replica] = (await bed.replicasOf(master)) as [Server];
  await replica.client.config("SET", "masterauth", "none of this name");
  await replica.client.call("CLIENT", "KILL", "TYPE", "master");
  await sleep(CUT_OFF_MS);
  const before = (await readTask(client, keys.source)).commit;
  const forwardedBefore = Number(await client.hget(keys.target.head, "events"));
  await replica.client.call("READONLY");
  const kept = Number(await replica.client.hget(keys.source.task, "commit"));
  await master.kill();
  await until(async () => (await bed.primaryOf(keys.source.log)) === replica, "the replica to take over");
  await master.restart();
  await replica.client.config("SET", "masterauth", "");
  await sleep(AFTER_MS);
  await feed.stop();
  await until(async () => {
    const task = await readTask(client, keys.source);
    const offset = Number(await client.hget(keys.source.head, "offset"));
    const forwarded = (await readTask(client, sink)).cursors.get(ENTRY_CURSOR) ?? 0;
    return task.cursors.get(speaker.name) === offset && forwarded === task.commit;
  }, "everything to be forwarded");

  const wanted = (await readLog(client, keys.source.emits, 0, ALL)).flatMap((entry) =>
    decodeEmits(field(entry, "r") as Buffer).emits.map((emit, i) => shown(`${source}/00/${entry.offset}.${i}`, emit)),
  );
  const log = await readLog(client, keys.target.log, 0, ALL);
  assertContiguous(log, 0, keys.target.log);
  const found = log.flatMap((entry) => topicEventsOf(entry).events).map((event) => shown(event.id, event));
  const known = new Set(wanted);
  const last = new Map(found.map((text, at) => [text, at]));
  expect([...last].sort(([, a], [, b]) => a - b).flatMap(([text]) => (known.has(text) ? [text] : []))).toEqual(wanted);
  const extra = found.filter((text, at) => !known.has(text) || last.get(text) !== at);
  for (const text of extra) expect(Number(/\/(\d+)\./.exec(text)?.[1])).toBeGreaterThan(kept);
  expect(forwardedBefore).toBeGreaterThan(0);
  expect(wanted.length).toBeGreaterThan(0);
  return { lost: before - kept, extra, forwarded: found.length };
}

/** Appends one event after the other; one without an answer may be there or not. */
function feedOf(append: (n: number) => Promise<void>): { stop(): Promise<void> } {
  let isStopped = false;
  const done = (async () => {
    for (let n = 0; !isStopped; n++) {
      await append(n).catch(() => {});
      await sleep(APPEND_EVERY_MS);
    }
  })();
  return {
    stop: () => {
      isStopped = true;
      return done;
    },
  };
}

const summary = ({ lost, extra, forwarded }: Result): string =>
  `${figure(forwarded)} events forwarded, ${figure(lost)} commits of the source lost, ${figure(extra.length)} events of lost commits`;

describe("when the source's primary dies and its replica was behind", () => {
  it("no emit is skipped, and only lost commits leave further events behind", async () => {
    const result = await forwardOver("plain", 0);
    console.log(`forwarding over a failover: ${summary(result)}`);
    expect(result.lost).toBeGreaterThan(0);
    expect(result.extra.length).toBeGreaterThan(0);
  });

  it("each emit is one event with a replication barrier", async () => {
    const result = await forwardOver("gated", 1);
    console.log(`forwarding over a failover, with a barrier of 1 replica: ${summary(result)}`);
    expect(result.lost).toBeGreaterThan(0);
    expect(result.extra).toEqual([]);
  });
});
