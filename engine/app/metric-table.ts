/**
 * The engine's own metrics for Prometheus, as one table of name, type, help, labels and how to read the values. Topics,
 * jobs and sinks of the engine's tables appear by their names as label values. Values are read from the running parts
 * when Prometheus asks, so the hot path counts nothing for them.
 */
import { stopwatch } from "../kernel/clock.js";
import type { EmitKeeperFigures } from "../outbox/emit-keeper.js";
import type { Outbox, OutboxFigures } from "../outbox/outbox.js";
import type { OutboxStats } from "../outbox/sink-partition-task.js";
import type { PullState } from "../reconciliation/source-registry.js";
import { ALERT_METRICS } from "./alert-metrics.js";
import type { MetricRow, MetricSources, MetricType, Sample } from "./metric-row.js";
import { processMetrics } from "./process-metrics.js";
import { PUBLICATION_METRICS } from "./publication-metrics.js";
import { reconciliationMetrics } from "./reconciliation-metrics.js";
import { SNAPSHOT_METRICS } from "./snapshot-metrics.js";
import { TOPIC_METRICS } from "./topic-metrics.js";

/** A metric without labels; undefined counts as 0. */
const ofProcess = (
  name: string,
  type: MetricType,
  help: string,
  read: (sources: MetricSources) => number | undefined,
): MetricRow => ({ name, type, help, labels: [], read: (sources) => [[read(sources) ?? 0]] });

/** A metric of every sink. */
const ofSinks = (
  name: string,
  type: MetricType,
  help: string,
  read: (figures: OutboxFigures) => number,
): MetricRow => ({
  name: `sink_${name}`,
  type,
  help,
  labels: ["sink"],
  read: ({ engine }) => engine.sinks.map(({ name, outbox }): Sample => [read(outbox.stats()), name]),
});

/** The sum of a figure over a sink's partitions in this process. */
const sumOf =
  (figure: (stats: OutboxStats) => number) =>
  ({ partitions }: ReturnType<Outbox["stats"]>): number =>
    partitions.reduce((sum, stats) => sum + figure(stats), 0);

/** A counter of emits that waited too long, over sinks that this process runs and sinks that no process runs. */
const ofOverflow = (name: string, help: string, figure: keyof EmitKeeperFigures): MetricRow => ({
  name: `sink_${name}`,
  type: "counter",
  help,
  labels: ["sink"],
  read({ engine }) {
    const sums = new Map<string, number>();
    const add = (sink: string, value: number): Map<string, number> => sums.set(sink, (sums.get(sink) ?? 0) + value);
    for (const { name: sink, outbox } of engine.sinks) add(sink, sumOf((stats) => stats[figure])(outbox.stats()));
    for (const { figuresOfSinks } of engine.emitKeepers)
      for (const [sink, figures] of figuresOfSinks) add(sink, figures[figure]);
    return [...sums].map(([sink, sum]): Sample => [sum, sink]);
  },
});

const ARCHIVE_COUNTERS = {
  entries: ["archive_entries_total", "Log entries archived by this process"],
  bytes: ["archive_bytes_total", "Bytes of archived entries that this process has stored, compressed"],
  lostEntries: ["archive_lost_entries_total", "Log entries removed before they were archived; more than 0 is an alarm"],
} as const;

/** A counter of the archive. */
function ofArchive(figure: keyof typeof ARCHIVE_COUNTERS): MetricRow {
  const [name, help] = ARCHIVE_COUNTERS[figure];
  return ofProcess(name, "counter", help, ({ engine }) =>
    (engine.archiver?.figures ?? []).reduce((sum, figures) => sum + figures[figure], 0),
  );
}

const uptime = (): MetricRow => {
  const elapsed = stopwatch();
  return ofProcess("up_seconds", "gauge", "Seconds since this process began to serve", () => elapsed() / 1_000);
};

const PROCESS_METRICS: readonly MetricRow[] = [
  ofProcess(
    "ledger_commands_total",
    "counter",
    "Commands decided by the ledger through this process",
    ({ engine }) => engine.stock.ledger.commands,
  ),
  ofProcess(
    "ledger_queue_commands",
    "gauge",
    "Commands waiting for the ledger or under way",
    ({ engine }) => engine.stock.ledger.depth,
  ),
  ofProcess("views_age_seconds", "gauge", "How old the least fresh partition's views may be at most", ({ engine }) =>
    Math.max(
      0,
      ...engine.topics.filter(({ views }) => views.length > 0).map(({ follower }) => follower.oldestAgeMs() / 1_000),
    ),
  ),
  ofProcess("jobs_lag_entries", "gauge", "Log entries that the jobs have not committed yet", ({ engine }) =>
    engine.topics.reduce((sum, { follower }) => sum + follower.lagEntries(), 0),
  ),
  ofProcess(
    "shadow_cells_checked_total",
    "counter",
    "Comparisons of a cell with the log by the shadow fold",
    ({ engine }) => engine.stock.shadow?.cellsChecked,
  ),
  ofProcess(
    "shadow_mismatches",
    "gauge",
    "Cells that differ from the log, in this process's partitions; more than 0 is an alarm",
    ({ engine }) => engine.stock.shadow?.mismatches.length,
  ),
  ofProcess(
    "shadow_cycle_seconds",
    "gauge",
    "Duration of the slowest partition's last round of the shadow fold: a fault is found within this time",
    ({ engine }) => engine.stock.shadow?.cycleSeconds,
  ),
  ...(["entries", "bytes", "lostEntries"] as const).map((figure) => ofArchive(figure)),
  ofProcess(
    "archive_behind_seconds",
    "gauge",
    "How long the oldest entry of a log that is not archived has waited, in this process's partitions",
    ({ engine }) => Math.max(0, ...(engine.archiver?.figures ?? []).map(({ behindMs }) => behindMs / 1_000)),
  ),
  ofProcess(
    "series_points_total",
    "counter",
    "Points of the history of SKUs and of the engine that this process has recorded",
    ({ engine }) => (engine.series?.recorder?.figures ?? []).reduce((sum, { points }) => sum + points, 0),
  ),
  ofProcess(
    "series_behind_seconds",
    "gauge",
    "How far the recorded history is behind, in the shop's time, in this process's partitions",
    ({ engine }) => Math.max(0, ...(engine.series?.recorder?.figures ?? []).map(({ behindMs }) => behindMs / 1_000)),
  ),
  ofProcess(
    "intake_open",
    "gauge",
    "1 while new orders are accepted, 0 while they are refused: /readyz gives the reason",
    ({ intake }) => (intake.isOpen ? 1 : 0),
  ),
  ofProcess(
    "clock_difference_seconds",
    "gauge",
    "How far Redis' clock is ahead of this machine's; of several servers, the largest difference",
    ({ intake }) => intake.serverAheadMs / 1_000,
  ),
  ofProcess(
    "orders_waiting",
    "gauge",
    "Paid orders that the warehouse does not have yet",
    ({ intake }) => intake.backlog,
  ),
  ofProcess("intake_refused_total", "counter", "Requests for new work refused", ({ intake }) => intake.refused),
  ofProcess(
    "redis_memory_bytes",
    "gauge",
    "Memory of the fullest primary, as Redis compares it with maxmemory",
    ({ intake }) => intake.memory?.usedBytes,
  ),
  ofProcess(
    "redis_memory_limit_bytes",
    "gauge",
    "maxmemory of the same primary; 0: not set, or Redis does not report it",
    ({ intake }) => intake.memory?.limitBytes,
  ),
  ofProcess(
    "alerts_open",
    "gauge",
    "Open depletion alerts",
    ({ engine }) => engine.stock.depletionView.openAlerts().length,
  ),
  ofProcess(
    "breakers_open",
    "gauge",
    "Breakers that are open or half-open: both refuse new orders",
    ({ engine }) => engine.live.breakers().length,
  ),
  ofProcess(
    "breakers_open_by_themselves",
    "gauge",
    "Breakers that the engine has opened after a comparison and that are open or half-open, as last observed",
    ({ engine }) => engine.reconciliation.consistencyView.breakers().filter(({ isByEngine }) => isByEngine).length,
  ),
  ofProcess(
    "breaker_openings_total",
    "counter",
    "Breakers that the engine has opened after a comparison, over the life of the deployment",
    ({ engine }) => engine.reconciliation.consistencyView.counts.openings,
  ),
  ofProcess(
    "breaker_would_have_opened_total",
    "counter",
    "Breakers that would have opened but for the dry run, over the life of the deployment",
    ({ engine }) => engine.reconciliation.consistencyView.counts.wouldHaveOpened,
  ),
  ofProcess(
    "comparisons_total",
    "counter",
    "Comparisons that breakers were judged by, over the life of the deployment",
    ({ engine }) => engine.reconciliation.consistencyView.counts.comparisons,
  ),
  ofProcess("live_clients", "gauge", "Screens connected", ({ gateway }) => gateway.clients),
  ofProcess(
    "live_frames_sent_total",
    "counter",
    "Frames sent to screens",
    ({ gateway }) => gateway.counters.framesSent,
  ),
  ofProcess(
    "live_frames_skipped_total",
    "counter",
    "Frames not sent to screens that were behind",
    ({ gateway }) => gateway.counters.framesSkipped,
  ),
  ofProcess(
    "live_subscriptions_refused_total",
    "counter",
    "Subscriptions of screens refused: unknown feed, wrong parameters, or a role that may not see it",
    ({ gateway }) => gateway.counters.subscriptionsRefused,
  ),
];

/** Where this process delivers: summed over its partitions. */
const SINK_METRICS: readonly MetricRow[] = [
  ofSinks(
    "delivered_total",
    "counter",
    "Deliveries that the receiver has accepted",
    sumOf(({ delivered }) => delivered),
  ),
  ofSinks(
    "retries_total",
    "counter",
    "Deliveries that were tried again",
    sumOf(({ retries }) => retries),
  ),
  ofSinks(
    "throttled_total",
    "counter",
    "Answers of the receiver that asked for a lower rate",
    sumOf(({ throttled }) => throttled),
  ),
  ofSinks(
    "dead_letters_total",
    "counter",
    "Deliveries that the receiver refused and that are not tried again",
    sumOf(({ deadLetters }) => deadLetters),
  ),
  ofOverflow("overflowed_total", "Deliveries that waited too long and became dead letters", "overflowed"),
  ofSinks(
    "overflow_stored",
    "gauge",
    "Of these, those that are stored now",
    sumOf(({ overflowStored }) => overflowStored),
  ),
  ofOverflow("dropped_total", "Deliveries whose dead letters were removed to make room: they are lost", "dropped"),
  ofSinks(
    "pinned_bytes",
    "gauge",
    "Bytes of emits that are kept because they are not delivered",
    sumOf(({ pinnedBytes }) => pinnedBytes),
  ),
  ofSinks(
    "behind_seconds",
    "gauge",
    "How long the oldest delivery has waited",
    ({ partitions }) => Math.max(0, ...partitions.map(({ behindMs }) => behindMs)) / 1_000,
  ),
  ofSinks("circuit_open", "gauge", "1 while the receiver accepts nothing and its deliveries wait", ({ circuit }) =>
    circuit === "closed" ? 0 : 1,
  ),
  ofSinks(
    "rate_limit",
    "gauge",
    "Requests a second that all workers together may send to the receiver now",
    ({ ratePerSecond }) => ratePerSecond,
  ),
  ofSinks("requests_in_flight", "gauge", "Requests to the receiver under way", ({ inFlight }) => inFlight),
];

const ORDER_EXCEPTIONS: MetricRow = {
  name: "order_exceptions",
  type: "gauge",
  help: "Steps of orders that are late or were skipped, by step and kind",
  labels: ["step", "kind"],
  async read({ engine }) {
    // Other metrics report a Redis that does not answer.
    const counted = await engine.orders.exceptions.counts().catch(() => undefined);
    return (counted?.counts ?? []).map(({ step, kind, open }): Sample => [open, step, kind]);
  },
};

const SETTLEMENTS: MetricRow = {
  name: "settlements_total",
  type: "counter",
  help: "Differing rows that somebody wanted to settle, by the outcome",
  labels: ["kind"],
  read: ({ engine }) =>
    [...engine.reconciliation.settlement.counted].map(([outcome, times]): Sample => [times, outcome]),
};

/** A figure of every configured source and what is pulled from it. */
const ofSources = (name: string, help: string, read: (state: PullState, nowMs: number) => number): MetricRow => ({
  name: `source_${name}`,
  type: "gauge",
  help,
  labels: ["source", "kind"],
  read: ({ engine: { reconciliation, clock } }) =>
    reconciliation.sourceWatch.reports.flatMap(({ name: source, states }) =>
      Object.entries(states).map(([kind, state]): Sample => [read(state, clock.now()), source, kind]),
    ),
});

const SOURCE_METRICS: readonly MetricRow[] = [
  ofSources(
    "lag_seconds",
    "Age of the newest instant that a pulled source has brought; since the last attempt if it never has",
    ({ reachedMs, lastAttemptMs }, nowMs) => Math.max(0, nowMs - (reachedMs ?? lastAttemptMs)) / 1_000,
  ),
  ofSources("rows", "Rows of a source's last successful pull", ({ rows }) => rows),
  ofSources("failures", "Pulls that failed or were refused since the last success", ({ failures }) => failures),
  ofSources("requests", "Requests to a source since it was first pulled", ({ requests }) => requests),
];

/** All of them; the process begins to serve now. */
export const metricTable = (): readonly MetricRow[] => [
  ...PROCESS_METRICS,
  uptime(),
  ...processMetrics(),
  ...TOPIC_METRICS,
  ...SINK_METRICS,
  ORDER_EXCEPTIONS,
  ...reconciliationMetrics(),
  ...SNAPSHOT_METRICS,
  ...ALERT_METRICS,
  ...PUBLICATION_METRICS,
  SETTLEMENTS,
  ...SOURCE_METRICS,
];
