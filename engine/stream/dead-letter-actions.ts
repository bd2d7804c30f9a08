/**
 * Who replayed or removed dead letters, and what the engine removed to make room: a short history for each partition. A
 * record is written before the action; one that fails afterwards leaves a record of what was requested. Dead letters
 * past the age limit are removed without a record. The oldest records are deleted when there are many.
 */
import { callFunction } from "./functions.js";
import type { PartitionKeys } from "./keys.js";
import type { RedisClient } from "./redis.js";

export interface DeadLetterAction {
  /** When it was requested, by the server's clock. */
  atMs: number;
  /** `drop`: removed by the engine to make room, the oldest first; `deadLetters` are the first and the last of them. */
  action: "replay" | "remove" | "drop";
  /** `cli:<name>` when it came from the command line instead of the API; of `drop`: `engine`. */
  actor: string;
  /** Ids of the dead letters, without their partition. */
  deadLetters: string[];
}

/** One record names up to some hundred dead letters. */
const ACTIONS_KEPT = 10_000;

/** Records an action before it is done, also when Redis is full. Returns the record's id. */
export async function recordDeadLetterAction(
  redis: RedisClient,
  { deadActions }: PartitionKeys,
  { action, actor, deadLetters }: Omit<DeadLetterAction, "atMs">,
): Promise<string> {
  // `letters`: stored name.
  const fields = ["action", action, "actor", actor, "letters", deadLetters.join(" ")];
  return (await callFunction(redis, "dead_letters_record", [deadActions], [ACTIONS_KEPT, ...fields])) as string;
}

/** Removes a record of an action, because a newer record includes it. */
export async function removeDeadLetterAction(
  redis: RedisClient,
  { deadActions }: PartitionKeys,
  id: string,
): Promise<void> {
  await redis.xdel(deadActions, id);
}

/** The newest actions, in the order in which they were requested. */
export async function newestDeadLetterActions(
  redis: RedisClient,
  { deadActions }: PartitionKeys,
  count: number,
): Promise<DeadLetterAction[]> {
  const raw = (await redis.xrevrange(deadActions, "+", "-", "COUNT", count)) as [id: string, fields: string[]][];
  return raw.reverse().map(([id, fields]) => {
    const [, action = "", , actor = "", , deadLetters = ""] = fields;
    return {
      atMs: Number.parseInt(id, 10),
      action: action as DeadLetterAction["action"],
      actor,
      deadLetters: deadLetters.split(" ").filter(Boolean),
    };
  });
}
