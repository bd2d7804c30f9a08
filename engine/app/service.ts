/**
 * `shuiwei serve` and `shuiwei demo`: an engine with its server and its screens, from start to a clean end. Being
 * told to stop, it first refuses new requests, then lets those under way and the jobs' commits end, then lets Redis
 * go. A private Redis that ends by itself ends the process, too: an engine without a ledger has nothing to say.
 */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Registry } from "prom-client";
import { Sessions, TokenFile } from "../../connectors/http/index.js";
import { openObjectStore } from "../../connectors/objects/index.js";
import { createGateway } from "../../dashboards/gateway.js";
import { sleep, systemClock } from "../kernel/clock.js";
import { badInput, EngineError } from "../kernel/errors.js";
import type { OnTrouble } from "../kernel/logger.js";
import { durationText, type OptionValues } from "../kernel/options.js";
import { deadlinesOf, personalDataTimesOf } from "../orders/options.js";
import { stockOptions } from "../stock/options.js";
import { streamOptions } from "../stream/options.js";
import type { SharedSettings } from "../stream/settings.js";
import type { demoOptions, serveOptions } from "./config.js";
import { Demo } from "./demo.js";
import { type Engine, type EngineSettings, startEngine } from "./engine.js";
import { Intake, intakeOptions } from "./intake.js";
import { createLog, secretsOf } from "./logging.js";
import { registerEngineMetrics } from "./metrics.js";
import { type RunningServer, startServer } from "./server.js";

export interface Surface {
  host: string;
  port: number;
  tokens: readonly string[];
  /** Path of a file with further tokens. */
  tokensFile?: string | undefined;
  defaultLocation: string;
  channel: string;
  /** A demo on loopback asks for no token. */
  open: boolean;
  /** Left out: without a token or a session only what is public anyway. */
  openParts?: readonly ("screens" | "metrics")[];
  allowedHosts?: readonly string[];
  trustProxy?: boolean;
  maxLagMs: number;
  maxMemoryShare: number;
  /** Left out: new orders are never refused for the wait of others. */
  maxWaitMs?: number;
}

/** Built by the set-up beside the compiled engine; served when it is there. */
const WEB_ROOT = fileURLToPath(new URL("../../web", import.meta.url));
const SCREEN_TICK_MS = 250;
/** What a supervisor sends. A person at a terminal (SIGINT) waits for nothing. */
const DRAINING_SIGNAL = "SIGTERM";
/** A turn takes up to 30 ms in a rush: so a thousand connections a second are taken in. */
const ACCEPTS = 32;
/** The demo's shop hurries, and so do its holds and windows. */
const DEMO_TICK_MS = 250;
const DEMO_RETENTION_MS = 86_400_000;

export async function runService(options: OptionValues<typeof serveOptions>, signal: AbortSignal): Promise<void> {
  const serves = options.roles.includes("api");
  if (!serves && options.redisUrl === undefined) {
    throw badInput("serve", "--redis-url", "a process that only works needs a Redis that others write to");
  }
  const { onTrouble } = createLog({ level: options.logLevel, secrets: secretsOf(options) });
  const engine = await startEngine({ ...settingsOf(options, onTrouble), signal });
  await guarded(engine, async (ends) => {
    let server: RunningServer | undefined;
    if (serves) {
      server = await serve(engine, { ...options, open: false, openParts: options.open }, ends);
      say(`serving at ${server.url}, documentation at ${server.url}/docs`);
    } else say(`working on ${options.partitions} partitions`);
    await stoppedOr(signal, engine.redisEnded);
    if (server && signal.reason === DRAINING_SIGNAL && options.drainDelayMs > 0) {
      // Load balancers learn from /readyz that nothing more may come; until they have, it is served.
      server.drain();
      say(`stopping in ${options.drainDelayMs / 1_000} s; once more to stop at once`);
      await Promise.race([sleep(options.drainDelayMs), engine.redisEnded]);
    }
  });
}

export async function runDemo(options: OptionValues<typeof demoOptions>, signal: AbortSignal): Promise<void> {
  const { onTrouble } = createLog({ level: options.logLevel });
  const demo = new Demo(options);
  const dir = join(options.dir, "demo");
  const engine = await startEngine({
    redisUrl: undefined,
    dir,
    appendfsync: options.appendfsync,
    partitions: options.partitions,
    prefix: streamOptions.prefix.default,
    leaseMs: streamOptions.leaseMs.default,
    tickMs: DEMO_TICK_MS,
    paceMs: streamOptions.paceMs.default,
    retentionMs: DEMO_RETENTION_MS,
    pollMs: streamOptions.pollMs.default,
    zone: demo.shop.zone,
    idRetentionDays: stockOptions.idRetentionDays.default,
    batchLimit: stockOptions.batchLimit.default,
    worker: true,
    empty: true,
    shopTime: demo.time,
    onTrouble,
    signal,
  });
  await guarded(engine, async (ends) => {
    const surface = {
      host: "127.0.0.1",
      port: options.port,
      tokens: [],
      defaultLocation: "SHA",
      channel: "WB",
      open: true,
      maxLagMs: intakeOptions.maxLagMs.default,
      maxMemoryShare: intakeOptions.maxMemoryShare.default,
    };
    const server = await serve(engine, surface, ends);
    say(`open ${server.url}  (documentation at ${server.url}/docs; Ctrl-C ends it)`);
    say("a week of history first, so that daily averages exist …");
    const feeding = demo.feedHistory(engine, signal).then(() => {
      if (!signal.aborted) say(`18 June, 00:00: the rush begins, at ${options.speed}× speed`);
      return demo.play(engine, signal, onTrouble);
    });
    ends.push(() => feeding.catch(() => {}));
    await stoppedOr(signal, engine.redisEnded, feeding);
  });
  // Only after a clean end: what a crash left is worth a look.
  await rm(dir, { recursive: true, force: true });
}

/** What results depend on. A process that only serves has no opinion on what it does not use. */
function sharedSettingsOf(options: OptionValues<typeof serveOptions>): SharedSettings {
  const days = { zone: options.zone, "id-retention-days": String(options.idRetentionDays) };
  const location = options.roles.includes("api") ? { "default-location": options.defaultLocation } : {};
  if (!options.roles.includes("worker")) return { ...days, ...location };
  return {
    ...days,
    ...location,
    // Also of a worker that sends nothing: it leads partitions whose orders others take to the warehouse.
    "picking-deadline": durationText(options.pickingDeadlineMs),
    "label-deadline": durationText(options.labelDeadlineMs),
    "waybill-deadline": durationText(options.waybillDeadlineMs),
    "outbound-deadline": durationText(options.outboundDeadlineMs),
    "logistics-deadline": durationText(options.logisticsDeadlineMs),
  };
}

function settingsOf(options: OptionValues<typeof serveOptions>, onTrouble: OnTrouble): EngineSettings {
  return {
    ...options,
    sharedSettings: sharedSettingsOf(options),
    deadlines: deadlinesOf(options),
    personalData: personalDataTimesOf(options),
    ...(options.wmsUrl === undefined
      ? {}
      : {
          wms: {
            url: options.wmsUrl,
            token: options.wmsToken,
            limitPerSecond: options.wmsLimit,
            inFlight: options.wmsInFlight,
            timeoutMs: options.wmsTimeoutMs,
            maxBacklog: options.maxBacklog,
            objects: openObjectStore(options),
          },
        }),
    worker: options.roles.includes("worker"),
    empty: false,
    shopTime: undefined,
    onTrouble,
  };
}

/** Puts server and screens in front of an engine; how they end goes on the list. */
export async function serve(
  engine: Engine,
  surface: Surface,
  ends: (() => Promise<unknown>)[],
): Promise<RunningServer> {
  const {
    ledger,
    orderService,
    tracker,
    depletionView,
    storefrontView,
    exceptions,
    categories,
    follower,
    clock,
    settings,
  } = engine;
  const { redis, orderFollower, warehouse } = engine;
  const followers = [follower, orderFollower];
  const intake = new Intake({ ...surface, redis, followers, ...(warehouse ? { warehouse } : {}) });
  intake.start();
  ends.push(() => intake.stop());
  const tokenFile =
    surface.tokensFile === undefined ? undefined : new TokenFile(surface.tokensFile, settings.onTrouble);
  await tokenFile?.start();
  if (tokenFile) ends.push(() => tokenFile.stop());
  const gateway = createGateway({
    source: engine.live,
    clock: systemClock,
    tickMs: SCREEN_TICK_MS,
    zone: settings.zone,
  });
  const registry = new Registry();
  registerEngineMetrics(registry, engine, gateway, intake);
  const server = await startServer({
    ...surface,
    ...(tokenFile ? { tokenFile } : {}),
    ledger,
    orderService,
    tracker,
    depletionView,
    storefrontView,
    exceptions,
    categories,
    eraseBuyer: (id) => engine.personalData.erase(id),
    clock,
    asOf: (sku) => follower.freshAsOf(ledger.partitionOf(sku)),
    ageMs: (sku) => follower.ageMs(ledger.partitionOf(sku)),
    speed: () => settings.shopTime?.speed() ?? 1,
    stopping: () => false,
    readiness: () => [...intake.wrong(), ...engine.formats.wrong()],
    warnings: () => [
      ...intake.warnings(),
      ...(tokenFile?.warnings() ?? []),
      ...engine.formats.warnings(),
      ...(engine.outbox?.warnings() ?? []),
      ...(engine.shadow?.warnings() ?? []),
    ],
    refuseNew: () => intake.refuse(),
    metrics: () => registry.metrics(),
    onTrouble: settings.onTrouble,
    sessions: new Sessions(redis, settings.prefix),
    webRoot: WEB_ROOT,
    gateway,
    accepts: ACCEPTS,
  });
  ends.unshift(() => server.close());
  return server;
}

/** Runs `work` and, however it ends, takes apart what it has put on its list, the first first, and then the engine. */
async function guarded(engine: Engine, work: (ends: (() => Promise<unknown>)[]) => Promise<void>): Promise<void> {
  const ends: (() => Promise<unknown>)[] = [];
  try {
    await work(ends);
  } finally {
    try {
      for (const end of ends) await end();
    } finally {
      await engine.stop();
    }
  }
}

/**
 * Waits until the user has had enough.
 * @throws EngineError when the private Redis has ended by itself, and whatever `mustGoOn` fails with
 */
async function stoppedOr(signal: AbortSignal, redisEnded: Promise<string>, mustGoOn?: Promise<void>): Promise<void> {
  const stopped = new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
  const gone = redisEnded.then((lastWords) => {
    throw new EngineError(`the private Redis has ended by itself; the last line of its log: ${lastWords}`, {
      op: "serve",
      code: "redis_ended",
      retryable: false,
    });
  });
  await Promise.race([stopped, gone, ...(mustGoOn ? [mustGoOn] : [])]);
}

const say = (text: string): void => {
  process.stdout.write(`shuiwei: ${text}\n`);
};
