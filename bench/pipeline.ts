/**
 * Events a second through ledger, log and all jobs, committed, on one Redis with AOF everysec: `live` counts from the
 * first command to the commit of the last event, with commands coming in bulk while the worker follows; `replay` has
 * a day's log there already, and every job starts at its first entry. Both ours and the peer's (pipeline/peer.ts) run
 * in this one process beside Redis, in turn. Nothing reads the views meanwhile.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BenchRow } from "../engine/cli/bench.js";
import { stockJobs } from "../engine/jobs/index.js";
import { type Clock, DAY_MS, ManualClock, sleep, stopwatch, systemClock } from "../engine/kernel/clock.js";
import { assert } from "../engine/kernel/errors.js";
import { zoneOf } from "../engine/kernel/zone.js";
import { startRedis } from "../engine/redis/embedded.js";
import { Ledger } from "../engine/stock/ledger.js";
import { isAccepted, type StockCommand, type StockEvent } from "../engine/stock/model.js";
import { stockTopic } from "../engine/stock/topic.js";
import { loadStreamLibrary } from "../engine/stream/commit.js";
import { partitionKeys } from "../engine/stream/keys.js";
import { streamOptions } from "../engine/stream/options.js";
import { connect, openReader, type RedisAddress, type RedisClient } from "../engine/stream/redis.js";
import { Worker } from "../engine/stream/worker.js";
import { decide, fold, openPeer, rewind, writeLog } from "./pipeline/peer.js";
import { OPENING_UNITS, openings, SKUS, trade } from "./pipeline/trade.js";

const PREFIX = "bench";
const PARTITIONS = streamOptions.partitions.default;
const LIVE_COMMANDS = 300_000;
const REPLAY_COMMANDS = 600_000;
/** The peer is slower, and its speed does not depend on how many there are. */
const LIVE_PEER_COMMANDS = 100_000;
const REPLAY_PEER_COMMANDS = 200_000;
const BULK = 5_000;
const BULKS_UNDER_WAY = 3;
/** The replayed log's day begins here, at midnight in the shop's zone. */
const DAY_START_MS = Date.UTC(2026, 5, 16, 16);
const JOBS = stockJobs(zoneOf("Asia/Shanghai"));
const PEER = "scripts, consumer group, HINCRBY";
const LOOK_MS = 2;
/** A run that takes longer has stopped somewhere. */
const LIMIT_MS = 120_000;

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] as number;

const ledgerOf = (redis: RedisClient, clock?: Clock): Ledger =>
  new Ledger({
    redis,
    prefix: PREFIX,
    partitions: PARTITIONS,
    queueLimit: Number.POSITIVE_INFINITY,
    ...(clock ? { clock } : {}),
  });

/** A worker with every option as `serve` has it by default. */
const workerOf = (
  redis: RedisClient,
  address: RedisAddress,
  ledger: Ledger,
  onTrouble: (message: string) => void,
): Worker<StockEvent> =>
  new Worker({
    topic: stockTopic(ledger),
    jobs: JOBS,
    prefix: PREFIX,
    redis,
    openReader: (key) => openReader(redis, address, key),
    owner: "bench",
    clock: systemClock,
    leaseMs: streamOptions.leaseMs.default,
    tickMs: streamOptions.tickMs.default,
    retentionMs: streamOptions.retentionMs.default,
    withViews: true,
    onTrouble,
  });

async function applyInBulk(
  ledger: Ledger,
  commands: readonly StockCommand[],
  onBulk: (first: number) => void = () => {},
): Promise<void> {
  const underWay: Promise<void>[] = [];
  for (let first = 0; first < commands.length; first += BULK) {
    onBulk(first);
    underWay.push(
      ledger.applyMany(commands.slice(first, first + BULK)).then((replies) => {
        for (const { outcome } of replies) assert(isAccepted(outcome), `a command was refused: ${outcome}`);
      }),
    );
    if (underWay.length >= BULKS_UNDER_WAY) await underWay.shift();
  }
  await Promise.all(underWay);
}

const keysOfAll = Array.from({ length: PARTITIONS }, (_, partition) => partitionKeys(PREFIX, "stock", partition));

const heads = async (redis: RedisClient): Promise<number[]> =>
  (await Promise.all(keysOfAll.map(({ head }) => redis.hget(head, "offset")))).map((text) => Number(text ?? 0));

const eventsOf = (worker: Worker<StockEvent>): number => worker.stats().reduce((sum, { events }) => sum + events, 0);

/** Waits until the jobs have committed everything that the log holds now. */
async function caughtUp(redis: RedisClient, worker: Worker<StockEvent>): Promise<void> {
  const ends = await heads(redis);
  const elapsed = stopwatch();
  while (worker.stats().some(({ offset }, partition) => offset < (ends[partition] as number))) {
    assert(elapsed() < LIMIT_MS, "the jobs do not come to the end of the log");
    await sleep(LOOK_MS);
  }
}

/** Events a second from the first command to the last commit. */
async function live(redis: RedisClient, address: RedisAddress, onTrouble: (message: string) => void): Promise<number> {
  await redis.flushall();
  const ledger = ledgerOf(redis);
  const nowMs = systemClock.now();
  await applyInBulk(ledger, openings(nowMs));
  const commands = trade(LIVE_COMMANDS, () => nowMs);
  const worker = workerOf(redis, address, ledger, onTrouble);
  try {
    worker.start();
    await caughtUp(redis, worker);
    const before = eventsOf(worker);
    const elapsed = stopwatch();
    await applyInBulk(ledger, commands);
    await caughtUp(redis, worker);
    return (eventsOf(worker) - before) / (elapsed() / 1_000);
  } finally {
    await worker.stop();
  }
}

async function livePeer(redis: RedisClient, reader: RedisClient): Promise<number> {
  await openPeer(redis, SKUS, OPENING_UNITS);
  const nowMs = systemClock.now();
  const commands = trade(LIVE_PEER_COMMANDS, () => nowMs);
  const [seconds] = await Promise.all([fold(redis, reader, commands.length), decide(redis, commands, nowMs)]);
  return commands.length / seconds;
}

/** When a command of the replayed day is given: evenly over it. */
const timeInDay = (i: number): number => DAY_START_MS + Math.floor((i * DAY_MS) / REPLAY_COMMANDS);

/** Writes a day's trade into the log; returns the ledger, its clock at the end of the day. */
async function writeDay(redis: RedisClient): Promise<Ledger> {
  await redis.flushall();
  const clock = new ManualClock(DAY_START_MS);
  const ledger = ledgerOf(redis, clock);
  await applyInBulk(ledger, openings(DAY_START_MS));
  await applyInBulk(ledger, trade(REPLAY_COMMANDS, timeInDay), (first) => clock.moveTo(timeInDay(first)));
  return ledger;
}

/** Events a second from a worker's start to its last commit. */
async function replay(
  redis: RedisClient,
  address: RedisAddress,
  ledger: Ledger,
  onTrouble: (message: string) => void,
): Promise<number> {
  await Promise.all(
    keysOfAll.flatMap(({ task, timers, out, state }) =>
      redis.del(task, timers, out, ...JOBS.map(({ name }) => state(name))),
    ),
  );
  const worker = workerOf(redis, address, ledger, onTrouble);
  try {
    const elapsed = stopwatch();
    worker.start();
    await caughtUp(redis, worker);
    return eventsOf(worker) / (elapsed() / 1_000);
  } finally {
    await worker.stop();
  }
}

async function replayPeer(redis: RedisClient, reader: RedisClient): Promise<number> {
  await rewind(redis);
  return REPLAY_PEER_COMMANDS / (await fold(redis, reader, REPLAY_PEER_COMMANDS));
}

/** Measures one case on both sides in turn; the first round warms both up and does not count. */
async function measure(
  name: string,
  runs: number,
  signal: AbortSignal,
  onProgress: (text: string) => void,
  sides: readonly [ours: () => Promise<number>, theirs: () => Promise<number>],
): Promise<BenchRow> {
  const figures: [number, number][] = [];
  for (let round = 0; round <= runs; round++) {
    signal.throwIfAborted();
    const pair: [number, number] = [await sides[0](), await sides[1]()];
    if (round === 0) continue;
    figures.push(pair);
    onProgress(`${name}, run ${round} of ${runs}: ours ${Math.round(pair[0])}, peer ${Math.round(pair[1])} events/s`);
  }
  const [ours, theirs] = [median(figures.map(([own]) => own)), median(figures.map(([, other]) => other))];
  return {
    case: name,
    unit: "events/s",
    ours: Math.round(ours),
    peer: PEER,
    theirs: Math.round(theirs),
    ratio: Math.round((ours / theirs) * 100) / 100,
  };
}

/** Runs both cases. */
export async function run({
  runs,
  signal,
  onProgress,
}: {
  runs: number;
  signal: AbortSignal;
  onProgress(text: string): void;
}): Promise<BenchRow[]> {
  const directory = await mkdtemp(join(tmpdir(), "shuiwei-bench-"));
  const server = await startRedis({ dir: directory, appendfsync: "everysec" });
  const address = { url: server.socketPath };
  const redis = connect(address);
  const reader = connect(address, true);
  try {
    await Promise.all([Ledger.load(redis), loadStreamLibrary(redis)]);
    const liveRow = await measure(`live, ${SKUS} SKUs`, runs, signal, onProgress, [
      () => live(redis, address, onProgress),
      () => livePeer(redis, reader),
    ]);
    const ledger = await writeDay(redis);
    await writeLog(redis, trade(REPLAY_PEER_COMMANDS, timeInDay), timeInDay);
    const replayRow = await measure(`replay from the log, ${SKUS} SKUs`, runs, signal, onProgress, [
      () => replay(redis, address, ledger, onProgress),
      () => replayPeer(redis, reader),
    ]);
    return [liveRow, replayRow];
  } finally {
    reader.disconnect();
    redis.disconnect();
    await server.stop();
    await rm(directory, { recursive: true, force: true });
  }
}
