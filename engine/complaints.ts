/**
 * What the engine tells its operator on stderr. Trouble with Redis meets sixteen partitions many times a second; at three in the morning one line
 * says more than a thousand. The first of a kind is told at once, those like it are counted and summed up; messages are alike when they
 * differ in numbers only. Nothing is kept beyond that.
 */
import { type Clock, systemClock } from "./kernel/clock.js";
import { inPlainWords } from "./stream/redis.js";

const QUIET_MS = 10_000;
/** More kinds than anybody reads; the oldest are forgotten, and told again when they come back. */
const KINDS_KEPT = 100;

interface Kind {
  toldMs: number;
  more: number;
}

/** Makes a function that tells each kind of message at most once in ten seconds. */
export function complainer(write: (line: string) => void, clock: Clock = systemClock): (message: string) => void {
  const kinds = new Map<string, Kind>();
  return (message) => {
    const text = inPlainWords(message);
    const name = text.replace(/\d+/g, "#");
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
    write(`${text}${before}`);
  };
}
