/**
 * The whole way: random commands through the real ledger, the runner and the follower; the levels that a shop reads
 * are the ledger's balances.
 */
import { expect, it } from "vitest";
import { sleep } from "../../../engine/kernel/clock.js";
import { seededRandom } from "../../../engine/kernel/random.js";
import { displayUnits, POOLS } from "../../../engine/stock/model.js";
import { withEngines } from "../../app/engine-builder.js";
import { withRedis } from "../../redis/with-redis.js";
import { CommandStream, SKUS } from "../../sim/commands.js";

const redis = withRedis();
const engines = withEngines();
const SEED = 618;
const START_MS = Date.UTC(2026, 5, 17, 16);

it("levels equal the ledger's balances after random commands", async () => {
  let nowMs = START_MS;
  const shopTime = { clock: { now: () => nowMs }, speed: () => 1, scene: () => undefined };
  const troubles: string[] = [];
  const engine = await engines.start({
    redisUrl: redis.url,
    prefix: "levels",
    zone: "Asia/Shanghai",
    shopTime,
    onTrouble: (message) => troubles.push(message),
  });
  const { ledger, storefrontView } = engine.stock;
  const { follower } = engine.topic("stock");
  // The start warns that this Redis stores nothing on disk.
  troubles.length = 0;

  const commands = new CommandStream(seededRandom(SEED), START_MS, 3).take(8_000);
  const coefficients = new Map<string, number>();
  for (let i = 0; i < commands.length; i += 200) {
    const batch = commands.slice(i, i + 200);
    const replies = await ledger.applyMany(batch);
    batch.forEach((command, k) => {
      const { outcome, repeated } = replies[k] ?? {};
      if (command.kind !== "configure" || outcome !== "accepted" || repeated) return;
      const { displayCoefficient } = command.settings;
      if (displayCoefficient !== undefined) coefficients.set(command.sku, displayCoefficient);
    });
    nowMs += 60_000;
  }
  // The last holds expire now, so that no balance changes during the comparison.
  for (let partition = 0; partition < ledger.partitions; partition++) await ledger.tick(partition);
  nowMs++;
  while (follower.asOf() < nowMs) await sleep(10);
  expect(troubles).toEqual([]);
  let compared = 0;
  for (const sku of SKUS) {
    const held = await ledger.balances(sku);
    const shown = storefrontView.get(sku);
    for (const [location, balances] of held ?? []) {
      const display = displayUnits(balances.sellable, balances.reserved, coefficients.get(sku));
      expect(shown?.locations.get(location), `${sku} at ${location}, seed ${SEED}`).toEqual({ ...balances, display });
      compared++;
    }
    for (const pool of POOLS) {
      const sum = [...(held?.values() ?? [])].reduce((total, balances) => total + balances[pool], 0);
      expect(shown?.total[pool] ?? 0, `${sku} ${pool}, seed ${SEED}`).toBe(sum);
    }
  }
  expect(compared).toBeGreaterThan(5);
});
