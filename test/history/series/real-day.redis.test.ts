/**
 * A real day of sales through a whole engine, where its file is at hand: the recorded minutes, hours and days are a
 * plain fold of the file. The shop's clock is the test's, and moves from sale to sale.
 */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { expect, it } from "vitest";
import { Buckets } from "../../../engine/history/series/buckets.js";
import { chainIdFromNumber } from "../../../engine/kernel/chain-id.js";
import { HOUR_MS, ManualClock, MINUTE_MS } from "../../../engine/kernel/clock.js";
import { zoneOf } from "../../../engine/kernel/zone.js";
import { withEngines } from "../../app/engine-builder.js";
import { withRedis } from "../../redis/with-redis.js";

const HISTORY = fileURLToPath(new URL("../../../../shared/data/online-retail.csv.gz", import.meta.url));
const DAY = "2011-08-19";
const ZONE = "Europe/London";
const OPENING_UNITS = 1_000_000;
/** Less than the trailing hour, so that no depletion can be missed. */
const RECORD_EVERY_MS = 20 * MINUTE_MS;

const redis = withRedis();
const engines = withEngines();

interface Sale {
  readonly sku: string;
  readonly units: number;
  readonly atMs: number;
}

function salesOf(day: string): Sale[] {
  const lines = gunzipSync(readFileSync(HISTORY)).toString("utf8").split("\n");
  const sales = lines.flatMap((line): Sale[] => {
    const [, sku = "", units = "", time = ""] = line.split(",");
    return time.startsWith(day) && Number(units) > 0 ? [{ sku, units: Number(units), atMs: Date.parse(time) }] : [];
  });
  return sales.sort((a, b) => a.atMs - b.atMs);
}

it.skipIf(!existsSync(HISTORY))(
  "a real day is recorded as a plain fold of its file",
  async () => {
    const sales = salesOf(DAY);
    expect(sales.length).toBeGreaterThan(700);
    const clock = new ManualClock(Date.parse(`${DAY}T00:00:00Z`));
    const shopTime = { clock, speed: () => 1, scene: () => undefined };
    const engine = await engines.start({
      ...{ redisUrl: redis.url, prefix: "real-day", partitions: 1, zone: ZONE, history: "redis", shopTime },
    });
    const recordedTo = async (): Promise<number> => {
      const endMs = Math.floor(clock.now() / MINUTE_MS) * MINUTE_MS;
      const recorded = async () => (await engine.series?.reader.sku("none", {}, clock.now()))?.recordedToMs;
      await expect.poll(recorded, { timeout: 30_000 }).toBe(endMs);
      return endMs;
    };
    const skus = [...new Set(sales.map(({ sku }) => sku))];
    let ids = 0;
    const nextId = () => chainIdFromNumber("WB", clock.now(), ids++);
    await engine.stock.ledger.applyMany(
      skus.map((sku) => ({ kind: "receive", id: nextId(), sku, location: "main", units: OPENING_UNITS })),
    );
    let lastMs = await recordedTo();
    for (const { sku, units, atMs } of sales) {
      while (atMs - lastMs >= RECORD_EVERY_MS) {
        clock.moveTo(lastMs + RECORD_EVERY_MS);
        lastMs = await recordedTo();
      }
      clock.moveTo(atMs);
      const { outcome } = await engine.orders.service.place({
        id: nextId(),
        lines: [{ sku, location: "main", units }],
      });
      expect(outcome).toBe("accepted");
    }
    clock.moveTo(clock.now() + HOUR_MS / 4);
    await recordedTo();

    const buckets = new Buckets(zoneOf(ZONE));
    let differences = 0;
    for (const sku of skus)
      for (const resolution of ["minute", "hour", "day"] as const) {
        const fold = new Map<number, number>();
        for (const sale of sales) {
          const atMs = buckets.beginMs(resolution, sale.atMs);
          if (sale.sku === sku) fold.set(atMs, (fold.get(atMs) ?? 0) + sale.units);
        }
        const fromMs = Date.parse(`${DAY}T00:00:00Z`);
        const answer = await engine.series?.reader.sku(sku, { resolution, fromMs }, clock.now());
        const recorded = (answer?.points ?? []).flatMap(({ atMs, value }) =>
          value === undefined ? [] : [[atMs, value]],
        );
        if (JSON.stringify(recorded) !== JSON.stringify([...fold])) differences++;
        // Reservations that nobody has paid return to the stock after half an hour.
        const sellable = engine.stock.storefrontView.get(sku)?.total.sellable;
        if (resolution === "day") expect(answer?.points.at(-1)?.stock).toBe(sellable);
      }
    expect(differences).toBe(0);
  },
  300_000,
);
