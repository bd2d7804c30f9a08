/**
 * How far the log of a partition is archived, as trimming reads it: entries that are not archived yet are kept longer
 * than the retention, but not without end. A partition whose log nobody archives has no such cursor.
 */
import { cursorField } from "./commit.js";
import { archiveKeys } from "./keys.js";
import type { RedisClient } from "./redis.js";

/** The name of the cursor in the archive's task. */
export const ARCHIVE_CURSOR = "archived";

/** The last entry that is archived; undefined when the log is not archived. */
export async function archivedUpTo(
  redis: RedisClient,
  place: { readonly prefix: string; readonly topic: string; readonly partition: number },
): Promise<number | undefined> {
  const cursor = await redis.hget(
    archiveKeys(place.prefix, place.topic, place.partition).task,
    cursorField(ARCHIVE_CURSOR),
  );
  return cursor === null ? undefined : Number(cursor);
}
