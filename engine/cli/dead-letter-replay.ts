/**
 * Replaying and removing dead letters. A replay is a request: the worker that owns the partition processes each one
 * again, in a commit of its own. This side waits and reports the outcome of each; a request whose answer did not come
 * in time is still processed later. Both are recorded with the actor, before they are done.
 */
import { userInfo } from "node:os";
import type { Deployment } from "../app/deployment.js";
import { sleep, systemClock } from "../kernel/clock.js";
import { loadStreamLibrary } from "../stream/commit.js";
import {
  findDeadLetters,
  listDeadLetters,
  pendingReplays,
  removeDeadLetters,
  requestReplay,
  type StoredDeadLetter,
} from "../stream/dead-letter.js";
import { type DeadLetterAction, recordDeadLetterAction } from "../stream/dead-letter-actions.js";
import type { PartitionKeys } from "../stream/keys.js";
import { type Group, idOf, PAGE, pagesOf, type Selection } from "./dead-letter-selection.js";

/** The owner reads requests with every tick, a second by default; it processes some thousands of them a second. */
const WAIT_MS = 15_000;
const POLL_MS = 100;

/** The outcome for one dead letter. */
export interface Outcome {
  id: string;
  outcome: "replayed" | "failed" | "waiting" | "asked" | "removed" | "missing";
  reason?: string;
  /** The dead letters that have replaced it. */
  now?: string[];
}

export async function replay(
  reached: Deployment,
  groups: readonly Group[],
  options: Selection,
  signal: AbortSignal,
): Promise<Outcome[]> {
  await loadStreamLibrary(reached.redis);
  const outcomes = await Promise.all(groups.map((group) => replayIn(reached, group, options, signal)));
  return outcomes.flat();
}

async function replayIn(
  reached: Deployment,
  { partition, keys, ids }: Group,
  options: Selection,
  signal: AbortSignal,
): Promise<Outcome[]> {
  const { redis } = reached;
  const [newest] = await redis.xrevrange(keys.deadLetters, "+", "-", "COUNT", 1);
  const requested = await requestAll(reached, keys, ids, options);
  const missing = ids
    .filter((id) => !requested.has(id))
    .map((id): Outcome => ({ id: idOf(partition, id), outcome: "missing" }));
  if (!options.wait)
    return [...missing, ...[...requested].map((id): Outcome => ({ id: idOf(partition, id), outcome: "asked" }))];

  const waiting = await waitForAll(reached, keys, [...requested], signal);
  const successors = await successorsOf(redis, keys, newest?.[0]);
  const reason = waiting.size > 0 ? await whyWaiting(reached, keys) : "";
  return [
    ...missing,
    ...[...requested].map((id): Outcome => {
      const known = { id: idOf(partition, id) };
      if (waiting.has(id)) return { ...known, outcome: "waiting", reason };
      const failed = successors.get(id);
      if (!failed) return { ...known, outcome: "replayed" };
      const now = failed.map((deadLetter) => idOf(partition, deadLetter.id));
      return { ...known, outcome: "failed", reason: failed[0]?.reason ?? "", now };
    }),
  ];
}

/** Requests the replay of those that exist. @returns their ids */
async function requestAll(
  reached: Deployment,
  keys: PartitionKeys,
  ids: readonly string[],
  options: Selection,
): Promise<Set<string>> {
  const requested = new Set<string>();
  for (const page of pagesOf(ids)) {
    const deadLetters = await findDeadLetters(reached.redis, keys, page);
    if (deadLetters.length === 0) continue;
    const found = deadLetters.map(({ id }) => id);
    await record(reached, keys, "replay", found, options);
    await requestReplay(reached.redis, keys, deadLetters);
    for (const id of found) requested.add(id);
  }
  return requested;
}

/** Waits until all requests are processed, or none has been for a while. @returns those that are not processed */
async function waitForAll(
  { redis, isAlone }: Deployment,
  keys: PartitionKeys,
  ids: readonly string[],
  signal: AbortSignal,
): Promise<Set<string>> {
  // While only this command uses the private Redis, no worker is there to process them.
  const waitMs = isAlone ? 0 : WAIT_MS;
  let waiting = ids;
  let untilMs = systemClock.now() + waitMs;
  while (waiting.length > 0 && systemClock.now() < untilMs && !signal.aborted) {
    await sleep(POLL_MS, signal);
    const still: string[] = [];
    for (const page of pagesOf(waiting)) still.push(...(await pendingReplays(redis, keys, page)));
    // The limit is for a worker that makes no progress.
    if (still.length < waiting.length) untilMs = systemClock.now() + waitMs;
    waiting = still;
  }
  return new Set(waiting);
}

/** The dead letters that failed again, by the id that they had before. */
async function successorsOf(
  redis: Deployment["redis"],
  keys: PartitionKeys,
  newestBefore: string | undefined,
): Promise<Map<string, StoredDeadLetter[]>> {
  const successors = new Map<string, StoredDeadLetter[]>();
  for (let after = newestBefore ?? "-"; ; ) {
    const page = await listDeadLetters(redis, keys, after, PAGE);
    for (const deadLetter of page)
      if (deadLetter.was !== undefined)
        successors.set(deadLetter.was, [...(successors.get(deadLetter.was) ?? []), deadLetter]);
    if (page.length < PAGE) return successors;
    after = page.at(-1)?.id ?? after;
  }
}

async function whyWaiting({ redis, isAlone }: Deployment, keys: PartitionKeys): Promise<string> {
  const [until, [seconds]] = await Promise.all([redis.hget(keys.task, "until"), redis.time()]);
  return isAlone || Number(until ?? 0) <= Number(seconds) * 1_000
    ? "no worker runs this partition: start one (serve), which then replays it"
    : "the partition's worker has not processed it yet, but will";
}

export async function remove(reached: Deployment, groups: readonly Group[], options: Selection): Promise<Outcome[]> {
  const { redis } = reached;
  await loadStreamLibrary(redis);
  const outcomes: Outcome[] = [];
  for (const { partition, keys, ids } of groups) {
    for (const page of pagesOf(ids)) {
      const found = await findDeadLetters(redis, keys, page);
      if (found.length > 0)
        await record(
          reached,
          keys,
          "remove",
          found.map(({ id }) => id),
          options,
        );
      const removed = await removeDeadLetters(redis, keys, page);
      outcomes.push(
        ...page.map((id, i): Outcome => ({ id: idOf(partition, id), outcome: removed[i] ? "removed" : "missing" })),
      );
    }
  }
  return outcomes;
}

/** Records who does something, before it is done. */
async function record(
  { redis }: Deployment,
  keys: PartitionKeys,
  action: DeadLetterAction["action"],
  deadLetters: string[],
  { actor }: Selection,
): Promise<void> {
  await recordDeadLetterAction(redis, keys, { action, actor: `cli:${actor ?? systemUser()}`, deadLetters });
}

function systemUser(): string {
  try {
    return userInfo().username;
  } catch {
    // In a container the user id may have no name.
    return `uid-${process.getuid?.() ?? "unknown"}`;
  }
}
