/**
 * The alerts of a replayed history, as the depletion job emits them. They are kept in memory, since their order in the
 * output is that of time, and partitions emit them in any order.
 */
import { ALERT_EMIT, type AlertChange, DEPLETION_JOB } from "../jobs/depletion/job.js";
import type { View } from "../stream/follower.js";

export class AlertList implements View {
  readonly job = DEPLETION_JOB;
  readonly changes: AlertChange[] = [];

  onEmit({ kind, payload }: { kind: string; payload: unknown }): void {
    if (kind === ALERT_EMIT) this.changes.push(payload as AlertChange);
  }

  /** One JSON text for each, in the order of time. */
  lines(): string[] {
    const order = (a: AlertChange, b: AlertChange) => a.atMs - b.atMs || (a.sku < b.sku ? -1 : a.sku > b.sku ? 1 : 0);
    return this.changes
      .toSorted(order)
      .map(({ type, sku, atMs, hourUnits, dailyAverage }) =>
        JSON.stringify({ type, sku, at: new Date(atMs).toISOString(), hourUnits, dailyAverage }),
      );
  }
}
