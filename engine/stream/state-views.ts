/**
 * The views of all stored states of a job in a partition: what a follower starts from. A state that cannot be read is
 * reported and left out; states of a newer version of the job are an error, because a view without them would be wrong.
 * Commits that are written meanwhile may be in the result or not.
 */
import { messageOf } from "../kernel/errors.js";
import type { Task } from "./commit.js";
import type { AnyJob, LogEvent } from "./job.js";
import type { PartitionKeys } from "./keys.js";
import type { RedisClient } from "./redis.js";
import { isNewerVersion, newerVersion, stateOf, versionOf } from "./state-codec.js";

const SCAN_COUNT = 500;

/**
 * Key and view of each state, in no order; a key may be there twice.
 * @param task as it was read before
 * @throws EngineError `newer_version` when a newer version of the job has committed
 */
export async function viewsOfStates<Event extends LogEvent>(
  redis: RedisClient,
  keys: PartitionKeys,
  job: AnyJob<Event>,
  task: Task,
  report: (message: string) => void,
): Promise<[key: string, view: unknown][]> {
  const there = task.versions.get(job.name) ?? 1;
  if (there > versionOf(job)) throw newerVersion(keys.task, job, there);
  const views: [string, unknown][] = [];
  const hash = keys.state(job.name);
  let cursor = "0";
  do {
    const [next, pairs] = (await redis.hscanBuffer(hash, cursor, "COUNT", SCAN_COUNT)) as [Buffer, Buffer[]];
    cursor = next.toString("latin1");
    for (let i = 0; i < pairs.length; i += 2) {
      const key = (pairs[i] as Buffer).toString("utf8");
      try {
        views.push([key, job.view?.(stateOf(job, key, pairs[i + 1] as Buffer), key, 0)]);
      } catch (thrown) {
        if (isNewerVersion(thrown)) throw thrown;
        // The other keys are published all the same; this one's dead letters contain the details.
        report(`the state of ${key} in ${job.name} cannot be read: ${messageOf(thrown)}`);
      }
    }
  } while (cursor !== "0");
  return views;
}
