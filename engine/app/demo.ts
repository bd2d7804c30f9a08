/**
 * `shuiwei demo`: an engine on a private Redis with a made-up shop, sandboxes of the warehouse, of three systems that
 * report stock and of a group chat, its screens on loopback and nothing to configure. Everything is in one folder,
 * which a clean stop deletes; after a crash it is kept, so that it can be examined.
 */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { DEMO_IDENTITY } from "../../connectors/http/index.js";
import { WmsSandbox } from "../../connectors/wms/sandbox.js";
import type { Person } from "../alerting/people.js";
import { historyOptions } from "../history/options.js";
import type { OnTrouble } from "../kernel/logger.js";
import type { OptionValues } from "../kernel/options.js";
import { publicationOptions } from "../publication/options.js";
import { stockOptions } from "../stock/options.js";
import { streamOptions } from "../stream/options.js";
import type { demoOptions } from "./config.js";
import { DemoFeed } from "./demo-feed.js";
import { demoGoodsRoutes } from "./demo-goods.js";
import { DemoGroup } from "./demo-group.js";
import { sellLimitedGoods } from "./demo-limited.js";
import { runDemoOperator } from "./demo-operator.js";
import { COUNTING, DemoSources } from "./demo-sources.js";
import { DemoSystems } from "./demo-systems.js";
import { startEngine } from "./engine.js";
import type { EngineSettings } from "./engine-settings.js";
import { intakeOptions } from "./intake.js";
import { withLifecycle } from "./lifecycle.js";
import { createLog } from "./logging.js";
import { print, type Surface, serveEngine, untilStopped } from "./serve.js";

type DemoOptions = OptionValues<typeof demoOptions>;

/** The demo's clock runs fast, and so do its holds and windows. */
const TICK_MS = 250;
const RETENTION_MS = 86_400_000;
/**
 * Requests a second that the warehouse accepts: so many, and so many more for each time the shop's clock is faster.
 * At 60 times this gives a rate of about 470 a second. The rush hour has 3.6 orders a second of the shop's time (215
 * at 60 times), so only its first seconds show a backlog.
 */
const WMS_LIMIT_BASE = 50;
const WMS_LIMIT_PER_SPEED = 12;
/** The rate is the limit less the requests under way, so these are few. */
const WMS_IN_FLIGHT = 16;
/** Push services require a contact; a browser of the demo's visitor is one phone. */
const VAPID_SUBJECT = "mailto:demo@shuiwei.dev";
/** Orders that the warehouse keeps: more than wait for an answer or a cancellation at any time. */
const WMS_ORDERS_KEPT = 50_000;

/** Whose phone every browser of the demo is. */
const DEMO_PERSON: Person = {
  id: DEMO_IDENTITY.person,
  name: "演示",
  roles: ["purchasing", "warehouse", "operations"],
  language: "zh",
  ladder: [["web-push"]],
};

export async function runDemo(options: DemoOptions, signal: AbortSignal): Promise<void> {
  const { onTrouble } = createLog({ level: options.logLevel });
  const feed = new DemoFeed(options);
  const dir = join(options.dir, "demo");
  await withLifecycle(async (lifecycle) => {
    const limitPerSecond = WMS_LIMIT_BASE + Math.round(WMS_LIMIT_PER_SPEED * options.speed);
    const warehouse = new WmsSandbox({ limitPerSecond, ordersKept: WMS_ORDERS_KEPT });
    await lifecycle.start(warehouse);
    const systems = new DemoSystems();
    await lifecycle.start(systems);
    const group = new DemoGroup(feed.time.clock);
    await lifecycle.start(group);
    const outside = {
      ...{ wmsUrl: warehouse.url, wmsLimit: limitPerSecond, wmsInFlight: WMS_IN_FLIGHT },
      ...{ vapidSubject: VAPID_SUBJECT, alerts: await group.writeConfiguration(dir) },
    };
    const engine = await startEngine({
      ...settingsOf(options, dir, feed, onTrouble),
      ...{ options: outside, environment: (name) => group.environment(name), signal },
    });
    lifecycle.onStop(() => engine.stop());
    await engine.alerting.people.put(DEMO_PERSON);
    const storefront = { routes: [demoGoodsRoutes(feed.shop)], storefrontPage: true };
    const server = await serveEngine(engine, { ...surfaceOf(options), ...storefront }, lifecycle);
    print(`open ${server.url}  (documentation at ${server.url}/docs; Ctrl-C ends it)`);
    print(`what customers see: ${server.url}/shop`);
    print("a week of history first, so that daily averages exist …");
    const stop = new AbortController();
    const feeding = feed.feedHistory(engine, stop.signal).then(async () => {
      if (stop.signal.aborted) return;
      print(`18 June, 00:00: the rush begins, at ${options.speed}× speed`);
      print(`at 01:15 the clock runs faster, until 17:55; at 18:00 the figures part: watch ${server.url}/desk`);
      const sources = new DemoSources(engine, { systems, shop: feed.shop, onTrouble });
      const decisions = { shop: feed.shop, source: COUNTING, onTrouble };
      await Promise.all([
        feed.play(engine, stop.signal, onTrouble),
        sources.run(stop.signal),
        sellLimitedGoods(engine, stop.signal, onTrouble),
        runDemoOperator(engine, decisions, stop.signal),
      ]);
    });
    lifecycle.onStop(() => {
      stop.abort();
      return feeding.catch(() => {});
    });
    await untilStopped(signal, engine.redisEnded, feeding);
  });
  await rm(dir, { recursive: true, force: true });
}

const settingsOf = (
  { appendfsync, partitions }: DemoOptions,
  dir: string,
  { shop, time }: DemoFeed,
  onTrouble: OnTrouble,
): EngineSettings => ({
  redisUrl: undefined,
  dir,
  appendfsync,
  partitions,
  prefix: streamOptions.prefix.default,
  leaseMs: streamOptions.leaseMs.default,
  tickMs: TICK_MS,
  paceMs: streamOptions.paceMs.default,
  retentionMs: RETENTION_MS,
  pollMs: streamOptions.pollMs.default,
  history: historyOptions.history.default,
  publication: publicationOptions.publication.default,
  zone: shop.zone,
  idRetentionDays: stockOptions.idRetentionDays.default,
  batchLimit: stockOptions.batchLimit.default,
  worker: true,
  empty: true,
  shopTime: time,
  onTrouble,
});

const surfaceOf = ({ port }: DemoOptions): Surface => ({
  host: "127.0.0.1",
  port,
  tokens: [],
  defaultLocation: "SHA",
  channel: "WB",
  open: true,
  maxLagMs: intakeOptions.maxLagMs.default,
  maxMemoryShare: intakeOptions.maxMemoryShare.default,
});
