/**
 * Workers come and go under load: one, two, four, then one is stopped cleanly, one is killed for good, and one more
 * is stopped. After every change the partitions are spread evenly within seconds, nothing is missed and nothing
 * repeated. How long a partition stands still while it moves is read off its commits, apart for clean hand-overs and
 * for the killed worker's partitions, which wait for the lease to end.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { sleep } from "../../engine/kernel/clock.js";
import { Bed, type Product, planSeed } from "./bed.js";
import { checkFinalState, matchAnswers } from "./final-state.js";
import { describePauses, ownerChanges } from "./pauses.js";
import { Shop } from "./shop.js";

const PARTITIONS = 16;
const LEASE_MS = 2_000;
/** A start of two processes on a busy machine, and the lease of one that was killed. */
const SPREAD_WITHIN_MS = 20_000;
/** Far above what is printed: a pause of minutes is a fault, one of seconds may be the machine's. */
const LONGEST_PAUSE_MS = 15_000;
/** Between two changes: the load goes on over partitions that stay. */
const CALM_MS = 2_000;

const seed = planSeed();
let bed: Bed;

beforeAll(async () => {
  bed = await Bed.open({ partitions: PARTITIONS, leaseMs: LEASE_MS, appendfsync: "everysec" });
  await bed.startAll(["api", "worker"]);
});

afterAll(() => bed.close());

/** Partitions of each worker, and 0 for partitions without an owner or of a process that has ended. */
async function spread(workers: readonly Product[]): Promise<number[]> {
  const owners = await bed.owners();
  const counts = workers.map(({ pid }) => owners.filter((owner) => owner === pid).length);
  const rest = PARTITIONS - counts.reduce((sum, count) => sum + count, 0);
  return rest > 0 ? [...counts, 0] : counts;
}

async function isEven(workers: readonly Product[]): Promise<boolean> {
  const counts = await spread(workers);
  return Math.max(...counts) - Math.min(...counts) <= 1;
}

interface Change {
  name: string;
  fromMs: number;
  toMs: number;
  clean: boolean;
}

it("partitions move when workers come and go, and no event is missed or repeated", async () => {
  const shop = new Shop({
    seed,
    apis: bed.apis,
    commands: 1_000_000,
    rate: 2_500,
    skus: 240,
    batchers: 4,
    orderers: 2,
    batch: 80,
    timeoutMs: 5_000,
    patienceMs: 30_000,
  });
  const load = shop.run();
  const changes: Change[] = [];
  const change = async (name: string, clean: boolean, act: () => Promise<unknown>): Promise<void> => {
    await sleep(CALM_MS);
    const fromMs = await bed.redisNow();
    await act();
    const workers = bed.of("worker").filter(({ isReady }) => isReady);
    await expect
      .poll(() => isEven(workers), { timeout: SPREAD_WITHIN_MS, interval: 50, message: `${name}: spread evenly` })
      .toBe(true);
    changes.push({ name, fromMs, toMs: await bed.redisNow(), clean });
  };
  const [first] = bed.of("worker") as [Product];
  let second: Product | undefined;
  let fourth: Product | undefined;
  let third: Product | undefined;
  try {
    await change("1 worker", true, () => first.untilReady());
    await change("2 workers", true, async () => {
      [second] = await bed.startAll(["worker"]);
    });
    await change("4 workers", true, async () => {
      [third, fourth] = await bed.startAll(["worker", "worker"]);
    });
    await change("3 workers, one stopped", true, async () => expect(await first.stop()).toBe(0));
    await change("2 workers, one killed", false, async () => fourth?.end());
    await change("1 worker, one stopped", true, async () => expect(await second?.stop()).toBe(0));
    await sleep(CALM_MS);
  } finally {
    shop.stop();
    await load;
  }
  await sleep(2_000); // short holds end
  await bed.untilCaughtUp();
  bed.expectNoCrash();
  expect(await third?.stop()).toBe(0);
  const findings = await checkFinalState(bed);
  matchAnswers(shop.answers, findings);

  const moves = ownerChanges(findings.commits);
  const within = (wanted: (change: Change) => boolean) =>
    moves.filter(({ toMs }) =>
      changes.some((each) => wanted(each) && toMs >= each.fromMs && toMs <= each.toMs + CALM_MS),
    );
  expect(within(({ clean }) => clean).length).toBeGreaterThan(0);
  expect(within(({ clean }) => !clean).length).toBeGreaterThan(0);
  expect(Math.max(...moves.map(({ fromMs, toMs }) => toMs - fromMs))).toBeLessThan(LONGEST_PAUSE_MS);
  for (const each of changes.slice(1)) {
    process.stdout.write(
      `scale: ${each.name}: spread evenly after ${((each.toMs - each.fromMs) / 1_000).toFixed(1)} s, ` +
        `pause ${describePauses(within((other) => other === each))}\n`,
    );
  }
  process.stdout.write(
    `scale: pause of a partition on a clean hand-over ${describePauses(within(({ clean }) => clean))}; ` +
      `after a kill ${describePauses(within(({ clean }) => !clean))}, lease ${LEASE_MS} ms; ` +
      `${shop.accounted} commands, ${findings.events} events, seed ${seed}\n`,
  );
}, 180_000);
