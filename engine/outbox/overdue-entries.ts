/**
 * The overflow of a backlog: while its oldest entries are beyond a bound, their deliveries become dead letters with the
 * next commit, which also moves the cursor past them. Requests under way are not waited for; one that is accepted after
 * all is accepted again when the dead letter is replayed, under the same id.
 */
import type { EmitEntry } from "../stream/emits.js";
import type { Backlog, Pending } from "./backlog.js";
import type { EntryPlace } from "./emit-bounds.js";
import type { SinkCommitter } from "./sink-committer.js";

export interface OverdueRules {
  /** Why an entry may not wait any longer; undefined: it may. */
  isOverdue(entry: EntryPlace): string | undefined;
  isEnding(): boolean;
  /** Called with deliveries that may be sent now, because an older one of their key has overflowed. */
  onReady(ready: readonly Pending[]): void;
}

/** Entries that overflow with one commit. */
const OVERFLOW_AT_ONCE = 256;

/** @throws as the committer's `write` and `renewIfDue` */
export async function overflowOldest(backlog: Backlog, committer: SinkCommitter, rules: OverdueRules): Promise<void> {
  // When the last ones cannot be recorded, no more are taken out.
  while (!rules.isEnding() && !committer.hasOverflow) {
    if (overflowSome(backlog, committer, rules) === 0) return;
    await committer.write();
    await committer.renewIfDue();
  }
}

/**
 * The same for entries that the sink does not read meanwhile, because it has too many dead letters or no room, or
 * waits for replicas: without this they would be held back without a bound. Call it when the backlog has no entry that
 * is beyond a bound.
 * @param read up to some entries after one
 * @param wants whether the receiver wants emits of a kind
 */
export async function overflowUnread(
  backlog: Backlog,
  committer: SinkCommitter,
  rules: OverdueRules,
  read: (after: number) => Promise<readonly EmitEntry[]>,
  wants: (kind: string) => boolean,
): Promise<void> {
  while (!rules.isEnding() && !committer.hasOverflow && backlog.oldest === undefined) {
    const before = backlog.readUpTo;
    for (const entry of await read(before)) {
      if (rules.isOverdue(entry) === undefined) break;
      // Its deliveries are not sent: they are given up at once.
      if (entry.commit > backlog.readUpTo) backlog.add(entry, wants);
    }
    if (backlog.readUpTo === before) return;
    await overflowOldest(backlog, committer, rules);
  }
}

function overflowSome(backlog: Backlog, committer: SinkCommitter, { isOverdue, onReady }: OverdueRules): number {
  let entries = 0;
  for (; entries < OVERFLOW_AT_ONCE; entries++) {
    const { oldest } = backlog;
    const reason = oldest && isOverdue(oldest);
    const given = reason === undefined ? undefined : backlog.takeOldest();
    if (reason === undefined || !given) break;
    const { commit, unsettled, ready } = given;
    const indexes = unsettled.map(({ index }) => index);
    const deliveries = unsettled.map(({ delivery }) => delivery);
    if (unsettled.length > 0) committer.addOverflow({ commit, indexes, deliveries, reason });
    onReady(ready);
  }
  return entries;
}
