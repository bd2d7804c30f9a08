/**
 * What a log comes to when it is read once more from its first entry, in this process, without a fault and in one go:
 * balances by an audit without rules, and states, timers and emits by the jobs. The long tests compare what Redis
 * has with it. It expects a log that was never trimmed, and does not check what clients were answered.
 */
import type { StockEvent } from "../../engine/stock/model.js";
import { BatchProcessor } from "../../engine/stream/batch-processor.js";
import type { AnyJob, Emit } from "../../engine/stream/job.js";
import { assertContiguous, readLog } from "../../engine/stream/log.js";
import { decodeOut } from "../../engine/stream/out-record.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import type { Topic } from "../../engine/stream/topic.js";
import { Audit } from "../sim/audit.js";

const READ_ENTRIES = 64;

export interface Refolded {
  audit: Audit;
  /** The last entry that was read. */
  offset: number;
  watermarkMs: number;
  /** Packed states by key, by job. */
  states: Map<string, Map<string, Buffer>>;
  /** Times by member. */
  timers: Map<string, number>;
  emits: Emit[];
}

/**
 * @param log the stream's key
 * @param onEvent called with every event, in order
 * @param end where to stop; left out, at the end of the log
 */
export async function refold(
  redis: RedisClient,
  log: string,
  topic: Topic<StockEvent>,
  jobs: readonly AnyJob<StockEvent>[],
  onEvent: (event: StockEvent) => void,
  end = Number.POSITIVE_INFINITY,
): Promise<Refolded> {
  const audit = new Audit();
  const states = new Map(jobs.map(({ name }) => [name, new Map<string, Buffer>()]));
  const timers = new Map<string, number>();
  const emits: Emit[] = [];
  const step = new BatchProcessor<StockEvent>({
    topic,
    jobs,
    cursors: new Map(),
    watermarkMs: 0,
    timers: [],
    loadStates: async (job, names) => names.map((name) => states.get(job)?.get(name) ?? null),
    withViews: false,
  });
  let offset = 0;
  while (offset < end) {
    const entries = await readLog(redis, log, offset, READ_ENTRIES);
    if (entries.length === 0) break;
    assertContiguous(entries, offset, log);
    for (const event of entries.flatMap((entry) => topic.decode(entry).events)) {
      audit.fold(event);
      onEvent(event);
    }
    offset = entries.at(-1)?.offset ?? offset;
    const body = await step.process(entries, 0);
    for (const { job, set, tombstones } of body.states) {
      for (const [name, state] of set) states.get(job)?.set(name, state);
      for (const name of tombstones) states.get(job)?.delete(name);
    }
    for (const [atMs, member] of body.timersSet) timers.set(member, atMs);
    for (const member of body.timersRemoved) timers.delete(member);
    if (body.out) emits.push(...decodeOut(body.out).emits);
    step.committed();
  }
  return { audit, offset, watermarkMs: step.watermarkMs, states, timers, emits };
}
