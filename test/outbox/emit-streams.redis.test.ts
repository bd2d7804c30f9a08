/** Emits in the records for views, then in a stream of their own: sinks and followers at the change, and trimming. */
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { acceleratedClock, sleep, systemClock } from "../../engine/kernel/clock.js";
import { loadRateLimiterLibrary } from "../../engine/outbox/rate-limiter.js";
import { loadStreamLibrary, readTask } from "../../engine/stream/commit.js";
import { Follower } from "../../engine/stream/follower.js";
import type { Emit } from "../../engine/stream/job.js";
import { field, readLog } from "../../engine/stream/log.js";
import { decodeEmits, decodeOut } from "../../engine/stream/out-record.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { Runner, type RunnerOptions } from "../../engine/stream/runner.js";
import { registerSink } from "../../engine/stream/sinks.js";
import { withRedis } from "../redis/with-redis.js";
import { type ToyEvent, toyJob } from "../stream/toy.js";
import { append, runnerOptions, seen, toyKeys, until } from "../stream/toy-log.js";
import { notingReceiver, outboxOptions, SINK, startOutbox } from "./outbox-bed.js";

const redis = withRedis();
const T0 = 1_700_000_000_000;
let client: RedisClient;
let written = 0;
const stops: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  client = redis.connect();
  await loadStreamLibrary(client);
  await loadRateLimiterLibrary(client);
});
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
  written = 0;
});

/** Commits entries one by one, with an emit each, by a runner of its own. */
async function commits(prefix: string, count: number, more: Partial<RunnerOptions<ToyEvent>>): Promise<void> {
  const runner = new Runner(0, runnerOptions(client, redis.url, prefix, { tickMs: 20, ...more }));
  runner.start();
  for (let i = 0; i < count; i++) {
    const entry = { clockMs: T0 + written, events: [{ key: `k${written++}`, word: "emit" as const }] };
    await seen(client, toyKeys(prefix), await append(client, toyKeys(prefix), [entry]));
  }
  await runner.stop();
}

const keysOf = (emits: readonly { key: string }[]) => emits.map(({ key }) => key);
const numbered = (count: number) => Array.from({ length: count }, (_, i) => `k${i}`);

describe("emits", () => {
  it("are delivered once each across the change of the format, and the change is not undone by an older read", async () => {
    const prefix = "switch";
    const receiver = notingReceiver();
    const keys = toyKeys(prefix);
    await registerSink(client, keys, SINK, systemClock.now());
    await commits(prefix, 10, { format: () => 2 });
    // As the previous release has it.
    expect((await readTask(client, keys)).emits).toBeUndefined();
    expect(await client.hkeys(keys.task)).not.toContain("emitBytes");
    expect(await client.exists(keys.emits)).toBe(0);
    const [old] = await readLog(client, keys.out, 0, 1);
    expect(old?.fields.filter((_, i) => i % 2 === 0).map(String)).toEqual(["m", "r", "e"]);
    expect(Object.keys(decodeOut(field(old as never, "r") as Buffer))).toContain("emits");
    const first = startOutbox(outboxOptions(client, redis.url, prefix, receiver));
    await until(() => receiver.sent.length === 10, "the old ones");
    // The sink is away while the form changes, and comes back in the middle of the new one.
    await first.stop();
    await commits(prefix, 5, { format: () => 2 });
    await commits(prefix, 10, { format: () => 3 });
    const { emits } = await readTask(client, keys);
    const second = startOutbox(outboxOptions(client, redis.url, prefix, receiver));
    stops.push(() => second.stop());
    await until(() => receiver.sent.length === 25, "both forms");
    await commits(prefix, 10, { format: () => 2 });
    await until(() => receiver.sent.length === 35, "the new form of an owner that has read the old format");
    expect(keysOf(receiver.sent)).toEqual(numbered(35));
    expect(new Set(receiver.sent.map(({ id }) => id)).size).toBe(35);
    expect((await readTask(client, keys)).emits?.from).toBe(emits?.from);
    const records = (await readLog(client, keys.emits, 0, 100)).map((entry) => ({
      commit: entry.offset,
      names: entry.fields.filter((_, i) => i % 2 === 0).map(String),
      bytes: Number(field(entry, "b")),
      ...decodeEmits(field(entry, "r") as Buffer),
    }));
    expect(keysOf(records.flatMap((record) => record.emits))).toEqual(numbered(35).slice(15));
    expect(records[0]?.previous).toBeGreaterThan(0);
    for (const [i, { previous, names, commit, bytes }] of records.entries()) {
      expect(names).toEqual(["m", "r", "e", "b"]);
      if (i > 0) expect(previous).toBe(records[i - 1]?.commit);
      expect(bytes).toBeGreaterThan(records[i - 1]?.bytes ?? 0);
      expect(commit).toBeGreaterThanOrEqual(emits?.from ?? Number.NaN);
    }
  });

  it("reach followers only if their kind is for views", async () => {
    const prefix = "viewed";
    const emits: Emit[] = [];
    const views: string[] = [];
    const view = {
      job: "toy.1",
      onEmit: (emit: Emit) => emits.push(emit),
      onView: (key: string) => views.push(key),
    };
    const jobs = [{ ...toyJob(), viewedEmits: ["fired"] }];
    const follower = new Follower<ToyEvent>({
      topic: "toys",
      partitions: 1,
      jobs,
      views: [view],
      prefix,
      redis: client,
      clock: systemClock,
      pollMs: 5,
      onTrouble: (message) => expect.unreachable(message),
    });
    await follower.start();
    stops.push(() => follower.stop());
    await append(client, toyKeys(prefix), [{ clockMs: T0, events: [{ key: "timer", word: "arm", inMs: 1 }] }]);
    written = 10;
    await commits(prefix, 3, { jobs });
    await until(() => views.includes("k12"), "the last view");
    expect(emits.map(({ kind }) => kind)).toEqual(["fired"]);
  });
});

describe("trimming", () => {
  it("removes views that are old although a sink has not delivered the emits, old records excepted", async () => {
    const prefix = "views";
    const keys = toyKeys(prefix);
    await registerSink(client, keys, SINK, systemClock.now());
    // Half a minute, and with it a trimming, passes in 15 ms.
    const clock = { ...acceleratedClock(systemClock.now(), 2_000), sleep };
    await commits(prefix, 5, { clock, format: () => 2, retentionMs: 1 });
    const old = (await readLog(client, keys.out, 0, 100)).length;
    expect(old).toBeGreaterThanOrEqual(5);
    const runner = new Runner(0, runnerOptions(client, redis.url, prefix, { clock, tickMs: 20, retentionMs: 1 }));
    stops.push(() => runner.stop());
    runner.start();
    for (let i = 0; i < 20; i++) {
      const entry = { clockMs: T0 + 100 + i, events: [{ key: `new${i}`, word: "emit" as const }] };
      await seen(client, keys, await append(client, keys, [entry]));
    }
    await until(async () => (await client.xlen(keys.out)) <= old + 1, "the trimming of views");
    expect(await client.xlen(keys.emits)).toBe(20);
    const receiver = notingReceiver();
    const outbox = startOutbox(outboxOptions(client, redis.url, prefix, receiver));
    stops.push(() => outbox.stop());
    await until(() => receiver.sent.length === 25, "the deliveries");
    await append(client, keys, [{ clockMs: T0 + 200, events: [{ key: "last", word: "emit" }] }]);
    await until(async () => (await client.xlen(keys.out)) <= 1 && (await client.xlen(keys.emits)) <= 1, "the rest");
  });
});
