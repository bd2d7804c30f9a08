/**
 * A silence: alerts that match it notify nobody until it ends. They are alerts all the same, and who looks at the list
 * sees them. When it ends, those that are still open notify. Plain data; silence-store.ts keeps it.
 */
import type { Alert } from "./alert.js";
import type { AlertRuleName } from "./rules.js";

export interface Silence {
  readonly id: string;
  /** Every field that is given must match; at least one is. */
  readonly rule?: AlertRuleName;
  readonly sku?: string;
  readonly category?: string;
  readonly location?: string;
  /** When it ends, or when somebody ended it. */
  readonly untilMs: number;
  readonly reason: string;
  readonly actor: string;
  readonly createdMs: number;
  /** Who ended it before its time. */
  readonly endedBy?: string;
}

/** Whether an alert is within a silence at an instant. A location matches when all of the alert's units are there. */
export const isSilencedBy = (alert: Alert, silence: Silence, nowMs: number): boolean =>
  silence.untilMs > nowMs &&
  (silence.rule === undefined || silence.rule === alert.rule) &&
  (silence.sku === undefined || (alert.rule === "depletion" && silence.sku === alert.subject)) &&
  (silence.category === undefined || silence.category === alert.category) &&
  (silence.location === undefined ||
    (alert.locations !== undefined &&
      alert.locations.length > 0 &&
      alert.locations.every((location) => location === silence.location)));
