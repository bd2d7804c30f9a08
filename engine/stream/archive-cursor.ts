/**
 * How far the log of a partition is archived, as trimming reads it: entries that are not archived yet are kept longer
 * than the retention, but not without end, and not once nobody archives them any more.
 */
import { COMMITTED, cursorField } from "./commit.js";
import { archiveKeys } from "./keys.js";
import type { RedisClient } from "./redis.js";

/** The name of the cursor in the archive's task. */
export const ARCHIVE_CURSOR = "archived";

/**
 * The last entry that is archived; undefined when the log is not archived, or not any more.
 * @param sinceMs an archive that has committed nothing since then is not written any more. One whose storage does not
 *   answer commits all the time, because its owner starts over; one that has nothing to do needs no entries held
 */
export async function archivedUpTo(
  redis: RedisClient,
  place: { readonly prefix: string; readonly topic: string; readonly partition: number },
  sinceMs = 0,
): Promise<number | undefined> {
  const { task } = archiveKeys(place.prefix, place.topic, place.partition);
  const [cursor, committedMs] = await redis.hmget(task, cursorField(ARCHIVE_CURSOR), COMMITTED);
  return cursor === null || Number(committedMs ?? 0) < sinceMs ? undefined : Number(cursor);
}
