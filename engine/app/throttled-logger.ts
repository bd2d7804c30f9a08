/**
 * How often the operator is told. Trouble with Redis meets sixteen partitions many times a second; at three in the
 * morning one line says more than a thousand. The first of a kind is told at once, those like it are counted and
 * summed up; messages are alike when they differ in numbers, partitions and orders only. Nothing is kept beyond that.
 */
import { type Clock, systemClock } from "../kernel/clock.js";
import type { OnTrouble } from "../kernel/logger.js";
import { explainRedisErrors } from "../stream/redis-errors.js";

const QUIET_MS = 10_000;
/** More kinds than anybody reads; the oldest are forgotten, and told again when they come back. */
const KINDS_KEPT = 100;

interface Kind {
  toldMs: number;
  more: number;
}

/** Makes a function that tells each kind of message at most once in ten seconds. */
export function throttledLogger(write: OnTrouble, clock: Clock = systemClock): OnTrouble {
  const kinds = new Map<string, Kind>();
  return (message, fields = {}) => {
    const text = explainRedisErrors(message);
    // An instance is asked for by whoever was told it: each has its line.
    const { level = "warn", topic = "", job = "", sink = "", client = "", instance = "" } = fields;
    const name = [level, topic, job, sink, client, instance, text.replace(/\d+/g, "#")].join(" ");
    const nowMs = clock.now();
    const known = kinds.get(name);
    if (known && nowMs - known.toldMs < QUIET_MS) {
      known.more++;
      return;
    }
    const before = known?.more ? ` (and ${known.more} like it before)` : "";
    kinds.delete(name);
    kinds.set(name, { toldMs: nowMs, more: 0 });
    if (kinds.size > KINDS_KEPT) kinds.delete(kinds.keys().next().value as string);
    write(`${text}${before}`, fields);
  };
}
