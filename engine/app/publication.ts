/**
 * The publication of what the storefront is shown, in a running engine: its store, the publisher where this process
 * runs jobs, and what serves it where it is in Redis. Only one process publishes at a time; every process that has the
 * store tells how old the newest publication is.
 */
import type { StorefrontView } from "../jobs/storefront/view.js";
import { systemClock } from "../kernel/clock.js";
import { assert, EngineError, messageOf } from "../kernel/errors.js";
import { valuesOf } from "../kernel/options.js";
import { freshnessBudget, manifestCacheSeconds } from "../publication/freshness.js";
import { publicationOptions } from "../publication/options.js";
import { PublicationReader } from "../publication/publication-reader.js";
import type { PublicationStore } from "../publication/publication-store.js";
import { PublicationWatch } from "../publication/publication-watch.js";
import { Publisher } from "../publication/publisher.js";
import { RedisPublicationStore } from "../publication/redis-store.js";
import type { EngineRedis } from "./engine-redis.js";
import type { EngineSettings } from "./engine-settings.js";
import type { Lifecycle } from "./lifecycle.js";
import { PublishedDisplays } from "./published-displays.js";
import { type RunningTopic, sharedByWorkers, topicNamed } from "./running-topics.js";
import type { Tables } from "./tables.js";

export interface EnginePublication {
  readonly watch: PublicationWatch;
  /** Where this process runs jobs. */
  readonly publisher: Publisher | undefined;
  /** Where servers read it; undefined when it is in a folder or a bucket. */
  readonly reader: PublicationReader | undefined;
}

export interface PublicationParts {
  readonly tables: Pick<Tables, "connectors">;
  readonly connections: EngineRedis;
  readonly topics: readonly RunningTopic[];
  readonly storefrontView: StorefrontView;
}

/**
 * Starts to publish, where this process runs jobs; undefined where the settings disable it.
 * @throws EngineError `bad_input`, `bad_option`; of a store that cannot keep publications
 */
export async function startPublication(
  settings: EngineSettings,
  parts: PublicationParts,
  lifecycle: Lifecycle,
): Promise<EnginePublication | undefined> {
  const { publication = "off", publishEveryMs: everyMs = publicationOptions.publishEveryMs.default } = settings;
  // Only workers need to reach a folder or a bucket.
  if (publication === "off" || (publication !== "redis" && !settings.worker)) return undefined;
  const { store, reader } = await openStore(publication, settings, parts);
  const publisher = settings.worker ? await publisherOf(settings, parts, store, everyMs) : undefined;
  const watch = new PublicationWatch({ store, everyMs });
  await lifecycle.startEach([publisher, watch]);
  return { watch, publisher, reader };
}

async function openStore(
  publication: string,
  { prefix, options = {} }: EngineSettings,
  { connections: { redis, viewRedis }, tables }: PublicationParts,
): Promise<{ store: PublicationStore; reader: PublicationReader | undefined }> {
  if (publication === "redis") {
    await RedisPublicationStore.load(redis);
    const store = new RedisPublicationStore(viewRedis, prefix);
    return { store, reader: new PublicationReader(store) };
  }
  const connector = tables.connectors.find(({ publicationStore }) => publicationStore);
  assert(connector?.publicationStore, "no connector of the tables has a store of publications");
  return {
    store: await connector.publicationStore(valuesOf(connector.options ?? {}, options), publication),
    reader: undefined,
  };
}

async function publisherOf(
  settings: EngineSettings,
  { connections, topics, storefrontView }: PublicationParts,
  store: PublicationStore,
  everyMs: number,
): Promise<Publisher> {
  const { partitions, freshness = freshnessBudget(valuesOf(publicationOptions, {})), onTrouble } = settings;
  const cacheSeconds = manifestCacheSeconds(freshness, everyMs);
  try {
    await store.check?.(settings.signal);
  } catch (thrown) {
    // Orders do not wait for it; the publisher tries again.
    if (!(thrown instanceof EngineError) || !thrown.retryable) throw thrown;
    onTrouble(messageOf(thrown), {});
  }
  return new Publisher({
    ...sharedByWorkers(settings, connections),
    redis: connections.viewRedis,
    store,
    source: new PublishedDisplays(storefrontView, topicNamed(topics, "stock").follower, partitions),
    everyMs,
    cacheSeconds,
    // Readers compare what is published with real time.
    clock: systemClock,
  });
}
