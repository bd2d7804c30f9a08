/**
 * The engine's own figures for Prometheus, read from the running parts when they are asked for: nothing is counted twice and the hot path counts
 * nothing for them. Labels are partitions, never SKUs.
 */
import { Counter, Gauge, type Registry } from "prom-client";
import type { Gateway } from "../dashboards/gateway.js";
import { systemClock } from "./kernel/clock.js";
import type { Engine } from "./main.js";
import type { RunnerStats } from "./stream/runner.js";

type Shape = "gauge" | "counter";

/** Of each partition's jobs; only partitions that this process owns are told. */
const PARTITION_FIGURES: readonly [name: string, shape: Shape, help: string, of: (stats: RunnerStats) => number][] = [
  ["offset", "gauge", "Last offset of the log that the jobs have committed", (stats) => stats.offset],
  [
    "watermark_seconds",
    "gauge",
    "Watermark of the jobs, seconds since the epoch, by the log's clock",
    (stats) => stats.watermarkMs / 1_000,
  ],
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
  ["lease_changes_total", "counter", "Times this process has taken the partition", (stats) => stats.leaseChanges],
];

/** Adds the engine's figures to a registry. */
export function registerEngineMetrics(registry: Registry, engine: Engine, gateway: Gateway): void {
  const registers = [registry];
  for (const [name, shape, help, of] of PARTITION_FIGURES) {
    const Metric = shape === "gauge" ? Gauge : Counter;
    new Metric({
      name: `shuiwei_partition_${name}`,
      help,
      labelNames: ["partition"],
      registers,
      collect(this: Gauge<"partition"> | Counter<"partition">) {
        this.reset();
        engine.worker?.stats().forEach((stats, partition) => {
          if (stats.owned) this.inc({ partition }, of(stats));
        });
      },
    });
  }
  const one = (name: string, shape: Shape, help: string, read: () => number): void => {
    const Metric = shape === "gauge" ? Gauge : Counter;
    new Metric({
      name: `shuiwei_${name}`,
      help,
      registers,
      collect(this: Gauge | Counter) {
        this.reset();
        this.inc(read());
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
  one("alerts_open", "gauge", "Open depletion alerts", () => engine.board.openAlerts().length);
  one("breakers_open", "gauge", "Open breakers", () => engine.live.engine().gates.length);
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
  const startedMs = systemClock.now();
  return () => (systemClock.now() - startedMs) / 1_000;
}
