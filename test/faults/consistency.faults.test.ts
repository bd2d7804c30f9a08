/**
 * Two warehouses that are right, but late and out of order and with clocks that are off, beside a real engine under
 * load: every comparison of them with the ledger and with each other finds a divergence of exactly 0, and no breaker
 * opens. Then one of them loses one event, and the comparison after that is off by exactly its units. How much load
 * this machine made is printed. SOAK_SECONDS=600 RATE=5000 make it ten minutes at full rate.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { sleep, stopwatch } from "../../engine/kernel/clock.js";
import { DEFAULT_WINDOW_MS } from "../../engine/reconciliation/comparison/comparer.js";
import { Bed, planSeed } from "./bed.js";
import { Shop } from "./shop.js";
import { call, Warehouse } from "./warehouse.js";

const PARTITIONS = 4;
const SECONDS = Number(process.env["SOAK_SECONDS"] ?? 40);
const RATE = Number(process.env["RATE"] ?? 1_500);
const SNAPSHOT_EVERY_MS = 3_000;
/**
 * The engine cannot separate the time that a request is on its way from a difference of clocks, so a warehouse that is
 * corrected may be so much less late. What was on its way for longer, on a busy machine, proves nothing.
 */
const ON_THE_WAY_MS = 700;
const PATIENCE_MS = 60_000;

const seed = planSeed();
let bed: Bed;

beforeAll(async () => {
  bed = await Bed.open({ partitions: PARTITIONS, leaseMs: 5_000, appendfsync: "everysec", retention: "1h" });
  await bed.startAll(["api", "worker"]);
});

afterAll(() => bed.close());

interface PairAnswer {
  a: string;
  b: string;
  cells: number;
  differingUnits: number;
}
interface ComparisonAnswer {
  id: string;
  snapshots: { source: string; id: string; skewMs?: number }[];
  pairs: PairAnswer[];
  leftOut: { source: string; reason: string }[];
}

/** All comparisons that were made, by id. */
class Comparisons {
  readonly all = new Map<string, ComparisonAnswer>();

  async read(): Promise<void> {
    const { comparisons } = await call(bed, "GET", "/v1/comparisons?limit=100");
    for (const each of comparisons as ComparisonAnswer[]) this.all.set(each.id, each);
  }

  /** The comparison of a snapshot, once it is there. */
  async of(id: string): Promise<ComparisonAnswer> {
    for (const elapsed = stopwatch(); elapsed() < PATIENCE_MS; await sleep(200)) {
      await this.read();
      const found = [...this.all.values()].find(({ snapshots }) => snapshots.some((each) => each.id === id));
      if (found) return found;
    }
    throw new Error(`snapshot ${id} is not compared`);
  }
}

it(
  "makes no divergence and opens no breaker for warehouses that are late and off",
  async () => {
    const shop = new Shop({
      seed,
      apis: bed.apis,
      commands: RATE * (SECONDS + 3_600),
      rate: RATE,
      skus: 240,
      batchers: 4,
      orderers: 2,
      batch: 100,
      timeoutMs: 20_000,
      patienceMs: 60_000,
      twice: false,
    });
    const load = shop.run();
    const warehouses = [
      new Warehouse(bed, {
        name: "late",
        seed,
        latenessMs: DEFAULT_WINDOW_MS,
        clockOffMs: -DEFAULT_WINDOW_MS,
        statesClock: false,
      }),
      new Warehouse(bed, {
        ...{ name: "off", seed: seed + 1, clockOffMs: DEFAULT_WINDOW_MS, statesClock: true },
        latenessMs: DEFAULT_WINDOW_MS - ON_THE_WAY_MS,
      }),
    ];
    const comparisons = new Comparisons();
    await expect.poll(() => shop.accounted, { timeout: 30_000 }).toBeGreaterThan(1_000);
    // A snapshot has at least one row.
    for (const warehouse of warehouses) await warehouse.settle();
    const [before, elapsed] = [shop.accounted, stopwatch()];
    let [sent, longestMs] = [0, 0];
    while (elapsed() < SECONDS * 1_000) {
      for (const warehouse of warehouses) {
        const { delayMs } = await warehouse.send();
        longestMs = Math.max(longestMs, delayMs);
        sent++;
      }
      await sleep(SNAPSHOT_EVERY_MS);
      await comparisons.read();
    }
    const rate = Math.round((shop.accounted - before) / (elapsed() / 1_000));
    const [late] = warehouses as [Warehouse];
    await comparisons.of((await late.send()).id);
    const skewOf = ({ snapshots }: ComparisonAnswer): number =>
      snapshots.find(({ source }) => source === "off")?.skewMs ?? DEFAULT_WINDOW_MS;
    const all = [...comparisons.all.values()];
    const made = all.filter((each) => DEFAULT_WINDOW_MS - skewOf(each) <= ON_THE_WAY_MS);
    const cells = Math.max(...made.flatMap(({ pairs }) => pairs.map((pair) => pair.cells)));
    console.info(
      `${rate} commands/s for ${SECONDS} s: ${sent} snapshots of up to ${cells} cells, ${made.length} comparisons (${all.length - made.length} of slow requests left out); a snapshot took ${Math.round(longestMs)} ms at most`,
    );
    expect(
      made.flatMap(({ pairs, id }) => pairs.filter((pair) => pair.differingUnits > 0).map((pair) => [id, pair])),
    ).toEqual([]);
    expect(made.some(({ pairs }) => pairs.length === 3 && pairs.every((pair) => pair.cells > 0))).toBe(true);
    expect(made.length).toBeGreaterThan(SECONDS / 15);
    expect(await call(bed, "GET", "/v1/breaker")).toMatchObject({ breakers: [] });
    expect((await call(bed, "GET", "/v1/breaker/history")).events).toEqual([]);

    // One event is lost; then the load ends, and all is booked.
    late.loseOne();
    for (const waited = stopwatch(); !late.lost && waited() < PATIENCE_MS; await sleep(100)) await late.send();
    shop.stop();
    await load;
    await sleep(DEFAULT_WINDOW_MS);
    await late.settle();
    await sleep(DEFAULT_WINDOW_MS);
    const { pairs } = await comparisons.of((await late.send()).id);
    const { units, sku } = late.lost as { units: number; sku: string };
    expect(pairs.find(({ a, b }) => a === "late" && b === "ledger")?.differingUnits).toBe(units);
    const { sources } = await call(bed, "GET", `/v1/divergence/${sku}?source=late`);
    expect(sources).toMatchObject([{ source: "late", state: "differs" }]);
    expect(bed.products.flatMap(({ crashes }) => crashes)).toEqual([]);
  },
  SECONDS * 1_000 + 240_000,
);
