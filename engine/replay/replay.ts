/**
 * `shuiwei replay`: a shop's history through the real ledger and the real jobs, in virtual time, as fast as possible.
 * Time comes from the rows alone, so the same files give the same state however they are cut into batches, and
 * `stateHash` proves it. The Redis is a private one and is deleted at the end; the three files appear in the output
 * folder together, or not at all.
 */
import { type FileHandle, mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { stockJobs } from "../jobs/index.js";
import { chainId } from "../kernel/chain-id.js";
import { sleep, stopwatch, systemClock } from "../kernel/clock.js";
import { EngineError } from "../kernel/errors.js";
import { zoneOf } from "../kernel/zone.js";
import { startRedis } from "../redis/embedded.js";
import { Ledger } from "../stock/ledger.js";
import { cellOf, isAccepted, type Reply, type StockCommand, type StockEvent, SWEEP_LIMIT } from "../stock/model.js";
import { stockTopic } from "../stock/topic.js";
import { loadStreamLibrary } from "../stream/commit.js";
import { Follower } from "../stream/follower.js";
import type { AnyJob } from "../stream/job.js";
import { connect, openReader, type RedisAddress, type RedisClient } from "../stream/redis.js";
import { Worker } from "../stream/worker.js";
import { AlertList } from "./alert-list.js";
import { commandsOf, type HistoryChunk, type HistoryReading, type IntentRow, type MappedRow } from "./history.js";
import { checkOut, SUMMARY_FILE, writeTogether } from "./output.js";
import { stateHash } from "./state-hash.js";

export interface ReplaySettings {
  /** The rows, in the order in which they happened. Closed by the replay, also after a fault. */
  history: HistoryReading;
  /** Units received of every SKU at every location when it is first seen; 0: none. */
  openingStock: number;
  zone: string;
  out: string;
  /** Writes over an earlier result in `out`; left out: that is refused before anything is read. */
  force?: boolean;
  partitions: number;
  /** Commands of one ledger call at most. */
  batchLimit: number;
  signal: AbortSignal;
  onProgress(progress: { rows: number; share: number; seconds: number }): void;
}

export interface ReplaySummary {
  rows: number;
  /** Rows of which the ledger accepted every command. */
  accepted: number;
  /** Rows that the ledger refused. */
  refused: number;
  /** Rows that the mapping rejected. */
  rejected: number;
  /** Rows by their intent. */
  kinds: Record<string, number>;
  events: number;
  alertsFired: number;
  /** SKUs with at least one alert. */
  alertedSkus: number;
  seconds: number;
  /** SHA-256 over all balances and all jobs' states in a fixed order. */
  stateHash: string;
}

interface Rejection {
  file: string;
  line: number;
  reason: string;
  row?: Record<string, string>;
}

/** The results of the rows so far. */
type Tally = Pick<ReplaySummary, "rows" | "accepted" | "refused" | "rejected" | "kinds">;

const PREFIX = "replay";
const CHANNEL = "HI";
/** Chunks of rows under way at once: enough to keep Redis and this process busy at the same time. */
const CHUNKS_UNDER_WAY = 3;
const OWNER = "replay";
/** There is only this process: no other one waits for the lease. */
const LEASE_MS = 60_000;
/** The log keeps this much history (by its own clock) behind the jobs. */
const RETENTION_MS = 86_400_000;
const POLL_MS = 50;

/** Turns rows into commands, and records which cells have had their opening stock. */
class History {
  readonly #openingStock: number;
  readonly #opened = new Set<string>();
  lastMs = 0;

  constructor(openingStock: number) {
    this.#openingStock = openingStock;
  }

  commandsOf(row: IntentRow): StockCommand[] {
    if (row.timeMs > this.lastMs) this.lastMs = row.timeMs;
    const commands = commandsOf(row);
    const opening = this.#opening(row);
    return opening ? [opening, ...commands] : commands;
  }

  #opening({ sku, location, timeMs }: IntentRow): StockCommand | undefined {
    const cell = cellOf(sku, location);
    if (this.#openingStock === 0 || this.#opened.has(cell)) return undefined;
    this.#opened.add(cell);
    const id = chainId(CHANNEL, timeMs, `opening stock of ${cell}`);
    return { kind: "receive", id, sku, location, units: this.#openingStock, atMs: timeMs, reason: "opening stock" };
  }
}

/**
 * Replays history.
 * @throws EngineError naming file and line on input at fault; nothing is written to `out` then
 */
export async function replay(settings: ReplaySettings): Promise<ReplaySummary> {
  const elapsed = stopwatch();
  await checkOut(settings.out, settings.force ?? false);
  const jobs = stockJobs(zoneOf(settings.zone));
  const chunks = settings.history;
  // The first rows are read before anything is started: most faults are in the files' names and headers.
  const first = await chunks.next();
  return withScratchRedis(async (redis, address, directory) => {
    const parts = await assemble(redis, address, jobs, settings);
    // A history may have as many rejected rows as it has rows: they are written to disk at once.
    const rejectedPath = join(directory, "rejected.ndjson");
    const rejected = await open(rejectedPath, "w");
    try {
      const history = new History(settings.openingStock);
      const tally: Tally = { rows: 0, accepted: 0, refused: 0, rejected: 0, kinds: {} };
      await feed(parts, history, tally, rejected, first, chunks, settings, elapsed);
      await settle(parts, history.lastMs, settings);
      const fired = parts.alerts.changes.filter(({ type }) => type === "fired");
      const summary: ReplaySummary = {
        ...tally,
        events: parts.worker.stats().reduce((sum, { events }) => sum + events, 0),
        alertsFired: fired.length,
        alertedSkus: new Set(fired.map(({ sku }) => sku)).size,
        seconds: Math.round(elapsed()) / 1_000,
        stateHash: await stateHash(redis, PREFIX, parts.ledger, jobs),
      };
      await writeTogether(
        settings.out,
        { [SUMMARY_FILE]: `${JSON.stringify(summary, null, 2)}\n`, "alerts.ndjson": lines(parts.alerts.lines()) },
        { "rejected.ndjson": rejectedPath },
      );
      return summary;
    } finally {
      // After a fault the file that was being read is still open.
      await chunks.return(undefined);
      await rejected.close();
      await Promise.all([parts.worker.stop(), parts.follower.stop()]);
    }
  });
}

/** Runs `work` on a Redis of its own, which is deleted with its directory before this returns. */
async function withScratchRedis<T>(
  work: (redis: RedisClient, address: RedisAddress, directory: string) => Promise<T>,
): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), "shuiwei-replay-"));
  try {
    const server = await startRedis({ dir: directory, persistence: false });
    const address = { url: server.socketPath };
    const redis = connect(address);
    try {
      return await work(redis, address, directory);
    } finally {
      redis.disconnect();
      await server.stop();
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

interface Parts {
  redis: RedisClient;
  ledger: Ledger;
  worker: Worker<StockEvent>;
  follower: Follower<StockEvent>;
  alerts: AlertList;
  /** Throws the first error of a job or view, and when the user has cancelled. */
  check(): void;
}

/** Ledger, jobs and the view of their alerts, running. */
async function assemble(
  redis: RedisClient,
  address: RedisAddress,
  jobs: readonly AnyJob<StockEvent>[],
  { partitions, batchLimit, signal }: ReplaySettings,
): Promise<Parts> {
  await Promise.all([Ledger.load(redis), loadStreamLibrary(redis)]);
  // The clock stands at zero: only the rows' own times move the ledger's.
  const clock = { now: () => 0 };
  const ledger = new Ledger({
    redis,
    prefix: PREFIX,
    partitions,
    clock,
    batchLimit,
    queueLimit: Number.POSITIVE_INFINITY,
  });
  let trouble: string | undefined;
  const common = {
    prefix: PREFIX,
    redis,
    clock: systemClock,
    onTrouble: (message: string) => {
      trouble ??= message;
    },
  };
  const { tick: _tick, ...topic } = stockTopic(ledger);
  const worker = new Worker({
    ...common,
    topic,
    jobs,
    openReader: (key) => openReader(redis, address, key),
    owner: OWNER,
    leaseMs: LEASE_MS,
    tickMs: LEASE_MS,
    retentionMs: RETENTION_MS,
    withViews: false,
  });
  const alerts = new AlertList();
  const follower = new Follower({ ...common, topic: topic.name, partitions, jobs, views: [alerts], pollMs: POLL_MS });
  await follower.start();
  worker.start();
  return {
    redis,
    ledger,
    worker,
    follower,
    alerts,
    check() {
      signal.throwIfAborted();
      if (trouble) throw new EngineError(trouble, { op: "replay", code: "replay_failed", retryable: false });
    },
  };
}

/**
 * Sends all rows to the ledger, some chunks at once, and writes what was rejected or refused in the order of the
 * rows.
 */
async function feed(
  { ledger, check }: Parts,
  history: History,
  tally: Tally,
  rejected: FileHandle,
  first: IteratorResult<HistoryChunk>,
  chunks: HistoryReading,
  settings: ReplaySettings,
  elapsed: () => number,
): Promise<void> {
  const underWay: Promise<Rejection[]>[] = [];
  const writeOldest = async (): Promise<void> => {
    const rejections = (await underWay.shift()) ?? [];
    if (rejections.length > 0)
      await rejected.appendFile(lines(rejections.map((rejection) => JSON.stringify(rejection))));
  };
  try {
    for (let next = first; !next.done; next = await chunks.next()) {
      check();
      const { file, rows, bytesRead, totalBytes } = next.value;
      const work = apply(ledger, history, rows, basename(file), tally);
      // Its error is thrown when its turn comes; until then it must not end the process as an unhandled rejection.
      work.catch(() => {});
      underWay.push(work);
      if (underWay.length >= CHUNKS_UNDER_WAY) await writeOldest();
      settings.onProgress({ rows: tally.rows, share: bytesRead / totalBytes, seconds: elapsed() / 1_000 });
    }
    while (underWay.length > 0) await writeOldest();
  } finally {
    // After a fault some chunks are still being applied, and Redis is about to stop.
    await Promise.allSettled(underWay);
  }
}

/**
 * Moves every partition's clock to the same instant, so that its windows have ended, and waits until the jobs have
 * processed that.
 */
async function settle(
  { redis, follower, check }: Parts,
  lastMs: number,
  { partitions, signal }: ReplaySettings,
): Promise<void> {
  const ledger = new Ledger({ redis, prefix: PREFIX, partitions, clock: { now: () => lastMs } });
  for (let partition = 0; partition < partitions; partition++) {
    while ((await ledger.tick(partition)).expired === SWEEP_LIMIT);
  }
  const startedMs = systemClock.now();
  while (follower.asOf() < startedMs) {
    check();
    await sleep(POLL_MS, signal);
  }
}

/** Applies a chunk of rows; returns those that were not accepted, in order. */
async function apply(
  ledger: Ledger,
  history: History,
  rows: readonly MappedRow[],
  file: string,
  tally: Tally,
): Promise<Rejection[]> {
  const rejections: Rejection[] = [];
  const commands: StockCommand[] = [];
  /** Of each row that reached the ledger: where its commands end. */
  const taken: { row: IntentRow; end: number }[] = [];
  for (const row of rows) {
    if (row.intent === "reject") {
      tally.rejected++;
      rejections.push({ file, line: row.line, reason: row.reason, row: row.row });
      continue;
    }
    tally.kinds[row.intent] = (tally.kinds[row.intent] ?? 0) + 1;
    commands.push(...history.commandsOf(row));
    taken.push({ row, end: commands.length });
  }
  const replies = await ledger.applyMany(commands);
  let first = 0;
  for (const { row, end } of taken) {
    let refusal: Reply | undefined;
    for (let i = first; i < end && !refusal; i++) if (!isAccepted((replies[i] as Reply).outcome)) refusal = replies[i];
    first = end;
    if (refusal) {
      tally.refused++;
      rejections.push({ file, line: row.line, reason: `refused: ${refusal.outcome}` });
    } else tally.accepted++;
  }
  tally.rows += rows.length;
  return rejections.sort((a, b) => a.line - b.line);
}

const lines = (texts: readonly string[]): string => texts.map((text) => `${text}\n`).join("");
