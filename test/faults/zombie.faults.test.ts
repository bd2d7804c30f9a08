/**
 * Zombies: a worker is stopped (SIGSTOP) past its lease under load, another one takes its partitions over and
 * commits, and then the stopped one continues where it stopped. Everything that it still writes is refused by its
 * epoch; no two owners ever commit for one partition, and at the end the jobs agree with the log. The
 * pause of a partition is measured from the commits' own times, by Redis' clock.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { sleep } from "../../engine/kernel/clock.js";
import { seededRandom } from "../../engine/kernel/random.js";
import { Bed, type Product, planSeed } from "./bed.js";
import { checkFinalState, matchAnswers } from "./final-state.js";
import { describePauses, type OwnerChange, ownerChanges } from "./pauses.js";
import { Shop } from "./shop.js";

const FREEZES = 12;
const LEASE_MS = 1_000;
const TAKEN_WITHIN_MS = 15_000;
const PARTITIONS = 16;
const EACH = PARTITIONS / 2;
const CALM_MS = 300;
const ARRIVED_MS = 50;

/** A sleep by Redis' clock, and the partitions that the sleeper had. */
interface Span {
  fromMs: number;
  toMs: number;
  lost: number[];
}

const seed = planSeed();
let bed: Bed;

beforeAll(async () => {
  bed = await Bed.open({ partitions: PARTITIONS, leaseMs: LEASE_MS, appendfsync: "everysec" });
  await bed.startAll(["api", "worker", "worker"]);
});

afterAll(() => bed.close());

/** Commits and renewals that Redis has refused because of their epoch. */
async function refused(): Promise<number> {
  return Number(/errorstat_STALE_EPOCH:count=(\d+)/.exec(await bed.redis.info("errorstats"))?.[1] ?? 0);
}

async function partitionsOf(worker: Product): Promise<number[]> {
  const owners = await bed.owners();
  return bed.partitions().filter((partition) => owners[partition] === worker.pid);
}

it("a worker that was stopped past its lease is refused, and two owners never both commit", async () => {
  const random = seededRandom(seed);
  const shop = new Shop({
    seed,
    apis: bed.apis,
    commands: 1_000_000,
    rate: 2_500,
    skus: 240,
    batchers: 3,
    orderers: 2,
    batch: 120,
    timeoutMs: 2_000,
    patienceMs: 30_000,
  });
  const load = shop.run();
  const spans: Span[] = [];
  let commitsRefused = 0;
  let frozenPartitions = 0;
  try {
    // The load has begun everywhere: a change of owner is seen between two commits that give something out.
    const hasBegun = async () => (await bed.tasks()).every((task) => (task?.lastOut ?? 0) > 0);
    await expect.poll(hasBegun, { timeout: TAKEN_WITHIN_MS }).toBe(true);
    for (let freeze = 0; freeze < FREEZES; freeze++) {
      const workers = bed.of("worker");
      // Shares are even again, and nothing is on its way from one to the other.
      const even = async () => (await Promise.all(workers.map(partitionsOf))).every(({ length }) => length === EACH);
      await expect.poll(even, { timeout: TAKEN_WITHIN_MS }).toBe(true);
      await sleep(CALM_MS);
      const refusedBefore = await refused();
      const zombie = random.pick(workers);
      const fromMs = await bed.redisNow();
      zombie.freeze();
      // What it had sent has arrived by now.
      await sleep(ARRIVED_MS);
      const before = await bed.tasks();
      const lost = await partitionsOf(zombie);
      expect(lost.length).toBe(EACH);
      // Another process owns every one of them, and has committed something that is given out: a new owner's first
      // commits may emit nothing.
      const takenOver = async (): Promise<number> => {
        const tasks = await bed.tasks();
        const owners = await bed.owners();
        return lost.filter(
          (p) =>
            owners[p] !== zombie.pid &&
            owners[p] !== 0 &&
            (tasks[p]?.epoch ?? 0) > (before[p]?.epoch ?? 0) &&
            (tasks[p]?.lastOut ?? 0) > (before[p]?.lastOut ?? 0),
        ).length;
      };
      await expect.poll(takenOver, { timeout: TAKEN_WITHIN_MS, interval: 20 }).toBe(lost.length);
      await sleep(random.below(400));
      spans.push({ fromMs, toMs: await bed.redisNow(), lost });
      zombie.wake();
      // Every partition that it still believed to own.
      await expect
        .poll(refused, { timeout: TAKEN_WITHIN_MS, interval: 20 })
        .toBeGreaterThanOrEqual(refusedBefore + lost.length);
      await sleep(200 + random.below(300));
      commitsRefused += (await refused()) - refusedBefore;
      frozenPartitions += lost.length;
    }
  } finally {
    shop.stop();
    await load;
  }
  await bed.untilCaughtUp();
  bed.expectNoCrash();
  expect(
    bed
      .of("worker")
      .map(({ complaints }) => complaints.join(""))
      .join(""),
  ).toContain("another owner has taken over");
  await sleep(2_000); // short holds end
  await bed.untilCaughtUp();
  await bed.stopProducts();
  const findings = await checkFinalState(bed);
  matchAnswers(shop.answers, findings);
  const changes = ownerChanges(findings.commits);
  const within = ({ partition, toMs }: OwnerChange, span: Span): boolean =>
    span.lost.includes(partition) && toMs >= span.fromMs && toMs <= span.toMs;
  const takeOvers = changes.filter((change) => spans.some((span) => within(change, span)));
  // Each that a sleeper had was taken over while it slept; on a busy machine an owner that is awake may lose its
  // lease as well.
  const taken = spans.map((span) => new Set(changes.filter((c) => within(c, span)).map(({ partition }) => partition)));
  expect(taken.reduce((sum, { size }) => sum + size, 0)).toBe(frozenPartitions);
  process.stdout.write(
    `zombies: ${FREEZES} freezes, ${frozenPartitions} partitions taken over, ${commitsRefused} writes refused by epoch, ` +
      `pause ${describePauses(takeOvers)} with a lease of ${LEASE_MS} ms; ${shop.accounted} commands, ` +
      `${findings.commits.length} commits, each once; seed ${seed}\n`,
  );
}, 240_000);
