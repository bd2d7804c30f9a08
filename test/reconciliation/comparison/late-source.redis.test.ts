/**
 * A shop with 5,000 commands a second and two sources that are right, but book late or have a clock that is off: five
 * minutes of virtual time at length, some seconds in short. Not one comparison finds a difference, and a cell of which
 * a source has lost units is found in the middle of it.
 */
import { beforeAll, describe, expect, it } from "vitest";
import { chainIdFromNumber } from "../../../engine/kernel/chain-id.js";
import { HOUR_MS, ManualClock } from "../../../engine/kernel/clock.js";
import { seededRandom } from "../../../engine/kernel/random.js";
import { Comparer } from "../../../engine/reconciliation/comparison/comparer.js";
import { ComparisonStore } from "../../../engine/reconciliation/comparison/comparison-store.js";
import type { SnapshotRow } from "../../../engine/reconciliation/model.js";
import { BalanceHistory } from "../../../engine/stock/as-of.js";
import { Ledger } from "../../../engine/stock/ledger.js";
import { cellOf, isAccepted, type StockCommand } from "../../../engine/stock/model.js";
import { stockKeys } from "../../../engine/stream/keys.js";
import type { RedisClient } from "../../../engine/stream/redis.js";
import { lengthOf } from "../../length.js";
import { withRedis } from "../../redis/with-redis.js";
import { Reports } from "./reports.js";

const redis = withRedis();
const SEED = Number(process.env["SHUIWEI_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const START_MS = Date.UTC(2026, 5, 18, 10);
const PARTITIONS = 4;
const SKUS = 500;
const LOCATIONS = ["SH", "GZ"];
const STEP_MS = 50;
const COMMANDS_A_STEP = 250;
const KEPT_ENTRIES = 2_000;
const SECONDS = lengthOf({ short: 9, long: 300 });

/** A source that books what the ledger has decided, each event when it is due. */
class Source {
  readonly units = new Map<string, number>();
  readonly #due = new Map<number, [cell: string, units: number][]>();
  readonly #delayMs: () => number;

  constructor(delayMs: () => number) {
    this.#delayMs = delayMs;
  }

  /** Books a change in the step in which its delay is over, never later. */
  change(cell: string, units: number, nowMs: number): void {
    const dueMs = nowMs + Math.floor(this.#delayMs() / STEP_MS) * STEP_MS;
    const step = this.#due.get(dueMs) ?? [];
    this.#due.set(dueMs, step);
    step.push([cell, units]);
  }

  book(nowMs: number): void {
    for (const [cell, units] of this.#due.get(nowMs) ?? []) this.units.set(cell, (this.units.get(cell) ?? 0) + units);
    this.#due.delete(nowMs);
  }

  rows(): SnapshotRow[] {
    return [...this.units].map(([cell, units]) => {
      const [sku = "", location = ""] = cell.split("\u001f");
      return { sku, location, units };
    });
  }
}

let client: RedisClient;
beforeAll(async () => {
  client = redis.connect();
  await Ledger.load(client);
});

describe("sources that are right", () => {
  it("never differ during 5,000 commands a second, late by up to two seconds or with a clock that is off by as much", async () => {
    const random = seededRandom(SEED);
    const prefix = "late";
    const clock = new ManualClock(START_MS);
    const ledger = new Ledger({ redis: client, prefix, partitions: PARTITIONS, clock });
    const reports = new Reports(PARTITIONS);
    const comparer = new Comparer({
      ...{ snapshots: reports, partitions: PARTITIONS, clock },
      history: new BalanceHistory({ redis: client, prefix, partitions: PARTITIONS }),
      store: new ComparisonStore(client, prefix),
    });
    // Its clock is off as well, but that is measured, so its snapshots are dated right.
    const late = new Source(() => random.next() * 2_000);
    const skewed = new Source(() => 0);
    let n = 0;
    const commandOf = (kind: "receive" | "correct" | "reserve", units: number): StockCommand => ({
      ...{ kind, id: chainIdFromNumber("S1", clock.now(), n++), units },
      ...{ sku: `SKU-${random.below(SKUS)}`, location: random.pick(LOCATIONS) },
      ...(kind === "reserve" && { holdMs: 24 * HOUR_MS }),
    });
    const apply = async (commands: readonly StockCommand[]): Promise<void> => {
      const replies = await ledger.applyMany(commands);
      for (const [i, command] of commands.entries()) {
        if (!isAccepted(replies[i]?.outcome ?? "") || !("units" in command)) continue;
        const cell = cellOf(command.sku, command.location);
        if (command.kind !== "reserve") late.change(cell, command.units, clock.now());
        skewed.change(cell, command.kind === "reserve" ? -command.units : command.units, clock.now());
      }
    };
    const opening = Array.from({ length: SKUS * LOCATIONS.length }, (_, i) => ({
      ...commandOf("receive", 5_000_000),
      sku: `SKU-${i % SKUS}`,
      location: LOCATIONS[Math.floor(i / SKUS)] as string,
    }));
    await apply(opening as StockCommand[]);
    for (let ms = 0; ms < 10_000; ms += STEP_MS) {
      late.book(clock.now());
      skewed.book(clock.now());
      clock.moveTo(clock.now() + STEP_MS);
    }

    let compared = 0;
    let comparing: { atMs: number; hasLost: boolean } | undefined;
    for (let ms = 0; ms < SECONDS * 1_000; ms += STEP_MS) {
      await apply(
        Array.from({ length: COMMANDS_A_STEP }, () =>
          commandOf(random.pick(["receive", "correct", "reserve", "reserve"] as const), 1 + random.below(3)),
        ),
      );
      late.book(clock.now());
      skewed.book(clock.now());
      if (!comparing) {
        const hasLost = compared % 2 === 1;
        const rows = late.rows();
        const lost = rows[random.below(rows.length)] as SnapshotRow;
        const reported = hasLost ? rows.map((row) => (row === lost ? { ...row, units: row.units - 400 } : row)) : rows;
        reports.set({ source: "wms", measure: "on_hand", asOfMs: clock.now() }, reported);
        const offMs = Math.floor((2 * random.next() - 1) * 2_000);
        reports.set({ source: "oms", measure: "sellable", asOfMs: clock.now() + offMs }, skewed.rows());
        comparing = { atMs: clock.now() + Math.max(0, offMs) + 2_200, hasLost };
      }
      clock.moveTo(clock.now() + STEP_MS);
      if (!comparing || clock.now() < comparing.atMs) continue;
      const { pairs, leftOut } = await comparer.compare("snapshot");
      expect(leftOut).toEqual({});
      const found = pairs.map(({ a, b, shop }) => [a, b, shop.cells, shop.differingCells]);
      const wrong = comparing.hasLost ? 1 : 0;
      expect(found, `SHUIWEI_SEED=${SEED} at ${ms} ms`).toEqual([
        ["oms", "ledger", SKUS * LOCATIONS.length, 0],
        ["wms", "ledger", SKUS * LOCATIONS.length, wrong],
        ["oms", "wms", SKUS * LOCATIONS.length, wrong],
      ]);
      compared++;
      comparing = undefined;
      for (let partition = 0; partition < PARTITIONS; partition++)
        await client.xtrim(stockKeys(prefix, partition).log, "MAXLEN", KEPT_ENTRIES);
    }
    expect(compared).toBeGreaterThanOrEqual(Math.floor(SECONDS / 10));
    expect(compared).toBeGreaterThanOrEqual(2);
  }, 1_500_000);
});
