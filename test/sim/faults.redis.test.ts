/**
 * A crash at every step: seeded shops in which processes end, connections break, replies are lost and calls are
 * executed twice or late, at any call; and short scripts in which each fault occurs at each call in turn. The shop
 * must end as if no fault had occurred. A failure prints the command that replays it, and its trace. SEEDS=… makes
 * longer runs; from EVERY_CALL_SEEDS on the scripts try every call.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { stopwatch } from "../../engine/kernel/clock.js";
import { messageOf } from "../../engine/kernel/errors.js";
import { secureBytes, seededRandom } from "../../engine/kernel/random.js";
import { OrderStore } from "../../engine/orders/order-store.js";
import { Ledger } from "../../engine/stock/ledger.js";
import { loadStreamLibrary } from "../../engine/stream/commit.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { onCluster, withRedis } from "../redis/with-redis.js";
import { checkShop } from "./faults-check.js";
import type { Plan, Script, ScriptedClient } from "./faults-plan.js";
import { World } from "./faults-world.js";
import { FAULTS, type FaultKind, type FaultSource } from "./faulty-redis.js";

const SEEDS = Number(process.env["SEEDS"] ?? 12);
const EVERY_CALL_SEEDS = 1_000;
/** A short run tries one call in this number of each script. */
const SPARSE = 96;
/** A seed of a shop, or script:call:fault. */
const REPLAY = process.env["SHUIWEI_SEED"];
/** A seed takes about 130 ms, also on a busy machine less than this. */
const LIMIT_MS = 120_000 + SEEDS * 1_500;
const FLUSH_EVERY = 50;

const redis = withRedis();
let client: RedisClient;
let round = 0;
const elapsed = stopwatch();
const sum = { runs: 0, calls: 0, differences: 0, grantedLate: 0, injected: new Map<FaultKind, number>() };

beforeAll(async () => {
  if (onCluster) return;
  client = redis.connect();
  await Promise.all([Ledger.load(client), OrderStore.load(client), loadStreamLibrary(client)]);
});

/** Prints a summary of what was tried. */
afterAll(() => {
  if (onCluster || sum.runs === 0) return;
  const count = (n: number) => n.toLocaleString("en-US");
  const all = [...sum.injected.values()].reduce((total, times) => total + times, 0);
  const kinds = FAULTS.map((fault) => `${fault} ${count(sum.injected.get(fault) ?? 0)}`).join(", ");
  console.log(
    `faults: ${count(sum.runs)} runs, ${count(sum.calls)} calls, ${count(all)} faults (${kinds}), ` +
      `${sum.grantedLate} lines granted to requests given up, ${sum.differences} differences, ${Math.round(elapsed() / 1_000)} s`,
  );
});

/** Runs a shop to its end and checks the result. */
async function runShop(replay: string, seed: number, plan: Plan, faults: FaultSource): Promise<World> {
  if (++round % FLUSH_EVERY === 0) await redis.flush();
  const world = new World(client, `f${round}`, seed, plan, faults, REPLAY !== undefined);
  try {
    await world.run();
    await checkShop(client, world);
  } catch (cause) {
    sum.differences++;
    throw new Error(`SHUIWEI_SEED=${replay} npx vitest run test/sim/faults\n${messageOf(cause)}`, { cause });
  } finally {
    if (REPLAY !== undefined) console.log(world.net.trace.join("\n"));
    world.end();
  }
  sum.runs++;
  sum.grantedLate += world.grantedLate;
  sum.calls += world.net.calls;
  for (const [fault, times] of world.net.injected) sum.injected.set(fault, (sum.injected.get(fault) ?? 0) + times);
  return world;
}

// ---- seeded shops

function planOf(seed: number): Plan {
  const random = seededRandom(seed);
  const kind = random.below(3) === 0 ? "fixed" : "free";
  const leaseMs = random.pick([1_000, 3_000, 10_000]);
  const hasRetention = random.below(5) === 0;
  return {
    kind,
    partitions: random.pick([1, 1, 2]),
    workers: random.pick([1, 2, 2, 3]),
    services: random.pick([1, 2]),
    clients: random.pick([1, 2, 3]),
    turns: kind === "fixed" ? 30 : 5,
    leaseMs,
    tickMs: leaseMs * random.pick([0.2, 0.5, 1]),
    timeoutMs: leaseMs * random.pick([0.2, 1, 2]),
    clientTimeoutMs: random.pick([1_000, 4_000, 20_000]),
    pauseMs: hasRetention ? 12_000 : random.pick([50, leaseMs, 5_000]),
    retentionMs: hasRetention ? 5_000 : 0,
    hasPoison: random.below(4) === 0,
    losesWrites: kind === "free" && !hasRetention && random.below(4) === 0,
  };
}

/** Reads and heartbeats are many and their faults are alike: they get fewer faults. */
const RARELY_FAULTED = new Set(["xread", "workers_join", "stock_tick"]);
const LOSS = "newest writes lost" satisfies FaultKind;
/** The most faults of one run, so that every run ends. */
const MOST_FAULTS = 60;

function randomFaults(seed: number, { losesWrites }: Plan): FaultSource {
  const random = seededRandom(seed ^ 0xfa17);
  const rate = random.pick([0.01, 0.03, 0.1, 0.25]);
  let struck = 0;
  return ({ name, process: { onStop } }) => {
    if (struck >= MOST_FAULTS || random.next() > (RARELY_FAULTED.has(name) ? rate / 5 : rate)) return undefined;
    const fault = random.pick(FAULTS);
    if ((fault === "stop" && !onStop) || (fault === LOSS && !losesWrites)) return undefined;
    struck++;
    return fault;
  };
}

/** The arguments of a run. */
function shopOf(seed: number): [string, number, Plan, FaultSource] {
  const plan = planOf(seed);
  return [String(seed), seed, plan, randomFaults(seed, plan)];
}

// ---- scripts

const ONE_WORKER: Plan = {
  kind: "scripted",
  partitions: 1,
  workers: 1,
  services: 1,
  clients: 1,
  turns: 0,
  leaseMs: 2_000,
  tickMs: 1_000,
  timeoutMs: 400,
  clientTimeoutMs: 2_000,
  pauseMs: 0,
  retentionMs: 0,
  hasPoison: false,
  losesWrites: false,
};
/** CUP and BAG are in one of two partitions, SHOE in the other. */
const TWO_PARTITIONS: Plan = { ...ONE_WORKER, partitions: 2, services: 2 };

const TWO_PARTITIONS_AND_WAREHOUSE: Plan = { ...TWO_PARTITIONS, hasWarehouse: true };

/** An order of two lines in two partitions, paid. */
async function paidOrder(shop: ScriptedClient): Promise<string> {
  await shop.receive("CUP", 2);
  await shop.receive("SHOE", 1);
  const order = await shop.place({ CUP: 2, SHOE: 1 });
  await shop.pay(order);
  return order;
}

/** An order that is refused by a breaker and placed again later. */
const refusedByBreaker = (openMs: number, againMs: number): Plan & { script: Script } => ({
  ...TWO_PARTITIONS,
  async script(shop) {
    await shop.receive("CUP", 3);
    await shop.receive("SHOE", 3);
    await shop.refuse("SHOE", openMs);
    const order = await shop.place({ CUP: 2, SHOE: 2 });
    await shop.wait(againMs);
    await shop.placeAgain(order);
  },
});

const SCRIPTS: Readonly<Record<string, Plan & { script: Script }>> = {
  "paid-and-sent": {
    ...TWO_PARTITIONS,
    async script(shop) {
      await shop.receive("CUP", 3);
      await shop.receive("SHOE", 2);
      const order = await shop.place({ CUP: 2, SHOE: 1 });
      await shop.pay(order);
      await shop.outbound(order);
    },
  },
  "refused-and-placed-again": {
    ...TWO_PARTITIONS,
    async script(shop) {
      await shop.receive("CUP", 3);
      await shop.receive("SHOE", 1);
      const order = await shop.place({ CUP: 2, SHOE: 2 }, 3_000);
      await shop.placeAgain(order);
      const other = await shop.place({ SHOE: 1 });
      await shop.cancel(other);
    },
  },
  "refused-by-a-breaker": refusedByBreaker(3_000, 1_500),
  "refused-by-a-long-breaker": refusedByBreaker(6_000, 5_000),
  "paid-too-late": {
    ...TWO_PARTITIONS,
    async script(shop) {
      await shop.receive("CUP", 2);
      await shop.receive("SHOE", 2);
      const late = await shop.place({ CUP: 2, SHOE: 2 }, 300);
      await shop.wait(1_500);
      const quick = await shop.place({ CUP: 1 });
      await shop.pay(late);
      await shop.cancel(quick);
      await shop.wait(500);
      const last = await shop.place({ SHOE: 2 });
      await shop.pay(last);
    },
  },
  "paid-while-units-come-back": {
    ...TWO_PARTITIONS,
    async script(shop) {
      await shop.receive("CUP", 2);
      await shop.receive("SHOE", 2);
      const late = await shop.place({ CUP: 2, SHOE: 2 }, 300);
      await shop.wait(1_500);
      const quick = await shop.place({ CUP: 1 });
      const cancelled = shop.wait(1_000).then(() => shop.cancel(quick));
      await shop.pay(late);
      await cancelled;
    },
  },
  "one-line-paid-too-late": {
    ...ONE_WORKER,
    async script(shop) {
      await shop.receive("CUP", 2);
      const late = await shop.place({ CUP: 2 }, 300);
      await shop.wait(1_500);
      const quick = await shop.place({ CUP: 1 });
      await shop.pay(late);
      await shop.cancel(quick);
    },
  },
  "withdrawn-twice": {
    ...TWO_PARTITIONS_AND_WAREHOUSE,
    async script(shop) {
      const order = await paidOrder(shop);
      await shop.cancel(order);
      await shop.settle(order, "withdrawn");
      await shop.settle(order, "withdrawn");
      // The units were returned once only.
      const next = await shop.place({ CUP: 2, SHOE: 1 });
      await shop.cancel(next);
    },
  },
  "cancellation-refused": {
    ...TWO_PARTITIONS_AND_WAREHOUSE,
    async script(shop) {
      const order = await paidOrder(shop);
      await shop.cancel(order);
      await shop.settle(order, "refused");
      await shop.cancel(order);
      await shop.settle(order, "refused");
    },
  },
  "settled-both-ways": {
    ...TWO_PARTITIONS_AND_WAREHOUSE,
    async script(shop) {
      const order = await paidOrder(shop);
      await shop.cancel(order);
      await Promise.all([shop.settle(order, "refused"), shop.settle(order, "withdrawn")]);
      await shop.settle(order, "withdrawn");
    },
  },
  "withdrawn-while-it-leaves": {
    ...TWO_PARTITIONS_AND_WAREHOUSE,
    async script(shop) {
      const order = await paidOrder(shop);
      await shop.cancel(order);
      await Promise.all([shop.outbound(order, [1]), shop.settle(order, "withdrawn")]);
    },
  },
  "cancelled-while-it-is-paid": {
    ...TWO_PARTITIONS_AND_WAREHOUSE,
    async script(shop) {
      await shop.receive("CUP", 2);
      await shop.receive("SHOE", 1);
      const order = await shop.place({ CUP: 2, SHOE: 1 });
      await Promise.all([shop.pay(order), shop.cancel(order)]);
      await shop.cancel(order);
      await shop.settle(order, "withdrawn");
    },
  },
  "line-by-line": {
    ...TWO_PARTITIONS,
    async script(shop) {
      const order = await paidOrder(shop);
      await shop.cancel(order, [1]);
      await shop.outbound(order, [2]);
      const other = await paidOrder(shop);
      await shop.outbound(other, [1]);
      // All or nothing: refused, and the line that could be cancelled stays paid.
      await shop.cancel(other);
    },
  },
  "two-workers": {
    ...TWO_PARTITIONS,
    workers: 2,
    async script(shop) {
      for (const sku of ["CUP", "SHOE", "BAG"]) {
        await shop.receive(sku, 2);
        await shop.wait(400);
      }
    },
  },
  poison: {
    ...ONE_WORKER,
    hasPoison: true,
    async script(shop) {
      for (let i = 0; i < 5; i++) {
        await shop.receive("CUP", 1);
        await shop.wait(600);
      }
    },
  },
};
const SCRIPT_SEED = 618;

const faultAt =
  (call: number, fault: FaultKind): FaultSource =>
  (_, number) =>
    number === call ? fault : undefined;
const never: FaultSource = () => undefined;

/** Runs each case, prints every failure, and throws the first at the end, with the number of failed runs. */
async function runAll(cases: Iterable<readonly [string, number, Plan, FaultSource]>): Promise<void> {
  const failures: Error[] = [];
  let played = 0;
  for (const each of cases) {
    played++;
    await runShop(...each).catch((thrown: Error) => {
      failures.push(thrown);
      console.log(thrown.message);
    });
  }
  const [first] = failures;
  if (first && failures.length > 1) first.message += `\n(${failures.length} of ${played} runs fail)`;
  if (first) throw first;
}

describe.skipIf(onCluster)("a shop under faults", () => {
  if (REPLAY !== undefined) {
    it(`of ${REPLAY} ends as without faults`, { timeout: LIMIT_MS }, async () => {
      const [name = "", call, fault = ""] = REPLAY.split(":");
      const plan = SCRIPTS[name];
      if (plan)
        await runShop(REPLAY, SCRIPT_SEED, plan, faultAt(Number(call), fault.replaceAll("-", " ") as FaultKind));
      else await runShop(...shopOf(Number(name)));
    });
    return;
  }

  it(`ends as without faults, for random faults at random calls, ${SEEDS} times`, { timeout: LIMIT_MS }, async () => {
    const seeds = Array.from({ length: SEEDS }, () => secureBytes(4).readUInt32LE());
    await runAll(seeds.map(shopOf));
  });

  for (const [name, plan] of Object.entries(SCRIPTS)) {
    it(`ends as without faults, for each fault at each call: ${name}`, { timeout: LIMIT_MS }, async () => {
      const { calls } = (await runShop(name, SCRIPT_SEED, plan, never)).net;
      const sparse = Math.min(SPARSE, Math.max(1, Math.round(EVERY_CALL_SEEDS / SEEDS)));
      const first = secureBytes(4).readUInt32LE() % sparse;
      const kinds = FAULTS.filter((fault) => fault !== LOSS);
      const all = Array.from({ length: calls }, (_, call) => kinds.map((fault) => ({ call, fault }))).flat();
      const chosen = all.filter((_, i) => i % sparse === first);
      await runAll(
        chosen.map(
          ({ call, fault }) =>
            [`${name}:${call}:${fault.replaceAll(" ", "-")}`, SCRIPT_SEED, plan, faultAt(call, fault)] as const,
        ),
      );
    });
  }

  it("is repeated exactly by its seed", { timeout: LIMIT_MS }, async () => {
    for (let i = 0; i < 5; i++) {
      const seed = secureBytes(4).readUInt32LE();
      const [once, again] = [await runShop(...shopOf(seed)), await runShop(...shopOf(seed))];
      expect([again.net.hash, again.net.calls, again.steps], `seed ${seed}`).toEqual([
        once.net.hash,
        once.net.calls,
        once.steps,
      ]);
    }
  });
});
