/**
 * The Redis of one `*.redis.test.ts` file: a private redis-server, started before its first test and stopped after
 * its last, in a temporary directory, keeping nothing; or, in a run on Clusters (`SHUIWEI_TEST_CLUSTERS` names the
 * nodes of each), the one of this worker, emptied before the first test. Clients made by `connect` are closed after
 * the last test. Functions loaded into the server survive `flush`; keys do not. What is true of one server only (its
 * socket, its process) is not to be had of a Cluster: a test that needs it is skipped there by `onCluster`.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, beforeAll } from "vitest";
import { type RedisServer, type RedisSettings, startRedis } from "../../engine/redis/embedded.js";
import { primaries, type RedisClient } from "../../engine/stream/redis.js";
import { type ClusterNodeOptions, clusterClient } from "./cluster.js";

export interface TestRedis {
  /** Valid inside tests and hooks only, as everything here. One server's; a Cluster has none. */
  readonly socketPath: string;
  /** The value for SHUIWEI_REDIS_URL: for a unix socket, its path. */
  readonly url: string;
  /** An address of the same kind without a server. */
  readonly away: string;
  /** One server's; a Cluster has none. */
  readonly pid: number;
  /** A client of the file's Redis, closed after its last test. */
  connect(options?: ClusterNodeOptions): RedisClient;
  /** Removes every key; call it between tests. */
  flush(): Promise<void>;
  /** Every key that fits a pattern, on all primaries. */
  keys(pattern: string): Promise<string[]>;
  /** What a command without a key answers, on each primary. */
  onEach<Reply>(ask: (primary: Redis) => Promise<Reply>): Promise<Reply[]>;
}

const clusterUrls = process.env["SHUIWEI_TEST_CLUSTERS"]?.split(" ");

/** Whether this run is one on a Cluster. */
export const onCluster = clusterUrls !== undefined;

export function withRedis(settings: Omit<RedisSettings, "dir"> = {}): TestRedis {
  let dir: string | undefined;
  let server: RedisServer | undefined;
  const clients: RedisClient[] = [];
  const clusterUrl = clusterUrls?.[Number(process.env["VITEST_POOL_ID"]) - 1];
  const running = (): RedisServer => {
    if (server === undefined) throw new Error("the test's Redis is one server and runs inside tests and hooks only");
    return server;
  };
  const connect = (options: ClusterNodeOptions = {}): RedisClient => {
    const client =
      clusterUrl === undefined ? new Redis(running().socketPath, options) : clusterClient(clusterUrl, options);
    clients.push(client);
    return client;
  };
  let own: RedisClient | undefined;
  const onEach = async <Reply>(ask: (primary: Redis) => Promise<Reply>): Promise<Reply[]> => {
    own ??= connect();
    await own.ping();
    return Promise.all(primaries(own).map(ask));
  };
  const flush = async (): Promise<void> => {
    await onEach((primary) => primary.flushall("SYNC"));
  };

  beforeAll(async () => {
    if (onCluster) return flush();
    dir = await mkdtemp(join(tmpdir(), "shuiwei-test-"));
    server = await startRedis({ persistence: false, ...settings, dir });
  });

  afterAll(async () => {
    for (const client of clients) client.disconnect();
    await server?.stop();
    server = undefined;
    if (dir !== undefined) await rm(dir, { recursive: true, force: true });
  });

  return {
    get socketPath() {
      return running().socketPath;
    },
    get url() {
      return clusterUrl ?? running().socketPath;
    },
    get away() {
      return clusterUrl === undefined ? `${running().socketPath}.away` : "redis://127.0.0.1:9,redis://127.0.0.1:10";
    },
    get pid() {
      return running().pid;
    },
    connect,
    flush,
    keys: async (pattern) => (await onEach((primary) => primary.keys(pattern))).flat(),
    onEach,
  };
}
