/**
 * The engine's own figures for Prometheus, read from the running parts when they are asked for: nothing is counted
 * twice and the hot path counts nothing for them. Labels are topics and partitions, never SKUs or orders.
 */
import { Counter, Gauge, type Registry } from "prom-client";
import type { Gateway } from "../../dashboards/gateway.js";
import { monotonicClock } from "../kernel/clock.js";
import type { OutboxStats } from "../outbox/sink-partition-task.js";
import type { Follower, PartitionStats } from "../stream/follower.js";
import type { LogEvent } from "../stream/job.js";
import type { RunnerStats } from "../stream/runner.js";
import type { Engine } from "./engine.js";
import type { Intake } from "./intake.js";

type Shape = "gauge" | "counter";

/** Of each partition whose jobs this process runs, since it began. */
const OWN_FIGURES: readonly [name: string, shape: Shape, help: string, of: (stats: RunnerStats) => number][] = [
  ["events_total", "counter", "Events the jobs have processed", (stats) => stats.events],
  ["commits_total", "counter", "Commits written", (stats) => stats.commits],
  ["commit_seconds", "gauge", "Duration of the last commit", (stats) => stats.lastCommitMs / 1_000],
  ["late_events_total", "counter", "Events that came after their pane had been given up", (stats) => stats.late],
  [
    "dead_letters_total",
    "counter",
    "Records set aside because they could not be processed",
    (stats) => stats.deadLetters,
  ],
];

const sumOf = (figure: (stats: OutboxStats) => number) => (all: readonly OutboxStats[]) =>
  all.reduce((sum, stats) => sum + figure(stats), 0);

/** Of what this process delivers to the WMS, over its partitions. */
const OUTBOX_FIGURES: readonly [
  name: string,
  shape: Shape,
  help: string,
  of: (all: readonly OutboxStats[]) => number,
][] = [
  ["wms_delivered_total", "counter", "Orders that the WMS has taken", sumOf(({ delivered }) => delivered)],
  ["wms_retries_total", "counter", "Deliveries to the WMS that were tried again", sumOf(({ retries }) => retries)],
  ["wms_throttled_total", "counter", "Answers of the WMS that asked for less", sumOf(({ throttled }) => throttled)],
  [
    "wms_dead_letters_total",
    "counter",
    "Orders that the WMS refused for good",
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
 * Of every partition, whoever runs its jobs: each process that serves tells the same, so take the largest, not the
 * sum.
 */
const ALL_FIGURES: readonly [
  name: string,
  shape: Shape,
  help: string,
  of: (stats: PartitionStats, partition: number, follower: Follower<LogEvent>) => number | undefined,
][] = [
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
  [
    "lease_changes_total",
    "counter",
    "Times the partition's lease has been taken, by any process",
    ({ epoch }) => epoch,
  ],
  ["dead_letters", "gauge", "Records set aside that are still there", ({ deadLetters }) => deadLetters],
];

/** Adds the engine's figures to a registry. */
export function registerEngineMetrics(registry: Registry, engine: Engine, gateway: Gateway, intake: Intake): void {
  const registers = [registry];
  const { worker, follower, orderWorker, orderFollower } = engine;
  const topics: [
    topic: string,
    worker: { stats(): readonly RunnerStats[] } | undefined,
    follower: Follower<LogEvent>,
  ][] = [
    ["stock", worker, follower],
    ["orders", orderWorker, orderFollower],
  ];
  const ofPartitions = (
    name: string,
    shape: Shape,
    help: string,
    read: (at: (typeof topics)[number]) => (number | undefined)[],
  ): void => {
    const Metric = shape === "gauge" ? Gauge : Counter;
    new Metric({
      name: `shuiwei_partition_${name}`,
      help,
      labelNames: ["topic", "partition"],
      registers,
      collect(this: Gauge<"topic" | "partition"> | Counter<"topic" | "partition">) {
        this.reset();
        for (const at of topics) {
          const [topic] = at;
          for (const [partition, value] of read(at).entries())
            if (value !== undefined) this.inc({ topic, partition }, value);
        }
      },
    });
  };
  for (const [name, shape, help, of] of OWN_FIGURES) {
    ofPartitions(name, shape, help, ([, runs]) =>
      (runs?.stats() ?? []).map((stats) => (stats.owned ? of(stats) : undefined)),
    );
  }
  for (const [name, shape, help, of] of ALL_FIGURES) {
    ofPartitions(name, shape, help, ([, , follows]) =>
      follows.stats().map((stats, partition) => of(stats, partition, follows)),
    );
  }
  const one = (name: string, shape: Shape, help: string, read: () => number | undefined): void => {
    const Metric = shape === "gauge" ? Gauge : Counter;
    new Metric({
      name: `shuiwei_${name}`,
      help,
      registers,
      collect(this: Gauge | Counter) {
        this.reset();
        this.inc(read() ?? 0);
      },
    });
  };
  one(
    "ledger_commands_total",
    "counter",
    "Commands decided by the ledger through this process",
    () => engine.ledger.commands,
  );
  one("ledger_queue_commands", "gauge", "Commands waiting for the ledger or under way", () => engine.ledger.depth);
  one(
    "views_age_seconds",
    "gauge",
    "How old the least fresh partition's views may be at most",
    () => engine.follower.oldestAgeMs() / 1_000,
  );
  one("jobs_lag_entries", "gauge", "Log entries that the jobs have not committed yet", () =>
    engine.follower.lagEntries(),
  );
  one(
    "shadow_cells_checked_total",
    "counter",
    "Cells that the shadow fold has compared with the log, each time counted",
    () => engine.shadow?.cellsChecked,
  );
  one(
    "shadow_mismatches",
    "gauge",
    "Cells that differ from what the log says, in this process's partitions; more than 0 is an alarm",
    () => engine.shadow?.mismatches.length,
  );
  one(
    "shadow_cycle_seconds",
    "gauge",
    "How long the slowest partition's last round of the shadow fold took: so long may a fault go unseen",
    () => engine.shadow?.cycleSeconds,
  );
  one("intake_open", "gauge", "1 while new orders are taken, 0 while they are refused: see /readyz for why", () =>
    intake.isOpen ? 1 : 0,
  );
  one(
    "clock_difference_seconds",
    "gauge",
    "By how much Redis' clock is ahead of this machine's; of several, the one furthest off",
    () => intake.serverAheadMs / 1_000,
  );
  one("orders_waiting", "gauge", "Paid orders that the warehouse does not have yet", () => intake.backlog);
  one("intake_refused_total", "counter", "Requests for new work refused", () => intake.refused);
  one(
    "redis_memory_bytes",
    "gauge",
    "Memory of the fullest primary, as it counts it against maxmemory",
    () => intake.memory?.usedBytes,
  );
  one(
    "redis_memory_limit_bytes",
    "gauge",
    "maxmemory of the same; 0: none is set, or Redis does not tell",
    () => intake.memory?.limitBytes,
  );
  const { outbox } = engine;
  if (outbox) {
    registry.registerMetric(engine.pickingSeconds);
    one("wms_circuit_open", "gauge", "1 while the WMS takes nothing and its orders wait", () =>
      outbox.stats().circuit === "closed" ? 0 : 1,
    );
    one(
      "wms_rate_limit",
      "gauge",
      "Requests a second that all workers together may send to the WMS now",
      () => outbox.stats().ratePerSecond,
    );
    one("wms_requests_in_flight", "gauge", "Requests to the WMS under way", () => outbox.stats().inFlight);
    for (const [name, shape, help, of] of OUTBOX_FIGURES) one(name, shape, help, () => of(outbox.stats().partitions));
  }
  const exceptions = new Gauge({
    name: "shuiwei_order_exceptions",
    help: "Steps of orders that are late or were skipped, by step and kind",
    labelNames: ["step", "kind"],
    registers,
    async collect() {
      // A Redis that is away has figures of its own.
      const counted = await engine.exceptions.counts().catch(() => undefined);
      exceptions.reset();
      for (const { step, kind, open } of counted?.counts ?? []) exceptions.set({ step, kind }, open);
    },
  });
  one("alerts_open", "gauge", "Open depletion alerts", () => engine.depletionView.openAlerts().length);
  one("breakers_open", "gauge", "Open breakers", () => engine.live.engine().breakers.length);
  one("live_clients", "gauge", "Screens connected", () => gateway.clients);
  one("live_frames_sent_total", "counter", "Frames sent to screens", () => gateway.counters.framesSent);
  one(
    "live_frames_skipped_total",
    "counter",
    "Frames withheld from screens that were behind",
    () => gateway.counters.framesSkipped,
  );
  one("up_seconds", "gauge", "Seconds since this process began to serve", uptime());
}

function uptime(): () => number {
  const startedMs = monotonicClock.now();
  return () => (monotonicClock.now() - startedMs) / 1_000;
}
