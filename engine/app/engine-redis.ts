/**
 * Connects an engine to its Redis: starts a private one where no address is given, checks a given one, and joins the
 * deployment, whose settings and format have to fit. A private Redis stops with the engine.
 */
import { hostname } from "node:os";
import { systemClock } from "../kernel/clock.js";
import { badInput } from "../kernel/errors.js";
import { secureBytes } from "../kernel/random.js";
import { loadRateLimiterLibrary } from "../outbox/rate-limiter.js";
import { startRedis } from "../redis/embedded.js";
import { freeTask, loadStreamLibrary } from "../stream/commit.js";
import { Heartbeat } from "../stream/fleet.js";
import { FormatWatch } from "../stream/format.js";
import { archiveKeys, partitionKeys, publicationKeys, seriesKeys, sinkKeys } from "../stream/keys.js";
import { claimDeployment } from "../stream/partition.js";
import { checkRedis, connect, type RedisAddress, type RedisClient } from "../stream/redis.js";
import { ReplicationBarrier } from "../stream/replication-barrier.js";
import { claimSettings } from "../stream/settings.js";
import type { EngineSettings } from "./engine-settings.js";
import type { Lifecycle } from "./lifecycle.js";
import { releaseVersion } from "./release.js";
import { emitReadersOf, type Tables } from "./tables.js";

export interface EngineRedis {
  readonly address: RedisAddress;
  /** For commands. */
  readonly redis: RedisClient;
  /** Views read much and often; on a connection of their own they never delay a command. */
  readonly viewRedis: RedisClient;
  readonly replicas: ReplicationBarrier | undefined;
  readonly formats: FormatWatch;
  /** The name of this process in leases. */
  readonly owner: string;
  /** Resolves with the last line of its log when a private Redis ends by itself; otherwise never. */
  readonly ended: Promise<string>;
}

/**
 * Connects and joins the deployment.
 * @throws EngineError as startRedis, checkRedis, claimDeployment and claimSettings
 */
export async function openEngineRedis(
  settings: EngineSettings,
  tables: Tables,
  lifecycle: Lifecycle,
): Promise<EngineRedis> {
  const server = settings.redisUrl === undefined ? await startRedis(settings) : undefined;
  if (server) lifecycle.onStop(() => server.stop());
  const address = { url: settings.redisUrl ?? (server?.socketPath as string) };
  const redis = connect(address);
  lifecycle.onStop(() => redis.disconnect());
  const viewRedis = connect(address);
  lifecycle.onStop(() => viewRedis.disconnect());

  if (server) await preparePrivateRedis(redis, settings, tables);
  else await checkRedis(redis, address, settings.onTrouble);
  const { waitReplicas = 0 } = settings;
  if (server && waitReplicas > 0) throw badInput("serve", "--wait-replicas", "a private Redis has no replicas");
  const replicas =
    waitReplicas > 0 ? new ReplicationBarrier({ open: () => connect(address), replicas: waitReplicas }) : undefined;
  lifecycle.onStop(() => replicas?.close());

  const { formats, owner } = await joinDeployment({ redis, viewRedis }, settings, tables, lifecycle);
  return { address, redis, viewRedis, replicas, formats, owner, ended: server ? server.ended : new Promise(() => {}) };
}

/** Frees the leases that a killed process left: no other process can hold one in a private Redis. */
async function preparePrivateRedis(
  redis: RedisClient,
  { empty, prefix, partitions }: EngineSettings,
  tables: Tables,
): Promise<void> {
  if (empty) await redis.flushall();
  const tasks = Array.from({ length: partitions }, (_, partition) => [
    ...tables.topics.map(({ name }) => partitionKeys(prefix, name, partition)),
    ...emitReadersOf(tables).map(({ name, topic }) => sinkKeys(prefix, topic, partition, name)),
    ...tables.topics.map(({ name }) => archiveKeys(prefix, name, partition)),
    seriesKeys(prefix, partition),
  ]);
  const others = [seriesKeys(prefix, "figures"), publicationKeys(prefix)];
  await Promise.all([...others, ...tasks.flat()].map((keys) => freeTask(redis, keys)));
}

async function joinDeployment(
  { redis, viewRedis }: Pick<EngineRedis, "redis" | "viewRedis">,
  { prefix, partitions, sharedSettings = {}, acceptSettings = false, worker, onTrouble }: EngineSettings,
  { topics }: Tables,
  lifecycle: Lifecycle,
): Promise<Pick<EngineRedis, "formats" | "owner">> {
  const format = await claimDeployment(redis, prefix, partitions);
  await claimSettings({ redis, prefix, settings: sharedSettings, accept: acceptSettings, onTrouble });
  const shared = { redis: viewRedis, prefix, clock: systemClock, onTrouble };
  const formats = new FormatWatch({ ...shared, format });
  await lifecycle.start(formats);
  await Promise.all([
    ...topics.map(({ load }) => load(redis)),
    loadStreamLibrary(redis),
    loadRateLimiterLibrary(redis),
  ]);
  const owner = `${hostname()}/${process.pid}/${secureBytes(4).toString("hex")}`;
  await lifecycle.start(new Heartbeat({ ...shared, name: owner, release: releaseVersion(), runsJobs: worker }));
  return { formats, owner };
}
