/**
 * The peer of the pipeline's benchmark: what a shop builds that has a Redis and no engine. One script call a command,
 * pipelined, with the entry's values in fields of a stream; one reader of a consumer group, XREADGROUP and XACK a
 * batch, that folds the same figures (balances by SKU, units leaving sellable by SKU and minute) and adds each
 * batch's sums to hashes in one pipeline; it reads the next batch while that is under way. What it lacks: a crash
 * between adding and acknowledging counts a batch twice, a second reader may overtake the first; no averages, no
 * alerts, no timers.
 */
import { readFileSync } from "node:fs";
import { stopwatch } from "../../engine/kernel/clock.js";
import { assert } from "../../engine/kernel/errors.js";
import type { StockCommand } from "../../engine/stock/model.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { transferOf } from "./trade.js";

const SCRIPT = readFileSync(new URL("../one-transfer-per-call.lua", import.meta.url), "utf8");
const LOG = "stock-log";
const IDS = "ids";
const GROUP = "fold";
const READER = "reader-1";
const READ_ENTRIES = 1_000;
const READ_WAIT_MS = 100;
const MINUTE_MS = 60_000;
/** Calls that are written together, and such writes under way. */
const BULK = 5_000;
const BULKS_UNDER_WAY = 3;

type Entry = [id: string, fields: string[]];

/** Names a step of a line as the peer remembers it. */
const stepOf = ({ kind, id }: StockCommand): string => `${id}:${kind}`;

/** Fields of an entry, by their places in it: id, sku, from, to, units, at. */
const fieldsOf = (command: StockCommand, atMs: number): string[] => {
  const [from, to] = transferOf(command);
  const units = "units" in command ? command.units : 0;
  const { sku } = command;
  return ["id", stepOf(command), "sku", sku, "from", from, "to", to, "units", String(units), "at", String(atMs)];
};

/** Gives each SKU its opening stock, and makes the group. */
export async function openPeer(redis: RedisClient, skus: number, units: number): Promise<void> {
  await redis.flushall();
  for (let i = 0; i < skus; i++) void redis.hset(`stock:SKU-${i}`, "sellable", units);
  await redis.xgroup("CREATE", LOG, GROUP, "0", "MKSTREAM");
}

/** Decides commands one script call each, many under way. */
export async function decide(redis: RedisClient, commands: readonly StockCommand[], atMs: number): Promise<void> {
  const sha = (await redis.call("SCRIPT", "LOAD", SCRIPT)) as string;
  await inBulks(commands, async (command) => {
    const [from, to] = transferOf(command);
    const units = "units" in command ? command.units : 0;
    const { sku } = command;
    const reply = await redis.evalsha(sha, 3, `stock:${sku}`, LOG, IDS, stepOf(command), from, to, units, sku, atMs);
    assert(reply === 1, "a command of the peer was refused");
  });
}

/** Writes what the commands come to into the stream, without deciding anything. */
export async function writeLog(
  redis: RedisClient,
  commands: readonly StockCommand[],
  timeOf: (i: number) => number,
): Promise<void> {
  await inBulks(commands, (command, i) => redis.xadd(LOG, "*", ...fieldsOf(command, timeOf(i))));
}

async function inBulks(
  commands: readonly StockCommand[],
  call: (command: StockCommand, i: number) => Promise<unknown>,
): Promise<void> {
  const underWay: Promise<unknown>[] = [];
  for (let first = 0; first < commands.length; first += BULK) {
    const bulk = commands.slice(first, first + BULK);
    underWay.push(Promise.all(bulk.map((command, i) => call(command, first + i))));
    if (underWay.length >= BULKS_UNDER_WAY) await underWay.shift();
  }
  await Promise.all(underWay);
}

/** Resets the figures and reads from the start again. */
export async function rewind(redis: RedisClient): Promise<void> {
  const keys = await redis.keys("fold:*");
  for (let i = 0; i < keys.length; i += READ_ENTRIES) await redis.del(...keys.slice(i, i + READ_ENTRIES));
  await redis.xgroup("DESTROY", LOG, GROUP);
  await redis.xgroup("CREATE", LOG, GROUP, "0");
}

/**
 * Reads and folds until `events` entries have been acknowledged.
 * @param reader a connection for reads that wait
 * @returns how long it took, in seconds
 */
export async function fold(redis: RedisClient, reader: RedisClient, events: number): Promise<number> {
  const elapsed = stopwatch();
  let writing: Promise<unknown> = Promise.resolve();
  for (let folded = 0; folded < events; ) {
    const reply = (await reader.xreadgroup(
      "GROUP",
      GROUP,
      READER,
      "COUNT",
      READ_ENTRIES,
      "BLOCK",
      READ_WAIT_MS,
      "STREAMS",
      LOG,
      ">",
    )) as [string, Entry[]][] | null;
    const entries = reply?.[0]?.[1] ?? [];
    if (entries.length === 0) continue;
    const sums = sumsOf(entries);
    await writing;
    const pipeline = redis.pipeline();
    for (const [key, fields] of sums) for (const [field, units] of fields) pipeline.hincrby(key, field, units);
    pipeline.xack(LOG, GROUP, ...entries.map(([id]) => id));
    writing = pipeline.exec();
    folded += entries.length;
  }
  await writing;
  return elapsed() / 1_000;
}

/** What a batch adds up to, by key and field. */
function sumsOf(entries: readonly Entry[]): Map<string, Map<string, number>> {
  const sums = new Map<string, Map<string, number>>();
  const add = (key: string, field: string, units: number): void => {
    let fields = sums.get(key);
    if (!fields) {
      fields = new Map();
      sums.set(key, fields);
    }
    fields.set(field, (fields.get(field) ?? 0) + units);
  };
  for (const [, [, , , sku, , from, , to, , text, , at]] of entries) {
    const units = Number(text);
    if (from !== "outside") add(`fold:levels:${sku}`, from as string, -units);
    if (to !== "outside") add(`fold:levels:${sku}`, to as string, units);
    if (from === "sellable") add(`fold:panes:${sku}`, String(Math.floor(Number(at) / MINUTE_MS)), units);
  }
  return sums;
}
