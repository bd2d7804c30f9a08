/**
 * The alerts of all rules as any serving process has them: the open ones, and those that have cleared within a day.
 * Each is listed with who was notified and when the next level is. Filled by the follower from the job's states, so it
 * is complete after a restart; reads nothing itself.
 */

import { alertKeyOf } from "../../alerting/alert.js";
import type { AlertRuleName } from "../../alerting/rules.js";
import type { View } from "../../stream/follower.js";
import type { Emit } from "../../stream/job.js";
import { ROUTE_EMIT, type RouteCommand } from "./events.js";
import { ALERTS_JOB } from "./job.js";
import { type AlertRecord, type AlertsFigures, newestCleared, newestFired } from "./state.js";

/** Cleared alerts of all subjects that are listed; others are found by their id. */
const CLEARED_LISTED = 1_000;

export class AlertsView implements View {
  readonly job = ALERTS_JOB;
  readonly #open = new Map<string, AlertRecord>();
  readonly #cleared = new Map<string, readonly AlertRecord[]>();
  /** Since this process started: how many alerts of a rule have fired, and the last one of each subject. */
  readonly #fired = new Map<AlertRuleName, number>();
  readonly #lastFired = new Map<string, string>();
  #revision = 0;
  /** Lists of the present revision. */
  #lists: { open: readonly AlertRecord[]; cleared: readonly AlertRecord[] } | undefined;

  onView(key: string, value: unknown): void {
    const { open, cleared } = value as AlertsFigures;
    if (open) this.#open.set(key, open);
    else this.#open.delete(key);
    if (cleared.length > 0) this.#cleared.set(key, cleared);
    else this.#cleared.delete(key);
    this.#changed();
  }

  onClear(key: string): void {
    this.#open.delete(key);
    this.#cleared.delete(key);
    this.#lastFired.delete(key);
    this.#changed();
  }

  /** An alert that fires notifies its first level; it does so again when a silence ends. */
  onEmit({ kind, payload }: Emit): void {
    if (kind !== ROUTE_EMIT) return;
    const { alert, what, level } = payload as RouteCommand;
    if (what !== "notify" || level > 0 || this.#lastFired.get(alertKeyOf(alert)) === alert.id) return;
    this.#lastFired.set(alertKeyOf(alert), alert.id);
    this.#fired.set(alert.rule, (this.#fired.get(alert.rule) ?? 0) + 1);
  }

  onReset(isOf: (key: string) => boolean): void {
    for (const map of [this.#open, this.#cleared]) for (const key of map.keys()) if (isOf(key)) map.delete(key);
    this.#changed();
  }

  /** Changes with everything below. */
  get revision(): number {
    return this.#revision;
  }

  /** Alerts that have fired since this process started, by rule. */
  get fired(): ReadonlyMap<AlertRuleName, number> {
    return this.#fired;
  }

  /** Open alerts, the newest first. */
  open(): readonly AlertRecord[] {
    return this.#listed().open;
  }

  /** Cleared alerts, those that cleared last first; a limited number. */
  cleared(): readonly AlertRecord[] {
    return this.#listed().cleared;
  }

  /** An alert by its id, open or cleared within a day. */
  get(id: string): AlertRecord | undefined {
    const find = (records: Iterable<AlertRecord>): AlertRecord | undefined => {
      for (const record of records) if (record.alert.id === id) return record;
      return undefined;
    };
    const open = find(this.#open.values());
    if (open) return open;
    for (const records of this.#cleared.values()) {
      const found = find(records);
      if (found) return found;
    }
    return undefined;
  }

  #changed(): void {
    this.#revision++;
    this.#lists = undefined;
  }

  #listed() {
    if (this.#lists) return this.#lists;
    const open = [...this.#open.values()].sort(newestFired);
    const cleared = [...this.#cleared.values()].flat().sort(newestCleared);
    this.#lists = { open, cleared: cleared.slice(0, CLEARED_LISTED) };
    return this.#lists;
  }
}
