/**
 * A topic for the runtime: how its log entries are read. The runtime does not depend on SKUs or orders; a room above
 * passes the topic together with the jobs that read it.
 */
import type { LogEvent } from "./job.js";
import type { LogEntry } from "./log.js";

export interface Topic<Event extends LogEvent> {
  readonly name: string;
  readonly partitions: number;
  /** The kind of its jobs' keys, as a field of log messages; left out: keys are not logged. */
  readonly keyName?: "order" | "sku";
  /**
   * Decodes one entry. Throws on an invalid one: it becomes a dead letter. `total`: how many events the log has held up
   * to and including this entry, when the entry states it.
   */
  decode(entry: LogEntry): { clockMs: number; events: Event[]; total?: number };
  /**
   * The fields of an entry with only one event, at the same index, for a dead letter; `decode` reads them. Left out:
   * dead letters keep whole entries.
   */
  only?(entry: LogEntry, index: number): Buffer[];
  /** When an entry was written, for trimming by age. */
  timeOf(entry: LogEntry): number;
  /** Advances the log's clock in a partition without commands. Called about once a second by the partition's owner. */
  tick?(partition: number): Promise<void>;
}
