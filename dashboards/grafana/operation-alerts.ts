/** Alerts for who operates the engine: Redis, clocks, dead letters, leases, schedules and the archive. */
import type { Alert } from "./alert-rule.js";

export const OPERATION_ALERTS: readonly Alert[] = [
  {
    name: "ShuiweiRedisNearlyFull",
    severity: "critical",
    expression: "job:shuiwei_redis_memory_bytes:share > 0.75",
    for: "2m",
    summary: "Redis of {{ $labels.job }} has used {{ $value | humanizePercentage }} of its memory",
    meaning: "At 85 % new orders are refused.",
    look: ["The panels Redis memory, Kept for receivers and Dead letters stored.", "/readyz: what keeps entries."],
    act: [
      "Raise maxmemory, if the machine has memory.",
      "A receiver is down and keeps emits: repair it.",
      "Shorten the retention of the logs, or archive them.",
    ],
  },
  {
    name: "ShuiweiDeadLetters",
    severity: "warning",
    expression: "sum by (job, topic) (max by (job, topic, partition) (shuiwei_partition_dead_letters)) > 0",
    for: "5m",
    summary: "{{ $value }} dead letters of topic {{ $labels.topic }} of {{ $labels.job }} are stored",
    meaning: "Events, timers or deliveries could not be processed. A partition stops after too many.",
    look: ["`shuiwei dead-letters list` and `shuiwei dead-letters show`: the reason, and the raw bytes."],
    act: ["Repair the cause.", "`shuiwei dead-letters replay`, or `remove` what is of no use."],
  },
  {
    name: "ShuiweiLateEvents",
    severity: "warning",
    expression: "sum by (job, job_name) (increase(shuiwei_job_late_events_total[1h])) > 100",
    summary:
      "{{ $value | humanize }} events of {{ $labels.job_name }} of {{ $labels.job }} came too late within an hour",
    meaning: "Events came after their minute was closed: they count in no alert and no average.",
    look: ["The panel Late events.", "Clocks of the clients that send event times."],
    act: ["Correct the client's clock, or send its events sooner."],
  },
  {
    name: "ShuiweiLeasesUnstable",
    severity: "warning",
    expression: "max by (job, topic, partition) (increase(shuiwei_partition_lease_changes_total[15m])) > 4",
    summary:
      "Partition {{ $labels.partition }} of {{ $labels.topic }} of {{ $labels.job }} changes its owner again and again",
    meaning: "A worker loses its lease while it works: its event loop or Redis stops for longer than the lease.",
    look: ["The panels Leases taken, Event loop delay and Duration of a commit."],
    act: [
      "Give the worker a core of its own.",
      "Redis' disk is slow: see its log for slow fsync.",
      "Raise the lease only if neither helps.",
    ],
  },
  {
    name: "ShuiweiEventLoopSlow",
    severity: "warning",
    expression: "max by (job, instance) (shuiwei_event_loop_delay_seconds) > 0.2",
    for: "5m",
    summary: "{{ $labels.instance }} of {{ $labels.job }} runs its timers {{ $value | humanizeDuration }} late",
    meaning: "The process has more to do than one core does. Answers are slow.",
    look: ["The panel Processor: 1 is a full core.", "The panel Requests by route."],
    act: ["Start another process with the role api.", "Give the machine more cores."],
  },
  {
    name: "ShuiweiClocksDiffer",
    severity: "warning",
    expression: "max by (job, instance) (abs(shuiwei_clock_difference_seconds)) > 3",
    for: "1m",
    summary:
      "The clocks of {{ $labels.instance }} of {{ $labels.job }} and of Redis are {{ $value | humanizeDuration }} apart",
    meaning: "At 10 s the process accepts no new orders.",
    look: ["`timedatectl` on both machines."],
    act: ["Repair time synchronisation (NTP)."],
  },
  {
    name: "ShuiweiScheduleMissed",
    severity: "warning",
    expression:
      "max by (job, topic, schedule) (increase(shuiwei_schedule_missed_total[1h])) > 0 or max by (job, topic, schedule) (shuiwei_schedule_stands_still) == 1",
    summary: "Schedule {{ $labels.schedule }} of {{ $labels.job }} has missed a due time or stands still",
    meaning: "No worker ran when it was due, or a clock was ahead and has been set back. A comparison may be missing.",
    look: ["The table Schedules: next due.", "The processes' logs."],
    act: ["Start the comparison on the desk by hand.", "Repair the clock of the Redis machine."],
  },
  {
    name: "ShuiweiForwarderLate",
    severity: "warning",
    expression: "max by (job, source, target) (shuiwei_forwarder_behind_seconds) > 30",
    for: "2m",
    summary:
      "Events of {{ $labels.source }} reach {{ $labels.target }} of {{ $labels.job }} {{ $value | humanizeDuration }} late",
    meaning: "Alerts and what follows from them are late.",
    look: ["The panels Oldest emit to forward and Age of the views."],
    act: [
      "No worker runs for the target: start one.",
      "Its Redis node is down: repair it. Nothing is lost within a week or 64 MiB a partition.",
    ],
  },
  {
    name: "ShuiweiArchiveLate",
    severity: "warning",
    expression: "max by (job) (shuiwei_archive_behind_seconds) > 3600",
    for: "10m",
    summary: "The oldest entry of {{ $labels.job }} waits for the archive for {{ $value | humanizeDuration }}",
    meaning: "The object storage does not take objects. The logs grow in Redis and are trimmed after three retentions.",
    look: ["/readyz: the object storage's fault."],
    act: ["Repair the object storage, its credential or its space."],
  },
  {
    name: "ShuiweiArchiveGap",
    severity: "critical",
    expression: "sum by (job) (increase(shuiwei_archive_lost_entries_total[1h])) > 0",
    summary: "Log entries of {{ $labels.job }} were removed before they were archived",
    meaning: "The archive has a gap for good. Histories do not cross it. Balances are not affected.",
    look: ["The log: the range of the gap.", "The panel Not archived yet."],
    act: ["Take a backup now (`shuiwei backup`).", "See ShuiweiArchiveLate."],
  },
];
