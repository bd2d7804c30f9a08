/**
 * The whole way: random commands through the real ledger, the runner and the follower; the levels that a shop reads
 * are the ledger's balances.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { stockJobs } from "../../../engine/jobs/index.js";
import { StorefrontView } from "../../../engine/jobs/storefront/view.js";
import { sleep, systemClock } from "../../../engine/kernel/clock.js";
import { seededRandom } from "../../../engine/kernel/random.js";
import { zoneOf } from "../../../engine/kernel/zone.js";
import { Ledger } from "../../../engine/stock/ledger.js";
import { displayUnits, POOLS } from "../../../engine/stock/model.js";
import { stockTopic } from "../../../engine/stock/topic.js";
import { loadStreamLibrary } from "../../../engine/stream/commit.js";
import { Follower } from "../../../engine/stream/follower.js";
import { connect } from "../../../engine/stream/redis.js";
import { Worker } from "../../../engine/stream/worker.js";
import { withRedis } from "../../redis/with-redis.js";
import { CommandStream, SKUS } from "../../sim/commands.js";

const redis = withRedis();
const PARTITIONS = 4;
const PREFIX = "levels";
const SEED = 618;
const START_MS = Date.UTC(2026, 5, 17, 16);
let client: ReturnType<typeof redis.connect>;

beforeAll(async () => {
  client = redis.connect();
  await Promise.all([Ledger.load(client), loadStreamLibrary(client)]);
});

const stops: (() => Promise<void>)[] = [];
afterAll(async () => {
  for (const stop of stops.reverse()) await stop();
});

it("levels equal the ledger's balances after random commands", async () => {
  let nowMs = START_MS;
  const ledger = new Ledger({ redis: client, prefix: PREFIX, partitions: PARTITIONS, clock: { now: () => nowMs } });
  const jobs = stockJobs(zoneOf("Asia/Shanghai"));
  const topic = stockTopic(ledger);
  const troubles: string[] = [];
  const common = {
    prefix: PREFIX,
    redis: client,
    clock: systemClock,
    onTrouble: (message: string) => troubles.push(message),
  };
  const worker = new Worker({
    ...common,
    topic,
    jobs,
    openReader: () => connect({ url: redis.url }, true),
    owner: "test",
    leaseMs: 5_000,
    tickMs: 1_000,
    retentionMs: 0,
    withViews: true,
  });
  const storefrontView = new StorefrontView();
  const follower = new Follower({
    ...common,
    topic: "stock",
    partitions: PARTITIONS,
    jobs,
    views: [storefrontView],
    pollMs: 10,
  });
  worker.start();
  stops.push(() => worker.stop());
  await follower.start();
  stops.push(() => follower.stop());

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
  const askedMs = systemClock.now();
  while (follower.asOf() <= askedMs) await sleep(10);
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
