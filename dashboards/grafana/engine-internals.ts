/**
 * The dashboard about the engine itself, for who operates it: processes, Redis, the topics and their jobs, forwarders
 * and schedules, the publication, the streams of stock, the archive, and the screens.
 */
import type { Board } from "./board.js";
import { chart, stat, table } from "./panels.js";
import { each, most, rate, risen, total } from "./queries.js";

export const ENGINE_INTERNALS: Board = {
  uid: "shuiwei-engine-internals",
  title: "Shuiwei: engine",
  about: "Processes, Redis, topics and jobs, the archive and the screens.",
  rows: [
    {
      title: "Now",
      cells: [
        stat({
          title: "Processes that serve",
          about: "Processes that Prometheus reads. Processes with the role worker alone have no port.",
          expression: `count (${each("shuiwei_up_seconds")})`,
          levels: ["blue"],
        }),
        stat({
          title: "Youngest process",
          about:
            "Time since the newest start. A small value after no rollout: a process has ended, and its log says why.",
          expression: `min (${each("shuiwei_up_seconds")})`,
          unit: "s",
          levels: ["yellow", [600, "green"]],
        }),
        stat({
          title: "Jobs behind",
          about: "Age of the oldest view of any topic. At 20 s new orders are refused.",
          expression: most("shuiwei_partition_lag_seconds"),
          unit: "s",
          decimals: 1,
          levels: ["green", [4, "yellow"], [20, "red"]],
        }),
        stat({
          title: "Dead letters stored",
          about: "Events, timers and deliveries that could not be processed. `shuiwei dead-letters list` says why.",
          expression: `sum (${most("shuiwei_partition_dead_letters", "topic, partition")})`,
          levels: ["green", [1, "yellow"], [100, "red"]],
          texts: { 0: "None" },
        }),
        stat({
          title: "Event loop, p99",
          about:
            "How late the slowest process runs its timers. Above 0.2 s: it has too much to do, or its machine has.",
          expression: most("shuiwei_event_loop_delay_seconds"),
          unit: "s",
          decimals: 3,
          levels: ["green", [0.05, "yellow"], [0.2, "red"]],
        }),
        stat({
          title: "Clock of Redis",
          about: "How far Redis' clock is from this machine's. At 10 s the process accepts no new orders.",
          expression: `max (abs(${each("shuiwei_clock_difference_seconds")}))`,
          unit: "s",
          decimals: 2,
          levels: ["green", [2, "yellow"], [10, "red"]],
        }),
      ],
    },
    {
      title: "Processes",
      cells: [
        chart({
          title: "Processor",
          about: "Processor time a second of each process. Node runs the engine on one core: 1 is full.",
          unit: "percentunit",
          queries: [[`rate(${each("process_cpu_seconds_total")}[$__rate_interval])`, "{{instance}}"]],
        }),
        chart({
          title: "Memory",
          about: "Resident memory of each process.",
          unit: "bytes",
          queries: [[each("process_resident_memory_bytes"), "{{instance}}"]],
        }),
        chart({
          title: "Event loop delay, p99",
          about: "How late each process runs its timers.",
          unit: "s",
          limits: ["green", [0.2, "red"]],
          queries: [[each("shuiwei_event_loop_delay_seconds"), "{{instance}}"]],
        }),
        chart({
          title: "Ledger commands",
          about: "Commands decided a second through each process.",
          unit: "ops",
          queries: [[`rate(${each("shuiwei_ledger_commands_total")}[$__rate_interval])`, "{{instance}}"]],
        }),
        chart({
          title: "Ledger queue",
          about: "Commands that wait for the ledger or are under way. 20,000 a partition is the limit: then 429.",
          queries: [[each("shuiwei_ledger_queue_commands"), "{{instance}}"]],
        }),
        chart({
          title: "Redis memory",
          about: "Memory of the fullest primary, and its limit. At 85 % new orders are refused.",
          unit: "bytes",
          queries: [
            [most("shuiwei_redis_memory_bytes"), "used"],
            [most("shuiwei_redis_memory_limit_bytes"), "maxmemory"],
          ],
        }),
      ],
    },
    {
      title: "Topics and jobs",
      cells: [
        chart({
          title: "Events processed",
          about: "Events a second that the jobs of each topic process.",
          unit: "ops",
          queries: [[rate("shuiwei_partition_events_total", "topic"), "{{topic}}"]],
        }),
        chart({
          title: "Entries behind",
          about: "Log entries that no commit has covered yet, over all partitions of a topic.",
          queries: [[`sum by (topic) (${most("shuiwei_partition_lag_entries", "topic, partition")})`, "{{topic}}"]],
        }),
        chart({
          title: "Age of the views",
          about:
            "Of the partition that is furthest behind. If one topic rises alone: see its dead letters and its lease.",
          unit: "s",
          queries: [[most("shuiwei_partition_lag_seconds", "topic"), "{{topic}}"]],
        }),
        chart({
          title: "Commits",
          about: "Commits a second of each topic.",
          unit: "ops",
          queries: [[rate("shuiwei_partition_commits_total", "topic"), "{{topic}}"]],
        }),
        chart({
          title: "Duration of a commit",
          about: "Of the slowest partition's last commit. If it rises: Redis is slow, or its disk.",
          unit: "s",
          queries: [[most("shuiwei_partition_commit_seconds", "topic"), "{{topic}}"]],
        }),
        chart({
          title: "Leases taken",
          about: "In an hour. A rollout takes each once; more means that processes lose their leases.",
          queries: [
            [
              `sum by (topic) (max by (topic, partition) (increase(${each("shuiwei_partition_lease_changes_total")}[1h])))`,
              "{{topic}}",
            ],
          ],
        }),
        chart({
          title: "Late events",
          about: "Events a second that came after their pane was deleted: they count in no alert and no average.",
          unit: "ops",
          queries: [[rate("shuiwei_job_late_events_total", "job_name"), "{{job_name}}"]],
        }),
        chart({
          title: "New dead letters",
          about: "In an hour, by job. Repair the cause, then `shuiwei dead-letters replay`.",
          queries: [[risen("shuiwei_job_dead_letters_total", "job_name"), "{{job_name}}"]],
        }),
        table({
          title: "Dead letters stored",
          about: "By topic.",
          expression: `sum by (topic) (${most("shuiwei_partition_dead_letters", "topic, partition")})`,
          columns: { topic: "Topic" },
          value: "Dead letters",
        }),
      ],
    },
    {
      title: "Forwarders and schedules",
      cells: [
        chart({
          title: "Forwarded",
          about: "Emits a second that became events of another topic.",
          unit: "ops",
          queries: [[rate("shuiwei_forwarder_forwarded_total", "source, target"), "{{source}} → {{target}}"]],
        }),
        chart({
          title: "Oldest emit to forward",
          about: "If it rises: the target's Redis node is down, or its process is too slow.",
          unit: "s",
          queries: [[most("shuiwei_forwarder_behind_seconds", "source, target"), "{{source}} → {{target}}"]],
        }),
        table({
          title: "Schedules: next due",
          about: "When each schedule is due next.",
          unit: "dateTimeAsIso",
          expression: `1000 * ${most("shuiwei_schedule_next_due_seconds", "topic, schedule")}`,
          columns: { topic: "Topic", schedule: "Schedule" },
          value: "Next due",
        }),
      ],
    },
    {
      title: "Publication",
      cells: [
        chart({
          title: "Age of the publication",
          about: "How long ago the newest publication was complete. Above 11 s it is not served, above 15 s not shown.",
          unit: "s",
          limits: ["green", [11, "yellow"], [15, "red"]],
          queries: [[most("shuiwei_publication_age_seconds"), "age"]],
        }),
        chart({
          title: "Duration of a publication",
          about: "Of the newest one, the writing included.",
          unit: "s",
          queries: [[most("shuiwei_publication_seconds"), "duration"]],
        }),
        chart({
          title: "Written for publications",
          about: "Bytes a second in all forms. Much for few changes: SKUs of all leaves change.",
          unit: "Bps",
          queries: [[rate("shuiwei_publication_bytes_written_total"), "bytes"]],
        }),
        chart({
          title: "Publications left out",
          about: "In an hour, by reason: the views were behind, older than what is published, or the store failed.",
          queries: [[risen("shuiwei_publication_skipped_total", "kind"), "{{kind}}"]],
        }),
      ],
    },
    {
      title: "Streams of stock",
      cells: [
        chart({
          title: "Open streams",
          about:
            "Of the storefront's pages, by process. At 5,000 a process refuses more; pages then read without push.",
          limits: ["green", [4_000, "yellow"], [5_000, "red"]],
          queries: [[most("shuiwei_stock_streams", "instance"), "{{instance}}"]],
        }),
        chart({
          title: "Sent to streams",
          about: "Events a second to all pages: sell-outs and returns, and the time every 5 s.",
          unit: "ops",
          queries: [[rate("shuiwei_stock_stream_events_total", "kind"), "{{kind}}"]],
        }),
        chart({
          title: "Streams ended for slowness",
          about: "In an hour: the client did not read. Many: a proxy between does not pass the events on.",
          queries: [[risen("shuiwei_stock_streams_dropped_total"), "ended"]],
        }),
      ],
    },
    {
      title: "Archive, history and screens",
      cells: [
        chart({
          title: "Archived",
          about: "Log entries archived a second, over all processes; 0 without an archive.",
          unit: "ops",
          queries: [[rate("shuiwei_archive_entries_total"), "entries"]],
        }),
        chart({
          title: "Not archived yet",
          about: "How long the oldest entry waits for the archive. If it rises: the object storage is down.",
          unit: "s",
          queries: [[most("shuiwei_archive_behind_seconds"), "behind"]],
        }),
        chart({
          title: "History recorded",
          about: "Points of the history of SKUs and of the engine a second; 0 without history.",
          unit: "ops",
          queries: [[rate("shuiwei_series_points_total"), "points"]],
        }),
        chart({
          title: "History behind",
          about: "How far the recorded history is behind, in the shop's time. If it rises: Redis is too slow for it.",
          unit: "s",
          queries: [[most("shuiwei_series_behind_seconds"), "behind"]],
        }),
        chart({
          title: "Screens",
          about: "Screens connected, and frames a second that were not sent to screens that were behind.",
          queries: [
            [total("shuiwei_live_clients"), "screens"],
            [rate("shuiwei_live_frames_sent_total"), "frames sent a second"],
            [rate("shuiwei_live_frames_skipped_total"), "frames skipped a second"],
          ],
        }),
      ],
    },
  ],
};
