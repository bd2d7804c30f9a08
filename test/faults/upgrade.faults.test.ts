/**
 * A fleet is rolled from the previous release to this one under load, process by process, while old ones start again
 * in the middle and one goes back: nothing is lost, doubled or refused, before the format is raised, while it is and
 * afterwards. Skipped where the history does not hold the previous release.
 */
import { execFile } from "node:child_process";
import { afterAll, beforeAll, expect, it } from "vitest";
import { ALERTS_TOPIC, DEPLETION_EVENT, type DepletionEvent } from "../../engine/jobs/alerts/events.js";
import { ALERT_EMIT, type AlertChange } from "../../engine/jobs/depletion/job.js";
import { AVAILABILITY_EMIT } from "../../engine/jobs/storefront/job.js";
import { sleep } from "../../engine/kernel/clock.js";
import { orderEventsOf } from "../../engine/orders/log-entry.js";
import { ORDER_STEPS } from "../../engine/orders/model.js";
import { EmitReader } from "../../engine/stream/emits.js";
import { topicEventsOf } from "../../engine/stream/event-entry.js";
import { LATEST_FORMAT, readDeployment } from "../../engine/stream/format.js";
import type { Emit } from "../../engine/stream/job.js";
import { orderKeys, partitionKeys } from "../../engine/stream/keys.js";
import { readLog } from "../../engine/stream/log.js";
import { Bed, CLI, type Product, planSeed } from "./bed.js";
import { checkFinalState, matchAnswers } from "./final-state.js";
import { buildRelease, type PreviousRelease, previousCommit } from "./previous-release.js";
import { Shop } from "./shop.js";

const COMMANDS = 9_000;
/** A change of the fleet takes some seconds; the load waits for it where it would be over before. */
const RATE = 250;
const PREFIX = "shuiwei";

const commit = await previousCommit();
let previous: PreviousRelease;
let bed: Bed;

beforeAll(async () => {
  if (commit === undefined) return;
  previous = await buildRelease(commit);
  bed = await Bed.open({
    partitions: 4,
    leaseMs: 2_000,
    appendfsync: "everysec",
    cli: previous.cli,
    // How long orders wait and jobs are behind is a matter of the machine, and not of releases.
    apiArguments: ["--max-wait", "60000", "--max-lag", "3600000"],
  });
});

afterAll(async () => {
  await bed?.close();
  await previous?.remove();
});

const command = (cli: string, ...args: string[]): Promise<{ status: number; out: string }> =>
  new Promise((resolve) => {
    execFile(process.execPath, [cli, ...args, "--redis-url", bed.socketPath], (error, out, err) =>
      resolve({ status: error === null ? 0 : Number(error.code), out: out + err }),
    );
  });

it.skipIf(commit === undefined)(
  "is rolled process by process and nothing is lost, doubled or refused",
  async () => {
    const seed = planSeed();
    process.stdout.write(`upgrade: from ${commit}, seed ${seed}\n`);
    await bed.startAll(["api", "api", "api", "worker", "worker"]);
    const [api1, api2, api3] = bed.of("api") as [Product, Product, Product];
    const [worker1, worker2] = bed.of("worker") as [Product, Product];
    const before = await readDeployment(bed.redis, PREFIX);
    // Releases without a new format have nothing to finish, and the previous one may start again.
    const raises = (before?.format ?? 0) < LATEST_FORMAT;

    const shop = new Shop({
      ...{ seed, apis: bed.apis, commands: COMMANDS, rate: RATE, skus: 40 },
      ...{ batchers: 3, orderers: 6, batch: 60, timeoutMs: 20_000, patienceMs: 90_000 },
    });
    let failed = false;
    const load = shop.run().catch((thrown) => {
      failed = true;
      throw thrown;
    });

    const steps: readonly [does: string, work: () => Promise<unknown>, raises?: "raises"][] = [
      ["a worker is new", () => worker1.replace(CLI)],
      ["a server is new", () => api1.replace(CLI)],
      // Their libraries come back under the new processes.
      ["an old server starts again", () => api2.restart()],
      ["an old worker starts again", () => worker2.restart()],
      [
        "it is too early to finish",
        async () => expect(await command(CLI, "upgrade", "--finish")).toMatchObject({ status: 1 }),
        "raises",
      ],
      ["the new worker goes back", () => worker1.replace(previous.cli)],
      ["the new server goes back", () => api1.replace(previous.cli)],
      ["both workers are new", () => Promise.all([worker1.replace(CLI), worker2.replace(CLI)])],
      ["all servers but one are new", () => api1.replace(CLI).then(() => api2.replace(CLI))],
      [
        "an old server alone is noticed, too",
        async () => {
          const { status, out } = await command(CLI, "upgrade", "--finish");
          expect(out).toContain(`cannot read format ${LATEST_FORMAT}`);
          expect(status).toBe(1);
          expect(await readDeployment(bed.redis, PREFIX)).toEqual(before);
        },
        "raises",
      ],
      ["the last server is new", () => api3.replace(CLI)],
      [
        "the format is raised",
        async () => {
          expect(await command(CLI, "upgrade", "--finish")).toMatchObject({ status: 0 });
          expect(await readDeployment(bed.redis, PREFIX)).toEqual({ partitions: 4, format: LATEST_FORMAT });
        },
        "raises",
      ],
      ["a new worker starts again", () => worker1.restart()],
    ];
    const rollout = (async () => {
      for (const [i, [does, work, ofFormat]] of steps.entries()) {
        if (ofFormat && !raises) continue;
        // The load goes on while the fleet changes, but not past the place of the next change but one.
        shop.ceiling = ((i + 3) / (steps.length + 3)) * COMMANDS;
        while (!failed && shop.accounted < ((i + 1) / (steps.length + 3)) * COMMANDS) await sleep(10);
        if (failed) return;
        await work();
        process.stdout.write(`upgrade: ${does}; ${shop.accounted} commands, ${shop.resent} sent again\n`);
      }
      shop.ceiling = Number.POSITIVE_INFINITY;
    })();
    rollout.catch(() => shop.stop());
    await Promise.all([load, rollout]);

    // A server that is stopping answers so on connections that are still open; a load balancer has removed it by then.
    expect(shop.refusals.filter((text) => !text.includes("urn:shuiwei:stopping"))).toEqual([]);
    expect(shop.accounted).toBe(COMMANDS);
    await expect.poll(() => heldShortly(shop.shortHolds), { timeout: 30_000 }).toBe(0);
    await bed.untilCaughtUp();
    // Alerts also of what fired while both releases ran, or after the new one had gone back.
    await expect.poll(alertsLeft, { timeout: 60_000 }).toEqual([]);
    expect(await command(CLI, "audit")).toMatchObject({ status: 0, out: expect.stringContaining("all agree") });
    bed.expectNoCrash();
    await bed.stopProducts();
    // No process of the previous release can start any more.
    if (raises)
      expect(await command(previous.cli, "serve", "--roles", "worker", "--partitions", "4")).toMatchObject({
        status: 1,
      });

    const findings = await checkFinalState(bed, isOfBothReleases);
    matchAnswers(shop.answers, findings);
    expect(findings.emits).toBeGreaterThan(20);
    await matchSteps(shop);
  },
  600_000,
);

/** Releases up to 091eb68 do not emit that a SKU is sold out or back in stock. */
const isOfBothReleases = ({ kind }: Emit): boolean => kind !== AVAILABILITY_EMIT;

/** Changes of alerts that the topic of alerts does not have exactly once. */
async function alertsLeft(): Promise<string[]> {
  const times = new Map<string, number>();
  const count = (change: string, by: number) => times.set(change, (times.get(change) ?? 0) + by);
  let changes = 0;
  for (const partition of bed.partitions()) {
    const emits = new EmitReader(bed.redis, partitionKeys(PREFIX, "stock", partition));
    for (let last = 0; ; ) {
      const entries = await emits.read(last, 64, 0);
      if (entries.length === 0) break;
      for (const entry of entries) {
        last = entry.commit;
        for (const { kind, payload } of entry.emits) {
          if (kind !== ALERT_EMIT) continue;
          const { type, alert } = payload as AlertChange;
          count(`${type} ${alert.id}`, 1);
          changes++;
        }
      }
    }
    const { log } = partitionKeys(PREFIX, ALERTS_TOPIC, partition);
    for (let last = 0; ; ) {
      const entries = await readLog(bed.redis, log, last, 64);
      if (entries.length === 0) break;
      for (const entry of entries) {
        last = entry.offset;
        for (const { kind, payload } of topicEventsOf(entry).events) {
          if (kind !== DEPLETION_EVENT) continue;
          const { type, alertId } = payload as DepletionEvent;
          count(`${type} ${alertId}`, -1);
        }
      }
    }
  }
  expect(changes).toBeGreaterThan(0);
  return [...times].flatMap(([change, left]) => (left === 0 ? [] : [`${change}: ${left}`]));
}

/** Holds that were made to run out and have not yet been given back. */
async function heldShortly(ids: ReadonlySet<string>): Promise<number> {
  const holds = await Promise.all(bed.partitions().map((p) => bed.redis.zrange(bed.keysOf(p).holds, "0", "-1")));
  return holds.flat().filter((id) => ids.has(id)).length;
}

/** Every order whose payment was accepted is in the orders' log as paid and as locked, once each. */
async function matchSteps(shop: Shop): Promise<void> {
  const taken = new Map<string, number>();
  for (const partition of bed.partitions()) {
    const { log } = orderKeys(PREFIX, partition);
    for (let last = 0; ; ) {
      const entries = await readLog(bed.redis, log, last, 64);
      if (entries.length === 0) break;
      for (const entry of entries) {
        last = entry.offset;
        for (const { id, step } of orderEventsOf(entry).events)
          taken.set(`${step} ${id}`, (taken.get(`${step} ${id}`) ?? 0) + 1);
      }
    }
  }
  const paid = new Set<string>();
  for (const { id, kind, accepted, ofOrder } of shop.answers.values())
    if (ofOrder && kind === "pay" && accepted) paid.add(id.replace(/-\d+$/, ""));
  expect(paid.size).toBeGreaterThan(50);
  const faults = [...paid].flatMap((id) =>
    ["created", "paid", "locked"].flatMap((step) =>
      taken.get(`${step} ${id}`) === 1 ? [] : [`${id}: ${step} ${taken.get(`${step} ${id}`) ?? 0} times`],
    ),
  );
  expect(faults).toEqual([]);
  const twice = [...taken].filter(([key, times]) => times > 1 && ORDER_STEPS.some((step) => key.startsWith(step)));
  expect(twice).toEqual([]);
}
