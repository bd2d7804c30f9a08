/**
 * Metrics of what sources report (R13): snapshots by how they ended, and rows, through this process; and the age of
 * each source's newest complete snapshot, which is the deployment's. Labels are names of sources, 64 at most.
 */
import type { MetricRow, Sample } from "./metric-row.js";

export const SNAPSHOT_METRICS: readonly MetricRow[] = [
  {
    name: "snapshots_total",
    type: "counter",
    help: "Snapshots that ended through this process, by source and outcome: complete or refused",
    labels: ["source", "outcome"],
    read: ({ engine }) =>
      [...engine.reconciliation.snapshots.figures.ended].flatMap(([source, { complete, refused }]): Sample[] => [
        [complete, source, "complete"],
        [refused, source, "refused"],
      ]),
  },
  {
    name: "snapshot_rows_total",
    type: "counter",
    help: "Rows of snapshots that were stored through this process",
    labels: [],
    read: ({ engine }) => [[engine.reconciliation.snapshots.figures.rows]],
  },
  {
    name: "snapshot_age_seconds",
    type: "gauge",
    help: "How long ago the instant of each source's newest complete snapshot is",
    labels: ["source"],
    async read({ engine }) {
      // Other metrics report a Redis that does not answer.
      const newest = await engine.reconciliation.snapshots.newest().catch(() => new Map<string, { asOfMs: number }>());
      return [...newest].map(([source, { asOfMs }]): Sample => [(engine.clock.now() - asOfMs) / 1_000, source]);
    },
  },
];
