/**
 * Lines of the metric table about topics: their partitions, jobs and schedules, and the forwarders between them.
 */
import type { ScheduleOverview } from "../stream/event-topic.js";
import type { Follower, PartitionStats } from "../stream/follower.js";
import type { ForwarderFigures } from "../stream/forwarders.js";
import type { LogEvent } from "../stream/job.js";
import type { JobFigures, RunnerStats } from "../stream/partition-task.js";
import type { MetricRow, MetricType, Sample } from "./metric-row.js";
import { eventTopicsOf, type RunningTopic } from "./running-topics.js";

/** A metric of every topic's partitions. @param read a topic's values by partition; undefined is left out */
const ofPartitions = (
  name: string,
  type: MetricType,
  help: string,
  read: (topic: RunningTopic) => readonly (number | undefined)[],
): MetricRow => ({
  name: `partition_${name}`,
  type,
  help,
  labels: ["topic", "partition"],
  read: ({ engine }) =>
    engine.topics.flatMap((topic) => read(topic).map((value, partition): Sample => [value, topic.name, partition])),
});

/** The same of partitions whose jobs this process runs, since it started. */
const ofOwnPartitions = (
  name: string,
  type: MetricType,
  help: string,
  read: (stats: RunnerStats) => number,
): MetricRow =>
  ofPartitions(name, type, help, ({ worker }) =>
    (worker?.stats() ?? []).map((stats) => (stats.owned ? read(stats) : undefined)),
  );

/** The same of all partitions, whichever process runs their jobs. */
const ofAllPartitions = (
  name: string,
  type: MetricType,
  help: string,
  read: (stats: PartitionStats, partition: number, follower: Follower<LogEvent>) => number | undefined,
): MetricRow =>
  ofPartitions(name, type, help, ({ follower }) =>
    follower.stats().map((stats, partition) => read(stats, partition, follower)),
  );

/** A metric of every job, over the partitions that this process has run since it started. */
const ofJobs = (name: string, help: string, read: (figures: JobFigures) => number): MetricRow => ({
  name: `job_${name}`,
  type: "counter",
  help,
  labels: ["topic", "job_name"],
  read: ({ engine }) =>
    engine.topics.flatMap(({ name: topic, worker }) => {
      const sums = new Map<string, number>();
      for (const { jobs } of worker?.stats() ?? [])
        for (const [job, figures] of jobs) sums.set(job, (sums.get(job) ?? 0) + read(figures));
      return [...sums].map(([job, sum]): Sample => [sum, topic, job]);
    }),
});

const JOB_METRICS: readonly MetricRow[] = [
  ofJobs("late_events_total", "Events that came after their pane was deleted", ({ late }) => late),
  ofJobs(
    "dead_letters_total",
    "Events and timers that could not be processed and became dead letters",
    ({ deadLetters }) => deadLetters,
  ),
];

const OWN_PARTITION_METRICS: readonly MetricRow[] = [
  ofOwnPartitions("events_total", "counter", "Events the jobs have processed", ({ events }) => events),
  ofOwnPartitions("commits_total", "counter", "Commits written", ({ commits }) => commits),
  ofOwnPartitions("commit_seconds", "gauge", "Duration of the last commit", ({ lastCommitMs }) => lastCommitMs / 1_000),
  ofOwnPartitions("late_events_total", "counter", "Events that came after their pane was deleted", ({ jobs }) =>
    [...jobs.values()].reduce((sum, { late }) => sum + late, 0),
  ),
  ofOwnPartitions(
    "dead_letters_total",
    "counter",
    "Records that could not be processed and became dead letters",
    ({ deadLetters }) => deadLetters,
  ),
];

/** Every process that serves reports the same values: aggregate them with max, not with sum. */
const PARTITION_METRICS: readonly MetricRow[] = [
  ofAllPartitions("offset", "gauge", "Last offset of the log that every job has committed", ({ offset }) => offset),
  ofAllPartitions(
    "watermark_seconds",
    "gauge",
    "Watermark of the jobs, seconds since the epoch, by the log's clock",
    ({ watermarkMs }) => watermarkMs / 1_000,
  ),
  ofAllPartitions("lag_entries", "gauge", "Log entries that no commit has covered yet", ({ lagEntries }) => lagEntries),
  ofAllPartitions("lag_events", "gauge", "Events that no commit has covered yet", ({ lagEvents }) => lagEvents),
  ofAllPartitions(
    "lag_seconds",
    "gauge",
    "How old the partition's views may be at most",
    (_, partition, follower) => follower.ageMs(partition) / 1_000,
  ),
  ofAllPartitions(
    "commit_age_seconds",
    "gauge",
    "Time since the last commit, by the Redis server's clock; absent before the first",
    ({ committedMs }, _, follower) =>
      committedMs === 0 ? undefined : Math.max(0, follower.serverNowMs() - committedMs) / 1_000,
  ),
  ofAllPartitions(
    "lease_changes_total",
    "counter",
    "Times the partition's lease was taken, by any process",
    ({ epoch }) => epoch,
  ),
  ofAllPartitions("dead_letters", "gauge", "Dead letters that are stored now", ({ deadLetters }) => deadLetters),
];

/** A metric of every route of topics, where this process forwards: over its partitions. */
const ofForwarders = (
  name: string,
  type: MetricType,
  help: string,
  read: (partitions: readonly ForwarderFigures[]) => number,
): MetricRow => ({
  name: `forwarder_${name}`,
  type,
  help,
  labels: ["source", "target"],
  read: ({ engine }) =>
    engine.forwarders.flatMap((forwarders) => {
      const figures = forwarders.stats();
      return [...new Set(figures.map(({ source }) => source))].map((source): Sample => {
        const own = figures.filter((each) => each.source === source);
        return [read(own), source, own[0]?.target ?? ""];
      });
    }),
});

const FORWARDER_METRICS: readonly MetricRow[] = [
  ofForwarders("forwarded_total", "counter", "Emits of the source that became events of the target", (partitions) =>
    partitions.reduce((sum, { forwarded }) => sum + forwarded, 0),
  ),
  ofForwarders("dead_letters_total", "counter", "Emits that could not be forwarded", (partitions) =>
    partitions.reduce((sum, { deadLetters }) => sum + deadLetters, 0),
  ),
  ofForwarders("behind_seconds", "gauge", "How long the oldest emit has waited", (partitions) =>
    Math.max(0, ...partitions.map(({ behindMs }) => behindMs / 1_000)),
  ),
];

/** A metric of every schedule, as its partition has stored it. */
const ofSchedules = (
  name: string,
  type: MetricType,
  help: string,
  read: (schedule: ScheduleOverview) => number | undefined,
): MetricRow => ({
  name: `schedule_${name}`,
  type,
  help,
  labels: ["topic", "schedule"],
  async read({ engine }) {
    const samples = eventTopicsOf(engine.topics).map(async (topic) => {
      // Other metrics report a Redis that does not answer.
      const schedules = await topic.scheduleOverview().catch(() => []);
      return schedules.map((schedule): Sample => [read(schedule), topic.name, schedule.name]);
    });
    return (await Promise.all(samples)).flat();
  },
});

const SCHEDULE_METRICS: readonly MetricRow[] = [
  ofSchedules(
    "next_due_seconds",
    "gauge",
    "When it is due next, seconds since the epoch",
    ({ nextDueMs }) => nextDueMs / 1_000,
  ),
  ofSchedules(
    "last_fired_seconds",
    "gauge",
    "The due time of its last tick; absent before the first",
    ({ lastFiredMs }) => lastFiredMs && lastFiredMs / 1_000,
  ),
  ofSchedules("missed_total", "counter", "Due times that got no tick", ({ missed }) => missed),
  ofSchedules(
    "stands_still",
    "gauge",
    "1 while it waits for a clock that was ahead and has been set back",
    ({ standsStill }) => (standsStill ? 1 : 0),
  ),
];

export const TOPIC_METRICS: readonly MetricRow[] = [
  ...OWN_PARTITION_METRICS,
  ...PARTITION_METRICS,
  ...JOB_METRICS,
  ...FORWARDER_METRICS,
  ...SCHEDULE_METRICS,
];
