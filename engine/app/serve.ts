/**
 * `shuiwei serve`: an engine with its HTTP server and its screens, from start to a clean stop. On a signal it first
 * rejects new requests, then waits for those under way and for the jobs' commits, then stops Redis. A private Redis
 * that ends by itself ends the process: without a ledger nothing can be answered.
 */
import { fileURLToPath } from "node:url";
import { Registry } from "prom-client";
import { type HttpDeps, type RouteGroup, Sessions, TokenFile } from "../../connectors/http/index.js";
import { tagOf } from "../../connectors/purges/tag.js";
import { Gateway } from "../../dashboards/gateway.js";
import { consistencySettingsOf, sharedConsistencySettings } from "../jobs/consistency/options.js";
import { monotonicClock, sleep } from "../kernel/clock.js";
import { badInput, EngineError } from "../kernel/errors.js";
import type { OnTrouble } from "../kernel/logger.js";
import { durationText, type OptionValues } from "../kernel/options.js";
import { deadlinesOf, personalDataTimesOf } from "../orders/options.js";
import { type FreshnessBudget, freshnessBudget } from "../publication/freshness.js";
import type { SharedSettings } from "../stream/settings.js";
import { environmentVariable, type ServeOptions } from "./config.js";
import { type Engine, startEngine } from "./engine.js";
import type { EngineSettings } from "./engine-settings.js";
import { Intake, intakeOptions } from "./intake.js";
import { type Lifecycle, withLifecycle } from "./lifecycle.js";
import { createLog, secretsOf } from "./logging.js";
import { registerEngineMetrics } from "./metrics.js";
import { type RunningServer, startServer } from "./server.js";
import { PRODUCT_TABLES, type Tables } from "./tables.js";

export interface Surface {
  host: string;
  port: number;
  tokens: readonly string[];
  /** Path of a file with more tokens. */
  tokensFile?: string | undefined;
  defaultLocation: string;
  channel: string;
  /** A demo on loopback needs no token. */
  open: boolean;
  /** Parts that need no token or session, beside those that are always public. */
  openParts?: readonly ("screens" | "metrics")[];
  allowedHosts?: readonly string[];
  trustProxy?: boolean;
  maxLagMs: number;
  maxMemoryShare: number;
  /** Paid orders that may wait for the warehouse before new ones are refused; left out: the default. */
  maxBacklog?: number;
  /** Left out: new orders are not refused because earlier ones wait. */
  maxWaitMs?: number;
  /** Further routes, and whether the demo's storefront page is served. */
  routes?: readonly RouteGroup[];
  storefrontPage?: boolean;
  /** How long caches may keep stock answers; left out: that of the options' defaults. */
  freshness?: FreshnessBudget;
}

/** Built by the set-up beside the compiled engine; served when it exists. */
const WEB_ROOT = fileURLToPath(new URL("../../web", import.meta.url));
const SCREEN_TICK_MS = 250;
/** Sent by a supervisor. A person at a terminal (SIGINT) does not wait for load balancers. */
const DRAINING_SIGNAL = "SIGTERM";
/** A turn of the event loop takes up to 30 ms in a rush: so a thousand connections a second are accepted. */
const ACCEPTS = 32;

/** @param options with the values of the connectors' options */
export async function runServe(
  options: OptionValues<ServeOptions>,
  signal: AbortSignal,
  tables: Tables = PRODUCT_TABLES,
): Promise<void> {
  const serves = options.roles.includes("api");
  if (!serves && options.redisUrl === undefined) {
    throw badInput(
      "serve",
      "--redis-url",
      "a process without the role api needs a Redis that other processes write to",
    );
  }
  // Before anything starts: it names an option that leaves caches no time.
  const freshness = freshnessBudget(options);
  const { onTrouble } = createLog({ level: options.logLevel, secrets: secretsOf(options) });
  await withLifecycle(async (lifecycle) => {
    const engine = await startEngine({ ...settingsOf(options, onTrouble), freshness, signal }, tables);
    lifecycle.onStop(() => engine.stop());
    let server: RunningServer | undefined;
    if (serves) {
      const surface = { ...options, open: false, openParts: options.open, freshness };
      server = await serveEngine(engine, surface, lifecycle);
      print(`serving at ${server.url}, documentation at ${server.url}/docs`);
    } else print(`working on ${options.partitions} partitions`);
    await untilStopped(signal, engine.redisEnded);
    if (server && signal.reason === DRAINING_SIGNAL && options.drainDelayMs > 0) {
      // Load balancers read from /readyz that no more requests may come; until they have, requests are served.
      server.drain();
      print(`stopping in ${options.drainDelayMs / 1_000} s; send the signal again to stop at once`);
      await Promise.race([sleep(options.drainDelayMs), engine.redisEnded]);
    }
  });
}

/** Settings that results depend on. A process that only serves names none that it does not use. */
function sharedSettingsOf(options: OptionValues<ServeOptions>): SharedSettings {
  const days = { zone: options.zone, "id-retention-days": String(options.idRetentionDays) };
  const location = options.roles.includes("api") ? { "default-location": options.defaultLocation } : {};
  if (!options.roles.includes("worker")) return { ...days, ...location };
  return {
    ...days,
    ...location,
    // Also from a worker that sends nothing: it runs the jobs of orders that other processes send to the warehouse.
    "picking-deadline": durationText(options.pickingDeadlineMs),
    "label-deadline": durationText(options.labelDeadlineMs),
    "waybill-deadline": durationText(options.waybillDeadlineMs),
    "outbound-deadline": durationText(options.outboundDeadlineMs),
    "logistics-deadline": durationText(options.logisticsDeadlineMs),
    ...sharedConsistencySettings(options),
  };
}

function settingsOf(options: OptionValues<ServeOptions>, onTrouble: OnTrouble): EngineSettings {
  return {
    ...options,
    sharedSettings: sharedSettingsOf(options),
    deadlines: deadlinesOf(options),
    consistency: consistencySettingsOf(options),
    personalData: personalDataTimesOf(options),
    options,
    environment: environmentVariable,
    worker: options.roles.includes("worker"),
    empty: false,
    shopTime: undefined,
    onTrouble,
  };
}

/** Starts the server and the screens of an engine; they stop with `lifecycle`. */
export async function serveEngine(engine: Engine, surface: Surface, lifecycle: Lifecycle): Promise<RunningServer> {
  const { settings, redis } = engine;
  const { warehouse } = engine.orders;
  const intake = new Intake({
    ...surface,
    redis,
    followers: engine.topics.map(({ follower }) => follower),
    ...(warehouse ? { warehouse: { maxBacklog: intakeOptions.maxBacklog.default, ...surface, ...warehouse } } : {}),
  });
  await lifecycle.start(intake);
  const { tokensFile } = surface;
  const tokenFile = tokensFile === undefined ? undefined : new TokenFile(tokensFile, settings.onTrouble);
  await lifecycle.start(tokenFile);
  const gateway = new Gateway({
    feeds: engine.feeds,
    clock: monotonicClock,
    tickMs: SCREEN_TICK_MS,
  });
  const registry = new Registry();
  registerEngineMetrics(registry, { engine, gateway, intake });
  const server = await startServer({
    ...surface,
    ...(tokenFile ? { tokenFile } : {}),
    ...servedPartsOf(engine),
    stopping: () => false,
    readiness: () => [
      ...intake.wrong(),
      ...engine.formats.wrong(),
      ...engine.connectors.flatMap((connector) => connector.readiness?.() ?? []),
    ],
    warnings: () => [
      ...intake.warnings(),
      ...(tokenFile?.warnings() ?? []),
      ...engine.formats.warnings(),
      ...engine.topics.flatMap(({ worker, follower }) => [...(worker?.warnings() ?? []), ...follower.warnings()]),
      ...engine.sinks.flatMap((sink) => sink.warnings()),
      ...engine.forwarders.flatMap((each) => each.warnings()),
      ...(engine.stock.shadow?.warnings() ?? []),
      ...engine.reconciliation.consistencyView.warnings(engine.clock.now()),
      ...(engine.archiver?.warnings() ?? []),
      ...(engine.series?.recorder?.warnings() ?? []),
      ...(engine.publication?.watch.warnings() ?? []),
      ...engine.connectors.flatMap((connector) => connector.warnings?.() ?? []),
    ],
    ...pushOf(engine),
    routes: [
      ...(surface.routes ?? []),
      ...engine.connectors.map(
        (connector): RouteGroup =>
          (server, { authorize, callbacks }) =>
            connector.routes?.(server, authorize, callbacks),
      ),
    ],
    refuseNew: () => intake.refuse(),
    metrics: () => registry.metrics(),
    onTrouble: settings.onTrouble,
    sessions: new Sessions(redis, settings.prefix),
    webRoot: WEB_ROOT,
    gateway,
    accepts: ACCEPTS,
  });
  lifecycle.onStop(() => server.close());
  return server;
}

/** What registers browsers, where a connector does. */
const pushOf = ({ connectors }: Engine): Pick<HttpDeps, "push"> => {
  const push = connectors.find(({ pushRegistrations }) => pushRegistrations)?.pushRegistrations;
  return push ? { push } : {};
};

/** The parts of an engine that requests read and change. */
export function servedPartsOf(engine: Engine) {
  const { stock, orders, reconciliation, alerting, alerts, series, publication, clock, settings, topic } = engine;
  const { ledger } = stock;
  const { follower } = topic("stock");
  return {
    ...stock,
    ...reconciliation,
    ...alerts,
    alerting,
    orderService: orders.service,
    tracker: orders.tracker,
    exceptions: orders.exceptions,
    orderHistory: orders.history,
    ...(series ? { series } : {}),
    ...(publication?.reader ? { publication: publication.reader } : {}),
    ...(engine.isPurged ? { tagOf } : {}),
    zone: settings.zone,
    clock,
    ageMs: (sku: string) => follower.ageMs(ledger.partitionOf(sku)),
    oldestAgeMs: () => follower.oldestAgeMs(),
    eraseBuyer: (id: string) => orders.personalData.erase(id),
    speed: () => settings.shopTime?.speed() ?? 1,
  };
}

/**
 * Waits for the signal.
 * @throws EngineError when the private Redis has ended by itself, and whatever `work` fails with
 */
export async function untilStopped(
  signal: AbortSignal,
  redisEnded: Promise<string>,
  work?: Promise<void>,
): Promise<void> {
  const stopped = new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
  const failed = redisEnded.then((lastLine) => {
    throw new EngineError(`the private Redis has ended by itself; the last line of its log: ${lastLine}`, {
      op: "serve",
      code: "redis_ended",
      retryable: false,
    });
  });
  await Promise.race([stopped, failed, ...(work ? [work] : [])]);
}

export const print = (text: string): void => {
  process.stdout.write(`shuiwei: ${text}\n`);
};
