/**
 * Who had dead letters tried again or removed them: a short history beside the letters of a partition. A record is
 * written before the action, so no letter goes without one; an action that fails afterwards leaves a record of what
 * was asked for. The oldest records go when there are many.
 */
import type { PartitionKeys } from "./keys.js";
import type { RedisClient } from "./redis.js";

export interface DeadLetterAction {
  /** When it was asked for, by the server's clock. */
  atMs: number;
  action: "replay" | "remove";
  /** `cli:<name>` when it came past the API, with access to Redis. */
  actor: string;
  /** Letters' ids, without their partition. */
  deadLetters: string[];
}

/** Calls of up to some hundred letters each. */
const ACTIONS_KEPT = 10_000;

/** Notes what is about to be done with letters. */
export async function recordDeadLetterAction(
  redis: RedisClient,
  { deadActions }: PartitionKeys,
  { action, actor, deadLetters }: Omit<DeadLetterAction, "atMs">,
): Promise<void> {
  const fields = ["action", action, "actor", actor, "letters", deadLetters.join(" ")];
  await redis.xadd(deadActions, "MAXLEN", "~", ACTIONS_KEPT, "*", ...fields);
}

/** The newest actions, the oldest of them first. */
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
