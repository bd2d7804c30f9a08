/**
 * The events of a SKU in a span of time, compared with all events of the log, and with the balances at both ends of
 * the span.
 */
import { beforeAll, describe, expect, it } from "vitest";
import { chainIdFromNumber } from "../../engine/kernel/chain-id.js";
import { ManualClock } from "../../engine/kernel/clock.js";
import { seededRandom } from "../../engine/kernel/random.js";
import { BalanceHistory } from "../../engine/stock/as-of.js";
import { Ledger } from "../../engine/stock/ledger.js";
import { eventsOf } from "../../engine/stock/log-entry.js";
import { POOLS, type StockEvent } from "../../engine/stock/model.js";
import { findSkuEvents, type SkuEventsOptions, skuEvents } from "../../engine/stock/sku-events.js";
import { stockKeys } from "../../engine/stream/keys.js";
import { readLog } from "../../engine/stream/log.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { withRedis } from "../redis/with-redis.js";
import { CommandStream, SKUS } from "../sim/commands.js";

const redis = withRedis();
const START_MS = Date.UTC(2026, 5, 17, 16);
const PREFIX = "sku-events";
const PARTITIONS = 2;
const SEED = Number(process.env["SHUIWEI_SEED"] ?? 618);
const random = seededRandom(SEED);

let client: RedisClient;
let options: SkuEventsOptions;
let ledger: Ledger;
let all: StockEvent[][];
let endMs = 0;

async function listed(events: AsyncIterable<StockEvent>): Promise<StockEvent[]> {
  const list: StockEvent[] = [];
  for await (const event of events) list.push(event);
  return list;
}

beforeAll(async () => {
  client = redis.connect();
  await Ledger.load(client);
  const clock = new ManualClock(START_MS);
  options = { redis: client, prefix: PREFIX, partitions: PARTITIONS };
  ledger = new Ledger({ ...options, clock });
  const stream = new CommandStream(random, START_MS, 45);
  for (let sent = 0; sent < 400; ) {
    const commands = stream.take(1 + random.below(12));
    sent += commands.length;
    await ledger.applyMany(commands);
    clock.moveTo(clock.now() + random.pick([0, 0, 900, 60_000, 1_800_000]));
    stream.timeMs = Math.max(stream.timeMs, clock.now());
  }
  const partitions = Array.from({ length: PARTITIONS }, (_, partition) => stockKeys(PREFIX, partition));
  const logs = await Promise.all(partitions.map(({ log }) => readLog(client, log, 0, 100_000)));
  all = logs.map((entries) => entries.flatMap((entry) => eventsOf(entry).events));
  endMs = Math.min(
    ...(await Promise.all(partitions.map(async ({ head }) => Number(await client.hget(head, "clock"))))),
  );
});

describe("the events of a SKU", () => {
  it("are those of the log after the span's beginning, up to its end, in order", async () => {
    for (let i = 0; i < 60; i++) {
      const [a, b] = [random.below(endMs - START_MS), random.below(endMs - START_MS)];
      const [fromMs, toMs] = [START_MS + Math.min(a, b) - 1, START_MS + Math.max(a, b)];
      const sku = random.pick(SKUS);
      const wanted = (all[ledger.partitionOf(sku)] as StockEvent[]).filter(
        (event) => event.sku === sku && event.clockMs > fromMs && event.clockMs <= toMs,
      );
      expect(await listed(skuEvents(options, sku, fromMs, toMs)), `SHUIWEI_SEED=${SEED}`).toEqual(wanted);
    }
  });

  it("make the balances at the beginning of the span those at its end", async () => {
    const history = new BalanceHistory(options);
    for (const sku of SKUS) {
      const [fromMs, toMs] = [START_MS + Math.floor((endMs - START_MS) / 3), endMs - 1];
      const [before, after] = [await history.asOf([sku], fromMs), await history.asOf([sku], toMs)];
      if (before.outcome !== "found" || after.outcome !== "found") throw new Error("not found");
      const cells = new Map(
        [...(before.skus.get(sku) ?? [])].map(([location, balances]) => [location, { ...balances }]),
      );
      for await (const { from, to, location, toLocation, units } of skuEvents(options, sku, fromMs, toMs)) {
        const [source, target] = [cells.get(location), cells.get(toLocation ?? location)];
        if (from !== "outside" && source) source[from] -= units;
        if (to !== "outside" && target) target[to] += units;
      }
      for (const [location, balances] of after.skus.get(sku) ?? [])
        for (const pool of POOLS) expect(cells.get(location)?.[pool], `${sku} ${location}`).toBe(balances[pool]);
    }
  });

  it("are final once the log's clock has passed the end of the span", async () => {
    const [sku = ""] = SKUS;
    expect(await findSkuEvents(options, sku, START_MS, endMs - 1)).toMatchObject({ isFinal: true, toMs: endMs - 1 });
    const { head } = stockKeys(PREFIX, ledger.partitionOf(sku));
    const clockMs = Number(await client.hget(head, "clock"));
    const open = await findSkuEvents(options, sku, START_MS, clockMs + 10);
    expect(open).toMatchObject({ outcome: "found", isFinal: false, toMs: clockMs });
  });

  it("of an unknown SKU, of an empty span and of an empty log are none", async () => {
    expect(await listed(skuEvents(options, "NEVER-SEEN", START_MS, endMs))).toEqual([]);
    expect(await listed(skuEvents(options, SKUS[0] as string, endMs, endMs))).toEqual([]);
    expect(await listed(skuEvents({ ...options, prefix: "empty" }, "A", 0, endMs))).toEqual([]);
  });

  it("are refused when too many entries would have to be read, and end when the caller has left", async () => {
    const [sku = ""] = SKUS;
    const few = { ...options, entriesLimit: 3 };
    expect(await findSkuEvents(few, sku, START_MS, endMs)).toMatchObject({ outcome: "too_many_entries", limit: 3 });
    await expect(listed(skuEvents(few, sku, START_MS, endMs))).rejects.toMatchObject({ code: "too_many_entries" });
    const reading = listed(skuEvents(options, sku, START_MS, endMs, AbortSignal.abort(new Error("left"))));
    await expect(reading).rejects.toThrow("left");
  });

  it("are an error, not a shorter list, when an entry cannot be read or the log has been trimmed", async () => {
    const prefix = `${PREFIX}-damaged`;
    const clock = new ManualClock(START_MS);
    const own = { redis: client, prefix, partitions: 1 };
    const other = new Ledger({ ...own, clock });
    const receive = (n: number) =>
      other.apply({
        ...{ kind: "receive", sku: "A", location: "SH", units: 1 },
        id: chainIdFromNumber("S1", START_MS, n),
      });
    await receive(1);
    clock.moveTo(START_MS + 10);
    const { head, log } = stockKeys(prefix, 0);
    const offset = await client.hincrby(head, "offset", 1);
    await client.xadd(log, `${offset}-0`, "t", START_MS + 10, "b", "A\u001fSH");
    await receive(2);
    await expect(listed(skuEvents(own, "A", START_MS, START_MS + 10))).rejects.toMatchObject({ code: "undecodable" });
    expect(await listed(skuEvents(own, "B", START_MS, START_MS + 10))).toEqual([]);
    await client.xtrim(log, "MINID", "3-0");
    expect(await listed(skuEvents(own, "A", START_MS + 10, START_MS + 20))).toEqual([]);
    expect(await findSkuEvents(own, "A", START_MS, START_MS + 20)).toEqual({
      outcome: "outside_retention",
      fromMs: START_MS + 10,
    });
    await client.xdel(log, "3-0");
    await expect(listed(skuEvents(own, "A", START_MS, START_MS + 20))).rejects.toMatchObject({
      code: "outside_retention",
    });
  });
});
