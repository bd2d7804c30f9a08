/**
 * 300,000 commands over HTTP while processes are killed and frozen under them: workers, servers with open screens,
 * and redis-server itself. At the end every command has one answer, the log holds exactly what was answered, and all
 * that is derived from the log agrees with the log. The plan of faults and the clients' choices come from a seed,
 * which is printed; SHUIWEI_SEED runs it again.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { sleep } from "../../engine/kernel/clock.js";
import { type Random, seededRandom, shuffled } from "../../engine/kernel/random.js";
import { POOLS } from "../../engine/stock/model.js";
import { Bed, type Product, planSeed, TOKEN } from "./bed.js";
import { checkFinalState, ledgerTotals, matchAnswers, shownWrongly } from "./final-state.js";
import { Screen } from "./screens.js";
import { Shop, skuNames } from "./shop.js";

const COMMANDS = 300_000;
const SKUS = 240;
const LEASE_MS = 1_000;
/** 300,000 at this rate take 110 s; the faults are spread over them. */
const RATE = 2_700;

const FAULTS = {
  "kill a worker": 14,
  "kill an api": 10,
  "kill redis": 8,
  "kill redis and a worker": 3,
  "kill everything": 1,
  "freeze a worker past its lease": 6,
  "freeze an api": 4,
  "freeze redis": 4,
} as const;
type Fault = keyof typeof FAULTS;
const KILLS: Record<Fault, number> = {
  "kill a worker": 1,
  "kill an api": 1,
  "kill redis": 1,
  "kill redis and a worker": 2,
  "kill everything": 5,
  "freeze a worker past its lease": 0,
  "freeze an api": 0,
  "freeze redis": 0,
};

const seed = planSeed();
let bed: Bed;
const screens: Screen[] = [];

beforeAll(async () => {
  bed = await Bed.open({ partitions: 16, leaseMs: LEASE_MS, appendfsync: "always" });
  await bed.startAll(["api", "api", "worker", "worker"]);
});

afterAll(async () => {
  for (const screen of screens) screen.close();
  await bed.close();
});

/** The plan: every fault as often as the table says, in an order of the seed's. */
const planOf = (random: Random): Fault[] =>
  shuffled(
    Object.entries(FAULTS).flatMap(([fault, times]) => Array<Fault>(times).fill(fault as Fault)),
    random,
  );

async function strike(fault: Fault, random: Random): Promise<void> {
  const worker = random.pick(bed.of("worker"));
  const api = random.pick(bed.of("api"));
  const frozen = async (product: Product, ms: number): Promise<void> => {
    product.freeze();
    await sleep(ms);
    product.wake();
  };
  switch (fault) {
    case "kill a worker":
      return worker.kill();
    case "kill an api":
      return api.kill();
    case "kill redis and a worker":
      worker.kill();
      await bed.killRedis();
      return bed.startRedis();
    case "kill redis":
      await bed.killRedis();
      return bed.startRedis();
    case "kill everything":
      for (const product of bed.products) product.kill();
      await bed.killRedis();
      return bed.startRedis();
    case "freeze a worker past its lease":
      return frozen(worker, LEASE_MS + 300 + random.below(1_200));
    case "freeze an api":
      return frozen(api, 500 + random.below(1_500));
    case "freeze redis":
      bed.freezeRedis();
      await sleep(500 + random.below(1_500));
      bed.wakeRedis();
  }
}

it("loses, repeats and invents nothing while processes are killed and frozen", async () => {
  const random = seededRandom(seed);
  const plan = planOf(random);
  process.stdout.write(`kills: seed ${seed}, ${plan.length} faults\n`);
  const shop = new Shop({
    seed,
    apis: bed.apis,
    commands: COMMANDS,
    rate: RATE,
    skus: SKUS,
    batchers: 5,
    orderers: 4,
    batch: 400,
    timeoutMs: 1_500,
    patienceMs: 60_000,
  });
  screens.push(...bed.apis.map((api) => new Screen(api, TOKEN)));
  let failed = false;
  const load = shop.run().catch((thrown) => {
    failed = true;
    throw thrown;
  });
  const faults = (async () => {
    for (const [i, fault] of plan.entries()) {
      // The load goes on while a fault lasts, but not past the place of the next one but one.
      shop.ceiling = ((i + 2) / plan.length) * COMMANDS;
      while (!failed && shop.accounted < (i / plan.length) * COMMANDS) await sleep(5);
      if (!failed) await strike(fault, random);
    }
    shop.ceiling = Number.POSITIVE_INFINITY;
  })();
  await Promise.all([load, faults]);

  // Every process runs again and shows the present state.
  await Promise.all(bed.products.map((product) => product.untilReady()));
  await expect.poll(() => heldShortly(shop.shortHolds), { timeout: 30_000 }).toBe(0);
  await bed.untilCaughtUp();
  await expect.poll(() => screens.every((screen) => screen.isLive), { timeout: 30_000 }).toBe(true);
  await expect.poll(differences, { timeout: 30_000 }).toEqual([]);
  expect(screens.flatMap(({ faults: found }) => found)).toEqual([]);
  expect(screens.every(({ connections, snapshots }) => connections > 1 && snapshots >= connections)).toBe(true);
  bed.expectNoCrash();
  await bed.stopProducts();

  const findings = await checkFinalState(bed);
  matchAnswers(shop.answers, findings);
  for (const id of shop.shortHolds) expect(findings.tally.get(`LineExpired ${id}`), id).toBe(1);
  expect(findings.expiries).toBe(shop.shortHolds.size);
  expect(findings.emits).toBeGreaterThan(100);
  expect(shop.accounted).toBe(COMMANDS);
  const answers = [...shop.answers.values()];
  const accepted = answers.filter((answer) => answer.accepted).length;
  const repeated = answers.filter((answer) => answer.repeated).length;
  const kills = plan.reduce((sum, fault) => sum + KILLS[fault], 0);
  const freezes = plan.filter((fault) => fault.startsWith("freeze")).length;
  process.stdout.write(
    `kills: ${COMMANDS} commands, ${shop.accounted} accounted for (${accepted} accepted, ${COMMANDS - accepted} refused; ` +
      `${repeated} answered as repeated), ${kills} kills and ${freezes} freezes, ${shop.resent} requests sent again, ` +
      `longest time without an answer ${(shop.longestWaitMs / 1_000).toFixed(1)} s (${shop.longestWait.length} tries failed), ` +
      `${bed.products.reduce((sum, { giveUps }) => sum + giveUps, 0)} starts given up, ${findings.events} events, ` +
      `${findings.emits} alerts, seed ${seed}\n`,
  );
}, 400_000);

/** Holds that were made to run out and have not yet been given back. */
async function heldShortly(ids: ReadonlySet<string>): Promise<number> {
  const holds = await Promise.all(bed.partitions().map((p) => bed.redis.zrange(bed.keysOf(p).holds, "0", "-1")));
  return holds.flat().filter((id) => ids.has(id)).length;
}

/** What servers and screens show otherwise than the ledger has it. */
async function differences(): Promise<string[]> {
  const totals = await ledgerTotals(bed);
  const onScreens = screens.flatMap((screen) => {
    if (screen.rows.size === 0) return ["a screen shows nothing"];
    return [...screen.rows].flatMap(([sku, row]) => {
      const total = totals.get(sku);
      const expected = POOLS.map((pool) => total?.[pool] ?? 0).join();
      return row.slice(4, 9).join() === expected ? [] : [`${sku} on a screen: ${row.slice(4, 9)} and not ${expected}`];
    });
  });
  return [...onScreens, ...(await shownWrongly(bed, skuNames(SKUS)))];
}
