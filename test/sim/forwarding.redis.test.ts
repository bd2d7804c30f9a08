/**
 * Topic to topic and schedules under faults: at any call processes end, connections break, replies are lost, calls are
 * executed twice or late, and servers are replaced without their newest writes; all processes are away for minutes.
 * At the end every emit is one event, and every schedule has ticked by its rule. Runs take turns at what their faults
 * aim at (test/sim/forwarding-plan.ts). A failure prints the command that replays it. FORWARDING_SEEDS=… makes longer
 * runs.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { stopwatch } from "../../engine/kernel/clock.js";
import { messageOf } from "../../engine/kernel/errors.js";
import { secureBytes } from "../../engine/kernel/random.js";
import { loadStreamLibrary } from "../../engine/stream/commit.js";
import { loadEventsLibrary } from "../../engine/stream/event-topic.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { onCluster, type TestRedis, withRedis } from "../redis/with-redis.js";
import { FAULTS, type FaultKind, LATE_FIRST } from "./faulty-redis.js";
import { checkForwarding, type Seen } from "./forwarding-check.js";
import { AIMS, type Aim, faultsOf, planOf } from "./forwarding-plan.js";
import { ForwardingWorld } from "./forwarding-world.js";

const SEEDS = Number(process.env["FORWARDING_SEEDS"] ?? 10);
const REPLAY = process.env["SHUIWEI_SEED"];
const COVERING_SEEDS = 50;
const LIMIT_MS = 120_000 + SEEDS * 2_000;
const FLUSH_EVERY = 50;

/** Runs at a time, each with two servers of its own: most of a run's time is waiting for a reply. */
const LANES = 2;
interface Lane {
  readonly servers: readonly TestRedis[];
  clients: [RedisClient, RedisClient];
  runs: number;
}

const lanes = Array.from(
  { length: LANES },
  () => ({ servers: [withRedis(), withRedis()], runs: 0 }) as Partial<Lane> as Lane,
);
const elapsed = stopwatch();
const seen: Seen = { events: 0, deadLetters: 0, ticks: 0, missed: 0, ofLost: 0 };
const sum = { runs: 0, calls: 0, differences: 0, injected: new Map<FaultKind, number>() };

beforeAll(async () => {
  if (onCluster) return;
  for (const lane of lanes) {
    lane.clients = lane.servers.map((server) => server.connect()) as [RedisClient, RedisClient];
    for (const client of lane.clients) await Promise.all([loadStreamLibrary(client), loadEventsLibrary(client)]);
  }
});

/** Prints a summary of what was tried. */
afterAll(() => {
  if (onCluster || sum.runs === 0) return;
  const count = (n: number) => n.toLocaleString("en-US");
  const kinds = [...FAULTS, LATE_FIRST as FaultKind]
    .map((fault) => `${fault} ${count(sum.injected.get(fault) ?? 0)}`)
    .join(", ");
  console.log(
    `forwarding: ${count(sum.runs)} runs, ${count(sum.calls)} calls (${kinds}), ${count(seen.events)} events forwarded ` +
      `(and ${count(seen.ofLost)} of lost commits), ${count(seen.deadLetters)} dead letters, ${count(seen.ticks)} ticks, ` +
      `${count(seen.missed)} due times missed, ${sum.differences} differences, ${Math.round(elapsed() / 1_000)} s`,
  );
});

async function run(seed: number, lane = lanes[0] as Lane): Promise<ForwardingWorld> {
  if (++lane.runs % FLUSH_EVERY === 0) for (const server of lane.servers) await server.flush();
  const plan = planOf(seed);
  const world = new ForwardingWorld(
    lane.clients,
    `w${lane.runs}`,
    seed,
    plan,
    faultsOf(seed, plan),
    REPLAY !== undefined,
  );
  try {
    await world.run();
    await checkForwarding(world, seen);
  } catch (cause) {
    sum.differences++;
    throw new Error(`SHUIWEI_SEED=${seed} npx vitest run test/sim/forwarding\n${messageOf(cause)}`, { cause });
  } finally {
    if (REPLAY !== undefined) console.log(world.net.trace.join("\n"));
    world.end();
  }
  sum.runs++;
  sum.calls += world.net.calls;
  for (const [fault, times] of world.net.injected) sum.injected.set(fault, (sum.injected.get(fault) ?? 0) + times);
  return world;
}

/** A new seed whose plan has this aim. */
function seedWith(aim: number): number {
  const seed = secureBytes(4).readUInt32LE();
  return seed - (seed % AIMS.length) + aim;
}

describe.skipIf(onCluster)("two topics under faults", () => {
  if (REPLAY !== undefined) {
    it(`of ${REPLAY} end as without faults`, { timeout: LIMIT_MS }, async () => {
      await run(Number(REPLAY));
    });
    return;
  }

  it(`end as without faults, whatever the faults aim at, ${SEEDS} times`, { timeout: LIMIT_MS }, async () => {
    const failures: Error[] = [];
    const failed = new Map<Aim, number>();
    let started = 0;
    const runAll = async (lane: Lane): Promise<void> => {
      while (started < SEEDS) {
        const seed = seedWith(started++ % AIMS.length);
        await run(seed, lane).catch((thrown: Error) => {
          failures.push(thrown);
          const { aim } = planOf(seed);
          failed.set(aim, (failed.get(aim) ?? 0) + 1);
          if (failures.length <= 5) console.log(thrown.message);
        });
      }
    };
    await Promise.all(lanes.map(runAll));
    const [first] = failures;
    const shares = [...failed].map(([aim, runs]) => `${aim} ${runs}`).join(", ");
    if (first) first.message += `\n(${failures.length} of ${SEEDS} runs fail: ${shares})`;
    if (first) throw first;
    // A short run need not meet everything.
    if (SEEDS >= COVERING_SEEDS) expect(seen.events * seen.deadLetters * seen.ticks * seen.missed).toBeGreaterThan(0);
  });

  it("are repeated exactly by their seed", { timeout: LIMIT_MS }, async () => {
    const seed = secureBytes(4).readUInt32LE();
    const [once, again] = [await run(seed), await run(seed)];
    expect([again.net.hash, again.net.calls, again.steps], `seed ${seed}`).toEqual([
      once.net.hash,
      once.net.calls,
      once.steps,
    ]);
  });
});
