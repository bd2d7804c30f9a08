/**
 * Connections to one Redis, to a primary that Sentinels name, or to a Redis Cluster. A connection that writes never
 * sends a command again by itself after a break (it could append twice): the caller gets the error and repeats with the
 * same ids. A redirection (a slot that has moved) is followed, because the server has done nothing. A connection whose
 * server does not answer is closed after the timeout, and the next command opens a new one. A blocking read has a
 * connection of its own. Installing and starting Redis is done elsewhere (`engine/boot`, `engine/redis`).
 */
import type { Socket } from "node:net";
import type { Writable } from "node:stream";
import { Cluster, Command, Redis, type RedisOptions } from "ioredis";
import { badInput, EngineError } from "../kernel/errors.js";

export type RedisClient = Redis | Cluster;
/** A connection to one server. */
export type RedisNode = Redis;

export interface RedisAddress {
  /**
   * `redis://…` or `rediss://…`; several of them with commas for a Cluster's nodes;
   * `redis+sentinel://user:password@host:port,host:port/name` for the primary that Sentinels have under that name; or
   * the path of a unix socket. User and password are those of the Redis servers.
   */
  url: string;
  cluster?: boolean;
  /** How long a command may go without an answer; 10 s when left out. */
  timeoutMs?: number;
}

const COMMAND_TIMEOUT_MS = 10_000;
const RECONNECT_MAX_MS = 1_000;
/** Reads wait for half a second. A frozen server does not close its connections, and another may have replaced it. */
const READER_TIMEOUT_MS = 4_000;
/** A node that does not answer with the Cluster's slots in this time is skipped. */
const SLOTS_TIMEOUT_MS = 1_000;
/**
 * How often the slots are read again. A node that dies is noticed at once; a frozen one only by reading the slots from
 * another node.
 */
const SLOTS_REFRESH_MS = 2_000;
const SENTINEL_PORT = 26_379;

/**
 * The client's own timeout of a command rejects answers that have arrived: after a pause of this process (no processor
 * time, a long computation) timers fire before sockets are read, and every waiting read of the process would fail at
 * once. This one lets the sockets be read first.
 */
Command.prototype.setTimeout = function rejectUnanswered(this: Command, ms: number): void {
  const timed = this as unknown as { _commandTimeoutTimer?: NodeJS.Timeout };
  timed._commandTimeoutTimer ??= setTimeout(() => {
    setImmediate(() => {
      if (!this.isSettled) this.reject(new Error("Command timed out"));
    });
  }, ms);
};

const retryDelayMs = (attempt: number): number => Math.min(50 * attempt, RECONNECT_MAX_MS);

const common = {
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
  enableAutoPipelining: false,
  // How long the process waits for a connection that is already closed.
  disconnectTimeout: 100,
  retryStrategy: retryDelayMs,
  // A server that is loading its data is asked again soon, not at the time that it estimates.
  maxLoadingRetryTime: 100,
  // A server has become a replica: the next command gets a connection to the new primary. The rejected command is the
  // caller's.
  reconnectOnError: (error) => error.message.startsWith("READONLY"),
} satisfies RedisOptions;

/**
 * Opens a connection.
 * @param blocking for reads that wait, less than the timeout each: the caller uses the connection alone, and closes it
 *   on any error
 * @throws EngineError `bad_input` when a Sentinel address cannot be read
 */
export function connect(address: RedisAddress, blocking = false): RedisClient {
  const { url, timeoutMs = COMMAND_TIMEOUT_MS } = address;
  const options = {
    ...common,
    connectTimeout: timeoutMs,
    commandTimeout: timeoutMs,
    // A network that loses all packets closes no connection: without `socketTimeout`, every later command would wait
    // on the same dead connection. A reader must not reconnect by itself: another server may lack entries that it has
    // read.
    ...(blocking ? { retryStrategy: () => null } : { socketTimeout: timeoutMs }),
  } satisfies RedisOptions;
  const urls = url.split(",").map((each) => each.trim());
  const client = url.startsWith(SENTINEL_SCHEME)
    ? new Redis({
        ...options,
        ...sentinelsOf(url),
        sentinelCommandTimeout: timeoutMs,
        sentinelRetryStrategy: retryDelayMs,
        // A frozen primary does not close its connections, and Sentinels publish its successor long before the timeout.
        failoverDetector: !blocking,
      })
    : address.cluster === true || urls.length > 1
      ? openCluster(urls, options)
      : new Redis(url, options);
  // Errors reach the callers of commands; without a listener a broken connection would end the process.
  client.on("error", () => {});
  if (client instanceof Redis) joinWrites(client);
  return client;
}

/**
 * Joins the commands of one turn of the event loop into one write: each write is a system call and wakes the server.
 */
function joinWrites(client: Redis): void {
  client.on("connect", () => {
    // The client's socket, new with every connection; missing in its types.
    const { stream } = client as unknown as { stream: Writable };
    const write = stream.write.bind(stream) as (...args: unknown[]) => boolean;
    let isJoining = false;
    stream.write = ((...args: unknown[]) => {
      if (!isJoining) {
        isJoining = true;
        stream.cork();
        // After the commands of callers that have just got a reply.
        process.nextTick(() => {
          isJoining = false;
          stream.uncork();
        });
      }
      return write(...args);
    }) as Writable["write"];
  });
}

/**
 * Opens a connection for reads that wait, to the server that has a key now: when it breaks, or the key moves to another
 * server, its reads fail and the caller opens another.
 * @param client of the same address; it has the Cluster's slots
 * @throws EngineError `unavailable` when a Cluster has no primary for the key
 */
export async function openReader(client: RedisClient, address: RedisAddress, key: string): Promise<Redis> {
  if (!(client instanceof Cluster)) return connect({ timeoutMs: READER_TIMEOUT_MS, ...address }, true) as Redis;
  const slot = Number(await client.cluster("KEYSLOT", key));
  const [primary] = client.slots[slot] ?? [];
  const node = client.nodes("master").find(({ options }) => `${options.host}:${options.port}` === primary);
  if (!node) {
    const detail = { op: "redis.read", code: "unavailable", retryable: true, place: key };
    throw new EngineError(`the Redis Cluster has no primary for ${key} at the moment`, detail);
  }
  const reader = node.duplicate({
    retryStrategy: () => null,
    commandTimeout: READER_TIMEOUT_MS,
    socketTimeout: undefined,
  });
  reader.on("error", () => {});
  return reader;
}

type Options = Omit<RedisOptions, "protocol" | "replyMapping">;

function openCluster(urls: string[], redisOptions: Options): Cluster {
  const cluster = new Cluster(urls, {
    // Nodes that the Cluster names itself get the user, password and TLS of the first address.
    redisOptions: { ...redisOptions, ...accessOf(urls[0] as string) },
    clusterRetryStrategy: retryDelayMs,
    // Otherwise a command whose connection broke would be sent again, done or not. Redirections (MOVED, ASK, TRYAGAIN,
    // CLUSTERDOWN) are still followed: the node has done nothing.
    retryDelayOnFailover: 0,
    slotsRefreshTimeout: SLOTS_TIMEOUT_MS,
    slotsRefreshInterval: SLOTS_REFRESH_MS,
  });
  cluster.on("+node", (node: Redis) => {
    joinWrites(node);
    // The client sends ASKING before a command whose slot is moving to this node, and does not await the reply: if the
    // node is removed at that moment, the unhandled rejection would end the process.
    const asking = node.asking.bind(node) as () => Promise<"OK">;
    node.asking = (() => asking().catch(() => {})) as typeof node.asking;
  });
  // Commands that wait for an unreachable Cluster fail at every reconnection attempt, as on a single Redis.
  const waiting = cluster as unknown as { flushQueue(error: Error): void };
  cluster.on("close", () => waiting.flushQueue(new Error("None of startup nodes is available")));
  return cluster;
}

/** User, password and TLS of a node's address. */
function accessOf(url: string): Options {
  if (!/^rediss?:/.test(url)) return {};
  const { protocol, username, password } = new URL(url);
  return {
    ...(username === "" ? {} : { username: decodeURIComponent(username) }),
    ...(password === "" ? {} : { password: decodeURIComponent(password) }),
    ...(protocol === "rediss:" ? { tls: {} } : {}),
  };
}

/** How an address of Sentinels begins. */
export const SENTINEL_SCHEME = "redis+sentinel://";

function sentinelsOf(url: string): Options {
  const [, user, password, hosts, name] =
    /^redis\+sentinel:\/\/(?:([^:@/]*)(?::([^@/]*))?@)?([^@/]+)\/([^/]+)$/.exec(url) ?? [];
  if (hosts === undefined || name === undefined) {
    throw badInput("redis.connect", "--redis-url", "expected redis+sentinel://host:port,host:port/name");
  }
  return {
    sentinels: hosts.split(",").map((each) => {
      const [, host, port] = /^(.*?)(?::(\d+))?$/.exec(each.trim()) as unknown as [string, string, string | undefined];
      return { host, port: port === undefined ? SENTINEL_PORT : Number(port) };
    }),
    name: decodeURIComponent(name),
    ...(user ? { username: decodeURIComponent(user) } : {}),
    ...(password ? { password: decodeURIComponent(password) } : {}),
  };
}

/**
 * Checks that a Redis is configured to keep all data.
 * @param warn reports settings that are allowed but risky
 * @throws EngineError `redis_unreachable`, or `redis_evicts` when it would delete balances as it fills up
 */
export async function checkRedis(
  client: RedisClient,
  address: RedisAddress,
  warn: (message: string) => void,
): Promise<void> {
  const place = address.url.replace(/\/\/[^@/]*@/g, "//");
  try {
    await client.ping();
  } catch (cause) {
    const detail = { op: "redis.check", code: "redis_unreachable", retryable: true, place };
    throw new EngineError(`the Redis at ${place} cannot be reached`, detail, { cause });
  }
  let keepsAll = true;
  for (const node of primaries(client)) {
    // A managed Redis may reject CONFIG; then its operator has to check.
    const settings = (await node.call("CONFIG", "GET", "maxmemory-policy", "appendonly").catch(() => [])) as string[];
    const setting = (name: string) => settings[settings.indexOf(name) + 1];
    if (settings.includes("maxmemory-policy") && setting("maxmemory-policy") !== "noeviction") {
      throw new EngineError(
        `the Redis at ${place} has maxmemory-policy ${setting("maxmemory-policy")}: it would delete balances; set noeviction`,
        { op: "redis.check", code: "redis_evicts", retryable: false, input: place },
      );
    }
    keepsAll &&= !settings.includes("appendonly") || setting("appendonly") !== "no";
  }
  if (!keepsAll) warn(`the Redis at ${place} has appendonly no: its data is lost when it stops`);
}

/** A server's address, for another program that connects to it. */
export interface NodeAddress {
  socketPath: string | undefined;
  host: string | undefined;
  port: number | undefined;
  username: string | undefined;
  password: string | undefined;
  tls: boolean;
}

/** The address of a server that the client is connected to. */
export function nodeAddress({ options, stream }: Redis): NodeAddress {
  const { path, sentinels, username, password, tls } = options;
  // The address of a server that Sentinels have named is that of its connection.
  const { remoteAddress, remotePort } = stream as Socket;
  return {
    socketPath: path,
    host: sentinels ? remoteAddress : options.host,
    port: sentinels ? remotePort : options.port,
    username,
    password: password ?? undefined,
    tls: tls !== undefined,
  };
}

/** Every primary: all of a Cluster's, once it has answered a command, or the one Redis. */
export const primaries = (client: RedisClient): Redis[] =>
  client instanceof Cluster ? client.nodes("master") : [client];

/**
 * The same for a client that may be new or disconnected: before a Cluster has answered, `primaries` returns every
 * address given, and after its last node has been removed, none.
 * @throws the client's error when no server can be reached
 */
export async function knownPrimaries(client: RedisClient): Promise<Redis[]> {
  await client.ping();
  return primaries(client);
}
