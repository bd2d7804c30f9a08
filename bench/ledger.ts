/**
 * The ledger beside the usual ways. First beside one script call per request on the same Redis with AOF everysec: 512
 * callers, each waiting for its answer before it sends the next reservation. Ours is `Ledger.apply` with everything
 * on (ids, holds that expire, breaker check, event in the log); the peer stores the id, checks, deducts, appends an
 * entry to a stream, as a shop would write it. The bulk case sends in bulk, beside the same peer. Then in bulk beside
 * PostgreSQL's fastest batched reservation, when this machine has one, at the same durability: a power cut may lose the
 * last moment on both sides, or nothing on both. The two sides take turns in one run, each on an empty database; the
 * first round warms up.
 */
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BenchRow } from "../engine/cli/bench.js";
import { chainIdFromNumber } from "../engine/kernel/chain-id.js";
import { stopwatch, systemClock } from "../engine/kernel/clock.js";
import { assert } from "../engine/kernel/errors.js";
import { startRedis } from "../engine/redis/embedded.js";
import { Ledger } from "../engine/stock/ledger.js";
import type { ReceiveStock, ReserveStock } from "../engine/stock/model.js";
import { streamOptions } from "../engine/stream/options.js";
import { connect, type RedisClient } from "../engine/stream/redis.js";
import { findDriver, PostgresPeer, type PostgresShape, type SynchronousCommit } from "./postgres/peer.js";
import { findPostgres, startPostgres } from "./postgres/server.js";

const CALLERS = 512;
/**
 * Some seconds of each side, so that what Redis does in between (it rewrites its log as it grows) is a part of every
 * figure.
 */
const COMMANDS = 300_000;
const BULK = 5_000;
const BULKS_UNDER_WAY = 3;
const PARTITIONS = streamOptions.partitions.default;
const LOCATION = "main";
const UNITS = 1_000_000_000;
const SHAPES = [
  { name: "uniform, 10,000 SKUs", skus: 10_000 },
  { name: "hot, 1 SKU", skus: 1 },
];
const PEER = "one script call per request";
const PEER_SCRIPT = readFileSync(new URL("./one-call-per-request.lua", import.meta.url), "utf8");

/** What a power cut may lose: on both sides the last moment (about a second, and about half of one), or nothing. */
const DURABILITIES = [
  { name: "the last moment may be lost", appendfsync: "everysec", synchronousCommit: "off" },
  { name: "nothing is lost", appendfsync: "always", synchronousCommit: "on" },
] as const;
/** Tried before PostgreSQL is measured; the best of them is. */
const POSTGRES_BATCHES = [100, 500, 1_000, 2_000];
const POSTGRES_CONNECTIONS = [1, 2, 4];
const TRIED_COMMANDS = 30_000;

interface Settings {
  runs: number;
  signal: AbortSignal;
  onProgress(text: string): void;
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] as number;

/** Runs `COMMANDS` calls from `CALLERS` callers; returns calls a second. */
async function callers(call: (i: number) => Promise<unknown>): Promise<number> {
  let next = 0;
  const elapsed = stopwatch();
  await Promise.all(
    Array.from({ length: CALLERS }, async () => {
      while (next < COMMANDS) await call(next++);
    }),
  );
  return COMMANDS / (elapsed() / 1_000);
}

const skuName = (i: number): string => `SKU-${i}`;

function reservations(skus: number, n = COMMANDS): ReserveStock[] {
  const nowMs = systemClock.now();
  return Array.from({ length: n }, (_, i) => ({
    kind: "reserve",
    // Numbered: of 300,000 random ones of a single millisecond two are alike in every 25th round.
    id: `${chainIdFromNumber("BE", nowMs, i)}-1`,
    // A prime step spreads the SKUs without an order.
    sku: skuName((i * 7_919) % skus),
    location: LOCATION,
    units: 1,
  }));
}

async function freshLedger(redis: RedisClient, skus: number): Promise<Ledger> {
  await redis.flushall();
  const ledger = new Ledger({ redis, prefix: "bench", partitions: PARTITIONS, queueLimit: Number.POSITIVE_INFINITY });
  const nowMs = systemClock.now();
  await ledger.applyMany(
    Array.from(
      { length: skus },
      (_, i): ReceiveStock => ({
        kind: "receive",
        id: chainIdFromNumber("BR", nowMs, i),
        sku: skuName(i),
        location: LOCATION,
        units: UNITS,
      }),
    ),
  );
  return ledger;
}

async function ours(redis: RedisClient, skus: number, commands: ReserveStock[]): Promise<number> {
  const ledger = await freshLedger(redis, skus);
  return callers(async (i) =>
    assert((await ledger.apply(commands[i] as ReserveStock)).outcome === "accepted", "a reservation was refused"),
  );
}

async function oursInBulk(redis: RedisClient, skus: number, commands: ReserveStock[]): Promise<number> {
  const ledger = await freshLedger(redis, skus);
  const elapsed = stopwatch();
  const underWay: Promise<unknown>[] = [];
  for (let first = 0; first < commands.length; first += BULK) {
    underWay.push(ledger.applyMany(commands.slice(first, first + BULK)));
    if (underWay.length >= BULKS_UNDER_WAY) await underWay.shift();
  }
  await Promise.all(underWay);
  return commands.length / (elapsed() / 1_000);
}

async function theirs(redis: RedisClient, skus: number, commands: ReserveStock[]): Promise<number> {
  await redis.flushall();
  for (let i = 0; i < skus; i++) void redis.hset(`stock:${skuName(i)}`, "sellable", UNITS);
  await redis.ping();
  const sha = (await redis.call("SCRIPT", "LOAD", PEER_SCRIPT)) as string;
  return callers(async (i) => {
    const { id, sku, units } = commands[i] as ReserveStock;
    assert(
      (await redis.evalsha(sha, 3, `stock:${sku}`, "stock-log", "orders", id, units)) === 1,
      "a reservation was refused",
    );
  });
}

const rowOf = (name: string, figures: readonly number[], peer: string, theirs: readonly number[]): BenchRow => ({
  case: name,
  unit: "commands/s",
  ours: Math.round(median(figures)),
  peer,
  theirs: Math.round(median(theirs)),
  ratio: Math.round((median(figures) / median(theirs)) * 100) / 100,
});

/** Runs `work` with a Redis of its own, which is deleted afterwards. */
async function withRedis<Result>(
  appendfsync: "everysec" | "always",
  work: (redis: RedisClient) => Promise<Result>,
): Promise<Result> {
  const directory = await mkdtemp(join(tmpdir(), "shuiwei-bench-"));
  const server = await startRedis({ dir: directory, appendfsync });
  const redis = connect({ url: server.socketPath });
  try {
    await Ledger.load(redis);
    return await work(redis);
  } finally {
    redis.disconnect();
    await server.stop();
    await rm(directory, { recursive: true, force: true });
  }
}

/** Beside one script call per request. */
const besideScripts = ({ runs, signal, onProgress }: Settings): Promise<BenchRow[]> =>
  withRedis("everysec", async (redis) => {
    const rows: BenchRow[] = [];
    for (const { name, skus } of SHAPES) {
      const single: number[] = [];
      const bulk: number[] = [];
      const peer: number[] = [];
      for (let round = 0; round <= runs; round++) {
        signal.throwIfAborted();
        const commands = reservations(skus);
        const figures = [
          await ours(redis, skus, commands),
          await theirs(redis, skus, commands),
          await oursInBulk(redis, skus, commands),
        ] as const;
        if (round === 0) continue;
        single.push(figures[0]);
        peer.push(figures[1]);
        bulk.push(figures[2]);
        onProgress(
          `${name}, run ${round} of ${runs}: ours ${Math.round(figures[0])}, peer ${Math.round(figures[1])}, ours in bulk ${Math.round(figures[2])} /s`,
        );
      }
      rows.push(rowOf(`${name}, ${CALLERS} callers`, single, PEER, peer), rowOf(`${name}, bulk`, bulk, PEER, peer));
    }
    return rows;
  });

/** Beside PostgreSQL; without its server or its driver: no rows, and the reason as a line. */
async function besidePostgres(settings: Settings): Promise<BenchRow[]> {
  const programs = await findPostgres(process.env["PATH"] ?? "");
  if (programs === undefined) {
    settings.onProgress("PostgreSQL: skipped, no postgres with its initdb was found on this machine");
    return [];
  }
  const driver = await findDriver();
  if (driver === undefined) {
    settings.onProgress("PostgreSQL: skipped, its driver is not installed (npm install --no-save pg)");
    return [];
  }
  const directory = await mkdtemp(join(tmpdir(), "shuiwei-bench-pg-"));
  try {
    const server = await startPostgres(programs, directory);
    try {
      const peer = await PostgresPeer.open(server, driver);
      try {
        const rows: BenchRow[] = [];
        for (const { appendfsync, ...durability } of DURABILITIES)
          rows.push(...(await withRedis(appendfsync, (redis) => atOneDurability(redis, peer, durability, settings))));
        return rows;
      } finally {
        await peer.close();
      }
    } finally {
      await server.stop();
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function atOneDurability(
  redis: RedisClient,
  peer: PostgresPeer,
  { name: durability, synchronousCommit }: { name: string; synchronousCommit: SynchronousCommit },
  { runs, signal, onProgress }: Settings,
): Promise<BenchRow[]> {
  const rows: BenchRow[] = [];
  for (const { name, skus } of SHAPES) {
    const names = Array.from({ length: skus }, (_, i) => skuName(i));
    const postgres = async (commands: ReserveStock[], shape: PostgresShape): Promise<number> => {
      signal.throwIfAborted();
      await peer.fill(names, UNITS);
      return peer.reserve(commands, shape);
    };
    let best: { shape: PostgresShape; perSecond: number } | undefined;
    for (const batch of POSTGRES_BATCHES) {
      for (const connections of POSTGRES_CONNECTIONS) {
        const shape = { connections, batch, synchronousCommit };
        const perSecond = await postgres(reservations(skus, TRIED_COMMANDS), shape);
        if (best === undefined || perSecond > best.perSecond) best = { shape, perSecond };
      }
    }
    if (best === undefined) return rows;
    const { shape } = best;
    const figures: number[] = [];
    const theirs: number[] = [];
    for (let round = 0; round <= runs; round++) {
      const commands = reservations(skus);
      const pair = [await oursInBulk(redis, skus, commands), await postgres(commands, shape)] as const;
      if (round === 0) continue;
      figures.push(pair[0]);
      theirs.push(pair[1]);
      onProgress(
        `${name}, ${durability}, run ${round} of ${runs}: ours in bulk ${Math.round(pair[0])}, PostgreSQL ${Math.round(pair[1])} /s`,
      );
    }
    const { batch, connections } = shape;
    const label = `PostgreSQL ${peer.version}, ${batch} lines a statement, ${connections} connection${connections > 1 ? "s" : ""}`;
    rows.push(rowOf(`${name}, bulk, ${durability}`, figures, label, theirs));
  }
  return rows;
}

/** Runs all sides in turn. */
export async function run(settings: Settings): Promise<BenchRow[]> {
  return [...(await besideScripts(settings)), ...(await besidePostgres(settings))];
}
