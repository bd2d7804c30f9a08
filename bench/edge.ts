/**
 * Answers about the stock of one SKU, as fast as 64 connections read them, from a process of its own on the same
 * machine. ① At the origin: `shuiwei serve` with everything on beside a bare Fastify (load/plain-server.ts lists what
 * it lacks), for one SKU and for 10,000 in turn. ② At the edge: nginx with the configuration of connectors/cdn in front
 * of that engine, beside nginx with a file. Each peer sends the same body, once with its own headers only, once with as
 * many bytes of headers as ours. The sides take turns in short rounds; the first round is in no figure. The server's
 * CPU time for an answer says what it costs however busy the machine is; it has no figure where the system does not
 * tell it.
 */
import { httpOptions } from "../connectors/http/options.js";
import type { BenchReport, BenchRow, BenchSettings } from "../engine/cli/bench.js";
import { chainIdFromNumber } from "../engine/kernel/chain-id.js";
import { sleep, systemClock } from "../engine/kernel/clock.js";
import { assert } from "../engine/kernel/errors.js";
import { secureBytes } from "../engine/kernel/random.js";
import { Ledger } from "../engine/stock/ledger.js";
import type { ReceiveStock } from "../engine/stock/model.js";
import { streamOptions } from "../engine/stream/options.js";
import type { RedisClient } from "../engine/stream/redis.js";
import { cpuSecondsOf } from "./load/cpu.js";
import { type Bed, onFreshRedis } from "./load/fresh-redis.js";
import { runLoad, startLoad } from "./load/load-process.js";
import { hasNginx, startEdge, startStatic } from "./load/nginx.js";
import type { PlainSettings } from "./load/plain-server.js";
import type { ReadLoad, ReadReport } from "./load/reader.js";
import { startServing } from "./load/serving.js";

/** How many rounds are counted. */
export type EdgeBenchSettings = Pick<BenchSettings, "runs" | "signal" | "onProgress">;

const HOST = "127.0.0.1";
const CONNECTIONS = 64;
const SECONDS = 2;
const UNCOUNTED_SECONDS = 1;
const SKUS = 10_000;
const UNITS = 1_000;
const BULK = 1_000;
const CHECK_MS = 100;
const READER = new URL("./load/reader.js", import.meta.url);
const PLAIN_SERVER = new URL("./load/plain-server.js", import.meta.url);
const FASTIFY = "bare Fastify";
const STATIC = "nginx, a file";
const SAME_BODY = "the same body";
const SAME_REPLY = "a reply of the same size";
/** That every server sends. */
const USUAL_HEADERS = new Set(["content-type", "content-length", "date", "connection", "keep-alive"]);

/** All of one length, so that answers are. */
const skuNamed = (n: number): string => `SKU-${String(n).padStart(6, "0")}`;
const pathOf = (n: number): string => `/v1/stock/${skuNamed(n)}`;
const ONE = [pathOf(0)];
const ALL = Array.from({ length: SKUS }, (_, n) => pathOf(n));

/** A server that is read from. */
interface Side {
  readonly port: number;
  /** Whose CPU time is the server's; undefined: the system does not tell. */
  readonly pid: number | undefined;
}

interface Comparison {
  readonly name: string;
  readonly peer: string;
  readonly paths: readonly string[];
  readonly ours: Side;
  readonly theirs: Side;
}

interface Figures {
  readonly perSecond: number;
  /** CPU time of the server for one answer. */
  readonly cpuMicros: number;
}

/** Reads from one side for a while. @throws AssertionError when an answer is not 200 */
async function read({ port, pid }: Side, paths: readonly string[], signal: AbortSignal): Promise<Figures> {
  const cpuSeconds = (): number => (pid === undefined ? Number.NaN : (cpuSecondsOf(pid) ?? Number.NaN));
  const before = cpuSeconds();
  const load = { host: HOST, port, paths, connections: CONNECTIONS };
  const times = { seconds: SECONDS, uncountedSeconds: UNCOUNTED_SECONDS };
  const report = await runLoad<ReadLoad, ReadReport>(READER, { ...load, ...times }, signal);
  const { 200: found = 0, broken = 0, ...others } = report.answers;
  // Those under way when the reader ends are broken.
  assert(broken <= CONNECTIONS && Object.keys(others).length === 0, `answers: ${JSON.stringify(report.answers)}`);
  return { perSecond: report.perSecond, cpuMicros: ((cpuSeconds() - before) / found) * 1_000_000 };
}

async function stock(redis: RedisClient): Promise<void> {
  await Ledger.load(redis);
  const { prefix, partitions } = streamOptions;
  const ledger = new Ledger({ redis, prefix: prefix.default, partitions: partitions.default });
  const nowMs = systemClock.now();
  const location = httpOptions.defaultLocation.default;
  for (let first = 0; first < SKUS; first += BULK) {
    const receipts = Array.from({ length: Math.min(BULK, SKUS - first) }, (_, i): ReceiveStock => {
      const id = chainIdFromNumber("ER", nowMs, first + i);
      return { kind: "receive", id, sku: skuNamed(first + i), location, units: UNITS };
    });
    for (const { outcome } of await ledger.applyMany(receipts))
      assert(outcome === "accepted", `a receipt was answered ${outcome}`);
  }
}

/** The answer of the engine for the last SKU, which it knows last. */
async function answerFrom(port: number, signal: AbortSignal): Promise<{ body: string; headers: Headers }> {
  for (;;) {
    signal.throwIfAborted();
    const answer = await fetch(`http://${HOST}:${port}${pathOf(SKUS - 1)}`);
    const body = await answer.text();
    if (answer.status === 200) return { body, headers: answer.headers };
    await sleep(CHECK_MS);
  }
}

const headBytes = (headers: Headers): number =>
  [...headers].reduce((bytes, [name, value]) => bytes + `${name}: ${value}\r\n`.length, 0);

/** Starts the servers of both sides. */
async function comparisonsOn(bed: Bed, { signal, onProgress }: EdgeBenchSettings) {
  const { server, redis, ends } = bed;
  const token = secureBytes(16).toString("hex");
  const serving = await startServing({ redisPath: server.socketPath, roles: "api,worker", token });
  ends.push(() => serving.stop());
  await stock(redis);
  const ours: Side = { port: serving.port as number, pid: serving.pid };
  const { body, headers } = await answerFrom(ours.port, signal);
  const added = Object.fromEntries([...headers].filter(([name]) => !USUAL_HEADERS.has(name)));
  const comparisons: Comparison[] = [];
  for (const [size, ownHeaders] of [
    [SAME_BODY, {}],
    [SAME_REPLY, added],
  ] as const) {
    const settings = { body, headers: ownHeaders };
    const plain = await startLoad<PlainSettings, { port: number }>(PLAIN_SERVER, settings, signal);
    ends.push(() => plain.stop());
    const sides = { peer: `${FASTIFY}, ${size}`, ours, theirs: { port: (await plain.run()).port, pid: plain.pid } };
    comparisons.push({ name: `origin, one SKU, ${size}`, paths: ONE, ...sides });
    comparisons.push({ name: `origin, 10,000 SKUs in turn, ${size}`, paths: ALL, ...sides });
  }
  if (hasNginx()) comparisons.push(...(await edgeComparisons(bed, ours, body, signal)));
  else onProgress("nginx is not installed: the edge is not measured");
  const bodyBytes = Buffer.byteLength(body);
  return { comparisons, bodyBytes, headerBytes: headBytes(headers) };
}

async function edgeComparisons({ ends }: Bed, origin: Side, body: string, signal: AbortSignal): Promise<Comparison[]> {
  const edge = await startEdge(origin.port);
  ends.push(() => edge.stop());
  const ours = { port: edge.port, pid: edge.workerPid };
  const comparisons: Comparison[] = [];
  let addedBytes = 0;
  for (const size of [SAME_BODY, SAME_REPLY]) {
    const file = await startStatic(body, addedBytes);
    ends.push(() => file.stop());
    const theirs = { port: file.port, pid: file.workerPid };
    comparisons.push({ name: `edge, one SKU, ${size}`, peer: `${STATIC}, ${size}`, paths: ONE, ours, theirs });
    const [ownBytes, otherBytes] = [await answerFrom(edge.port, signal), await answerFrom(file.port, signal)].map(
      (answer) => headBytes(answer.headers),
    ) as [number, number];
    addedBytes = ownBytes - otherBytes;
  }
  return comparisons;
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] as number;

function rowsOf({ name, peer }: Comparison, own: readonly Figures[], others: readonly Figures[]): BenchRow[] {
  const row = (of: keyof Figures, unit: string, digits: number): BenchRow => {
    const rounded = (value: number) => Math.round(value * 10 ** digits) / 10 ** digits;
    const [ours, theirs] = [own, others].map((side) => median(side.map((figures) => figures[of]))) as [number, number];
    return { case: name, unit, ours: rounded(ours), peer, theirs: rounded(theirs), ratio: rounded2(ours / theirs) };
  };
  const rows = [row("perSecond", "answers/s", 0)];
  const cpu = row("cpuMicros", "µs CPU an answer", 1);
  return Number.isNaN(cpu.ratio) ? rows : [...rows, cpu];
}

const rounded2 = (value: number): number => Math.round(value * 100) / 100;

const lineOf = ({ case: name, unit, ours, peer, theirs, ratio }: BenchRow): string =>
  `${name}: ${ours} ${unit}; ${peer}: ${theirs} ${unit}; ratio ${ratio}`;

export async function run(settings: EdgeBenchSettings): Promise<BenchReport> {
  const { runs, signal, onProgress } = settings;
  return onFreshRedis(async (bed) => {
    const { comparisons, bodyBytes, headerBytes } = await comparisonsOn(bed, settings);
    const rows: BenchRow[] = [];
    const rounds: Record<string, unknown> = {};
    for (const comparison of comparisons) {
      const { name, paths, ours, theirs } = comparison;
      const figures: Record<"ours" | "theirs", Figures[]> = { ours: [], theirs: [] };
      for (let round = 0; round <= runs; round++) {
        // The first of a round changes, because it may be at a disadvantage.
        const sides = round % 2 === 0 ? (["ours", "theirs"] as const) : (["theirs", "ours"] as const);
        for (const side of sides) {
          const measured = await read(side === "ours" ? ours : theirs, paths, signal);
          if (round > 0) figures[side].push(measured);
          onProgress(`${name}, ${side}: ${Math.round(measured.perSecond)} answers/s`);
        }
      }
      rows.push(...rowsOf(comparison, figures.ours, figures.theirs));
      rounds[name] = figures;
    }
    const facts = { runs, connections: CONNECTIONS, seconds: SECONDS, bodyBytes, headerBytes };
    return { rows, facts, details: { rounds }, table: rows.map(lineOf) };
  });
}
