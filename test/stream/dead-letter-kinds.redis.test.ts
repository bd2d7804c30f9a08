/**
 * Bad records of every kind in the middle of a good load, with the real ledger, the real runner and the storefront
 * job: each leaves one dead letter with its bytes and its reason, and nothing else is lost or changed. What the job has
 * added up in the end equals the ledger's own balances.
 */
import { Packr } from "msgpackr";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type StorefrontState, storefrontJob } from "../../engine/jobs/storefront/job.js";
import { chainId } from "../../engine/kernel/chain-id.js";
import { systemClock } from "../../engine/kernel/clock.js";
import { seededRandom } from "../../engine/kernel/random.js";
import { ENTRY_COMMANDS_LIMIT, encodeBatch } from "../../engine/stock/batch.js";
import { Ledger } from "../../engine/stock/ledger.js";
import { ENTRY_BYTES_LIMIT } from "../../engine/stock/log-entry.js";
import type { StockCommand, StockEvent } from "../../engine/stock/model.js";
import { stockTopic } from "../../engine/stock/topic.js";
import { loadStreamLibrary } from "../../engine/stream/commit.js";
import { listDeadLetters, readDeadLetters, type StoredDeadLetter } from "../../engine/stream/dead-letter.js";
import type { Job } from "../../engine/stream/job.js";
import { stockKeys } from "../../engine/stream/keys.js";
import { connect, type RedisClient } from "../../engine/stream/redis.js";
import { Runner } from "../../engine/stream/runner.js";
import { stateOf } from "../../engine/stream/state-codec.js";
import { withRedis } from "../redis/with-redis.js";
import { seen } from "./toy-log.js";

const PREFIX = "kinds";
const redis = withRedis();
const packr = new Packr({ useRecords: false });
const keys = stockKeys(PREFIX, 0);
const random = seededRandom(20_260_618);
const SKUS = ["CUP", "JUG", "水杯", "BAD"];
let client: RedisClient;
let ledger: Ledger;
let runner: Runner<StockEvent> | undefined;

beforeAll(async () => {
  client = redis.connect();
  await Promise.all([Ledger.load(client), loadStreamLibrary(client)]);
});
beforeEach(async () => {
  await redis.flush();
  ledger = new Ledger({ redis: client, prefix: PREFIX, partitions: 1 });
});
afterAll(() => runner?.stop());

const id = (): string => chainId("S1", systemClock.now());
const receive = (sku: string, units: number): StockCommand => ({
  kind: "receive",
  id: id(),
  sku,
  location: "SH",
  units,
});
const load = (): StockCommand[] =>
  Array.from({ length: 20 }, () =>
    random.below(3) === 0
      ? receive(random.pick(SKUS), 1 + random.below(50))
      : { kind: "reserve", id: id(), sku: random.pick(SKUS), location: "SH", units: 1 + random.below(5) },
  );

/** Puts an entry into the log as only a fault could, with its offset. */
async function smuggle(fields: Record<string, Buffer | string>): Promise<number> {
  const offset = Number(await client.hincrby(keys.head, "offset", 1));
  await client.xadd(keys.log, `${offset}-0`, ...Object.entries(fields).flat());
  return offset;
}

/** What the job has added up, by SKU. */
async function storefront(): Promise<Record<string, unknown>> {
  const all = (await client.hgetallBuffer(keys.state(storefrontJob.name))) as Record<string, Buffer>;
  return Object.fromEntries(
    Object.entries(all).map(([sku, bytes]) => [sku, Object.fromEntries(stateOf(storefrontJob, sku, bytes).locations)]),
  );
}

async function balances(): Promise<Record<string, unknown>> {
  const all: Record<string, Record<string, unknown>> = {};
  for await (const { sku, location, balances: cell } of ledger.cells(0)) all[sku] = { ...all[sku], [location]: cell };
  return all;
}

function start(job: Job<StockEvent, StorefrontState>): string[] {
  const troubles: string[] = [];
  runner = new Runner<StockEvent>(0, {
    topic: stockTopic(ledger),
    jobs: [job],
    prefix: PREFIX,
    redis: client,
    openReader: () => connect({ url: redis.url }, true),
    owner: "one",
    clock: systemClock,
    leaseMs: 2_000,
    tickMs: 50,
    retentionMs: 0,
    withViews: true,
    onTrouble: (message) => troubles.push(message),
  });
  runner.start();
  return troubles;
}

const deadLetters = async (): Promise<StoredDeadLetter[]> => {
  const all = await listDeadLetters(client, keys, "-", 10_000);
  return readDeadLetters(
    client,
    keys,
    all.map((deadLetter) => deadLetter.id),
  );
};

const now = (): string => String(systemClock.now());
const good = (n = 2): Buffer =>
  encodeBatch(Array.from({ length: n }, () => ({ kind: "reserve", id: id(), sku: "CUP", location: "SH", units: 1 })))
    .bytes;
/** A good batch with one column changed. */
function changed(column: number, value: unknown): Record<string, Buffer | string> {
  const batch = packr.unpack(good()) as unknown[];
  batch[column] = value;
  return { t: now(), b: packr.pack(batch), o: Buffer.from([0, 0]) };
}

const KINDS: [what: string, reason: string, fields: () => Record<string, Buffer | string>][] = [
  ["no msgpack", "cannot be read", () => ({ t: now(), b: Buffer.from("c1c1", "hex"), o: Buffer.from([0, 0]) })],
  ["a batch cut off", "cannot be read", () => ({ t: now(), b: good().subarray(0, 40), o: Buffer.from([0, 0]) })],
  ["wrong types", "units", () => changed(4, ["1", "1"])],
  ["columns of different lengths", "cells", () => changed(3, [1])],
  ["more outcomes than commands", "outcomes", () => ({ t: now(), b: good(), o: Buffer.from([0, 0, 0]) })],
  ["a cell out of range", "cells", () => changed(3, [1, 99])],
  ["an unknown kind", "no kind of command 60", () => changed(1, "\u0004\u003c")],
  ["an unknown pool", "pool code", () => changed(6, "\u0001\u003c")],
  ["units that are no number", "units", () => changed(4, [Number.NaN, 1])],
  ["a time that is none", "field t", () => ({ t: "tomorrow", b: good(), o: Buffer.from([0, 0]) })],
  ["a time far ahead", "year 3084", () => ({ t: String(2 ** 50) })],
  ["an unknown version", "version 3", () => changed(0, 3)],
  ["fields of a later version", "field z", () => ({ t: now(), z: "1" })],
  ["too many commands", "1001 commands", () => ({ t: now(), b: good(ENTRY_COMMANDS_LIMIT + 1), o: Buffer.from([0]) })],
  [
    "an over-long entry",
    "bytes long",
    () => ({ t: now(), b: Buffer.alloc(ENTRY_BYTES_LIMIT + 1), o: Buffer.from([0]) }),
  ],
];

describe("in the middle of a good load", () => {
  it("every kind of bad record leaves its bytes and its reason, and the jobs process all the rest", async () => {
    const troubles = start(storefrontJob);
    const wanted = new Map<number, { what: string; reason: string; fields: Record<string, Buffer | string> }>();
    let events = 0;
    const sell = async (): Promise<void> => {
      for (const { outcome } of await ledger.applyMany(load())) if (outcome === "accepted") events++;
    };
    for (const [what, reason, fieldsOf] of KINDS) {
      await sell();
      const fields = fieldsOf();
      wanted.set(await smuggle(fields), { what, reason, fields });
      await sell();
    }
    await seen(client, keys, Number(await client.hget(keys.head, "offset")), [storefrontJob.name]);
    const found = await deadLetters();
    expect(found.map(({ offset }) => wanted.get(offset)?.what)).toEqual(KINDS.map(([what]) => what));
    for (const { offset, reason, fields, job, tries } of found) {
      const smuggled = wanted.get(offset);
      expect(reason, smuggled?.what).toContain(smuggled?.reason);
      expect(job).toBeUndefined();
      expect(tries).toBe(1);
      const raw = Object.entries(smuggled?.fields ?? {}).flat();
      expect(fields.length).toBe(raw.length);
      expect(fields.every((bytes, i) => bytes.equals(Buffer.from(raw[i] as Buffer)))).toBe(true);
    }
    expect(await storefront()).toEqual(await balances());
    expect(runner?.stats).toMatchObject({ owned: true, events, deadLetters: KINDS.length });
    expect(troubles.filter((trouble) => trouble.includes("starting over"))).toEqual([]);
    await runner?.stop();
  });

  it("a job that throws on one SKU loses the events of that SKU only", async () => {
    const troubles = start({
      ...storefrontJob,
      onEvent(state, event, context) {
        storefrontJob.onEvent(state, event, context);
        if (event.sku === "BAD") throw new Error("cannot stand it");
      },
    });
    const accepted: string[] = [];
    for (let i = 0; i < 20; i++) {
      const commands = load();
      const replies = await ledger.applyMany(commands);
      for (const [k, { outcome }] of replies.entries())
        if (outcome === "accepted" && commands[k]?.sku === "BAD") accepted.push(commands[k].id);
    }
    await seen(client, keys, Number(await client.hget(keys.head, "offset")), [storefrontJob.name]);
    const { BAD: _, ...others } = await balances();
    expect(await storefront()).toEqual(others);
    const found = await deadLetters();
    expect(accepted.length).toBeGreaterThan(20);
    expect(found).toHaveLength(accepted.length);
    expect(new Set(found.map(({ key, reason, job }) => `${job} ${key} ${reason}`))).toEqual(
      new Set(["storefront.1 BAD cannot stand it"]),
    );
    expect(troubles.filter((trouble) => trouble.includes("starting over"))).toEqual([]);
    await runner?.stop();
  });
});
