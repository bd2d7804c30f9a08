/**
 * The setup of the dead letter tests: a Redis, a job that adds numbers up and fails on request, and a runner. Because
 * the job adds, an event that is replayed late leaves the same state as one processed in order. Importing this file
 * registers the hooks, so only `*.redis.test.ts` files, which run in processes of their own, may import it.
 */
import { afterEach, beforeAll, beforeEach } from "vitest";
import { seededRandom } from "../../engine/kernel/random.js";
import { loadStreamLibrary } from "../../engine/stream/commit.js";
import { listDeadLetters, requestReplay, type StoredDeadLetter } from "../../engine/stream/dead-letter.js";
import type { Job } from "../../engine/stream/job.js";
import { decodeState } from "../../engine/stream/pack.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { Runner, type RunnerOptions } from "../../engine/stream/runner.js";
import { withRedis } from "../redis/with-redis.js";
import { Store, type ToyEntry, type ToyEvent, type ToyWords, toyEntries } from "./toy.js";
import { emitsOf, runnerOptions, toyKeys, until } from "./toy-log.js";

export const T0 = 1_700_000_000_000;
export const redis = withRedis();
export let client: RedisClient;
let prefix = "";
let round = 0;
export const runners: { stop(): Promise<void> }[] = [];

beforeAll(async () => {
  client = redis.connect();
  await loadStreamLibrary(client);
});
beforeEach(() => {
  prefix = `d${round++}`;
});
afterEach(async () => {
  await Promise.all(runners.splice(0).map((runner) => runner.stop()));
});

export interface Sum {
  units: number;
  timers: number;
}
type Fault = "onEvent" | "key" | "timer" | "view" | "state" | "emit" | "everything";

/** Adds up units. Fails on the words `poison` (an event) and `trap` (the timer it sets) as long as it has the fault. */
export function adder(fault: Fault | undefined, name = "adder.1"): Job<ToyEvent, Sum> {
  return {
    name,
    key(event) {
      if (fault === "key" && event.word === "poison") throw new Error("bad key");
      return event.key;
    },
    initial: () => ({ units: 0, timers: 0 }),
    onEvent(state, event, context) {
      state.units += event.units ?? 1;
      if (event.word === "emit" || event.word === "poison")
        context.emit("added", { id: `${event.offset}/${event.index}` });
      if (event.word === "arm" || event.word === "trap") context.setTimer(event.clockMs + (event.inMs ?? 0));
      const isBad = event.word === "poison";
      if (isBad && event.inMs !== undefined) context.setTimer(event.clockMs + event.inMs);
      if (fault === "everything" || (fault === "onEvent" && isBad)) throw new Error("bad toy");
      if (fault === "state" && isBad) (state as unknown as Record<string, unknown>)["self"] = state;
      if (fault === "emit" && isBad) context.emit("bad", 2n ** 70n);
      if (fault === "view" && isBad) state.units = -1e9;
    },
    onTimer(state, atMs, context) {
      state.timers++;
      context.emit("rang", { atMs });
      if (fault === "timer") throw new Error("bad timer");
    },
    view(state) {
      if (fault === "view" && state.units < 0) throw new Error("bad view");
      return { ...state };
    },
  };
}

export function run(
  more: Partial<RunnerOptions<ToyEvent>>,
  on = client,
): { runner: Runner<ToyEvent>; troubles: string[] } {
  const options = runnerOptions(on, redis.url, prefix, { tickMs: 20, ...more });
  const runner = new Runner(0, options);
  runners.push(runner);
  runner.start();
  return { runner, troubles: options.troubles };
}

export const keys = () => toyKeys(prefix);
export const listed = (): Promise<StoredDeadLetter[]> => listDeadLetters(client, keys(), "-", 100_000);
export const ids = async (): Promise<string[]> => (await listed()).map(({ id }) => id);

export const request = (which: readonly string[]): Promise<void> =>
  requestReplay(
    client,
    keys(),
    which.map((id, offset) => ({ id, offset })),
  );

/** Requests a replay of dead letters, and waits until it is done. */
export async function replayed(which: readonly string[]): Promise<void> {
  await request(which);
  await until(async () => (await client.zcard(keys().deadRequests)) === 0, "the replay");
}

export async function statesOf(job = "adder.1"): Promise<Map<string, unknown>> {
  const all = (await client.hgetallBuffer(keys().state(job))) as Record<string, Buffer>;
  return new Map(
    Object.entries(all)
      .map(([key, bytes]): [string, unknown] => [key, decodeState(bytes)])
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}

/** What a job without a fault would have left. */
export async function withoutFault(entries: readonly ToyEntry[]): Promise<Map<string, unknown>> {
  const store = new Store();
  // The store's type accepts toy jobs only; this job uses nothing else of it.
  await store.run([adder(undefined) as unknown as Job<ToyEvent, never>], toyEntries(entries));
  return new Map(
    [...(store.states.get("adder.1") ?? [])]
      .map(([key, bytes]): [string, unknown] => [key, decodeState(bytes)])
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}

export const emittedIds = async (): Promise<string[]> =>
  (await emitsOf(client, keys())).map(({ payload }) => String((payload as { id?: string }).id ?? ""));

/** Seeded events, some of them poison. */
export function history(seed: number, count: number): ToyEntry[] {
  const random = seededRandom(seed);
  return Array.from({ length: count }, (_, i) => ({
    clockMs: T0 + i * 100,
    events: Array.from(
      { length: random.below(5) },
      (): ToyWords => ({
        key: `k${random.below(6)}`,
        units: 1 + random.below(9),
        word: random.pick(["emit", "emit", "emit", "emit", "poison"] as const),
      }),
    ),
  }));
}
