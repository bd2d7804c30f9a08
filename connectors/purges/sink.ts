/**
 * A CDN as a line of the table of connectors: its sink takes the changes of availability that the storefront job emits,
 * and purges the copies of these SKUs. Without a CDN of this vendor in the configuration file no sink is opened: no
 * lease is taken and no connection is made.
 */
import { monotonicClock } from "../../engine/kernel/clock.js";
import { type Connector, type ConnectorParts, defineSink, type OpenSink, type Sink } from "../connector.js";
import type { PurgerKind } from "../purger.js";
import type { CdnConfiguration, ConfiguredCdn } from "./configuration.js";
import { purgesOptions } from "./options.js";

/** Changes are taken over in memory, 1,000 at once: a catalogue that sells out does not wait here. */
const LIMITS = { perSecond: 1_000, inFlight: 4 };

/** @param load the vendor, whose module is loaded only when it is needed */
export const purgeConnector = (name: string, load: () => Promise<PurgerKind>): Connector => ({
  name,
  purgerKind: load,
  sinks: [purgeSink(name, load)],
});

const purgeSink = (name: string, load: () => Promise<PurgerKind>): Sink =>
  defineSink({
    name,
    topic: "stock",
    options: purgesOptions,
    isConfigured: ({ cdn }) => cdn !== undefined,
    limits: () => LIMITS,
    async open(_values, parts) {
      const { cdns } = parts;
      const configured = cdns?.cdns.filter(({ vendor }) => vendor === name) ?? [];
      return cdns && configured.length > 0 ? openPurgeSink(await load(), configured, cdns, parts) : undefined;
    },
  }) as unknown as Sink;

async function openPurgeSink(
  kind: PurgerKind,
  configured: readonly ConfiguredCdn[],
  configuration: CdnConfiguration,
  { redis, prefix, lease: { serverClock }, clock, onTrouble }: ConnectorParts,
): Promise<OpenSink> {
  const [
    { PurgeDispatcher },
    { loadPurgesLibrary, SharedPurgeLimits },
    { purgeMetrics, zeroPurgeMetrics },
    { PurgeReceiver },
  ] = await Promise.all([
    import("./dispatcher.js"),
    import("./limits.js"),
    import("./metrics.js"),
    import("./receiver.js"),
  ]);
  await loadPurgesLibrary(redis);
  const { name: vendor, repeatAfterMs } = kind;
  const metrics = purgeMetrics(configuration);
  zeroPurgeMetrics(metrics, vendor);
  const opened = await Promise.all(
    configured.map(async ({ name, settings }) => {
      const purger = await kind.open({ connection: settings, clock });
      const { limits } = purger;
      const dispatcher = new PurgeDispatcher({
        ...{ name, vendor, purger, repeatAfterMs, onTrouble },
        limits: new SharedPurgeLimits({ redis, prefix, name, limits, ...(serverClock ? { serverClock } : {}) }),
        timer: monotonicClock,
        secrets: configuration.secrets,
        onResult: (outcome, skus) => metrics.results.inc({ vendor, outcome }, skus),
        onPurged: (afterMs) => metrics.seconds.observe({ vendor }, afterMs / 1_000),
      });
      dispatcher.start();
      return { dispatcher, purger };
    }),
  );
  const dispatchers = opened.map(({ dispatcher }) => dispatcher);
  return {
    receiver: new PurgeReceiver({ name: vendor, dispatchers, publicUrl: configuration.publicUrl, clock }),
    metrics: [metrics.results, metrics.seconds],
    warnings: () => dispatchers.flatMap((dispatcher) => dispatcher.warnings()),
    async close() {
      await Promise.all(dispatchers.map((dispatcher) => dispatcher.stop()));
      await Promise.all(opened.map(({ purger }) => purger.close?.()));
    },
  };
}
