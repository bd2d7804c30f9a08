/**
 * The order path under a load that does not wait, from a process of its own on the same machine, AOF everysec. ①
 * Orders over HTTP at `shuiwei serve` with everything on, and, in the same run, at a bare Fastify that makes one
 * script call an order (load/peer-server.ts lists what it lacks). ② Commands through the typed client, the jobs in
 * another process: how soon each is answered, and how soon its units show in its SKU's window. Latency counts from
 * the instant at which an arrival was due (load/open-loop.ts). Each side has a Redis of its own that begins empty,
 * and a warm-up that is in no figure. It judges nothing: on a busy machine the figures are that machine's.
 */
import { httpOptions } from "../connectors/http/options.js";
import type { BenchReport, BenchRow, BenchSettings } from "../engine/cli/bench.js";
import { chainIdFromNumber } from "../engine/kernel/chain-id.js";
import { systemClock } from "../engine/kernel/clock.js";
import { assert } from "../engine/kernel/errors.js";
import { secureBytes } from "../engine/kernel/random.js";
import { Ledger } from "../engine/stock/ledger.js";
import type { ReceiveStock } from "../engine/stock/model.js";
import { streamOptions } from "../engine/stream/options.js";
import type { RedisClient } from "../engine/stream/redis.js";
import { SKUS, skuNamed, UNITS } from "./load/assortment.js";
import type { CommandLoad } from "./load/command-client.js";
import { cpuSecondsOf } from "./load/cpu.js";
import { onFreshRedis } from "./load/fresh-redis.js";
import type { OrderLoad, OrderLoadReport } from "./load/generator.js";
import { connectionsFor } from "./load/http-connections.js";
import { type LoadProcess, runLoad, startLoad } from "./load/load-process.js";
import { type LoopReport, monotonicMs } from "./load/open-loop.js";
import type { PeerSettings } from "./load/peer-server.js";
import { startServing } from "./load/serving.js";
import { linesOf, type Side, yesPerSecond } from "./load/side.js";
import type { WindowLoad, WindowReport } from "./load/window-observer.js";

/** How many seconds each side is measured, and how many orders, then commands, a second it is asked for. */
export type HttpBenchSettings = Pick<BenchSettings, "seconds" | "rate" | "signal" | "onProgress">;

/**
 * Before each measurement, at half the rate, so that what compiles at run time has compiled; no longer than the
 * measurement.
 */
const WARM_UP_SECONDS = 10;
const HOST = "127.0.0.1";
const PREFIX = streamOptions.prefix.default;
const PARTITIONS = streamOptions.partitions.default;
const LOCATION = httpOptions.defaultLocation.default;
const PEER = "bare Fastify, one script call an order";
/** Far enough away for every process to have heard of it. */
const HEAD_START_MS = 500;
const BULK = 1_000;

const GENERATOR = new URL("./load/generator.js", import.meta.url);
const PEER_SERVER = new URL("./load/peer-server.js", import.meta.url);
const COMMAND_CLIENT = new URL("./load/command-client.js", import.meta.url);
const WINDOW_OBSERVER = new URL("./load/window-observer.js", import.meta.url);

/** Seconds of CPU that processes have used since, by name; those that cannot be read are left out. */
function cpuMeter(pids: Record<string, number>): () => Record<string, number> {
  const before = new Map(Object.entries(pids).map(([name, pid]) => [name, cpuSecondsOf(pid)]));
  return () => {
    const used: Record<string, number> = {};
    for (const [name, pid] of Object.entries(pids)) {
      const [from, to] = [before.get(name), cpuSecondsOf(pid)];
      if (from !== undefined && to !== undefined) used[name] = to - from;
    }
    return used;
  };
}

const per = (used: Record<string, number>, seconds: number): Record<string, number> =>
  Object.fromEntries(Object.entries(used).map(([name, cpu]) => [name, Math.round((cpu / seconds) * 100) / 100]));

/** What a load reported and what it cost, without the load's own CPU time, which is among the cores. */
const sideOf = ({ cpuSeconds: _, ...report }: LoopReport, cores: Record<string, number>): Side => ({
  ...report,
  cores,
});

const warmUpSecondsOf = (seconds: number): number => Math.min(WARM_UP_SECONDS, seconds);

/** Warms a server up, then asks it for orders; `pids` are those whose CPU time is reported. */
async function ordersAt(
  target: Pick<OrderLoad, "port" | "token">,
  pids: Record<string, number>,
  { seconds, rate, signal }: HttpBenchSettings,
): Promise<Side> {
  const load = { ...target, host: HOST };
  const warmUp = { rate: Math.ceil(rate / 2), arrivals: Math.ceil((rate / 2) * warmUpSecondsOf(seconds)) };
  const warm: OrderLoad = { ...load, ...warmUp, firstSalt: 0 };
  await runLoad<OrderLoad, OrderLoadReport>(GENERATOR, warm, signal);
  const whole: OrderLoad = { ...load, rate, arrivals: Math.round(rate * seconds), firstSalt: warm.arrivals };
  const used = cpuMeter(pids);
  const report = await runLoad<OrderLoad, OrderLoadReport>(GENERATOR, whole, signal);
  return sideOf(report, per({ ...used(), generator: report.cpuSeconds }, report.seconds));
}

async function stock(redis: RedisClient): Promise<void> {
  await Ledger.load(redis);
  const ledger = new Ledger({ redis, prefix: PREFIX, partitions: PARTITIONS });
  const nowMs = systemClock.now();
  for (let first = 0; first < SKUS; first += BULK) {
    const receipts = Array.from(
      { length: Math.min(BULK, SKUS - first) },
      (_, i): ReceiveStock => ({
        kind: "receive",
        id: chainIdFromNumber("LR", nowMs, first + i),
        sku: skuNamed(first + i),
        location: LOCATION,
        units: UNITS,
      }),
    );
    for (const { outcome } of await ledger.applyMany(receipts))
      assert(outcome === "accepted", `a receipt was answered ${outcome}`);
  }
}

const token = (): string => secureBytes(16).toString("hex");

/** ① at the engine. */
const ours = (settings: HttpBenchSettings) =>
  onFreshRedis(async ({ server, redis, ends }) => {
    const secret = token();
    const serving = await startServing({ redisPath: server.socketPath, roles: "api,worker", token: secret });
    ends.push(() => serving.stop());
    await stock(redis);
    const port = serving.port as number;
    return ordersAt({ port, token: secret }, { engine: serving.pid, redis: server.pid }, settings);
  });

/** ① at the peer. */
const theirs = (settings: HttpBenchSettings) =>
  onFreshRedis(async ({ server, redis, ends }) => {
    const secret = token();
    for (let n = 0; n < SKUS; n++) void redis.hset(`stock:${skuNamed(n)}`, "sellable", UNITS);
    await redis.ping();
    const peer = await startLoad<PeerSettings, { port: number }>(
      PEER_SERVER,
      { redisPath: server.socketPath, token: secret },
      settings.signal,
    );
    ends.push(() => peer.stop());
    const { port } = await peer.run();
    return ordersAt({ port, token: secret }, { peer: peer.pid, redis: server.pid }, settings);
  });

/** ②: commands, and when their windows show. */
const commands = ({ seconds, rate, signal }: HttpBenchSettings) =>
  onFreshRedis(async ({ server, redis, ends }) => {
    const redisPath = server.socketPath;
    const worker = await startServing({ redisPath, roles: "worker", token: token() });
    ends.push(() => worker.stop());
    await stock(redis);
    const warmUpSeconds = warmUpSecondsOf(seconds);
    const uncounted = Math.round(rate * warmUpSeconds);
    const arrivals = { rate, arrivals: uncounted + Math.round(rate * seconds), uncounted };
    const deployment = { redisPath, prefix: PREFIX, partitions: PARTITIONS };
    const startClient = startLoad<CommandLoad, LoopReport>;
    const client = await startClient(COMMAND_CLIENT, { ...deployment, ...arrivals, location: LOCATION }, signal);
    ends.push(() => client.stop());
    const startObserver = startLoad<WindowLoad, WindowReport>;
    const observer: LoadProcess<WindowReport> = await startObserver(
      WINDOW_OBSERVER,
      { ...deployment, ...arrivals, topic: "stock" },
      signal,
    );
    ends.push(() => observer.stop());
    const used = cpuMeter({ worker: worker.pid, redis: server.pid, observer: observer.pid });
    const startMs = monotonicMs() + HEAD_START_MS;
    const [report, windows] = await Promise.all([client.run(startMs), observer.run(startMs)]);
    const cpu = { ...used(), client: report.cpuSeconds };
    return { ...sideOf(report, per(cpu, warmUpSeconds + report.seconds)), ...windows };
  });

/** Measures one side after the other. */
export async function run(settings: HttpBenchSettings): Promise<BenchReport> {
  const { seconds, rate, signal, onProgress } = settings;
  const measured = async (name: string, measure: (settings: HttpBenchSettings) => Promise<Side>): Promise<Side> => {
    signal.throwIfAborted();
    const side = await measure(settings);
    const { reply, unanswered } = side;
    onProgress(`${name}: reply p50 ${reply.p50Ms} ms, p99 ${reply.p99Ms} ms, ${unanswered} unanswered`);
    return side;
  };
  const orders = { ours: await measured("orders, ours", ours), theirs: await measured("orders, peer", theirs) };
  const direct = await measured("commands", commands);
  const isYes = (answer: string) => answer.startsWith("2");
  const row = (name: string, unit: string, own: number, peer: number): BenchRow => ({
    case: name,
    unit,
    ours: own,
    peer: PEER,
    theirs: peer,
    ratio: Math.round((own / peer) * 100) / 100,
  });
  const perSecond = yesPerSecond(direct, (answer) => answer === "accepted");
  const rows = [
    row("orders over HTTP", "orders/s", yesPerSecond(orders.ours, isYes), yesPerSecond(orders.theirs, isYes)),
    row("orders over HTTP, reply p99", "ms", orders.ours.reply.p99Ms, orders.theirs.reply.p99Ms),
  ];
  return {
    rows,
    facts: { rate, seconds, warmUpSeconds: warmUpSecondsOf(seconds), connections: connectionsFor(rate) },
    details: { orders, commands: { perSecond, ...direct } },
    table: [
      ...rows.map(
        ({ case: name, unit, ours: own, theirs: peer }) => `${name}: ${own} ${unit}; ${PEER}: ${peer} ${unit}`,
      ),
      ...linesOf("ours", orders.ours),
      ...linesOf("peer", orders.theirs),
      `commands, typed client: ${perSecond} commands/s`,
      ...linesOf("ours", direct),
    ],
  };
}
