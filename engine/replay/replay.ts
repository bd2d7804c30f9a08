/**
 * `shuiwei replay`: a shop's history through the real ledger and the real jobs, in virtual time, as fast as it goes.
 * Time is what the rows say: nothing here asks what time it is, so the same files give the same state however they
 * are cut into batches, and `stateHash` proves it. The Redis is a private one that is thrown away at the end; the
 * three files appear in the output folder together, or not at all.
 */
import { createHash } from "node:crypto";
import { copyFile, type FileHandle, mkdtemp, open, rename, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { ALERT_EMIT, type AlertChange, DEPLETION_JOB } from "../jobs/depletion/job.js";
import { stockJobs } from "../jobs/index.js";
import { chainId } from "../kernel/chain-id.js";
import { sleep, stopwatch, systemClock } from "../kernel/clock.js";
import { badInput, EngineError } from "../kernel/errors.js";
import { makeFolder, pathFault } from "../kernel/folder.js";
import { zoneOf } from "../kernel/zone.js";
import { startRedis } from "../redis/embedded.js";
import { Ledger } from "../stock/ledger.js";
import { cellOf, isAccepted, type Reply, type StockCommand, type StockEvent, SWEEP_LIMIT } from "../stock/model.js";
import { stockTopic } from "../stock/topic.js";
import { loadStreamLibrary } from "../stream/commit.js";
import { Follower, type View } from "../stream/follower.js";
import type { AnyJob } from "../stream/job.js";
import { partitionKeys } from "../stream/keys.js";
import { connect, openReader, type RedisAddress, type RedisClient } from "../stream/redis.js";
import { Worker } from "../stream/worker.js";
import { commandsOf, type HistoryChunk, type IntentRow, type MappedRow } from "./history.js";

export interface ReplaySettings {
  /** The rows, in the order in which they happened. Closed by the replay, also after a fault. */
  history: AsyncGenerator<HistoryChunk>;
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
  /** Rows whose every command the ledger took. */
  accepted: number;
  /** Rows that the ledger refused. */
  refused: number;
  /** Rows that the mapping turned down. */
  rejected: number;
  /** Rows by what they meant. */
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

/** What became of the rows so far. */
type Tally = Pick<ReplaySummary, "rows" | "accepted" | "refused" | "rejected" | "kinds">;

const PREFIX = "replay";
const OUT_OPTION = "--out";
const SUMMARY_FILE = "summary.json";
const CHANNEL = "HI";
/** Chunks of rows under way at once: enough to keep Redis and this process busy at the same time. */
const CHUNKS_UNDER_WAY = 3;
const OWNER = "replay";
/** The only process there is: nobody waits for the lease. */
const LEASE_MS = 60_000;
/** The log keeps this much history (by its own clock) behind the jobs. */
const RETENTION_MS = 86_400_000;
const POLL_MS = 50;

/** The alerts of the whole history, in the order of time. */
class AlertList implements View {
  readonly job = DEPLETION_JOB;
  readonly changes: AlertChange[] = [];

  onEmit({ kind, payload }: { kind: string; payload: unknown }): void {
    if (kind === ALERT_EMIT) this.changes.push(payload as AlertChange);
  }

  lines(): string[] {
    const order = (a: AlertChange, b: AlertChange) => a.atMs - b.atMs || (a.sku < b.sku ? -1 : a.sku > b.sku ? 1 : 0);
    return this.changes
      .toSorted(order)
      .map(({ type, sku, atMs, hourUnits, dailyAverage }) =>
        JSON.stringify({ type, sku, at: new Date(atMs).toISOString(), hourUnits, dailyAverage }),
      );
  }
}

/** Turns rows into commands, and remembers which cells have had their opening stock. */
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
  // The first rows are asked for before anything is started: most faults are in the files' names and headers.
  const first = await chunks.next();
  return withScratchRedis(async (redis, address, directory) => {
    const parts = await assemble(redis, address, jobs, settings);
    // A history may have as many rejected rows as it has rows: they go to the disk as they come.
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
        stateHash: await stateHash(redis, parts.ledger, jobs),
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

/** Runs `work` on a Redis of its own, which is gone with its directory when this returns. */
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
  /** Throws what the jobs or the views have met, and when the user has had enough. */
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
  chunks: AsyncGenerator<HistoryChunk>,
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
      // A fault is met when its turn comes; until then it must not end the process as one that nobody looks after.
      work.catch(() => {});
      underWay.push(work);
      if (underWay.length >= CHUNKS_UNDER_WAY) await writeOldest();
      settings.onProgress({ rows: tally.rows, share: bytesRead / totalBytes, seconds: elapsed() / 1_000 });
    }
    while (underWay.length > 0) await writeOldest();
  } finally {
    // After a fault some chunks are still on their way: nobody waits for them any more, and Redis is about to go.
    await Promise.allSettled(underWay);
  }
}

/**
 * Lets every partition's clock end at the same instant, so that its windows have ended, and waits until the jobs have
 * seen it.
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

/** Applies a chunk of rows; returns those that were not taken, in order. */
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

/**
 * Hashes all balances and all keyed state, in the order of their names: the same however the work was cut into
 * batches. It is also the same on any number of partitions when rows come in the order of time; each partition has a
 * clock of its own, and an old row turns none back.
 */
async function stateHash(redis: RedisClient, ledger: Ledger, jobs: readonly { name: string }[]): Promise<string> {
  const entries: [name: string, value: string][] = [];
  for (let partition = 0; partition < ledger.partitions; partition++) {
    for await (const { sku, location, balances } of ledger.cells(partition)) {
      entries.push([`cell ${cellOf(sku, location)}`, JSON.stringify(balances)]);
    }
    const keys = partitionKeys(PREFIX, "stock", partition);
    for (const { name } of jobs) {
      for (const [key, state] of Object.entries(await redis.hgetallBuffer(keys.state(name)))) {
        entries.push([`${name} ${key}`, state.toString("base64")]);
      }
    }
  }
  entries.sort(([a], [b]) => (a < b ? -1 : 1));
  const hash = createHash("sha256");
  for (const [name, value] of entries) hash.update(`${name}\n${value}\n`);
  return hash.digest("hex");
}

const lines = (texts: readonly string[]): string => texts.map((text) => `${text}\n`).join("");

/** The work takes minutes: what would be refused at its end is refused before it. */
async function checkOut(out: string, force: boolean): Promise<void> {
  const found = await stat(out).catch(() => undefined);
  if (found && !found.isDirectory()) throw badInput("replay", OUT_OPTION, `${out} is a file, not a folder`);
  const earlier = await stat(join(out, SUMMARY_FILE)).catch(() => undefined);
  if (earlier && !force)
    throw badInput("replay", OUT_OPTION, `${out} holds an earlier result: name another folder, or add --force`);
}

/**
 * Writes files beside their place first, so that a full disk leaves none half-written.
 * @param texts what is to stand in them
 * @param copies files that are copied, by their new names
 */
async function writeTogether(
  out: string,
  texts: Record<string, string>,
  copies: Record<string, string>,
): Promise<void> {
  await makeFolder(out, OUT_OPTION);
  let staging: string | undefined;
  try {
    staging = await mkdtemp(join(out, ".writing-"));
    for (const [name, text] of Object.entries(texts)) await writeFile(join(staging, name), text);
    for (const [name, path] of Object.entries(copies)) await copyFile(path, join(staging, name));
    for (const name of Object.keys({ ...texts, ...copies })) await rename(join(staging, name), join(out, name));
  } catch (thrown) {
    throw pathFault(OUT_OPTION, out, thrown);
  } finally {
    if (staging !== undefined) await rm(staging, { recursive: true, force: true });
  }
}
