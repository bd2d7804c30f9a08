/**
 * A process that reports when each command's units are visible in their SKU's window. It waits for the outputs of the
 * jobs' commits, without the pause that the engine's own views make (`--poll-ms`); a commit reports a SKU's panes as
 * absolute sums. One unit a command and one order of commands a SKU: when the panes hold n units, the
 * first n commands of the SKU are visible. Times are measured from when each was due, by the clock that all processes
 * of the machine share.
 */
import { DEPLETION_JOB, type DepletionFigures } from "../../engine/jobs/depletion/job.js";
import { partitionKeys } from "../../engine/stream/keys.js";
import { decodeOut } from "../../engine/stream/out-record.js";
import { connect } from "../../engine/stream/redis.js";
import { skuOfArrival } from "./assortment.js";
import { serveLoad } from "./load-process.js";
import { type Arrivals, dueMsOf, Latencies, type LatencySummary, monotonicMs } from "./open-loop.js";

export interface WindowLoad extends Arrivals {
  redisPath: string;
  prefix: string;
  topic: string;
  partitions: number;
}

export interface WindowReport {
  visible: LatencySummary;
  /** Counted commands whose units no commit has reported. */
  unseen: number;
}

/** What is known of a SKU: its commands in order, how many of them are visible, and its panes. */
interface Known {
  arrivals: number[];
  seen: number;
  panes: Map<number, number>;
}

const BLOCK_MS = 500;
const READ_COMMITS = 256;
/** After the last command was due. */
const GRACE_MS = 5_000;

type Read = [key: Buffer, entries: [id: Buffer, fields: Buffer[]][]][] | null;

serveLoad(async (load: WindowLoad, started: () => Promise<number>): Promise<WindowReport> => {
  const { redisPath, prefix, topic, partitions, rate, arrivals, uncounted = 0 } = load;
  const skus = new Map<string, Known>();
  for (let i = 0; i < arrivals; i++) {
    const sku = skuOfArrival(i);
    const known = skus.get(sku);
    if (known) known.arrivals.push(i);
    else skus.set(sku, { arrivals: [i], seen: 0, panes: new Map() });
  }
  const redis = connect({ url: redisPath }, true);
  const keys = Array.from({ length: partitions }, (_, partition) => partitionKeys(prefix, topic, partition).out);
  const after = new Map(keys.map((key) => [key, "0-0"]));
  const startMs = await started();

  const visible = new Latencies();
  let left = arrivals;
  let counted = 0;
  const take = (sku: string, panes: DepletionFigures["panes"], nowMs: number): void => {
    const known = skus.get(sku);
    if (!known) return;
    for (let i = 0; i < panes.length; i += 2) known.panes.set(panes[i] as number, panes[i + 1] as number);
    let units = 0;
    for (const sum of known.panes.values()) units += sum;
    for (; known.seen < Math.min(units, known.arrivals.length); known.seen++, left--) {
      const i = known.arrivals[known.seen] as number;
      if (i < uncounted) continue;
      counted++;
      visible.record(nowMs - dueMsOf(startMs, rate, i));
    }
  };
  const endMs = dueMsOf(startMs, rate, arrivals) + GRACE_MS;
  while (left > 0 && monotonicMs() < endMs) {
    const read = (await redis.xreadBuffer(
      "COUNT",
      READ_COMMITS,
      "BLOCK",
      BLOCK_MS,
      "STREAMS",
      ...keys,
      ...keys.map((key) => after.get(key) as string),
    )) as Read;
    const nowMs = monotonicMs();
    for (const [key, entries] of read ?? []) {
      for (const [id, fields] of entries) {
        after.set(key.toString(), id.toString());
        const at = fields.findIndex((name, i) => i % 2 === 0 && name.toString() === "r");
        for (const [job, sku, view] of decodeOut(fields[at + 1] as Buffer).views)
          if (job === DEPLETION_JOB && view !== null) take(sku, (view as DepletionFigures).panes, nowMs);
      }
    }
  }
  redis.disconnect();
  return { visible: visible.summary(), unseen: arrivals - uncounted - counted };
});
