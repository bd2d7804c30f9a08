/**
 * Where the archive of a partition ends, as Redis has it: in the archive's task, beside its lease, so that it changes
 * only with a commit that the lease's fence lets through. Readers need no lease.
 */
import { ARCHIVE_CURSOR } from "../stream/archive-cursor.js";
import { commitTask, cursorField, type Task } from "../stream/commit.js";
import { archiveKeys, type PartitionKeys } from "../stream/keys.js";
import type { RedisClient } from "../stream/redis.js";
import { type ArchiveHead, type ArchivePlace, decodeHead, EMPTY_HEAD, encodeJson } from "./archive-format.js";

const HEAD_FIELD = "archive";

/** The head in Redis; `EMPTY_HEAD` when nothing was archived. */
export async function readArchiveHead(redis: RedisClient, place: ArchivePlace): Promise<ArchiveHead> {
  const { task } = archiveKeys(place.prefix, place.topic, place.partition);
  const text = await redis.hget(task, HEAD_FIELD);
  return text === null ? EMPTY_HEAD : decodeHead(Buffer.from(text), task);
}

/** Whether the partition is archived: its archive's task has a cursor. */
export const hasArchive = async (redis: RedisClient, place: ArchivePlace): Promise<boolean> =>
  (await redis.hexists(archiveKeys(place.prefix, place.topic, place.partition).task, cursorField(ARCHIVE_CURSOR))) ===
  1;

export interface HeadCommit {
  readonly task: Pick<Task, "epoch" | "run">;
  /** One more than that of the commit before. */
  readonly number: number;
  readonly leaseMs: number;
  readonly now: string;
}

/** Writes the head. @throws EngineError as `commitTask` */
export async function commitArchiveHead(
  redis: RedisClient,
  keys: PartitionKeys,
  head: ArchiveHead,
  { task, number, leaseMs, now }: HeadCommit,
): Promise<void> {
  const body = {
    ...{ states: [], timersSet: [], timersRemoved: [], out: undefined, deadLetters: [], resolvedDeadLetters: [] },
    ...{ watermarkMs: 0, events: 0 },
    cursors: new Map([[ARCHIVE_CURSOR, head.last]]),
    fields: { [HEAD_FIELD]: encodeJson(head).toString("utf8") },
  };
  await commitTask(redis, keys, { epoch: task.epoch, run: task.run, number, leaseMs, lastOut: 0 }, body, now);
}
