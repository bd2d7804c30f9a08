/**
 * Which minutes a recorder has recorded: from when, until when, and the gaps in between. It is stored in the recorder's
 * task, so that it changes only with a commit of the owner. A gap states what is missing: everything, or the stock
 * only, which cannot be found afterwards.
 */
import { MINUTE_MS } from "../../kernel/clock.js";
import { EngineError } from "../../kernel/errors.js";
import { commitTask, type Task } from "../../stream/commit.js";
import { seriesKeys } from "../../stream/keys.js";
import type { RedisClient } from "../../stream/redis.js";
import { KEPT_MS, type SeriesOwner } from "./series-store.js";

export interface SeriesGap {
  readonly fromMs: number;
  readonly toMs: number;
  readonly missing: "all" | "stock";
}

export interface Coverage {
  /** Recorded from this instant on; equal to `toMs` when nothing was recorded. */
  readonly fromMs: number;
  /** The end of the last recorded minute. */
  readonly toMs: number;
  /** In ascending order. */
  readonly gaps: readonly SeriesGap[];
}

const NO_COVERAGE: Coverage = { fromMs: 0, toMs: 0, gaps: [] };

/** 20 KB at most; more gaps are joined, the oldest first, so that they state rather too much. */
const MAX_GAPS = 500;
const FIELD = "series";

/** The coverage after a further stretch that ends at `toMs`; `gaps` lie between the old end and the new one. */
export function extended(coverage: Coverage, toMs: number, gaps: readonly SeriesGap[]): Coverage {
  const oldestMs = toMs - KEPT_MS.day;
  const all = joined([...coverage.gaps, ...gaps].filter((gap) => gap.toMs > oldestMs));
  while (all.length > MAX_GAPS) {
    const [first, second] = all.splice(0, 2) as [SeriesGap, SeriesGap];
    const missing = first.missing === second.missing ? first.missing : "all";
    all.unshift({ fromMs: first.fromMs, toMs: second.toMs, missing });
  }
  return { fromMs: coverage.toMs === 0 ? toMs - MINUTE_MS : coverage.fromMs, toMs, gaps: all };
}

/** Gaps that touch and miss the same are one. */
function joined(gaps: readonly SeriesGap[]): SeriesGap[] {
  const result: SeriesGap[] = [];
  for (const gap of gaps) {
    const last = result.at(-1);
    if (last && last.toMs === gap.fromMs && last.missing === gap.missing)
      result[result.length - 1] = { ...last, toMs: gap.toMs };
    else result.push(gap);
  }
  return result;
}

export async function readCoverage(redis: RedisClient, prefix: string, owner: SeriesOwner): Promise<Coverage> {
  const { task } = seriesKeys(prefix, owner);
  const text = await redis.hget(task, FIELD);
  return text === null ? NO_COVERAGE : decoded(text, task);
}

/** Writes it under the lease, and extends the lease. @throws EngineError as `commitTask` */
export async function commitCoverage(
  redis: RedisClient,
  prefix: string,
  owner: SeriesOwner,
  coverage: Coverage,
  { task, number, leaseMs, now }: { task: Pick<Task, "epoch" | "run">; number: number; leaseMs: number; now: string },
): Promise<void> {
  const body = {
    ...{ states: [], timersSet: [], timersRemoved: [], out: undefined, deadLetters: [], resolvedDeadLetters: [] },
    ...{ watermarkMs: coverage.toMs, events: 0, cursors: new Map() },
    fields: { [FIELD]: JSON.stringify(coverage) },
  };
  const { epoch, run } = task;
  await commitTask(redis, seriesKeys(prefix, owner), { epoch, run, number, leaseMs, lastOut: 0 }, body, now);
}

function decoded(text: string, place: string): Coverage {
  try {
    const { fromMs, toMs, gaps } = JSON.parse(text) as Coverage;
    if (Number.isSafeInteger(fromMs) && Number.isSafeInteger(toMs) && Array.isArray(gaps))
      return { fromMs, toMs, gaps };
  } catch {
    // Reported below.
  }
  const detail = { op: "series.read", code: "undecodable", retryable: false, input: place };
  throw new EngineError(`${place}: what was recorded of the series cannot be read`, detail);
}
