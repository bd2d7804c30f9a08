/**
 * The heatmap's and the alerts' data as any process sees it: per SKU the panes of the trailing hour, the daily
 * average and the open alert, and the latest alerts that have cleared. Filled by the follower; reads nothing itself.
 * Alerts that cleared before this process started are missing.
 */

import type { View } from "../../stream/follower.js";
import type { Emit } from "../../stream/job.js";
import { addToPane, dropPanesBefore, type Panes, panesFrom, sumOfPanes } from "../../stream/window.js";
import {
  ALERT_EMIT,
  type AlertChange,
  DEPLETION_JOB,
  type DepletionFigures,
  type OpenAlert,
  WINDOW_MINUTES,
} from "./job.js";

export interface Alert {
  id: string;
  sku: string;
  state: "fired" | "acknowledged" | "cleared";
  firedAtMs: number;
  clearedAtMs: number | undefined;
  /** As they were when it fired. */
  hourUnits: number;
  dailyAverage: number | undefined;
  acknowledgedBy: string | undefined;
}

interface SkuDepletion {
  panes: Panes;
  dailyAverage: number | undefined;
  revision: number;
}

const CLEARED_KEPT = 500;

export class DepletionView implements View {
  readonly job = DEPLETION_JOB;
  readonly #skus = new Map<string, SkuDepletion>();
  readonly #open = new Map<string, Alert>();
  #cleared: Alert[] = [];
  #revision = 0;

  onView(sku: string, value: unknown): void {
    const { panes, dailyAverage, alert } = value as DepletionFigures;
    let known = this.#skus.get(sku);
    if (!known) {
      known = { panes: [], dailyAverage: undefined, revision: 0 };
      this.#skus.set(sku, known);
    }
    for (let i = 0; i < panes.length; i += 2) setPane(known.panes, panes[i] as number, panes[i + 1] as number);
    const newest = known.panes.at(-2);
    if (newest !== undefined) dropPanesBefore(known.panes, newest - WINDOW_MINUTES + 1);
    known.dailyAverage = dailyAverage ?? undefined;
    known.revision = ++this.#revision;
    if (alert) this.#open.set(sku, alertOf(sku, alert));
    else this.#open.delete(sku);
  }

  onReset(isOf: (sku: string) => boolean): void {
    for (const sku of this.#skus.keys()) if (isOf(sku)) this.#skus.delete(sku);
    for (const sku of this.#open.keys()) if (isOf(sku)) this.#open.delete(sku);
  }

  onEmit(emit: Emit): void {
    if (emit.kind !== ALERT_EMIT) return;
    const change = emit.payload as AlertChange;
    if (change.type !== "cleared") return;
    this.#cleared.unshift({ ...alertOf(change.sku, change.alert), state: "cleared", clearedAtMs: change.atMs });
    if (this.#cleared.length > CLEARED_KEPT) this.#cleared.length = CLEARED_KEPT;
  }

  /** SKUs that had a deduction lately, with units in the hour that ends with `minute`. Those with none are left out. */
  *hours(minute: number): Generator<{ sku: string; hourUnits: number }> {
    for (const [sku, { panes }] of this.#skus) {
      const hourUnits = sumOfPanes(panes, minute - WINDOW_MINUTES + 1, minute);
      if (hourUnits > 0) yield { sku, hourUnits };
    }
  }

  hourUnits(sku: string, minute: number): number {
    const known = this.#skus.get(sku);
    return known ? sumOfPanes(known.panes, minute - WINDOW_MINUTES + 1, minute) : 0;
  }

  dailyAverage(sku: string): number | undefined {
    return this.#skus.get(sku)?.dailyAverage;
  }

  panes(sku: string, sinceMinute: number): Panes {
    return panesFrom(this.#skus.get(sku)?.panes ?? [], sinceMinute);
  }

  /** The number of the newest change. */
  get lastRevision(): number {
    return this.#revision;
  }

  /** SKUs that have changed after a change; one that changes during the iteration comes as it was or as it is. */
  *panesChangedSince(revision: number): Generator<[sku: string, panes: Panes]> {
    for (const [sku, known] of this.#skus) if (known.revision > revision) yield [sku, panesFrom(known.panes, 0)];
  }

  revision(sku: string): number {
    return this.#skus.get(sku)?.revision ?? 0;
  }

  /** Open alerts, newest first. */
  openAlerts(): Alert[] {
    return [...this.#open.values()].sort((a, b) => b.firedAtMs - a.firedAtMs || (a.id < b.id ? -1 : 1));
  }

  openAlert(sku: string): Alert | undefined {
    return this.#open.get(sku);
  }

  /** Cleared alerts, the latest first. */
  clearedAlerts(): readonly Alert[] {
    return this.#cleared;
  }
}

const alertOf = (sku: string, open: OpenAlert): Alert => ({
  id: open.id,
  sku,
  state: open.acknowledgedBy === null ? "fired" : "acknowledged",
  firedAtMs: open.firedAtMs,
  clearedAtMs: undefined,
  hourUnits: open.hourUnits,
  dailyAverage: open.dailyAverage ?? undefined,
  acknowledgedBy: open.acknowledgedBy ?? undefined,
});

/** Panes come as absolute values. */
function setPane(panes: Panes, minute: number, units: number): void {
  const present = sumOfPanes(panes, minute, minute);
  if (units !== present) addToPane(panes, minute, units - present);
}
