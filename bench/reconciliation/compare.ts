/**
 * How long a comparison takes and how much memory: three sources that report every cell, a few of them wrong, against a
 * ledger that has had further commands since their instants. Everything is the product's own: ledger, snapshot store,
 * comparer, on one Redis. The wait for events around the instants is over before a run begins.
 */
import { chainIdFromNumber } from "../../engine/kernel/chain-id.js";
import { sleep, stopwatch, systemClock } from "../../engine/kernel/clock.js";
import { assert } from "../../engine/kernel/errors.js";
import { Comparer } from "../../engine/reconciliation/comparison/comparer.js";
import { ComparisonStore } from "../../engine/reconciliation/comparison/comparison-store.js";
import { LEDGER } from "../../engine/reconciliation/model.js";
import { SnapshotPartWriter, SnapshotStore } from "../../engine/reconciliation/reports/snapshot-store.js";
import { BalanceHistory } from "../../engine/stock/as-of.js";
import { Ledger } from "../../engine/stock/ledger.js";
import type { StockCommand } from "../../engine/stock/model.js";
import { streamOptions } from "../../engine/stream/options.js";
import type { RedisClient } from "../../engine/stream/redis.js";

export interface CompareShape {
  readonly skus: number;
  readonly locations: number;
}

export interface CompareResult {
  readonly rowsOfEach: number;
  /** Median of the runs. */
  readonly milliseconds: number;
  /** Of the process, before the runs and at most while they ran, in MiB. */
  readonly rssBefore: number;
  readonly rssMost: number;
}

const PREFIX = "bench";
const PARTITIONS = streamOptions.partitions.default;
const SOURCES = ["erp", "storefront", "wms"];
const UNITS = 100;
/** Every so many cells the last source has lost a unit: 0.02 % of the cells. */
const WRONG_EVERY = 5_000;
const COMMANDS_AT_ONCE = 5_000;
/** Commands after the snapshots' instants: a minute of a busy shop. */
const LATER_COMMANDS = 60_000;
const ROWS_A_PART = 100_000;
const WINDOW_MS = 2_500;

const skuName = (i: number): string => `SKU-${String(i).padStart(7, "0")}`;
const locationName = (i: number): string => `warehouse-${i}`;

/** Measures one shape on an empty Redis. */
export async function measureCompare(
  redis: RedisClient,
  { skus, locations }: CompareShape,
  { runs, signal }: { runs: number; signal: AbortSignal },
): Promise<CompareResult> {
  await redis.flushall();
  await Ledger.load(redis);
  const ledger = new Ledger({ redis, prefix: PREFIX, partitions: PARTITIONS, queueLimit: Number.POSITIVE_INFINITY });
  const cells = skus * locations;
  const cellAt = (i: number) => ({ sku: skuName(i % skus), location: locationName(Math.floor(i / skus)) });
  let commands = 0;
  const receive = async (first: number, count: number, units: number): Promise<void> => {
    for (let from = first; from < first + count; from += COMMANDS_AT_ONCE) {
      signal.throwIfAborted();
      const nowMs = systemClock.now();
      const some = Array.from(
        { length: Math.min(COMMANDS_AT_ONCE, first + count - from) },
        (_, k): StockCommand => ({
          ...{ kind: "receive", id: chainIdFromNumber("BC", nowMs, commands++), ...cellAt((from + k) % cells), units },
        }),
      );
      await ledger.applyMany(some);
    }
  };
  await receive(0, cells, UNITS);
  await sleep(WINDOW_MS, signal);
  const asOfMs = systemClock.now();
  const snapshots = new SnapshotStore({
    ...{ redis, prefix: PREFIX, partitions: PARTITIONS, clock: systemClock },
    locations: () => new Set(Array.from({ length: locations }, (_, i) => locationName(i))),
    onTrouble: (message) => assert(false, message),
  });
  for (const source of SOURCES) {
    const parts = Math.ceil(cells / ROWS_A_PART);
    for (let part = 1; part <= parts; part++) {
      signal.throwIfAborted();
      const header = { source, id: "1", measure: "on_hand", asOfMs, part, parts, rows: cells } as const;
      const writer = await snapshots.receive(header);
      assert(writer instanceof SnapshotPartWriter, "a part was refused");
      for (let i = (part - 1) * ROWS_A_PART; i < Math.min(part * ROWS_A_PART, cells); i++) {
        const { sku, location } = cellAt(i);
        const isWrong = source === SOURCES.at(-1) && i % WRONG_EVERY === 0;
        const refusal = writer.add(sku, location, isWrong ? UNITS - 1 : UNITS);
        assert(!refusal, "a row was refused");
        if (writer.isFull) await writer.drain();
      }
      const { outcome } = await writer.end();
      assert(outcome !== "refused", "a part was refused");
    }
  }
  await sleep(WINDOW_MS, signal);
  await receive(0, LATER_COMMANDS, 1);
  const comparer = new Comparer({
    ...{ snapshots, partitions: PARTITIONS, clock: systemClock },
    history: new BalanceHistory({ redis, prefix: PREFIX, partitions: PARTITIONS }),
    store: new ComparisonStore(redis, PREFIX),
  });
  return { rowsOfEach: cells, ...(await measured(comparer, runs, Math.ceil(cells / WRONG_EVERY))) };
}

/** The first run warms up and is not counted. */
async function measured(comparer: Comparer, runs: number, wrong: number): Promise<Omit<CompareResult, "rowsOfEach">> {
  const rss = (): number => Math.round(process.memoryUsage.rss() / 2 ** 20);
  const rssBefore = rss();
  let rssMost = rssBefore;
  const sampling = setInterval(() => {
    rssMost = Math.max(rssMost, rss());
  }, 20);
  const times: number[] = [];
  for (let run = 0; run <= runs; run++) {
    const elapsedMs = stopwatch();
    const { pairs } = await comparer.compare("demand");
    if (run > 0) times.push(elapsedMs());
    for (const { a, b, shop } of pairs) {
      const isOfWrong = a === SOURCES.at(-1) || b === SOURCES.at(-1);
      assert(shop.differingCells === (isOfWrong ? wrong : 0), `${a} and ${b} differ in ${shop.differingCells} cells`);
    }
    assert(
      pairs.some(({ b }) => b === LEDGER),
      "nothing was compared",
    );
  }
  clearInterval(sampling);
  return {
    milliseconds: Math.round(times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)] as number),
    ...{ rssBefore, rssMost },
  };
}
