/**
 * The processes of a deployment and the function libraries that they use. Each process writes a heartbeat every few
 * seconds: its name, its release, and the format that it reads. So an operator sees when the last old one has ended.
 * Releases before formats write no heartbeat: their workers are found among the topics' workers, and any of their
 * processes by the library that it calls, which it loads again soon after it was deleted. Libraries that no process
 * has used for a month are deleted; a process that needs one loads it again.
 */
import { DAY_MS, type Scheduler, sleep, stopwatch } from "../kernel/clock.js";
import { messageOf } from "../kernel/errors.js";
import { RepeatedTurns } from "../kernel/repeated-turns.js";
import { LATEST_FORMAT } from "./format.js";
import { callFunction, librariesInUse } from "./functions.js";
import { LIBRARIES_KEY, processesKey, workersKey } from "./keys.js";
import { isVersioned, plainNameOf } from "./library.js";
import { knownPrimaries, type RedisClient } from "./redis.js";

export interface FleetMember {
  /** Host, process number and a random part. */
  name: string;
  release: string;
  /** The latest format that it reads. */
  format: number;
  runsJobs: boolean;
  seenMsAgo: number;
}

export interface Fleet {
  members: FleetMember[];
  /** Workers without a heartbeat: of a release before formats. */
  unknownWorkers: string[];
}

const HEARTBEAT_MS = 5_000;
/** How long a process without heartbeat is listed; one that is stopped removes itself. */
const LISTED_MS = 600_000;
/** Three missed heartbeats. */
const ALIVE_MS = 3 * HEARTBEAT_MS;
const TOPICS = ["stock", "orders"];
/** Every process of the first release calls a function of this library at least every two seconds. */
const CALLED_BY_ALL = "shuiwei_stream";
const CALLED_WITHIN_MS = 4_000;
const PROBE_MS = 100;
const UNUSED_LIMIT_MS = 30 * DAY_MS;
const LIBRARIES_EVERY_MS = DAY_MS / 4;

export interface HeartbeatOptions {
  redis: RedisClient;
  prefix: string;
  name: string;
  release: string;
  runsJobs: boolean;
  clock: Scheduler;
  onTrouble(message: string): void;
}

/** Writes this process's heartbeat, and records the libraries that it uses, until it is stopped. */
export class Heartbeat {
  readonly #options: HeartbeatOptions;
  readonly #turns: RepeatedTurns;
  #sinceLibraries: (() => number) | undefined;

  constructor(options: HeartbeatOptions) {
    this.#options = options;
    this.#turns = new RepeatedTurns(() => this.#beat(), HEARTBEAT_MS, options.clock);
  }

  start(): void {
    void this.#turns.start();
  }

  async stop(): Promise<void> {
    await this.#turns.stop();
    const { redis, prefix } = this.#options;
    // Without Redis the process stays listed for a while; nothing depends on it.
    await redis.zrem(processesKey(prefix), this.#text()).catch(() => {});
  }

  async #beat(): Promise<void> {
    const { redis, prefix, onTrouble } = this.#options;
    try {
      await callFunction(redis, "workers_join", [processesKey(prefix)], [this.#text(), LISTED_MS, ""]);
      if (!this.#sinceLibraries || this.#sinceLibraries() > LIBRARIES_EVERY_MS) {
        this.#sinceLibraries = stopwatch();
        await keepLibraries(redis);
      }
    } catch (thrown) {
      // An outage is reported elsewhere, and so is a Redis without memory.
      if (!this.#sinceLibraries && !this.#turns.signal.aborted)
        onTrouble(`the list of processes: ${messageOf(thrown)}`);
      this.#sinceLibraries ??= stopwatch();
    }
  }

  #text(): string {
    const { name, release, runsJobs } = this.#options;
    return [name, release, LATEST_FORMAT, runsJobs ? "jobs" : "serving"].join(" ");
  }
}

/** The processes that have written a heartbeat lately, and workers without one. */
export async function readFleet(redis: RedisClient, prefix: string): Promise<Fleet> {
  const nowMs = await redisNow(redis);
  const listed = pairs(await redis.zrange(processesKey(prefix), "0", "-1", "WITHSCORES"));
  const members = listed.map(([text, untilMs]): FleetMember => {
    const [name = "", release = "", format, role] = text.split(" ");
    return {
      name,
      release,
      format: Number(format),
      runsJobs: role === "jobs",
      seenMsAgo: Math.max(0, Math.round(nowMs + LISTED_MS - untilMs)),
    };
  });
  const known = new Set(members.map(({ name }) => name));
  const unknown = new Set<string>();
  for (const topic of TOPICS)
    for (const [name, untilMs] of pairs(await redis.zrange(workersKey(prefix, topic), "0", "-1", "WITHSCORES")))
      if (untilMs > nowMs && !known.has(name)) unknown.add(name);
  return { members, unknownWorkers: [...unknown] };
}

/** Names of the running processes that cannot read the latest format, as far as they are known. */
export const outdatedProcesses = ({ members, unknownWorkers }: Fleet): string[] => [
  ...members.filter(({ format, seenMsAgo }) => format < LATEST_FORMAT && seenMsAgo < ALIVE_MS).map(({ name }) => name),
  ...unknownWorkers,
];

/** Names of the running processes, as far as they are known. */
export const liveProcesses = ({ members, unknownWorkers }: Fleet): string[] => [
  ...members.filter(({ seenMsAgo }) => seenMsAgo < ALIVE_MS).map(({ name }) => name),
  ...unknownWorkers,
];

/**
 * Whether a process of the release before formats uses this Redis, of any deployment: its library is deleted, which
 * costs the process one rejected call, and appears again if there is one. A frozen process is not found.
 */
export async function callsOldLibrary(redis: RedisClient): Promise<boolean> {
  const isThere = async (): Promise<boolean> => {
    const lists = (await Promise.all(
      (await knownPrimaries(redis)).map((node) => node.call("FUNCTION", "LIST", "LIBRARYNAME", CALLED_BY_ALL)),
    )) as unknown[][];
    return lists.some((libraries) => libraries.length > 0);
  };
  if (!(await isThere())) return false;
  await deleteLibraries(redis, (name) => name === CALLED_BY_ALL);
  for (const elapsed = stopwatch(); elapsed() < CALLED_WITHIN_MS; await sleep(PROBE_MS))
    if (await isThere()) return true;
  return false;
}

/** Deletes the libraries of the release before formats. */
export const deleteOldLibraries = (redis: RedisClient): Promise<number> =>
  deleteLibraries(redis, (name) => !isVersioned(name) && OURS.has(name));

const OURS: ReadonlySet<string> = new Set([
  "shuiwei_stream",
  "shuiwei_stock",
  "shuiwei_orders",
  "shuiwei_outbox",
  "shuiwei_events",
]);

/**
 * Records the libraries of this process as used now, and deletes those of the engine that no process has recorded for
 * long. A library that was never recorded counts as used when it is first found.
 * @returns how many were deleted
 */
export async function keepLibraries(redis: RedisClient, unusedLimitMs = UNUSED_LIMIT_MS): Promise<number> {
  const nowMs = await redisNow(redis);
  const own = librariesInUse();
  if (own.length > 0) await redis.zadd(LIBRARIES_KEY, ...own.flatMap((name) => [nowMs, name]));
  const noted = new Map(pairs(await redis.zrange(LIBRARIES_KEY, "0", "-1", "WITHSCORES")));
  const isOurs = (name: string): boolean => isVersioned(name) && OURS.has(plainNameOf(name));
  for (const name of await libraryNames(redis))
    if (isOurs(name) && !noted.has(name)) {
      await redis.zadd(LIBRARIES_KEY, "NX", nowMs, name);
      noted.set(name, nowMs);
    }
  const unused = [...noted].filter(([, atMs]) => nowMs - atMs > unusedLimitMs).map(([name]) => name);
  if (unused.length === 0) return 0;
  const deleted = await deleteLibraries(redis, (name) => isOurs(name) && unused.includes(name));
  await redis.zrem(LIBRARIES_KEY, ...unused);
  return deleted;
}

async function libraryNames(redis: RedisClient): Promise<Set<string>> {
  const lists = (await Promise.all(
    (await knownPrimaries(redis)).map((node) => node.call("FUNCTION", "LIST", "LIBRARYNAME", "shuiwei_*")),
  )) as string[][][];
  return new Set(lists.flat().map((fields) => String(fields[fields.indexOf("library_name") + 1])));
}

async function deleteLibraries(redis: RedisClient, isToGo: (name: string) => boolean): Promise<number> {
  const names = [...(await libraryNames(redis))].filter(isToGo);
  for (const node of await knownPrimaries(redis))
    for (const name of names)
      await node.call("FUNCTION", "DELETE", name).catch((thrown: unknown) => {
        // Not on this primary, or deleted by another process at the same moment.
        if (!messageOf(thrown).includes("Library not found")) throw thrown;
      });
  return names.length;
}

async function redisNow(redis: RedisClient): Promise<number> {
  const [seconds, micros] = (await redis.time()).map(Number) as [number, number];
  return seconds * 1_000 + Math.floor(micros / 1_000);
}

function pairs(flat: string[]): [name: string, score: number][] {
  return Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i] as string, Number(flat[2 * i + 1])]);
}
