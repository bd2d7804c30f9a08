/**
 * The only write path of a job, and the lease that guards it. A commit carries everything that a step changed (state, timers, cursors,
 * watermark, what goes out, dead letters) in one atomic call; it is refused under an old epoch and recognised when it is sent
 * again. Nothing here decides; the runner does.
 */
import { Packr } from "msgpackr";
import { EngineError, messageOf } from "../kernel/errors.js";
import type { PartitionKeys } from "./keys.js";
import { callFunction, loadLibrary, type RedisClient } from "./redis.js";

const packr = new Packr({ useRecords: false });

/** What one step of a partition's jobs changed. */
export interface CommitBody {
  watermarkMs: number;
  /** Last offset that each job has seen, by name. */
  cursors: ReadonlyMap<string, number>;
  states: { job: string; set: [key: string, state: Buffer][] }[];
  timersSet: [atMs: number, member: string][];
  timersGone: string[];
  /** What views and sinks read; undefined when there is nothing. */
  out: Buffer | undefined;
  deadLetters: Buffer[];
}

/** A task as Redis holds it, right after it was taken. */
export interface OwnedTask {
  epoch: number;
  commit: number;
  watermarkMs: number;
  cursors: Map<string, number>;
  /** The last commit that gave something out; 0 for none. */
  lastOut: number;
}

const CURSOR = "cursor:";

export const loadStreamLibrary = (redis: RedisClient): Promise<void> =>
  loadLibrary(redis, new URL("./stream.lua", import.meta.url));

/** Takes the lease, or says how long another owner still has it. */
export async function acquireTask(
  redis: RedisClient,
  keys: PartitionKeys,
  owner: string,
  leaseMs: number,
): Promise<OwnedTask | { heldForMs: number }> {
  const [taken, detail] = (await callFunction(redis, "task_acquire", [keys.task], [owner, leaseMs])) as [
    number,
    string[] | number,
  ];
  if (taken === 0) return { heldForMs: detail as number };
  return taskOf(detail as string[]);
}

export async function renewTask(
  redis: RedisClient,
  keys: PartitionKeys,
  epoch: number,
  leaseMs: number,
): Promise<void> {
  await fenced("task.renew", keys, () => callFunction(redis, "task_renew", [keys.task], [epoch, leaseMs]));
}

export async function releaseTask(redis: RedisClient, keys: PartitionKeys, epoch: number): Promise<void> {
  await callFunction(redis, "task_release", [keys.task], [epoch]);
}

/** Ends whatever lease there is; only for who knows that its owner is gone. */
export async function freeTask(redis: RedisClient, keys: PartitionKeys): Promise<void> {
  if (await redis.hexists(keys.task, "until")) await redis.hset(keys.task, "until", 0);
}

/**
 * Writes a commit. May be sent again after an unknown result.
 * @throws EngineError `stale_epoch` when another owner has taken over
 */
export async function commitTask(
  redis: RedisClient,
  keys: PartitionKeys,
  task: { epoch: number; number: number; leaseMs: number; lastOut: number },
  body: CommitBody,
): Promise<void> {
  const fields: (string | number)[] = ["watermark", body.watermarkMs, "lastOut", body.out ? task.number : task.lastOut];
  for (const [job, offset] of body.cursors) fields.push(CURSOR + job, offset);
  const args: (string | number | Buffer)[] = [
    task.epoch,
    task.number,
    task.leaseMs,
    packr.pack(fields.map(String)),
    body.out ?? "",
    body.timersSet.length * 2,
    body.timersGone.length,
    body.deadLetters.length,
    ...body.timersSet.flat(),
    ...body.timersGone,
    ...body.deadLetters,
  ];
  for (const { set } of body.states) {
    args.push(set.length * 2);
    for (const [key, state] of set) args.push(key, state);
  }
  await fenced("task.commit", keys, () =>
    callFunction(
      redis,
      "task_commit",
      [keys.task, keys.timers, keys.out, keys.deadLetters, ...body.states.map(({ job }) => keys.state(job))],
      args,
    ),
  );
}

function taskOf(flat: string[]): OwnedTask {
  const fields = new Map<string, string>();
  for (let i = 0; i < flat.length; i += 2) fields.set(flat[i] as string, flat[i + 1] as string);
  const number = (name: string) => Number(fields.get(name) ?? 0);
  const cursors = new Map<string, number>();
  for (const [name, value] of fields)
    if (name.startsWith(CURSOR)) cursors.set(name.slice(CURSOR.length), Number(value));
  return {
    epoch: number("epoch"),
    commit: number("commit"),
    watermarkMs: number("watermark"),
    cursors,
    lastOut: number("lastOut"),
  };
}

/** Progress of a task as anybody may read it: the fields of OwnedTask, epoch and all. */
export const readTask = async (redis: RedisClient, keys: PartitionKeys): Promise<OwnedTask> =>
  taskOf(Object.entries(await redis.hgetall(keys.task)).flat());

async function fenced(op: string, keys: PartitionKeys, call: () => Promise<unknown>): Promise<void> {
  try {
    await call();
  } catch (cause) {
    const message = messageOf(cause);
    const stale = message.startsWith("STALE_EPOCH");
    const code = stale ? "stale_epoch" : message.startsWith("COMMIT_GAP") ? "commit_gap" : "unavailable";
    throw new EngineError(
      `${keys.task}: ${message}`,
      { op, code, retryable: code === "unavailable", place: keys.task },
      { cause },
    );
  }
}
