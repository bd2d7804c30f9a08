/**
 * How long a partition had no commit when its owner changed: the time between the last commit of one epoch and the
 * first of a later one, by Redis' clock. It is meaningful only under a load that changes every partition all the time.
 */
import type { CommitSeen } from "./final-state.js";

export interface OwnerChange {
  partition: number;
  /** The old owner's last commit, and the new one's first. */
  fromMs: number;
  toMs: number;
}

/** Every change of owner that the commits show. */
export function ownerChanges(commits: readonly CommitSeen[]): OwnerChange[] {
  const changes: OwnerChange[] = [];
  let last: CommitSeen | undefined;
  for (const commit of commits) {
    if (last && last.partition === commit.partition && last.epoch !== commit.epoch)
      changes.push({ partition: commit.partition, fromMs: last.atMs, toMs: commit.atMs });
    last = commit;
  }
  return changes;
}

export function describePauses(changes: readonly OwnerChange[]): string {
  const pauses = changes.map(({ fromMs, toMs }) => toMs - fromMs).sort((a, b) => a - b);
  if (pauses.length === 0) return "none";
  return `median ${pauses[Math.floor(pauses.length / 2)]} ms, longest ${pauses.at(-1)} ms (${pauses.length} changes of owner)`;
}
