/**
 * The form of the metric table: a line is a name, type, help, labels and how to read the values. Labels are topics,
 * partitions, jobs, sinks and schedules, never SKUs or orders.
 */
import type { Gateway } from "../../dashboards/gateway.js";
import type { Engine } from "./engine.js";
import type { Intake } from "./intake.js";

/** What the values are read from. */
export interface MetricSources {
  engine: Engine;
  gateway: Gateway;
  intake: Intake;
}

/** A value with its labels' values, in the order of the metric's labels; undefined: no value now. */
export type Sample = readonly [value: number | undefined, ...labels: (string | number)[]];

export type MetricType = "gauge" | "counter";
type Label =
  | "topic"
  | "partition"
  | "job_name"
  | "sink"
  | "source"
  | "target"
  | "schedule"
  | "step"
  | "kind"
  | "outcome"
  | "rule"
  | "state"
  | "channel"
  | "a"
  | "b";

export interface MetricRow {
  /** After the prefix `shuiwei_`. */
  readonly name: string;
  /** It is a name that Prometheus' clients share: without the prefix. */
  readonly isShared?: true;
  readonly type: MetricType;
  readonly help: string;
  readonly labels: readonly Label[];
  read(sources: MetricSources): readonly Sample[] | Promise<readonly Sample[]>;
}
