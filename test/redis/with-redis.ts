/**
 * One private redis-server for one `*.redis.test.ts` file: started before its first test, stopped after its last, in a
 * temporary directory, keeping nothing. Clients made by `connect` are closed with it. Functions loaded into the
 * server survive `flush`; keys do not.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis, type RedisOptions } from "ioredis";
import { afterAll, beforeAll } from "vitest";
import { type RedisServer, type RedisSettings, startRedis } from "../../engine/redis/embedded.js";

type ClientOptions = Omit<RedisOptions, "replyMapping" | "protocol">;

export interface TestRedis {
  /** Valid inside tests and hooks only, as everything here. */
  readonly socketPath: string;
  /** What SHUIWEI_REDIS_URL would say: for a unix socket, its path. */
  readonly url: string;
  readonly pid: number;
  /** A client of the file's server, closed after its last test. */
  connect(options?: ClientOptions): Redis;
  /** Removes every key; call it between tests. */
  flush(): Promise<void>;
}

export function withRedis(settings: Omit<RedisSettings, "dir"> = {}): TestRedis {
  let dir: string;
  let server: RedisServer | undefined;
  const clients: Redis[] = [];
  const running = (): RedisServer => {
    if (server === undefined) throw new Error("the test's Redis runs inside tests and hooks only");
    return server;
  };

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "shuiwei-test-"));
    server = await startRedis({ persistence: false, ...settings, dir });
  });

  afterAll(async () => {
    for (const client of clients) client.disconnect();
    await server?.stop();
    server = undefined;
    await rm(dir, { recursive: true, force: true });
  });

  const connect = (options: ClientOptions = {}): Redis => {
    const client = new Redis(running().socketPath, options);
    clients.push(client);
    return client;
  };
  let flusher: Redis | undefined;

  return {
    get socketPath() {
      return running().socketPath;
    },
    get url() {
      return running().socketPath;
    },
    get pid() {
      return running().pid;
    },
    connect,
    flush: async () => {
      flusher ??= connect();
      await flusher.flushall("SYNC");
    },
  };
}
