/**
 * The only write path of a job, and the lease that guards it. A commit carries everything that a batch changed (state,
 * timers, cursors, watermark, view record, emits, dead letters) in one atomic call. It is rejected under an old epoch,
 * and by a server that has restarted since the lease was taken (it may have lost what the batch has read); sent twice
 * it is applied once. When to retry or to release the lease is decided by the runner. Times are the Redis server's
 * unless a clock is passed.
 */
import type { Clock, Scheduler } from "../kernel/clock.js";
import { EngineError, messageOf } from "../kernel/errors.js";
import { type ClosingWrite, closingsByPeriod } from "./closings.js";
import { type DeadLetter, encodeDeadLetter, encodeEntry, entryName } from "./dead-letter.js";
import { callFunction, loadLibrary } from "./functions.js";
import { type IndexChange, indexedField, memberOf } from "./job-index.js";
import type { PartitionKeys } from "./keys.js";
import { PackWriter } from "./pack.js";
import type { RedisClient } from "./redis.js";
import { nowArgument } from "./server-clock.js";
import { newerVersion } from "./state-codec.js";

/** Between attempts of a commit whose result is unknown. */
const BACKOFF_FIRST_MS = 50;
const BACKOFF_MAX_MS = 2_000;

const writer = new PackWriter();
/** Lists that the changes of a commit are made of. */
const CHANGES = 10;

/** What one batch changed. */
export interface CommitBody {
  watermarkMs: number;
  /** Events that the log held up to the furthest cursor, where its entries state it. */
  events: number;
  /** Last offset that each job has processed, by name. */
  cursors: ReadonlyMap<string, number>;
  /** By job, the version of the states that this commit writes; left out: 1. */
  versions?: ReadonlyMap<string, number>;
  /** By job: new states, and keys whose state is deleted; no key is in both. */
  states: {
    job: string;
    set: [key: string, state: Buffer][];
    tombstones: string[];
    /** Changes of the job's index; left out: none. */
    index?: IndexChange[];
    /** States before their first change in a period, which replace no stored ones, and removals. Left out: none. */
    closings?: readonly ClosingWrite[];
    /** How long they are stored after this commit. */
    closingsKeptMs?: number;
    /** Deletes the job's index first; `index` is applied after that. */
    clearsIndex?: boolean;
  }[];
  /** Jobs whose index is complete with this commit; this owner maintains it from now on. */
  indexed?: readonly string[];
  timersSet: [atMs: number, member: string][];
  timersRemoved: string[];
  /** The record for views, with all emits when these have no stream of their own; undefined when there is none. */
  out: Buffer | undefined;
  /** The record for sinks, when emits have a stream of their own. */
  emits?: Buffer | undefined;
  deadLetters: DeadLetter[];
  /** Ids of dead letters that were replayed: this commit removes them and the requests to replay them. */
  resolvedDeadLetters: string[];
  /** Further fields of the task, by name. */
  fields?: Readonly<Record<string, number | string>>;
}

/** A task as Redis holds it. */
export interface Task {
  /** Names the server's run: another run may lack data that this one has returned. */
  run: string;
  /** Number of the newest owner; each take-over adds one. */
  epoch: number;
  commit: number;
  /** When the last commit was written, by the server's clock; 0 before the first. */
  committedMs: number;
  watermarkMs: number;
  events: number;
  cursors: Map<string, number>;
  /** By job, the highest version that has committed; a job that is not in it has version 1. */
  versions: ReadonlyMap<string, number>;
  /** By job, the epoch of the last owner that has maintained its index. */
  indexed: ReadonlyMap<string, number>;
  /** The last commit that has a record for views; 0 for none. */
  lastOut: number;
  /** The stream of emits; undefined while the partition's emits are in the records for views. */
  emits?: EmitStream;
}

/** The partition's stream of emits. */
export interface EmitStream {
  /** The first commit whose emits are in it, or would be; those of earlier commits are in the records for views. */
  from: number;
  /** The last commit with emits, in either form; 0 for none. */
  last: number;
  /** Bytes of all records that were ever written to it; as read. */
  bytes?: number;
}

/**
 * Whether a server whose run was `known` has lost no data until the run `now`: the same process, which has not taken
 * over from another since. The same rule as in server-run.lua, which makes these texts.
 */
export function isSameRun(known: string, now: string): boolean {
  const [process, id] = known.split(":");
  const [processNow, idNow, keeps] = now.split(":");
  return process === processNow && (id === idNow || keeps === "1");
}

/** Every write of an owner is checked against these. */
export interface Fence {
  epoch: number;
  run: string;
}

const CURSOR = "cursor:";
const VERSION = "version:";
const INDEXED = indexedField("");

/** The field of a task that holds when its last commit was written. */
export const COMMITTED = "at";

/** The field of a task that holds a job's cursor. */
export const cursorField = (job: string): string => CURSOR + job;

export const loadStreamLibrary = (redis: RedisClient): Promise<void> =>
  loadLibrary(redis, new URL("./stream.lua", import.meta.url));

/**
 * Takes the lease, or returns how long another owner still has it.
 * @param now the time in ms; '' for the server's
 * @param versions of the jobs that the owner runs, by name
 * @throws EngineError `newer_version` when a newer version of one of these jobs has committed: this owner would misread
 *   its states
 */
export async function acquireTask(
  redis: RedisClient,
  keys: PartitionKeys,
  owner: string,
  leaseMs: number,
  now = "",
  versions: ReadonlyMap<string, number> = new Map(),
): Promise<Task | { heldForMs: number }> {
  const args = [owner, leaseMs, now, ...[...versions].flatMap(([job, version]) => [VERSION + job, version])];
  const [taken, ...reply] = (await callFunction(redis, "task_acquire", [keys.task], args)) as AcquireReply;
  if (taken === 1) return taskOf(...(reply as [string[], string]));
  if (taken === 0) return { heldForMs: reply[0] as number };
  const [field, there] = reply as [string, string];
  const name = field.slice(VERSION.length);
  throw newerVersion(keys.task, { name, version: versions.get(name) }, there);
}

/** Why an owner with these versions would be refused by `acquireTask`; undefined when it would not. */
export async function newerVersionIn(
  redis: RedisClient,
  keys: PartitionKeys,
  versions: ReadonlyMap<string, number>,
): Promise<EngineError | undefined> {
  if (versions.size === 0) return undefined;
  const found = await redis.hmget(keys.task, ...[...versions.keys()].map((job) => VERSION + job));
  for (const [i, [name, version]] of [...versions].entries())
    if (Number(found[i] ?? 0) > version) return newerVersion(keys.task, { name, version }, found[i] as string);
  return undefined;
}

type AcquireReply = [0, heldForMs: number] | [1, fields: string[], run: string] | [2, field: string, version: string];

/** @throws EngineError `stale_epoch` when another owner has taken over, `stale_run` when the server has restarted */
export async function renewTask(
  redis: RedisClient,
  keys: PartitionKeys,
  { epoch, run }: Fence,
  leaseMs: number,
  now = "",
): Promise<void> {
  await fenced("task.renew", keys, () => callFunction(redis, "task_renew", [keys.task], [epoch, run, leaseMs, now]));
}

export async function releaseTask(redis: RedisClient, keys: PartitionKeys, epoch: number): Promise<void> {
  await callFunction(redis, "task_release", [keys.task], [epoch]);
}

/** Ends any lease; call it only when the owner cannot be running any more. */
export async function freeTask(redis: RedisClient, keys: PartitionKeys): Promise<void> {
  // A full Redis refuses to set a field, and lets one be deleted.
  await redis.hdel(keys.task, "until");
}

/**
 * Writes a commit. May be called again after an unknown result.
 * @throws EngineError as renewTask, and `commit_gap` when the one before is missing
 */
export async function commitTask(
  redis: RedisClient,
  keys: PartitionKeys,
  task: Fence & { number: number; leaseMs: number; lastOut: number; emits?: EmitStream },
  body: CommitBody,
  now = "",
): Promise<void> {
  const keyList = [keys.task, keys.timers, keys.out, keys.deadLetters, keys.deadEntries, keys.deadRequests];
  keyList.push(keys.emits);
  for (const { job } of body.states) keyList.push(keys.state(job));
  for (const { job } of body.states.filter(changesIndex)) keyList.push(keys.index(job), keys.indexCounts(job));
  for (const { job, period } of closingsByPeriod(body.states)) keyList.push(keys.closings(job, period));
  const args = [task.epoch, task.run, task.number, task.leaseMs, now, body.out ?? "", packChanges(task, body)];
  args.push(body.emits ?? "");
  await fenced("task.commit", keys, () => callFunction(redis, "task_commit", keyList, args));
}

/** How a commit whose result is unknown is repeated. */
export interface CommitRetries {
  clock: Scheduler;
  /** The clock of the commit's time; undefined: the Redis server's own. */
  serverClock: Clock | undefined;
  untilMs: number;
  /** False: an error is thrown at once. */
  mayRepeat(): boolean;
  /** Ends a pause between attempts. */
  signal: AbortSignal;
}

/**
 * Writes a commit, and repeats it while its result is unknown: it is applied once.
 * @returns when the attempt that was answered began, by the clock given
 * @throws as commitTask; the last error when the time is over
 */
export async function commitWithRetries(
  redis: RedisClient,
  keys: PartitionKeys,
  task: Parameters<typeof commitTask>[2],
  body: CommitBody,
  { clock, serverClock, untilMs, mayRepeat, signal }: CommitRetries,
): Promise<number> {
  for (let waitMs = BACKOFF_FIRST_MS; ; waitMs = Math.min(waitMs * 2, BACKOFF_MAX_MS)) {
    const askedMs = clock.now();
    try {
      await commitTask(redis, keys, task, body, nowArgument(serverClock));
      return askedMs;
    } catch (thrown) {
      const isUnknown = thrown instanceof EngineError && thrown.retryable;
      if (!isUnknown || !mayRepeat() || clock.now() + waitMs >= untilMs) throw thrown;
      await clock.sleep(waitMs, signal);
    }
  }
}

/**
 * A commit's lists as one argument: thousands of arguments cost the client more than the bytes. Everything in it is a
 * list or a text, because Lua would change numbers: fields of the task, timers to set (time, member, …), timers to
 * remove, dead letters to add (bytes, name of the entry or '', number of deliveries or '', …), their entries
 * (name, bytes, …), dead letters to remove, for each job its states (key, bytes, …), for each job the keys whose
 * state is deleted, the changes of each index that changes, and the closings of each job and period: how long they are
 * stored, then key, bytes or '' to remove it, ….
 */
function packChanges(
  task: { epoch: number; number: number; lastOut: number; emits?: EmitStream },
  body: CommitBody,
): Buffer {
  writer.begin();
  writer.list(CHANGES);
  const fields = [
    "watermark",
    body.watermarkMs,
    "events",
    body.events,
    "lastOut",
    body.out ? task.number : task.lastOut,
  ];
  for (const [name, value] of Object.entries(body.fields ?? {})) fields.push(name, value);
  const { emits } = task;
  if (emits) fields.push("emitsFrom", emits.from, "lastEmits", body.emits ? task.number : emits.last);
  for (const [job, offset] of body.cursors) fields.push(cursorField(job), offset);
  for (const [job, version] of body.versions ?? []) fields.push(VERSION + job, version);
  for (const job of body.indexed ?? []) fields.push(indexedField(job), task.epoch);
  writer.value(fields.map(String));
  writer.list(2 * body.timersSet.length);
  for (const [atMs, member] of body.timersSet) {
    writer.text(String(atMs));
    writer.text(member);
  }
  writer.value(body.timersRemoved);
  const entries = new Map<string, Buffer>();
  writer.list(3 * body.deadLetters.length);
  for (const deadLetter of body.deadLetters) {
    const name = deadLetter.fields.length > 0 ? entryName(deadLetter) : "";
    writer.bytes(encodeDeadLetter(deadLetter));
    writer.text(name);
    writer.text(String(deadLetter.deliveries ?? ""));
    if (name !== "" && !entries.has(name)) entries.set(name, encodeEntry(deadLetter.fields));
  }
  writer.list(2 * entries.size);
  for (const [name, bytes] of entries) {
    writer.text(name);
    writer.bytes(bytes);
  }
  writer.value(body.resolvedDeadLetters);
  writer.list(body.states.length);
  for (const { set } of body.states) {
    writer.list(2 * set.length);
    for (const [key, state] of set) {
      writer.text(key);
      writer.bytes(state);
    }
  }
  writer.value(body.states.map(({ tombstones }) => tombstones));
  writer.value(body.states.filter(changesIndex).map(indexChangesOf));
  const closings = closingsByPeriod(body.states);
  writer.list(closings.length);
  for (const { keptMs, of } of closings) {
    writer.list(1 + 2 * of.length);
    writer.text(String(keptMs));
    for (const { key, bytes } of of) {
      writer.text(key);
      if (bytes) writer.bytes(bytes);
      else writer.text("");
    }
  }
  return writer.take();
}

type StatesOfJob = CommitBody["states"][number];

const changesIndex = ({ index = [], clearsIndex }: StatesOfJob): boolean => index.length > 0 || clearsIndex === true;

/**
 * '1' when the index is deleted first, then for each name: the name, entries to add (score, member, …), entries to
 * remove.
 */
function indexChangesOf({
  index = [],
  clearsIndex,
}: StatesOfJob): [clears: string, names: [string, string[], string[]][]] {
  const names = new Map<string, [string, string[], string[]]>();
  for (const { name, key, score } of index) {
    const change = names.get(name) ?? [name, [], []];
    names.set(name, change);
    if (score === undefined) change[2].push(memberOf(name, key));
    else change[1].push(String(score), memberOf(name, key));
  }
  return [clearsIndex ? "1" : "", [...names.values()]];
}

function taskOf(flat: string[], run: string): Task {
  const fields = new Map<string, string>();
  for (let i = 0; i < flat.length; i += 2) fields.set(flat[i] as string, flat[i + 1] as string);
  const number = (name: string) => Number(fields.get(name) ?? 0);
  const cursors = new Map<string, number>();
  const versions = new Map<string, number>();
  const indexed = new Map<string, number>();
  for (const [name, value] of fields) {
    if (name.startsWith(CURSOR)) cursors.set(name.slice(CURSOR.length), Number(value));
    else if (name.startsWith(VERSION)) versions.set(name.slice(VERSION.length), Number(value));
    else if (name.startsWith(INDEXED)) indexed.set(name.slice(INDEXED.length), Number(value));
  }
  return {
    run,
    epoch: number("epoch"),
    commit: number("commit"),
    committedMs: number(COMMITTED),
    watermarkMs: number("watermark"),
    events: number("events"),
    cursors,
    versions,
    indexed,
    lastOut: number("lastOut"),
    ...(fields.has("emitsFrom")
      ? { emits: { from: number("emitsFrom"), last: number("lastEmits"), bytes: number("emitBytes") } }
      : {}),
  };
}

/** Reads a task; no lease is needed. */
export async function readTask(redis: RedisClient, keys: PartitionKeys): Promise<Task> {
  const [fields, run] = (await callFunction(redis, "task_read", [keys.task], [])) as [string[], string];
  return taskOf(fields, run);
}

/** How an error of the function begins, and its code. */
const REFUSALS: readonly [beginning: string, code: string][] = [
  ["STALE_EPOCH", "stale_epoch"],
  ["STALE_RUN", "stale_run"],
  ["COMMIT_GAP", "commit_gap"],
];

/** Makes a call that is refused under an old epoch or run. @throws EngineError with the refusal's code */
export async function fenced(op: string, keys: PartitionKeys, call: () => Promise<unknown>): Promise<void> {
  try {
    await call();
  } catch (cause) {
    const message = messageOf(cause);
    const code = REFUSALS.find(([beginning]) => message.startsWith(beginning))?.[1] ?? "unavailable";
    throw new EngineError(
      `${keys.task}: ${message}`,
      { op, code, retryable: code === "unavailable", input: keys.task },
      { cause },
    );
  }
}
