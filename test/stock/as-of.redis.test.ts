/**
 * Balances at an instant, compared with a fold of the whole log from its first entry: at random instants of several
 * days, at the clocks of events and at the edges of days, from the present and from stored balances, after the log was
 * trimmed, and while it grows.
 */
import { isDeepStrictEqual } from "node:util";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { StorefrontAnchors } from "../../engine/jobs/storefront/anchors.js";
import { chainIdFromNumber } from "../../engine/kernel/chain-id.js";
import { DAY_MS, ManualClock } from "../../engine/kernel/clock.js";
import { seededRandom } from "../../engine/kernel/random.js";
import { type AsOf, type BalanceAnchor, type BalanceAnchors, BalanceHistory } from "../../engine/stock/as-of.js";
import { Ledger } from "../../engine/stock/ledger.js";
import { eventsOf } from "../../engine/stock/log-entry.js";
import { type Balances, emptyBalances, POOLS, type StockEvent } from "../../engine/stock/model.js";
import { stockKeys } from "../../engine/stream/keys.js";
import { type LogEntry, readLog } from "../../engine/stream/log.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { withEngines } from "../app/engine-builder.js";
import { withRedis } from "../redis/with-redis.js";
import { CommandStream, SKUS } from "../sim/commands.js";

const redis = withRedis();
const engines = withEngines();
const START_MS = Date.UTC(2026, 5, 17, 16);
const PREFIX = "as-of";
const PARTITIONS = 2;
const COMMANDS = 700;
const INSTANTS = 1_000;
/** Instants that are asked for at the same time. */
const AT_ONCE = 50;
/** A fixed one, with which everything occurs that the first test expects of the log. */
const SEED = Number(process.env["SHUIWEI_SEED"] ?? 618);
const random = seededRandom(SEED);
const keys = Array.from({ length: PARTITIONS }, (_, partition) => stockKeys(PREFIX, partition));

let client: RedisClient;
let ledger: Ledger;
let logs: LogEntry[][];
/** Of each partition, all events of the log. */
let events: StockEvent[][];
/** Of each SKU, its events with their order among those of its partition. */
const eventsOfSku = new Map<string, [order: number, event: StockEvent][]>();
let endMs = 0;

const historyOf = (anchors?: BalanceAnchors, entriesLimit = 100_000): BalanceHistory =>
  new BalanceHistory({
    redis: client,
    prefix: PREFIX,
    partitions: PARTITIONS,
    entriesLimit,
    ...(anchors && { anchors }),
  });

async function readLogs(): Promise<void> {
  logs = await Promise.all(keys.map(({ log }) => readLog(client, log, 0, 100_000)));
  events = logs.map((entries) => entries.flatMap((entry) => eventsOf(entry).events));
  for (const sku of SKUS) {
    const all = events[ledger.partitionOf(sku)] as StockEvent[];
    eventsOfSku.set(
      sku,
      [...all.entries()].filter(([, event]) => event.sku === sku),
    );
  }
  endMs = Math.max(...(await Promise.all(keys.map(async ({ head }) => Number(await client.hget(head, "clock"))))));
}

/** The balances of a SKU after some of its events, by a fold from zero. */
function foldOf(sku: string, isWanted: (event: StockEvent, order: number) => boolean): Map<string, Balances> {
  const locations = new Map<string, Balances>();
  const at = (location: string): Balances => {
    const balances = locations.get(location) ?? emptyBalances();
    locations.set(location, balances);
    return balances;
  };
  for (const [order, event] of eventsOfSku.get(sku) ?? []) {
    if (!isWanted(event, order)) continue;
    if (event.from !== "outside") at(event.location)[event.from] -= event.units;
    if (event.to !== "outside") at(event.toLocation ?? event.location)[event.to] += event.units;
  }
  return locations;
}

/** Without balances of zero: which locations a SKU had then does not show in an answer. */
const shown = (locations: ReadonlyMap<string, Balances> = new Map()) =>
  [...locations]
    .flatMap(([location, balances]) => POOLS.map((pool) => [location, pool, balances[pool]] as const))
    .filter(([, , units]) => units !== 0)
    .sort();

function compare(result: AsOf, atMs: number): void {
  if (result.outcome !== "found") throw new Error(`SHUIWEI_SEED=${SEED} at ${atMs}: ${result.outcome}`);
  const asOf = new Map(result.positions.map(({ partition, asOfMs }) => [partition, asOfMs]));
  for (const sku of SKUS) {
    const asOfMs = asOf.get(ledger.partitionOf(sku));
    // Another partition was asked for.
    if (asOfMs === undefined) continue;
    if (!(asOfMs <= atMs)) expect(asOfMs).toBeLessThanOrEqual(atMs);
    const [found, wanted] = [shown(result.skus.get(sku)), shown(foldOf(sku, ({ clockMs }) => clockMs <= asOfMs))];
    // `expect` of each would take most of the test's time.
    if (!isDeepStrictEqual(found, wanted)) expect(found, `SHUIWEI_SEED=${SEED} ${sku} at ${atMs}`).toEqual(wanted);
  }
}

/** Random instants, clocks of events and milliseconds beside them, and edges of days. */
function instant(fromMs: number): number {
  const all = events[random.below(PARTITIONS)] as StockEvent[];
  const spanMs = endMs - fromMs;
  const days = Math.floor(spanMs / DAY_MS);
  const edgeMs = Math.ceil(fromMs / DAY_MS) * DAY_MS + random.below(Math.max(1, days)) * DAY_MS;
  const drawn = random.pick([
    fromMs + Math.floor(random.next() * spanMs),
    random.pick(all).clockMs + random.pick([-1, 0, 1]),
    edgeMs - random.below(2),
  ]);
  return Math.max(fromMs, drawn);
}

async function compareMany(history: BalanceHistory, instants: readonly number[]): Promise<void> {
  for (let first = 0; first < instants.length; first += AT_ONCE) {
    const part = instants.slice(first, first + AT_ONCE);
    const results = await Promise.all(
      part.map((atMs, i) =>
        history.asOf(
          SKUS.filter((sku) => ledger.partitionOf(sku) === i % PARTITIONS),
          atMs,
        ),
      ),
    );
    for (const [i, result] of results.entries()) compare(result, part[i] as number);
  }
}

/** Balances at random positions of the log, folded from zero; each is before an event of the SKU. */
function anchorsBefore(limit: number): BalanceAnchors {
  const stored = new Map<string, BalanceAnchor[]>();
  for (const sku of SKUS) {
    const own = eventsOfSku.get(sku) ?? [];
    const chosen = own.filter(([, { offset }]) => offset < limit && random.below(20) === 0);
    stored.set(
      sku,
      chosen.map(([order, { offset, index }]) => ({ offset, index, locations: foldOf(sku, (_, at) => at < order) })),
    );
  }
  return { read: async (_, skus) => skus.map((sku) => stored.get(sku) ?? []) };
}

beforeAll(async () => {
  client = redis.connect();
  await Ledger.load(client);
  const clock = new ManualClock(START_MS);
  ledger = new Ledger({ redis: client, prefix: PREFIX, partitions: PARTITIONS, clock });
  const stream = new CommandStream(random, START_MS, 45);
  for (let sent = 0; sent < COMMANDS; ) {
    const commands = stream.take(1 + random.below(12));
    sent += commands.length;
    await ledger.applyMany(commands);
    if (random.below(6) === 0)
      for (let partition = 0; partition < PARTITIONS; partition++) await ledger.tick(partition);
    clock.moveTo(clock.now() + random.pick([0, 0, 900, 60_000, 1_800_000, 6 * 3_600_000]));
    stream.timeMs = Math.max(stream.timeMs, clock.now());
  }
  // The jobs process the log, and stop before its last part.
  const engine = await engines.start({
    ...{ redisUrl: redis.url, prefix: PREFIX, partitions: PARTITIONS },
    shopTime: { clock, speed: () => 1, scene: () => undefined },
  });
  const { follower } = engine.topic("stock");
  const isDone = () => follower.stats().every(({ lagEntries }) => lagEntries === 0);
  await vi.waitFor(() => expect(isDone()).toBe(true), { timeout: 30_000 });
  await engines.stop();
  for (let more = 0; more < 20; more++) await ledger.applyMany(stream.take(5));
  await readLogs();
});

describe("balances at an instant", () => {
  it("are those of a fold from zero at a thousand instants, from the present and from stored balances", async () => {
    expect(endMs - START_MS).toBeGreaterThan(3 * DAY_MS);
    expect(events.flat().some(({ type }) => type === "LineExpired")).toBe(true);
    expect(events.flat().some(({ toLocation }) => toLocation !== undefined)).toBe(true);
    const instants = Array.from({ length: INSTANTS }, () => instant(START_MS - 10));
    await compareMany(historyOf(), instants.slice(0, INSTANTS / 4));
    await compareMany(historyOf(anchorsBefore(Number.POSITIVE_INFINITY)), instants.slice(INSTANTS / 4, INSTANTS / 2));
    // Jobs that are behind have stored nothing of the log's last part.
    const behind = anchorsBefore((logs[0] as LogEntry[]).length / 2);
    await compareMany(historyOf(behind), instants.slice(INSTANTS / 2, (INSTANTS * 3) / 4));
    await compareMany(historyOf(new StorefrontAnchors(client)), instants.slice((INSTANTS * 3) / 4));
  });

  it("may follow from the closings of the storefront job, each of which is as the log was there", async () => {
    const anchors = new StorefrontAnchors(client);
    const stored = await Promise.all(keys.map((each) => anchors.read(each, SKUS, START_MS + 2 * DAY_MS)));
    expect(stored.flat(2).length).toBeGreaterThan(5);
    for (const [i, sku] of SKUS.entries())
      for (const { offset, index, locations } of stored[ledger.partitionOf(sku)]?.[i] ?? []) {
        const first = eventsOfSku.get(sku)?.find(([, event]) => event.offset === offset && event.index === index);
        const before = foldOf(sku, (_, order) => order < (first?.[0] ?? 0));
        expect(shown(locations), `SHUIWEI_SEED=${SEED} ${sku}`).toEqual(shown(before));
      }
  });

  it("are the present ones, as of the log's clock, when the instant is later than that", async () => {
    const result = await historyOf().asOf(SKUS, endMs + DAY_MS);
    compare(result, endMs + DAY_MS);
    if (result.outcome !== "found") return;
    for (const { partition, offset, asOfMs } of result.positions) {
      expect(offset).toBe((logs[partition] as LogEntry[]).length);
      expect(asOfMs).toBe(Number(await client.hget(keys[partition]?.head ?? "", "clock")));
    }
  });

  it("are final only once the log's clock has passed the instant: an event of the same millisecond may follow", async () => {
    const prefix = `${PREFIX}-final`;
    const clock = new ManualClock(START_MS);
    const other = new Ledger({ redis: client, prefix, partitions: 1, clock });
    const history = new BalanceHistory({ redis: client, prefix, partitions: 1 });
    const receive = (n: number) => {
      const id = chainIdFromNumber("S1", START_MS, n);
      return other.apply({ kind: "receive", id, sku: "A", location: "SH", units: 1 });
    };
    const answer = async (atMs: number) => {
      const result = await history.asOf(["A"], atMs);
      if (result.outcome !== "found") throw new Error(result.outcome);
      const { asOfMs, isFinal } = result.positions[0] ?? {};
      return [result.skus.get("A")?.get("SH")?.sellable, asOfMs, isFinal];
    };
    await receive(1);
    expect(await answer(START_MS)).toEqual([1, START_MS, false]);
    expect(await answer(START_MS + 10)).toEqual([1, START_MS, false]);
    await receive(2);
    expect(await answer(START_MS)).toEqual([2, START_MS, false]);
    clock.moveTo(START_MS + 1);
    await receive(3);
    expect(await answer(START_MS)).toEqual([2, START_MS, true]);
    expect(await answer(START_MS + 1)).toEqual([3, START_MS + 1, false]);
  });

  it("name every location of today, with zeros before its first units, and leave out an unknown SKU", async () => {
    const [sku = ""] = SKUS;
    const result = await historyOf().asOf([sku, "NEVER-SEEN"], START_MS - 1);
    if (result.outcome !== "found") throw new Error(result.outcome);
    expect([...result.skus.keys()]).toEqual([sku]);
    const today = await ledger.balances(sku);
    expect([...(result.skus.get(sku)?.keys() ?? [])].sort()).toEqual([...(today?.keys() ?? [])].sort());
    for (const balances of result.skus.get(sku)?.values() ?? []) expect(balances).toEqual(emptyBalances());
  });

  it("are refused when too many entries would have to be read", async () => {
    const middleMs = START_MS + Math.floor((endMs - START_MS) / 2);
    const sku = SKUS.find((each) => ledger.partitionOf(each) === 0) as string;
    expect(await historyOf(undefined, 3).asOf([sku], middleMs)).toMatchObject({
      outcome: "too_many_entries",
      limit: 3,
    });
  });

  it("follow from no closing while the partition has dead letters, whose events closings may lack", async () => {
    const anchors = new StorefrontAnchors(client);
    const [first] = keys as [(typeof keys)[number]];
    const own = SKUS.filter((sku) => ledger.partitionOf(sku) === 0);
    const read = async () => (await anchors.read(first, own, START_MS + 2 * DAY_MS)).flat().length;
    expect(await read()).toBeGreaterThan(0);
    await client.xadd(first.deadLetters, "1-0", "r", "x");
    expect(await read()).toBe(0);
    await client.del(first.deadLetters);
    expect(await read()).toBeGreaterThan(0);
  });

  it("are not read to the end once their caller has left", async () => {
    const sku = SKUS.find((each) => ledger.partitionOf(each) === 0) as string;
    const left = new AbortController();
    const reading = historyOf().asOf([sku], START_MS + 1, left.signal);
    left.abort(new Error("left"));
    await expect(reading).rejects.toThrow("left");
  });

  it("are an error, not a guess, when an entry of the SKU cannot be read, and found when it is another's", async () => {
    const prefix = `${PREFIX}-damaged`;
    const clock = new ManualClock(START_MS);
    const other = new Ledger({ redis: client, prefix, partitions: 1, clock });
    const id = chainIdFromNumber("S1", START_MS, 1);
    await other.apply({ kind: "receive", id, sku: "A", location: "SH", units: 1 });
    const { head, log } = stockKeys(prefix, 0);
    const offset = await client.hincrby(head, "offset", 1);
    await client.xadd(log, `${offset}-0`, "t", START_MS + 1, "b", "B\u001fSH");
    await client.hset(head, "clock", START_MS + 2);
    const history = new BalanceHistory({ redis: client, prefix, partitions: 1 });
    await client.hset(stockKeys(prefix, 0).cells, "B\u001f", "SH", "B\u001fSH", Buffer.alloc(40));
    await expect(history.asOf(["B"], START_MS + 1)).rejects.toThrow("entry 2 cannot be read");
    expect(await history.asOf(["A"], START_MS + 1)).toMatchObject({ outcome: "found" });
  });

  it("before the oldest entry of a trimmed log are outside of the retention, and right from there on", async () => {
    const anchors = anchorsBefore(Number.POSITIVE_INFINITY);
    const fromMs: number[] = [];
    for (const [partition, { log }] of keys.entries()) {
      const entries = logs[partition] as LogEntry[];
      const first = entries[Math.floor(entries.length / 2)] as LogEntry;
      await client.xtrim(log, "MINID", `${first.offset}-0`);
      fromMs.push(Number(first.fields[first.fields.findIndex((bytes) => bytes.toString() === "t") + 1]));
    }
    for (const [partition, oldestMs] of fromMs.entries()) {
      const own = SKUS.filter((sku) => ledger.partitionOf(sku) === partition);
      for (const atMs of [START_MS - 1, START_MS, oldestMs - 1])
        expect(await historyOf(anchors).asOf(own, atMs)).toEqual({ outcome: "outside_retention", fromMs: oldestMs });
    }
    const latestMs = Math.max(...fromMs);
    await compareMany(historyOf(anchors), [latestMs, ...Array.from({ length: 100 }, () => instant(latestMs))]);
    for (const { log } of keys) await client.xtrim(log, "MAXLEN", 0);
    expect(await historyOf(anchors).asOf(SKUS, endMs - 1)).toMatchObject({ outcome: "outside_retention" });
    compare(await historyOf(anchors).asOf(SKUS, endMs), endMs);
  });
});
