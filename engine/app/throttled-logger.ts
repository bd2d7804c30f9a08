/**
 * Limits how often a kind of message is written: one failure of Redis causes the same message in every partition many
 * times a second. The first of a kind is written at once, further ones are counted for ten seconds. Messages are of
 * one kind when they differ only in numbers, partitions and orders. Counted messages are not kept.
 */
import { type Clock, systemClock } from "../kernel/clock.js";
import type { OnTrouble } from "../kernel/logger.js";
import { explainRedisErrors } from "../stream/redis-errors.js";

const QUIET_MS = 10_000;
/** Past this the oldest kinds are dropped; their next message is written at once. */
const KINDS_KEPT = 100;

interface Kind {
  writtenMs: number;
  more: number;
}

/** Returns a function that writes each kind of message at most once in ten seconds. */
export function throttledLogger(write: OnTrouble, clock: Clock = systemClock): OnTrouble {
  const kinds = new Map<string, Kind>();
  return (message, fields = {}) => {
    const text = explainRedisErrors(message);
    // A client quotes its instance to support, so each instance is a kind of its own.
    const { level = "warn", topic = "", job = "", sink = "", client = "", instance = "" } = fields;
    const name = [level, topic, job, sink, client, instance, text.replace(/\d+/g, "#")].join(" ");
    const nowMs = clock.now();
    const known = kinds.get(name);
    if (known && nowMs - known.writtenMs < QUIET_MS) {
      known.more++;
      return;
    }
    const before = known?.more ? ` (and ${known.more} like it before)` : "";
    kinds.delete(name);
    kinds.set(name, { writtenMs: nowMs, more: 0 });
    if (kinds.size > KINDS_KEPT) kinds.delete(kinds.keys().next().value as string);
    write(`${text}${before}`, fields);
  };
}
