/**
 * What Prometheus rules are made of: alerts with their section of the runbook, and recorded series. Plain data; the
 * files are written by rule-files.ts.
 */

/** `critical`: somebody acts now, at night, too. `warning`: somebody looks at it today. */
export type RuleSeverity = "critical" | "warning";

export interface Alert {
  readonly name: string;
  readonly severity: RuleSeverity;
  /** PromQL. Its result keeps the label `job`, the deployment. */
  readonly expression: string;
  /** How long the expression holds before it fires; left out: at once. */
  readonly for?: string;
  /** One line with labels and value, in Prometheus' template language. */
  readonly summary: string;
  /** Of the runbook: what it means for the shop. */
  readonly meaning: string;
  /** Of the runbook: where to look, in this order. */
  readonly look: readonly string[];
  /** Of the runbook: what to do, in this order. */
  readonly act: readonly string[];
}

export interface RecordedSeries {
  /** `<labels>:<metric>:<operation>`, as Prometheus' documentation recommends. */
  readonly name: string;
  readonly expression: string;
}
