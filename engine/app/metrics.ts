/**
 * The engine's own metrics for Prometheus, as tables of name, type, help and how to read the value. Values are read
 * from the running parts when Prometheus asks, so the hot path counts nothing for them. Labels are topics and
 * partitions, never SKUs or orders.
 */
import { Counter, Gauge, type Registry } from "prom-client";
import type { Gateway } from "../../dashboards/gateway.js";
import { monotonicClock } from "../kernel/clock.js";
import type { Outbox } from "../outbox/outbox.js";
import type { OutboxStats } from "../outbox/sink-partition-task.js";
import type { Follower, PartitionStats } from "../stream/follower.js";
import type { LogEvent } from "../stream/job.js";
import type { RunnerStats } from "../stream/partition-task.js";
import type { Engine } from "./engine.js";
import type { Intake } from "./intake.js";

type MetricType = "gauge" | "counter";
/** One metric: its name after the prefix `shuiwei_`, and how to read its value; undefined: no value now. */
type Row<From extends unknown[]> = readonly [
  name: string,
  type: MetricType,
  help: string,
  read: (...from: From) => number | undefined,
];

/** Per partition whose jobs this process runs, since the process started. */
const OWN_PARTITION_METRICS: readonly Row<[stats: RunnerStats]>[] = [
  ["events_total", "counter", "Events the jobs have processed", (stats) => stats.events],
  ["commits_total", "counter", "Commits written", (stats) => stats.commits],
  ["commit_seconds", "gauge", "Duration of the last commit", (stats) => stats.lastCommitMs / 1_000],
  ["late_events_total", "counter", "Events that came after their pane was deleted", (stats) => stats.late],
  [
    "dead_letters_total",
    "counter",
    "Records that could not be processed and became dead letters",
    (stats) => stats.deadLetters,
  ],
];

const sumOf = (figure: (stats: OutboxStats) => number) => (all: readonly OutboxStats[]) =>
  all.reduce((sum, stats) => sum + figure(stats), 0);

/** Deliveries to the WMS, summed over the partitions of this process. */
const DELIVERY_METRICS: readonly Row<[all: readonly OutboxStats[]]>[] = [
  ["wms_delivered_total", "counter", "Orders that the WMS has accepted", sumOf(({ delivered }) => delivered)],
  ["wms_retries_total", "counter", "Deliveries to the WMS that were tried again", sumOf(({ retries }) => retries)],
  [
    "wms_throttled_total",
    "counter",
    "Answers of the WMS that asked for a lower rate",
    sumOf(({ throttled }) => throttled),
  ],
  [
    "wms_dead_letters_total",
    "counter",
    "Orders that the WMS refused and that are not tried again",
    sumOf(({ deadLetters }) => deadLetters),
  ],
  [
    "wms_behind_seconds",
    "gauge",
    "How long the oldest delivery has waited",
    (all) => Math.max(0, ...all.map(({ behindMs }) => behindMs)) / 1_000,
  ],
];

/**
 * Per partition, whichever process runs its jobs. Every process that serves reports the same values: aggregate them
 * with max, not with sum.
 */
const PARTITION_METRICS: readonly Row<[stats: PartitionStats, partition: number, follower: Follower<LogEvent>]>[] = [
  ["offset", "gauge", "Last offset of the log that every job has committed", ({ offset }) => offset],
  [
    "watermark_seconds",
    "gauge",
    "Watermark of the jobs, seconds since the epoch, by the log's clock",
    ({ watermarkMs }) => watermarkMs / 1_000,
  ],
  ["lag_entries", "gauge", "Log entries that no commit has covered yet", ({ lagEntries }) => lagEntries],
  ["lag_events", "gauge", "Events that no commit has covered yet", ({ lagEvents }) => lagEvents],
  [
    "lag_seconds",
    "gauge",
    "How old the partition's views may be at most",
    (_, partition, follower) => follower.ageMs(partition) / 1_000,
  ],
  [
    "commit_age_seconds",
    "gauge",
    "Time since the last commit, by the Redis server's clock; absent before the first",
    ({ committedMs }, _, follower) =>
      committedMs === 0 ? undefined : Math.max(0, follower.serverNowMs() - committedMs) / 1_000,
  ],
  ["lease_changes_total", "counter", "Times the partition's lease was taken, by any process", ({ epoch }) => epoch],
  ["dead_letters", "gauge", "Dead letters that are stored now", ({ deadLetters }) => deadLetters],
];

interface Sources {
  engine: Engine;
  gateway: Gateway;
  intake: Intake;
}

/** One value per process. */
const PROCESS_METRICS: readonly Row<[sources: Sources]>[] = [
  [
    "ledger_commands_total",
    "counter",
    "Commands decided by the ledger through this process",
    ({ engine }) => engine.ledger.commands,
  ],
  [
    "ledger_queue_commands",
    "gauge",
    "Commands waiting for the ledger or under way",
    ({ engine }) => engine.ledger.depth,
  ],
  [
    "views_age_seconds",
    "gauge",
    "How old the least fresh partition's views may be at most",
    ({ engine }) => engine.follower.oldestAgeMs() / 1_000,
  ],
  [
    "jobs_lag_entries",
    "gauge",
    "Log entries that the jobs have not committed yet",
    ({ engine }) => engine.follower.lagEntries(),
  ],
  [
    "shadow_cells_checked_total",
    "counter",
    "Comparisons of a cell with the log by the shadow fold",
    ({ engine }) => engine.shadow?.cellsChecked,
  ],
  [
    "shadow_mismatches",
    "gauge",
    "Cells that differ from the log, in this process's partitions; more than 0 is an alarm",
    ({ engine }) => engine.shadow?.mismatches.length,
  ],
  [
    "shadow_cycle_seconds",
    "gauge",
    "Duration of the slowest partition's last round of the shadow fold: a fault is found within this time",
    ({ engine }) => engine.shadow?.cycleSeconds,
  ],
  [
    "intake_open",
    "gauge",
    "1 while new orders are accepted, 0 while they are refused: /readyz gives the reason",
    ({ intake }) => (intake.isOpen ? 1 : 0),
  ],
  [
    "clock_difference_seconds",
    "gauge",
    "How far Redis' clock is ahead of this machine's; of several servers, the largest difference",
    ({ intake }) => intake.serverAheadMs / 1_000,
  ],
  ["orders_waiting", "gauge", "Paid orders that the warehouse does not have yet", ({ intake }) => intake.backlog],
  ["intake_refused_total", "counter", "Requests for new work refused", ({ intake }) => intake.refused],
  [
    "redis_memory_bytes",
    "gauge",
    "Memory of the fullest primary, as Redis compares it with maxmemory",
    ({ intake }) => intake.memory?.usedBytes,
  ],
  [
    "redis_memory_limit_bytes",
    "gauge",
    "maxmemory of the same primary; 0: not set, or Redis does not report it",
    ({ intake }) => intake.memory?.limitBytes,
  ],
  ["alerts_open", "gauge", "Open depletion alerts", ({ engine }) => engine.depletionView.openAlerts().length],
  ["breakers_open", "gauge", "Open breakers", ({ engine }) => engine.live.engine().breakers.length],
  ["live_clients", "gauge", "Screens connected", ({ gateway }) => gateway.clients],
  ["live_frames_sent_total", "counter", "Frames sent to screens", ({ gateway }) => gateway.counters.framesSent],
  [
    "live_frames_skipped_total",
    "counter",
    "Frames not sent to screens that were behind",
    ({ gateway }) => gateway.counters.framesSkipped,
  ],
];

/** The connection to the WMS, where this process sends orders to one. */
const WMS_METRICS: readonly Row<[outbox: Outbox]>[] = [
  [
    "wms_circuit_open",
    "gauge",
    "1 while the WMS accepts nothing and its orders wait",
    (outbox) => (outbox.stats().circuit === "closed" ? 0 : 1),
  ],
  [
    "wms_rate_limit",
    "gauge",
    "Requests a second that all workers together may send to the WMS now",
    (outbox) => outbox.stats().ratePerSecond,
  ],
  ["wms_requests_in_flight", "gauge", "Requests to the WMS under way", (outbox) => outbox.stats().inFlight],
];

/** Adds the engine's metrics to a registry. */
export function registerEngineMetrics(registry: Registry, sources: Sources): void {
  const { engine } = sources;
  const { outbox } = engine;
  for (const [name, type, help, read] of PROCESS_METRICS) addMetric(registry, name, type, help, () => read(sources));
  addMetric(registry, "up_seconds", "gauge", "Seconds since this process began to serve", uptime());
  addPartitionMetrics(registry, engine);
  if (outbox) {
    registry.registerMetric(engine.pickingSeconds);
    for (const [name, type, help, read] of WMS_METRICS) addMetric(registry, name, type, help, () => read(outbox));
    for (const [name, type, help, read] of DELIVERY_METRICS)
      addMetric(registry, name, type, help, () => read(outbox.stats().partitions));
  }
  addExceptionMetric(registry, engine);
}

function addMetric(registry: Registry, name: string, type: MetricType, help: string, read: () => number | undefined) {
  const Metric = type === "gauge" ? Gauge : Counter;
  new Metric({
    name: `shuiwei_${name}`,
    help,
    registers: [registry],
    collect(this: Gauge | Counter) {
      this.reset();
      this.inc(read() ?? 0);
    },
  });
}

function addPartitionMetrics(registry: Registry, engine: Engine): void {
  const topics: Topic[] = [
    { topic: "stock", worker: engine.worker, follower: engine.follower },
    { topic: "orders", worker: engine.orderWorker, follower: engine.orderFollower },
  ];
  for (const [name, type, help, read] of OWN_PARTITION_METRICS) {
    addPartitionMetric(registry, topics, name, type, help, ({ worker }) =>
      (worker?.stats() ?? []).map((stats) => (stats.owned ? read(stats) : undefined)),
    );
  }
  for (const [name, type, help, read] of PARTITION_METRICS) {
    addPartitionMetric(registry, topics, name, type, help, ({ follower }) =>
      follower.stats().map((stats, partition) => read(stats, partition, follower)),
    );
  }
}

interface Topic {
  topic: string;
  worker: { stats(): readonly RunnerStats[] } | undefined;
  follower: Follower<LogEvent>;
}

/** @param read a topic's values by partition; a partition without a value is left out */
function addPartitionMetric(
  registry: Registry,
  topics: readonly Topic[],
  name: string,
  type: MetricType,
  help: string,
  read: (topic: Topic) => (number | undefined)[],
): void {
  const Metric = type === "gauge" ? Gauge : Counter;
  new Metric({
    name: `shuiwei_partition_${name}`,
    help,
    labelNames: ["topic", "partition"],
    registers: [registry],
    collect(this: Gauge<"topic" | "partition"> | Counter<"topic" | "partition">) {
      this.reset();
      for (const topic of topics)
        for (const [partition, value] of read(topic).entries())
          if (value !== undefined) this.inc({ topic: topic.topic, partition }, value);
    },
  });
}

function addExceptionMetric(registry: Registry, engine: Engine): void {
  const exceptions = new Gauge({
    name: "shuiwei_order_exceptions",
    help: "Steps of orders that are late or were skipped, by step and kind",
    labelNames: ["step", "kind"],
    registers: [registry],
    async collect() {
      // Other metrics report a Redis that does not answer.
      const counted = await engine.exceptions.counts().catch(() => undefined);
      exceptions.reset();
      for (const { step, kind, open } of counted?.counts ?? []) exceptions.set({ step, kind }, open);
    },
  });
}

function uptime(): () => number {
  const startedMs = monotonicClock.now();
  return () => (monotonicClock.now() - startedMs) / 1_000;
}
