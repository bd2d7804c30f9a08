/**
 * The only write path of a job, and the lease that guards it. A commit carries everything that a step changed (state,
 * timers, cursors, watermark, what goes out, dead letters) in one atomic call; it is refused under an old epoch,
 * refused by a server that has started anew since the task was taken (it may have lost what the step has read), and
 * recognised when it is sent again. Nothing here decides; the runner does. Times are the Redis server's unless a
 * clock is given.
 */
import type { Clock, Scheduler } from "../kernel/clock.js";
import { EngineError, messageOf } from "../kernel/errors.js";
import { type DeadLetter, encodeDeadLetter, encodeEntry, entryName } from "./dead-letter.js";
import { callFunction, loadLibrary } from "./functions.js";
import { type IndexChange, indexedField, memberOf } from "./job-index.js";
import type { PartitionKeys } from "./keys.js";
import { PackWriter } from "./pack.js";
import type { RedisClient } from "./redis.js";

/** Between tries of a commit whose result is not known. */
const BACKOFF_FIRST_MS = 50;
const BACKOFF_MAX_MS = 2_000;

const writer = new PackWriter();
/** Lists that the changes of a commit are made of. */
const CHANGES = 9;

/** What one step of a partition's jobs changed. */
export interface CommitBody {
  watermarkMs: number;
  /** Events that the log held up to there, as far as its entries tell. */
  events: number;
  /** Last offset that each job has seen, by name. */
  cursors: ReadonlyMap<string, number>;
  /** By job: states as they are now, and keys that have none any more; no key is in both. */
  states: {
    job: string;
    set: [key: string, state: Buffer][];
    tombstones: string[];
    /** Left out: nothing of it changes. */
    index?: IndexChange[];
    /** Everything that the job's states are found by goes first; what `index` says comes after that. */
    clearsIndex?: boolean;
  }[];
  /** Jobs whose index is complete with this commit, and kept by this owner from now on. */
  indexed?: readonly string[];
  timersSet: [atMs: number, member: string][];
  timersRemoved: string[];
  /** What views and sinks read; undefined when there is nothing. */
  out: Buffer | undefined;
  deadLetters: DeadLetter[];
  /** Ids of letters that were tried again: they go with this commit, and so do the requests for it. */
  resolvedDeadLetters: string[];
}

/** A task as Redis holds it. */
export interface Task {
  /** Names the server's run: another one may have lost what this one told. */
  run: string;
  /** Of the newest owner; each take-over adds one. */
  epoch: number;
  commit: number;
  /** When that was, by the server's clock; 0 before the first. */
  committedMs: number;
  watermarkMs: number;
  events: number;
  cursors: Map<string, number>;
  /** By job, the epoch of the owner that has kept its index complete last. */
  indexed: ReadonlyMap<string, number>;
  /** The last commit that gave something out; 0 for none. */
  lastOut: number;
}

/**
 * Whether a server that was then in the run `known` has lost nothing until `now`: the same process, which has taken
 * over from no other since. As server-run.lua has it, which makes these texts.
 */
export function isSameRun(known: string, now: string): boolean {
  const [process, id] = known.split(":");
  const [processNow, idNow, keeps] = now.split(":");
  return process === processNow && (id === idNow || keeps === "1");
}

/** What every write of an owner is checked by. */
export interface Fence {
  epoch: number;
  run: string;
}

const CURSOR = "cursor:";
const INDEXED = indexedField("");

/** The field of a task that tells how far a job is. */
export const cursorField = (job: string): string => CURSOR + job;

export const loadStreamLibrary = (redis: RedisClient): Promise<void> =>
  loadLibrary(redis, new URL("./stream.lua", import.meta.url));

/**
 * Takes the lease, or says how long another owner still has it.
 * @param now the time in ms; '' for the server's
 */
export async function acquireTask(
  redis: RedisClient,
  keys: PartitionKeys,
  owner: string,
  leaseMs: number,
  now = "",
): Promise<Task | { heldForMs: number }> {
  const [taken, detail, run] = (await callFunction(redis, "task_acquire", [keys.task], [owner, leaseMs, now])) as [
    number,
    string[] | number,
    string,
  ];
  return taken === 0 ? { heldForMs: detail as number } : taskOf(detail as string[], run);
}

/** @throws EngineError `stale_epoch` when another owner has taken over, `stale_run` when the server has started anew */
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

/** Ends whatever lease there is; only for who knows that its owner is gone. */
export async function freeTask(redis: RedisClient, keys: PartitionKeys): Promise<void> {
  if (await redis.hexists(keys.task, "until")) await redis.hset(keys.task, "until", 0);
}

/**
 * Writes a commit. May be sent again after an unknown result.
 * @throws EngineError as renewTask, and `commit_gap` when the one before is missing
 */
export async function commitTask(
  redis: RedisClient,
  keys: PartitionKeys,
  task: Fence & { number: number; leaseMs: number; lastOut: number },
  body: CommitBody,
  now = "",
): Promise<void> {
  const keyList = [keys.task, keys.timers, keys.out, keys.deadLetters, keys.deadEntries, keys.deadRequests];
  for (const { job } of body.states) keyList.push(keys.state(job));
  for (const { job } of body.states.filter(changesIndex)) keyList.push(keys.index(job), keys.indexCounts(job));
  const args = [task.epoch, task.run, task.number, task.leaseMs, now, body.out ?? "", packChanges(task, body)];
  await fenced("task.commit", keys, () => callFunction(redis, "task_commit", keyList, args));
}

/** How long a commit is tried again whose result is not known. */
export interface CommitRetries {
  clock: Scheduler;
  /** What the commit is dated by; undefined: the Redis server's own. */
  serverClock: Clock | undefined;
  untilMs: number;
  /** False: trouble is told at once. */
  mayRepeat(): boolean;
  /** Ends a pause between tries. */
  signal: AbortSignal;
}

/**
 * Writes a commit, and writes it again while its result is not known: done twice is done once.
 * @returns when the try that has been answered began, by the clock given
 * @throws as commitTask, the last trouble when the time is over
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
      await commitTask(redis, keys, task, body, serverClock ? String(serverClock.now()) : "");
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
 * list or a text, because Lua's numbers and bytes are not ours: fields of the task, timers to set (time, member, …),
 * timers to remove, letters (bytes, name of the entry or '', …), their entries (name, bytes, …), letters that go, for
 * each job its states (key, bytes, …), for each job the keys that have none any more, and for each job whose index
 * changes what changes of it.
 */
function packChanges(task: { epoch: number; number: number; lastOut: number }, body: CommitBody): Buffer {
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
  for (const [job, offset] of body.cursors) fields.push(cursorField(job), offset);
  for (const job of body.indexed ?? []) fields.push(indexedField(job), task.epoch);
  writer.value(fields.map(String));
  writer.list(2 * body.timersSet.length);
  for (const [atMs, member] of body.timersSet) {
    writer.text(String(atMs));
    writer.text(member);
  }
  writer.value(body.timersRemoved);
  const entries = new Map<string, Buffer>();
  writer.list(2 * body.deadLetters.length);
  for (const deadLetter of body.deadLetters) {
    const name = deadLetter.fields.length > 0 ? entryName(deadLetter) : "";
    writer.bytes(encodeDeadLetter(deadLetter));
    writer.text(name);
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
  return writer.take();
}

type StatesOfJob = CommitBody["states"][number];

const changesIndex = ({ index = [], clearsIndex }: StatesOfJob): boolean => index.length > 0 || clearsIndex === true;

/**
 * '1' when everything goes first, then for each name: the name, its entries that come (score, member, …), those that
 * go.
 */
function indexChangesOf({
  index = [],
  clearsIndex,
}: StatesOfJob): [anew: string, names: [string, string[], string[]][]] {
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
  const indexed = new Map<string, number>();
  for (const [name, value] of fields) {
    if (name.startsWith(CURSOR)) cursors.set(name.slice(CURSOR.length), Number(value));
    else if (name.startsWith(INDEXED)) indexed.set(name.slice(INDEXED.length), Number(value));
  }
  return {
    run,
    epoch: number("epoch"),
    commit: number("commit"),
    committedMs: number("at"),
    watermarkMs: number("watermark"),
    events: number("events"),
    cursors,
    indexed,
    lastOut: number("lastOut"),
  };
}

/** Progress of a task as anybody may read it. */
export async function readTask(redis: RedisClient, keys: PartitionKeys): Promise<Task> {
  const [fields, run] = (await callFunction(redis, "task_read", [keys.task], [])) as [string[], string];
  return taskOf(fields, run);
}

/** How a refusal of the function begins, and the code that it becomes. */
const REFUSALS: readonly [beginning: string, code: string][] = [
  ["STALE_EPOCH", "stale_epoch"],
  ["STALE_RUN", "stale_run"],
  ["COMMIT_GAP", "commit_gap"],
];

async function fenced(op: string, keys: PartitionKeys, call: () => Promise<unknown>): Promise<void> {
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
