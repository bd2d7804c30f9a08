/**
 * The ledger beside the usual way, on one Redis with AOF everysec: 512 callers, each waiting for its answer before it sends the next
 * reservation. Ours is `Ledger.apply` with everything on (ids, holds that expire, breaker check, event in the log); the peer is one script
 * call per request, as a shop would write it: remember the id, check, deduct, append an entry to a stream. Both in turn in the same run, each
 * on an empty database; the bulk case sends in bulk, beside the same peer.
 */
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BenchRow } from "../engine/bench-command.js";
import { chainId } from "../engine/kernel/chain-id.js";
import { stopwatch, systemClock } from "../engine/kernel/clock.js";
import { assert } from "../engine/kernel/errors.js";
import { startRedis } from "../engine/redis/embedded.js";
import { Ledger } from "../engine/stock/ledger.js";
import type { ReceiveStock, ReserveStock } from "../engine/stock/model.js";
import { connect, type RedisClient } from "../engine/stream/redis.js";

const CALLERS = 512;
const COMMANDS = 100_000;
const BULK = 5_000;
const BULKS_UNDER_WAY = 3;
const PARTITIONS = 16;
const LOCATION = "main";
const UNITS = 1_000_000_000;
const SHAPES = [
  { name: "uniform, 10,000 SKUs", skus: 10_000 },
  { name: "hot, 1 SKU", skus: 1 },
];
const PEER = "one script call per request";
const PEER_SCRIPT = readFileSync(new URL("./one-call-per-request.lua", import.meta.url), "utf8");

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

function reservations(skus: number): ReserveStock[] {
  const nowMs = systemClock.now();
  return Array.from({ length: COMMANDS }, (_, i) => ({
    kind: "reserve",
    id: `${chainId("BE", nowMs)}-1`,
    // A prime step spreads the SKUs without an order.
    sku: `SKU-${(i * 7_919) % skus}`,
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
        id: chainId("BE", nowMs),
        sku: `SKU-${i}`,
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
  for (let i = 0; i < skus; i++) void redis.hset(`stock:SKU-${i}`, "sellable", UNITS);
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

/** Runs both sides in turn. */
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
  const redis = connect({ url: server.socketPath });
  try {
    await Ledger.load(redis);
    const rows: BenchRow[] = [];
    for (const { name, skus } of SHAPES) {
      const single: number[] = [];
      const bulk: number[] = [];
      const peer: number[] = [];
      // The first round warms both up and does not count.
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
      const row = (label: string, figures: number[]): BenchRow => ({
        case: `${name}, ${label}`,
        unit: "commands/s",
        ours: Math.round(median(figures)),
        peer: PEER,
        theirs: Math.round(median(peer)),
        ratio: Math.round((median(figures) / median(peer)) * 100) / 100,
      });
      rows.push(row(`${CALLERS} callers`, single), row("bulk", bulk));
    }
    return rows;
  } finally {
    redis.disconnect();
    await server.stop();
    await rm(directory, { recursive: true, force: true });
  }
}
