/**
 * The outbox against a real Redis, with a real runner before it and a receiver behind it whose answers a test sets:
 * everything committed is delivered, in order for each key, whatever the receiver answers and whichever process ends.
 * What cannot be delivered becomes a dead letter and delays nothing else.
 */
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { sleep, stopwatch } from "../../engine/kernel/clock.js";
import { seededRandom } from "../../engine/kernel/random.js";
import type { Outbox } from "../../engine/outbox/outbox.js";
import { loadRateLimiterLibrary } from "../../engine/outbox/rate-limiter.js";
import { acquireTask, loadStreamLibrary, readTask } from "../../engine/stream/commit.js";
import { listDeadLetters, readDeadLetters, requestReplay } from "../../engine/stream/dead-letter.js";
import { emitOf } from "../../engine/stream/emit-dead-letter.js";
import { lastEmitEntry } from "../../engine/stream/emits.js";
import { sinkKeys } from "../../engine/stream/keys.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { Runner } from "../../engine/stream/runner.js";
import { ENTRY_CURSOR } from "../../engine/stream/sinks.js";
import { onCluster, withRedis } from "../redis/with-redis.js";
import { append, runnerOptions, seen, toyKeys, until } from "../stream/toy-log.js";
import { httpReceiver, notingReceiver, outboxOptions, ReceivingServer, SINK, startOutbox } from "./outbox-bed.js";

const redis = withRedis();
const T0 = 1_700_000_000_000;
let client: RedisClient;
let prefix = "";
let round = 0;
const stops: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  client = redis.connect();
  await loadStreamLibrary(client);
  await loadRateLimiterLibrary(client);
});
beforeEach(() => {
  prefix = `o${round++}`;
});
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

const keys = () => toyKeys(prefix);
const sink = () => sinkKeys(prefix, "toys", 0, SINK);

function startRunner(): void {
  const runner = new Runner(0, runnerOptions(client, redis.url, prefix, { tickMs: 20 }));
  stops.push(() => runner.stop());
  runner.start();
}

/** Has emits committed, one for each key given, in entries of ten. */
async function emit(orders: readonly string[]): Promise<void> {
  const entries = [];
  for (let i = 0; i < orders.length; i += 10) {
    const events = orders.slice(i, i + 10).map((key) => ({ key, word: "emit" as const }));
    entries.push({ clockMs: T0 + i, events });
  }
  const offset = await append(client, keys(), entries);
  await seen(client, keys(), offset);
}

const numbered = (count: number, keysInAll = count): string[] =>
  Array.from({ length: count }, (_, i) => `k${i % keysInAll}`);

function start(
  ...args: Parameters<typeof outboxOptions> extends [unknown, unknown, unknown, ...infer Rest] ? Rest : never
) {
  const options = outboxOptions(client, redis.url, prefix, ...args);
  const outbox = startOutbox(options);
  stops.push(() => outbox.stop());
  return { outbox, troubles: options.troubles };
}

const delivered = (outbox: Outbox): number => outbox.stats().partitions.reduce((sum, each) => sum + each.delivered, 0);
const cursor = async (): Promise<number> => (await readTask(client, sink())).cursors.get(ENTRY_CURSOR) ?? 0;
const lastEntry = async (): Promise<number> => lastEmitEntry(await readTask(client, keys()));
/** Waits until everything is delivered and written down. */
const settled = () => until(async () => (await cursor()) === (await lastEntry()), "the cursor at the end");

describe("an outbox", () => {
  it("delivers what was committed before and after its start, each once, in order for each key", async () => {
    startRunner();
    await emit(numbered(300, 20));
    const receiver = notingReceiver(async () => {
      await sleep(1);
      return { outcome: "done" };
    });
    const { outbox, troubles } = start(receiver);
    await emit(numbered(300, 20));
    await settled();
    expect(new Set(receiver.sent.map(({ id }) => id)).size).toBe(600);
    expect(receiver.sent).toHaveLength(600);
    for (let k = 0; k < 20; k++) {
      const units = receiver.sent
        .filter(({ key }) => key === `k${k}`)
        .map(({ payload }) => (payload as { units: number }).units);
      expect(units).toEqual(Array.from({ length: 30 }, (_, i) => i + 1));
    }
    expect(outbox.stats()).toMatchObject({
      circuit: "closed",
      partitions: [{ owned: true, delivered: 600, waiting: 0 }],
    });
    expect(troubles).toEqual([]);
  });

  it("keeps the order of a key when deliveries fail, and delivers others meanwhile", async () => {
    startRunner();
    const receiver = notingReceiver(async ({ key, payload }, tries) => {
      await sleep(1);
      const isBad = key === "k1" && (payload as { units: number }).units % 3 === 0 && tries < 3;
      return isBad ? { outcome: "retry", reason: "not now" } : { outcome: "done" };
    });
    const { outbox } = start(receiver);
    await emit(numbered(60, 6));
    await settled();
    const units = receiver.sent
      .filter(({ key }) => key === "k1")
      .map(({ payload }) => (payload as { units: number }).units);
    expect(units).toEqual([1, 2, 3, 3, 3, 4, 5, 6, 6, 6, 7, 8, 9, 9, 9, 10]);
    expect(outbox.stats().partitions[0]).toMatchObject({ delivered: 60, retries: 6, deadLetters: 0 });
    const others = receiver.sent.findLastIndex(({ key }) => key !== "k1");
    expect(receiver.sent.slice(others).length).toBeGreaterThan(5);
  });

  // A Cluster's client that was ended by its owner answers nothing any more, so the one that "died" could not be
  // stopped.
  it.skipIf(onCluster)(
    "sends again, with the same id, what was answered but not written down when its process died",
    async () => {
      startRunner();
      let isStuck = false;
      let free: (reason: Error) => void = () => {};
      const stuck = new Promise<void>((_, reject) => {
        free = reject;
      });
      stuck.catch(() => {});
      const first = notingReceiver();
      const own = redis.connect();
      const { outbox } = start({ ...first, delivered: async () => (isStuck ? stuck : undefined) }, { redis: own });
      await emit(numbered(50));
      await settled();
      isStuck = true;
      await emit(numbered(50).map((key) => `x${key}`));
      await until(() => delivered(outbox) === 100, "the deliveries");
      // As if its process were gone: it never writes again, and its lease ends.
      own.disconnect();
      free(new Error("gone"));
      const second = notingReceiver();
      start(second, { owner: "two" });
      await settled();
      expect(first.sent).toHaveLength(100);
      expect(second.sent.map(({ id }) => id).sort()).toEqual(
        first.sent
          .slice(50)
          .map(({ id }) => id)
          .sort(),
      );
    },
  );

  it("writes nothing when another process has taken its lease", async () => {
    startRunner();
    const held: (() => void)[] = [];
    const receiver = notingReceiver(() => new Promise((resolve) => held.push(() => resolve({ outcome: "done" }))));
    const { troubles } = start(receiver, { leaseMs: 60_000 });
    await emit(["a"]);
    await until(() => held.length === 1, "the request");
    await client.hset(sink().task, "until", 0);
    await acquireTask(client, sink(), "two", 60_000);
    for (const answer of held) answer();
    await until(() => troubles.length > 0, "the refusal");
    expect(troubles[0]).toContain("STALE_EPOCH");
    expect(await cursor()).toBe(0);
  });
});

describe("a process that was paused for longer than its lease", () => {
  it("delivers what it had ready, although no other process has taken its partition", async () => {
    startRunner();
    const receiver = notingReceiver();
    const { outbox } = start(receiver, { leaseMs: 300, limitPerSecond: 200, inFlight: 4 });
    await emit(numbered(60));
    await until(() => delivered(outbox) > 5, "the first deliveries");
    const elapsed = stopwatch();
    while (elapsed() < 400);
    await settled();
    expect(new Set(receiver.sent.map(({ id }) => id)).size).toBe(60);
  });
});

describe("what the receiver refuses", () => {
  it("becomes a dead letter with its reason, holds up nothing, and is delivered when it is replayed", async () => {
    startRunner();
    let isBad = true;
    const receiver = notingReceiver(({ key }) =>
      key === "bad" && isBad ? { outcome: "refused", reason: "no such street" } : { outcome: "done" },
    );
    const { outbox, troubles } = start(receiver);
    await emit(["a", "bad", "b", "bad"]);
    await settled();
    const deadLetters = await listDeadLetters(client, sink(), "-", 10);
    expect(deadLetters).toMatchObject([
      { key: "bad", reason: "no such street", job: "toy.1", tries: 1, index: 1 },
      { key: "bad", reason: "no such street", job: "toy.1", tries: 1, index: 3 },
    ]);
    expect(troubles.join()).toContain("became a dead letter: no such street");
    expect(outbox.stats().partitions[0]).toMatchObject({ delivered: 2, deadLetters: 2 });

    await requestReplay(client, sink(), deadLetters.slice(0, 1));
    await until(async () => (await listDeadLetters(client, sink(), "-", 10))[1]?.tries === 2, "the second refusal");
    expect(await listDeadLetters(client, sink(), "-", 10)).toMatchObject([
      { index: 3 },
      { index: 1, was: deadLetters[0]?.id },
    ]);
    isBad = false;
    const kept = await readDeadLetters(
      client,
      sink(),
      (await listDeadLetters(client, sink(), "-", 10)).map(({ id }) => id),
    );
    await requestReplay(client, sink(), kept);
    await until(async () => (await client.xlen(sink().deadLetters)) === 0, "the replay");
    expect(delivered(outbox)).toBe(4);
    expect(await client.exists(sink().deadEntries, sink().deadRequests)).toBe(0);
  });

  it("is kept without the other emits of its commit, and reported without the receiver's text", async () => {
    startRunner();
    const reason = "HTTP 422: no such street: Laneway 9";
    const { troubles } = start(
      notingReceiver(({ key }) =>
        key === "bad" ? { outcome: "refused", reason, brief: "HTTP 422" } : { outcome: "done" },
      ),
    );
    await emit(["neighbour-1", "bad", "neighbour-2", "bad"]);
    await settled();
    const deadLetters = await listDeadLetters(client, sink(), "-", 10);
    expect(deadLetters).toMatchObject([{ reason }, { reason }]);
    const kept = Object.values(await client.hgetallBuffer(sink().deadEntries)).map((bytes) => bytes.toString("latin1"));
    expect(kept.join()).toContain("bad");
    expect(kept.join()).not.toContain("neighbour");
    expect(troubles.join()).toContain("became a dead letter: HTTP 422");
    expect(troubles.join()).not.toContain("Laneway");
    const ids = deadLetters.map(({ id }) => id);
    expect((await readDeadLetters(client, sink(), ids)).map((deadLetter) => emitOf(deadLetter)?.key)).toEqual([
      "bad",
      "bad",
    ]);
  });

  it("includes what fails 12 times while others are accepted", async () => {
    startRunner();
    const receiver = notingReceiver(({ key }) =>
      key === "bad" ? { outcome: "retry", reason: "boom" } : { outcome: "done" },
    );
    const quick = { next: () => 0.001, below: () => 0, pick: <T>(items: readonly T[]) => items[0] as T };
    start(receiver, { random: quick });
    await emit(["bad"]);
    // Others are taken for as long as it lasts: a busy machine needs longer for the pauses between its tries.
    for (let i = 0; i < 500 && (await client.xlen(sink().deadLetters)) === 0; i++) {
      await emit(numbered(5).map((key) => `${key}-${i}`));
      await sleep(10);
    }
    const [deadLetter] = await listDeadLetters(client, sink(), "-", 10);
    expect(deadLetter).toMatchObject({
      key: "bad",
      reason: expect.stringMatching(/^not accepted after \d+ tries: boom$/),
    });
    await settled();
  });
});

describe("a receiver that fails with some deliveries only", () => {
  const quick = { next: () => 0.001, below: () => 0, pick: <T>(items: readonly T[]) => items[0] as T };

  it("is probed with one that has not failed yet: those that make it fail delay no other", async () => {
    startRunner();
    const receiver = notingReceiver(({ key }) =>
      key.startsWith("bad") ? { outcome: "retry", reason: "boom" } : { outcome: "done" },
    );
    const { outbox } = start(receiver, { random: quick });
    // Few enough that each has had its turn when the circuit opens.
    await emit(numbered(8).map((key) => `bad-${key}`));
    await until(() => outbox.stats().circuit === "open", "the circuit to open");
    await emit(["good"]);
    const before = receiver.sent.length;
    await until(() => receiver.sent.some(({ key }) => key === "good"), "the good one");
    const position = receiver.sent.findIndex(({ key }) => key === "good");
    expect(position - before).toBeLessThan(3);
  });

  it("causes no dead letters when it fails with most of them by chance", async () => {
    startRunner();
    const luck = seededRandom(618);
    let inARow = 0;
    // Never so many in a row that it would be taken for dead.
    const receiver = notingReceiver(async () => {
      await sleep(1);
      inARow = inARow < 8 && luck.below(10) < 7 ? inARow + 1 : 0;
      return inARow > 0 ? { outcome: "retry", reason: "boom" } : { outcome: "done" };
    });
    const { outbox } = start(receiver, { random: quick });
    await emit(numbered(1_000));
    await settled();
    expect(outbox.stats().partitions[0]).toMatchObject({ delivered: 1_000, deadLetters: 0 });
    expect(receiver.sent.length).toBeGreaterThan(3_000);
  });
});

describe("a receiver behind HTTP", () => {
  let server: ReceivingServer;
  const open = async () => {
    server = new ReceivingServer();
    const url = await server.open();
    stops.push(() => server.close());
    const receiver = httpReceiver(url);
    stops.push(() => receiver.client.close());
    return receiver;
  };

  it("may be unavailable for a while: nothing is lost, no attempt counts for a delivery, and few requests are sent", async () => {
    startRunner();
    const receiver = await open();
    server.answer = () => ({ status: 500 });
    const { outbox, troubles } = start(receiver);
    await emit(numbered(1_000));
    await until(() => outbox.stats().circuit !== "closed", "the circuit to open");
    await sleep(600);
    expect(server.arrivals.length).toBeLessThan(200);
    server.answer = () => ({ status: 200 });
    await settled();
    expect(server.taken.size).toBe(1_000);
    expect(await client.xlen(sink().deadLetters)).toBe(0);
    expect(troubles.map((each) => each.replace(/\(.*\)/, ""))).toEqual([
      "wms takes no deliveries : they wait until it does",
      "wms takes deliveries again",
    ]);
  });

  it("gets no request for as long as it asks, and fewer after that", async () => {
    startRunner();
    const receiver = await open();
    let askedMs = 0;
    server.answer = () => {
      if (askedMs > 0) return { status: 200 };
      askedMs = performance.now();
      return { status: 429, headers: { "retry-after": "1" } };
    };
    const { outbox } = start(receiver, { limitPerSecond: 1_000 });
    await emit(numbered(200));
    await settled();
    // What was under way when it asked still comes.
    const meanwhile = server.arrivals.filter(({ atMs }) => atMs > askedMs && atMs < askedMs + 950);
    expect(meanwhile.length).toBeLessThan(64);
    expect(outbox.stats().ratePerSecond).toBeLessThan(900);
    expect(outbox.stats().partitions[0]).toMatchObject({ delivered: 200, throttled: 1, deadLetters: 0 });
  });
});

describe("two workers", () => {
  it("share the partitions, and keep together below the limit in every second", async () => {
    const LIMIT = 400;
    const server = new ReceivingServer();
    stops.push(() => server.close());
    const url = await server.open();
    server.answer = () => ({ status: 200, inMs: 2 });
    startRunner();
    await emit(numbered(700));
    const make = (owner: string) => {
      const receiver = httpReceiver(url);
      stops.push(() => receiver.client.close());
      return start(receiver, { owner, limitPerSecond: LIMIT, inFlight: 16, partitions: 2 });
    };
    const [one, two] = [make("one"), make("two")];
    await settled();
    expect(server.taken.size).toBe(700);
    expect(server.busiestSecond()).toBeLessThanOrEqual(LIMIT);
    const owned = [one, two].map(({ outbox }) => outbox.stats().partitions.filter((each) => each.owned).length);
    expect(owned).toEqual([1, 1]);
  });
});
