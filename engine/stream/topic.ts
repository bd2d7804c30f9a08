/**
 * A topic as the runtime sees it: how its log entries are read. The runtime knows no SKU and no order; a room above
 * hands it one of these together with the jobs that feed on the topic.
 */
import type { LogEvent } from "./job.js";
import type { LogEntry } from "./log.js";

export interface Topic<Event extends LogEvent> {
  readonly name: string;
  readonly partitions: number;
  /** What its jobs keep their states by, as a field of the log; left out: it is not told. */
  readonly keyName?: "order" | "sku";
  /**
   * Reads one entry. Throws when it cannot be understood: it becomes a dead letter. `total`: how many events the log
   * has held up to and with this entry, when it tells.
   */
  decode(entry: LogEntry): { clockMs: number; events: Event[]; total?: number };
  /**
   * The fields of an entry with one event at its place and nothing of the others, for a dead letter; `decode` reads
   * them. Left out: letters keep entries whole.
   */
  only?(entry: LogEntry, index: number): Buffer[];
  /** When an entry was written, for trimming by age. */
  timeOf(entry: LogEntry): number;
  /** Lets time pass in a partition that nobody writes to. Called about once a second by the partition's owner. */
  tick?(partition: number): Promise<void>;
}
