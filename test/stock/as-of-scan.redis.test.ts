/**
 * All cells of a partition at some instants, compared with a fold of the whole log from its first entry and with the
 * balances of single SKUs: at random instants, while commands are applied and cells are made, with the transfers around
 * each instant, and at the edges of what the log still has.
 */
import { beforeAll, describe, expect, it } from "vitest";
import { chainIdFromNumber } from "../../engine/kernel/chain-id.js";
import { ManualClock } from "../../engine/kernel/clock.js";
import { seededRandom } from "../../engine/kernel/random.js";
import { BalanceHistory } from "../../engine/stock/as-of.js";
import type { ScannedCells, ScannedInstant } from "../../engine/stock/as-of-scan.js";
import { CellIndex } from "../../engine/stock/cell-index.js";
import { Ledger } from "../../engine/stock/ledger.js";
import { entryTimeMs, eventsOf } from "../../engine/stock/log-entry.js";
import { cellOf, POOLS, type StockCommand, type StockEvent } from "../../engine/stock/model.js";
import { stockKeys } from "../../engine/stream/keys.js";
import { type LogEntry, readLog } from "../../engine/stream/log.js";
import { type LogSource, redisLog } from "../../engine/stream/log-source.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { withRedis } from "../redis/with-redis.js";
import { CommandStream } from "../sim/commands.js";

const redis = withRedis();
const START_MS = Date.UTC(2026, 5, 17, 16);
const WINDOW_MS = 2_000;
const SEED = Number(process.env["SHUIWEI_SEED"] ?? 618);
const random = seededRandom(SEED);
let client: RedisClient;

beforeAll(async () => {
  client = redis.connect();
  await Ledger.load(client);
});

const historyOf = (prefix: string, partitions: number, logOf?: (partition: number) => LogSource): BalanceHistory =>
  new BalanceHistory({ redis: client, prefix, partitions, scanLimit: 50_000, ...(logOf && { logOf }) });

async function eventsIn(prefix: string, partition: number): Promise<StockEvent[]> {
  const entries = await readLog(client, stockKeys(prefix, partition).log, 0, 100_000);
  return entries.flatMap((entry) => eventsOf(entry).events);
}

type Cells = Map<string, number[]>;

/** Adds an event's units to its cells. */
function add(cells: Cells, { sku, location, toLocation, from, to, units }: StockEvent, sign: number): void {
  const change = (at: string, pool: string, by: number): void => {
    if (pool === "outside") return;
    const cell = cells.get(cellOf(sku, at)) ?? POOLS.map(() => 0);
    cells.set(cellOf(sku, at), cell);
    const i = POOLS.indexOf(pool as (typeof POOLS)[number]);
    cell[i] = (cell[i] as number) + by;
  };
  change(location, from, -units * sign);
  change(toLocation ?? location, to, units * sign);
}

const isNonZero = (units: readonly number[]): boolean => units.some((each) => each !== 0);
const shown = (cells: Cells): [string, number[]][] => [...cells].filter(([, units]) => isNonZero(units)).sort();

function scanned({ cells, length }: ScannedCells, { balances }: ScannedInstant): [string, number[]][] {
  const found: Cells = new Map();
  for (let cell = 0; cell < length; cell++)
    found.set(cellOf(cells.sku(cell), cells.location(cell)), [...balances.subarray(cell * 5, cell * 5 + 5)]);
  expect(found.size).toBe(length);
  return shown(found);
}

/** What the position says is in the answer, folded from zero. */
function folded(events: readonly StockEvent[], { position: { offset, asOfMs, isFinal } }: ScannedInstant) {
  const cells: Cells = new Map();
  for (const event of events) if (isFinal ? event.clockMs <= asOfMs : event.offset <= offset) add(cells, event, 1);
  return shown(cells);
}

async function scan(history: BalanceHistory, partition: number, instants: number[]): Promise<ScannedCells> {
  const result = await history.scan(partition, instants, WINDOW_MS);
  if (result.outcome !== "scanned") throw new Error(`SHUIWEI_SEED=${SEED}: ${result.outcome}`);
  return result;
}

const receive = (n: number, sku: string, location = "SH"): StockCommand => ({
  kind: "receive",
  id: chainIdFromNumber("S1", START_MS, n),
  sku,
  location,
  units: 1 + (n % 7),
});

describe("a scan of a partition", () => {
  const PREFIX = "scan";
  const PARTITIONS = 2;
  const clock = new ManualClock(START_MS);
  let events: StockEvent[][];

  beforeAll(async () => {
    const ledger = new Ledger({ redis: client, prefix: PREFIX, partitions: PARTITIONS, clock });
    const stream = new CommandStream(random, START_MS, 45);
    for (let sent = 0; sent < 600; sent += 6) {
      await ledger.applyMany(stream.take(6));
      clock.moveTo(clock.now() + random.pick([0, 0, 400, 900, 60_000, 1_800_000]));
      stream.timeMs = Math.max(stream.timeMs, clock.now());
    }
    events = await Promise.all([0, 1].map((partition) => eventsIn(PREFIX, partition)));
  });

  const instant = (): number =>
    random.pick([
      START_MS + Math.floor(random.next() * (clock.now() - START_MS)),
      random.pick(events.flat()).clockMs + random.pick([-1, 0, 1]),
      clock.now() + 5,
    ]);

  it("equals a fold from zero and the balances of each SKU, at several random instants at once", async () => {
    const history = historyOf(PREFIX, PARTITIONS);
    for (let round = 0; round < 25; round++) {
      const partition = random.below(PARTITIONS);
      const instants = Array.from({ length: 1 + random.below(4) }, instant);
      const result = await scan(history, partition, instants);
      for (const [k, each] of result.instants.entries()) {
        const message = `SHUIWEI_SEED=${SEED} at ${instants[k]}`;
        expect(scanned(result, each), message).toEqual(folded(events[partition] as StockEvent[], each));
        const asOf = await history.asOf(result.cells.skus, instants[k] as number);
        if (asOf.outcome !== "found") throw new Error(asOf.outcome);
        const same: Cells = new Map();
        for (const [sku, locations] of asOf.skus)
          for (const [location, balances] of locations)
            same.set(
              cellOf(sku, location),
              POOLS.map((pool) => balances[pool]),
            );
        expect(scanned(result, each), message).toEqual(shown(same));
        expect([each.position]).toEqual(asOf.positions);
      }
    }
  });

  it("states what each event around the instant would change if it were on the instant's other side", async () => {
    const partition = 0;
    let seen = 0;
    for (let round = 0; round < 20; round++) {
      const { clockMs: atMs } = random.pick(events[partition] as StockEvent[]);
      const result = await scan(historyOf(PREFIX, PARTITIONS), partition, [atMs]);
      const [at] = result.instants as [ScannedInstant];
      const around = (events[partition] as StockEvent[]).filter(({ clockMs }) => Math.abs(clockMs - atMs) <= WINDOW_MS);
      const expected = new Map<string, number[]>();
      for (const event of around) {
        const moved: Cells = new Map();
        add(moved, event, event.clockMs <= atMs ? -1 : 1);
        for (const [cell, [sellable = 0, reserved = 0, committed = 0, safety = 0]] of moved) {
          const effect = [sellable, reserved, sellable + reserved + committed + safety];
          if (isNonZero(effect)) expected.set(cell, [...(expected.get(cell) ?? []), ...effect]);
        }
      }
      const found = [...at.windows].map(([cell, effects]) => [
        cellOf(result.cells.sku(cell), result.cells.location(cell)),
        effects,
      ]);
      seen += found.length;
      expect(found.sort(), `SHUIWEI_SEED=${SEED} at ${atMs}`).toEqual([...expected].sort());
    }
    expect(seen).toBeGreaterThan(20);
  });

  it("is refused before the log's oldest entry, and when too many entries would have to be read", async () => {
    const history = new BalanceHistory({ redis: client, prefix: PREFIX, partitions: PARTITIONS, scanLimit: 3 });
    expect(await history.scan(0, [START_MS + 1], WINDOW_MS)).toMatchObject({ outcome: "too_many_entries", limit: 3 });
    expect(await history.refusalOf(START_MS + 1, WINDOW_MS)).toMatchObject({ outcome: "too_many_entries" });
    // Commands that named a later time have moved the logs' clocks.
    const clocks = await Promise.all([0, 1].map((each) => client.hget(stockKeys(PREFIX, each).head, "clock")));
    expect(await history.refusalOf(Math.max(...clocks.map(Number)) + WINDOW_MS, WINDOW_MS)).toBeUndefined();
    const trimmed = historyOf(PREFIX, PARTITIONS, (partition) => {
      const log = redisLog(client, stockKeys(PREFIX, partition).log);
      const first = 20;
      return {
        first: async () => first,
        read: (after, count) => log.read(Math.max(after, first - 1), count),
      };
    });
    const fromMs = entryTimeMs((await readLog(client, stockKeys(PREFIX, 0).log, 19, 1))[0] as LogEntry);
    expect(await trimmed.scan(0, [START_MS + 1], WINDOW_MS)).toEqual({ outcome: "outside_retention", fromMs });
    // The events before the instant belong to the answer, too.
    expect(await trimmed.scan(0, [fromMs + WINDOW_MS - 1], WINDOW_MS)).toMatchObject({ outcome: "outside_retention" });
    expect(await trimmed.scan(0, [fromMs + WINDOW_MS], WINDOW_MS)).toMatchObject({ outcome: "scanned" });
  });

  it("ends when its caller has left, and is an error when an entry cannot be read", async () => {
    const left = new AbortController();
    const reading = historyOf(PREFIX, PARTITIONS).scan(0, [START_MS + 1], WINDOW_MS, left.signal);
    left.abort(new Error("left"));
    await expect(reading).rejects.toThrow("left");
    const prefix = "scan-damaged";
    const other = new Ledger({ redis: client, prefix, partitions: 1, clock: new ManualClock(START_MS) });
    await other.apply(receive(1, "A"));
    const { head, log } = stockKeys(prefix, 0);
    const offset = await client.hincrby(head, "offset", 1);
    await client.xadd(log, `${offset}-0`, "t", START_MS + 1, "b", "B\u001fSH");
    await client.hset(head, "clock", START_MS + 2);
    await expect(historyOf(prefix, 1).scan(0, [START_MS + 1], WINDOW_MS)).rejects.toThrow("entry 2 cannot be read");
  });
});

describe("a scan while commands are applied", () => {
  const PREFIX = "scan-busy";
  /** Six pages, and as many cells again that are made meanwhile. */
  const CELLS = 3_000;

  it("is an error when another Redis has taken over, to which the scan's cursor means something else", async () => {
    const prefix = "scan-taken-over";
    const ledger = new Ledger({ redis: client, prefix, partitions: 1, clock: new ManualClock(START_MS) });
    await ledger.applyMany(Array.from({ length: CELLS }, (_, i) => receive(i + 1, `SKU-${i}`)));
    let pages = 0;
    const other = new Proxy(client, {
      get(target, name) {
        if (name !== "evalBuffer") return Reflect.get(target, name).bind?.(target) ?? Reflect.get(target, name);
        // From its second page on it takes the cursor for one near the end.
        return async (...args: unknown[]) => {
          const reply = await Reflect.get(target, name).apply(target, args);
          return ++pages === 2 ? [Buffer.from("0"), ...reply.slice(1)] : reply;
        };
      },
    });
    const history = new BalanceHistory({ redis: other, prefix, partitions: 1 });
    await expect(history.scan(0, [START_MS + 1], WINDOW_MS)).rejects.toMatchObject({ code: "cells_missed" });
    expect((await history.scan(0, [START_MS + 1], WINDOW_MS)).outcome).toBe("scanned");
  });

  it("equals a fold of the log, however many pages were read while cells changed and were made", async () => {
    const clock = new ManualClock(START_MS);
    const ledger = new Ledger({ redis: client, prefix: PREFIX, partitions: 1, clock });
    const history = historyOf(PREFIX, 1);
    let n = 0;
    const applySome = async (): Promise<void> => {
      const commands = Array.from({ length: 50 }, () => receive(++n, `SKU-${random.below(CELLS)}`));
      commands.push(receive(++n, `NEW-${n}`));
      await ledger.applyMany(commands);
      clock.moveTo(clock.now() + random.below(4));
    };
    await ledger.applyMany(Array.from({ length: CELLS }, (_, i) => receive(++n, `SKU-${i}`)));
    let isScanning = true;
    const writing = (async () => {
      while (isScanning) await applySome();
    })();
    const results: ScannedCells[] = [];
    for (let round = 0; round < 4; round++) {
      const nowMs = clock.now();
      const instants = [nowMs, nowMs - random.below(40), START_MS + random.below(nowMs - START_MS + 1), nowMs + 3];
      results.push(await scan(history, 0, instants));
    }
    isScanning = false;
    await writing;
    const events = await eventsIn(PREFIX, 0);
    expect(events.length).toBeGreaterThan(CELLS + 500);
    for (const result of results)
      for (const each of result.instants)
        expect(scanned(result, each), `SHUIWEI_SEED=${SEED}`).toEqual(folded(events, each));
  });
});

describe("numbers of cells", () => {
  it("are found again by SKU and location, each once, after any number of others", () => {
    const index = new CellIndex();
    const wanted = new Map<string, number>();
    for (let i = 0; i < 5_000; i++) {
      const [sku, location] = [`SKU-${random.below(1_500)}`, `L${random.below(40)}`];
      const known = wanted.get(cellOf(sku, location)) ?? -1;
      expect(index.find(sku, location)).toBe(known);
      const cell = index.add(sku, location);
      if (known < 0) {
        expect(cell).toBe(wanted.size);
        wanted.set(cellOf(sku, location), cell);
      } else expect(cell).toBe(known);
      expect([index.sku(cell), index.location(cell)]).toEqual([sku, location]);
    }
    expect(index.length).toBe(wanted.size);
    expect(index.find("SKU-1", "nowhere")).toBe(-1);
  });
});
