/**
 * Connections to one Redis, to a primary that Sentinels name, or to a Redis Cluster, and the loading of function
 * libraries. A connection that writes never resends by itself after a break (a resend could append twice): the caller
 * sees the error and repeats with the same ids. It follows what a server refuses without having done it (a slot that
 * has moved, a library that is missing). One that has fallen silent is given up after a while, and the next command
 * has a new one. A blocking read has a connection of its own. Says nothing about how a Redis is installed or started.
 */
import { readFileSync } from "node:fs";
import type { Socket } from "node:net";
import type { Writable } from "node:stream";
import { Cluster, Redis, type RedisOptions } from "ioredis";
import { badInput, EngineError, messageOf } from "../kernel/errors.js";
import { type Library, libraryOf } from "./library.js";

export type RedisClient = Redis | Cluster;

export interface RedisAddress {
  /**
   * `redis://…`, `rediss://…`, several of them with commas for a Cluster's nodes, `redis+sentinel://user:password@host:port,host:port/name` for
   * the primary that Sentinels know by a name, or the path of a unix socket. User and password are those of the Redis servers.
   */
  url: string;
  cluster?: boolean;
  /** How long a command may go without an answer; 10 s when left out. */
  timeoutMs?: number;
}

const COMMAND_TIMEOUT_MS = 10_000;
const RECONNECT_MAX_MS = 1_000;
/** Reads wait for half a second. A server that has frozen closes nothing, and another may have taken over from it. */
const READER_TIMEOUT_MS = 4_000;
/** A node that does not tell the Cluster's slots in this time is passed over. */
const SLOTS_TIMEOUT_MS = 1_000;
/**
 * A node that dies or refuses brings the change at once; one that froze says nothing, and is left when the others
 * have told of its successor.
 */
const SLOTS_REFRESH_MS = 2_000;
const SENTINEL_PORT = 26_379;
/** Oldest Redis with functions and everything used here. */
const OLDEST_MAJOR = 7;

const retryDelayMs = (attempt: number): number => Math.min(50 * attempt, RECONNECT_MAX_MS);

const common = {
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
  enableAutoPipelining: false,
  // A connection that is closed already is waited for as long as this, and the process with it.
  disconnectTimeout: 100,
  retryStrategy: retryDelayMs,
  // A server that reads its data from the disk is asked again soon, and not when it guesses that it will be ready.
  maxLoadingRetryTime: 100,
  // A server that has become a replica stays one: the next command has a connection to whoever is primary then. The
  // refused one is its caller's.
  reconnectOnError: (error) => error.message.startsWith("READONLY"),
} satisfies RedisOptions;

/**
 * Opens a connection.
 * @param blocking for reads that wait, less than the timeout each: the connection is nobody else's, and its owner
 *   drops it on any error
 * @throws EngineError `bad_input` when a Sentinel address cannot be read
 */
export function connect(address: RedisAddress, blocking = false): RedisClient {
  const { url, timeoutMs = COMMAND_TIMEOUT_MS } = address;
  const options = {
    ...common,
    connectTimeout: timeoutMs,
    commandTimeout: timeoutMs,
    // A network that loses everything closes nothing: without this, every later command would wait on the same dead
    // connection. A reader that has lost its server must not go on at another's without its owner knowing: what it
    // has read may be gone there.
    ...(blocking ? { retryStrategy: () => null } : { socketTimeout: timeoutMs }),
  } satisfies RedisOptions;
  const urls = url.split(",").map((each) => each.trim());
  const client = url.startsWith(SENTINEL_SCHEME)
    ? new Redis({
        ...options,
        ...sentinelsOf(url),
        sentinelCommandTimeout: timeoutMs,
        sentinelRetryStrategy: retryDelayMs,
        // A frozen primary closes nothing either, and Sentinels tell of its successor long before the timeout.
        failoverDetector: !blocking,
      })
    : address.cluster === true || urls.length > 1
      ? openCluster(urls, options)
      : new Redis(url, options);
  // Errors reach whoever waits for a command; without a listener a broken connection would end the process.
  client.on("error", () => {});
  if (client instanceof Redis) joinWrites(client);
  return client;
}

/** A write to a socket is a system call, and wakes the server: what is asked in one go goes out as one. */
function joinWrites(client: Redis): void {
  client.on("connect", () => {
    // The client's own, new with every connection; left out of its types.
    const { stream } = client as unknown as { stream: Writable };
    const write = stream.write.bind(stream) as (...args: unknown[]) => boolean;
    let isJoining = false;
    stream.write = ((...args: unknown[]) => {
      if (!isJoining) {
        isJoining = true;
        stream.cork();
        // After whatever is asked by those who have just been answered.
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
 * Opens a connection for reads that wait, to the one server that has a key now: when it breaks, or the key moves
 * away, its reads fail and its owner opens another.
 * @param client of the same address, which knows where a Cluster's keys are
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
    // Nodes that the Cluster names itself are spoken to as the first one given.
    redisOptions: { ...redisOptions, ...accessOf(urls[0] as string) },
    clusterRetryStrategy: retryDelayMs,
    // Otherwise a command whose connection broke would be sent again, done or not. What a node refuses undone still
    // is: MOVED, ASK, TRYAGAIN and CLUSTERDOWN.
    retryDelayOnFailover: 0,
    slotsRefreshTimeout: SLOTS_TIMEOUT_MS,
    slotsRefreshInterval: SLOTS_REFRESH_MS,
  });
  cluster.on("+node", (node: Redis) => {
    joinWrites(node);
    // Sent before a command whose slot is on its way to this node, and nobody waits for the answer: a node that is
    // let go at that moment would end the process.
    const asking = node.asking.bind(node) as () => Promise<"OK">;
    node.asking = (() => asking().catch(() => {})) as typeof node.asking;
  });
  // What waits for a Cluster that cannot be reached is told so at every try, as on a single Redis.
  const waiting = cluster as unknown as { flushQueue(error: Error): void };
  cluster.on("close", () => waiting.flushQueue(new Error("None of startup nodes is available")));
  return cluster;
}

/** What a node's address says beside host and port. */
function accessOf(url: string): Options {
  if (!/^rediss?:/.test(url)) return {};
  const { protocol, username, password } = new URL(url);
  return {
    ...(username === "" ? {} : { username: decodeURIComponent(username) }),
    ...(password === "" ? {} : { password: decodeURIComponent(password) }),
    ...(protocol === "rediss:" ? { tls: {} } : {}),
  };
}

const SENTINEL_SCHEME = "redis+sentinel://";

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
 * Looks whether a Redis may be trusted with stock.
 * @param warn told of what is allowed and unwise
 * @throws EngineError `redis_unreachable`, or `redis_evicts` when it would throw balances away as it fills up
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
    // A managed Redis may refuse to tell; then its operator has to know.
    const told = (await node.call("CONFIG", "GET", "maxmemory-policy", "appendonly").catch(() => [])) as string[];
    const setting = (name: string) => told[told.indexOf(name) + 1];
    if (told.includes("maxmemory-policy") && setting("maxmemory-policy") !== "noeviction") {
      throw new EngineError(
        `the Redis at ${place} has maxmemory-policy ${setting("maxmemory-policy")}: it would throw away balances; set noeviction`,
        { op: "redis.check", code: "redis_evicts", retryable: false, input: place },
      );
    }
    keepsAll &&= !told.includes("appendonly") || setting("appendonly") !== "no";
  }
  if (!keepsAll) warn(`the Redis at ${place} has appendonly no: what it holds is gone when it stops`);
}

/** Where a server is, for another program that is to speak with it. */
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
  // One that Sentinels have named is known by its connection only.
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

/** Every primary: all of a Cluster's, once it has answered something, or the one Redis. */
export const primaries = (client: RedisClient): Redis[] =>
  client instanceof Cluster ? client.nodes("master") : [client];

/**
 * The same of a client that may be new or have lost its server: before a Cluster has told who is who, every address
 * given counts as a primary, and after its last node has gone, none does.
 * @throws whatever the client says when nobody can be reached
 */
export async function knownPrimaries(client: RedisClient): Promise<Redis[]> {
  await client.ping();
  return primaries(client);
}

/**
 * Libraries that this process has loaded, by name without version: a primary that comes later, or has lost
 * everything, is given them.
 */
const libraries = new Map<string, Library>();
/** Functions of these libraries: the names that Redis knows by those in the code. */
const functions = new Map<string, string>();

/** Names of the libraries that this process calls, versions included. */
export const librariesInUse = (): string[] => [...libraries.values()].map(({ name }) => name);

/** Loads a function library on every primary, unless it is there. Libraries of other versions stay beside it. */
export async function loadLibrary(client: RedisClient, file: URL): Promise<void> {
  const library = libraryOf(readFileSync(file, "utf8"), file.pathname, file);
  for (const node of await knownPrimaries(client)) {
    const version = Number(/redis_version:(\d+)/.exec(await node.info("server"))?.[1] ?? 0);
    if (version < OLDEST_MAJOR) {
      throw new EngineError(`Redis ${version} is too old: functions need Redis ${OLDEST_MAJOR} or newer`, {
        op: "redis.load",
        code: "redis_too_old",
        retryable: false,
      });
    }
    await put(node, library);
  }
  libraries.set(library.plainName, library);
}

/** Sees to it that a primary has a library, and notes what its functions are called. */
async function put(node: Redis, { name, code, suffix }: Library): Promise<void> {
  let found = await functionsOf(node, name);
  if (found.length === 0) {
    // Somebody else may load it at the same moment: its name says that it is the same.
    await node.call("FUNCTION", "LOAD", "REPLACE", code);
    found = await functionsOf(node, name);
  }
  for (const known of found) functions.set(known.slice(0, -suffix.length), known);
}

async function functionsOf(node: Redis, library: string): Promise<string[]> {
  const [fields = []] = (await node.call("FUNCTION", "LIST", "LIBRARYNAME", library)) as unknown[][];
  const listed = (fields[fields.indexOf("functions") + 1] ?? []) as string[][];
  return listed.map((each) => each[each.indexOf("name") + 1] as string);
}

/** What Redis calls a function of a library that this process has loaded. */
export const functionName = (name: string): string => functions.get(name) ?? name;

const restoring = new WeakMap<RedisClient, Promise<void>>();

/** Loads this process's libraries wherever they are missing; once for all who ask at the same time. */
function restoreLibraries(client: RedisClient): Promise<void> {
  const underWay = restoring.get(client);
  if (underWay) return underWay;
  const own = (async () => {
    for (const node of await knownPrimaries(client)) for (const library of libraries.values()) await put(node, library);
  })().finally(() => restoring.delete(client));
  restoring.set(client, own);
  return own;
}

type Argument = string | number | Buffer;

/**
 * The calls as they are: lists are flattened by the client, and never spread here, for a stack holds some 100,000
 * arguments only.
 */
interface FunctionCalls {
  fcall(name: string, keyCount: number, keys: string[], args: Argument[]): Promise<unknown>;
  fcallBuffer(name: string, keyCount: number, keys: string[], args: Argument[]): Promise<unknown>;
}

/** Calls a function of a library; texts in the reply are strings. All keys are of one partition. */
export const callFunction = (client: RedisClient, name: string, keys: string[], args: Argument[]): Promise<unknown> =>
  withLibraries(client, () => (client as unknown as FunctionCalls).fcall(functionName(name), keys.length, keys, args));

/** The same; texts in the reply are the bytes as they came. */
export const callFunctionBuffer = (
  client: RedisClient,
  name: string,
  keys: string[],
  args: Argument[],
): Promise<unknown> =>
  withLibraries(client, () =>
    (client as unknown as FunctionCalls).fcallBuffer(functionName(name), keys.length, keys, args),
  );

/** Makes a call, and makes it again when the server has not done it for want of a library. */
export async function withLibraries<Reply>(client: RedisClient, call: () => Promise<Reply>): Promise<Reply> {
  try {
    return await call();
  } catch (thrown) {
    if (!messageOf(thrown).includes("Function not found") || libraries.size === 0) throw thrown;
    await restoreLibraries(client);
    return call();
  }
}

interface ListReads {
  hmgetBuffer(key: string, fields: readonly string[]): Promise<(Buffer | null)[]>;
}

/** Any number of a hash's fields, as the bytes that they are. */
export const readFields = (client: RedisClient, key: string, fields: readonly string[]): Promise<(Buffer | null)[]> =>
  (client as unknown as ListReads).hmgetBuffer(key, fields);

/** A read of `readTogether`; one whose name ends in `Buffer` gives the bytes as they came. */
export type ReadCommand =
  | [name: "hget" | "hgetBuffer" | "zscore", key: string, field: string]
  | [name: "hmget" | "hmgetBuffer", key: string, fields: readonly string[]];

interface ScriptCalls {
  evalBuffer(script: string, keyCount: number, keys: string[], args: Argument[]): Promise<unknown[]>;
}

const READ_TOGETHER = readFileSync(new URL("./read-together.lua", import.meta.url), "utf8");

/**
 * Reads that see one and the same moment, however much is written meanwhile, also when Redis is full. All keys are of
 * one partition; a command of several fields gives a list.
 */
export async function readTogether(client: RedisClient, commands: readonly ReadCommand[]): Promise<unknown[]> {
  const keys = [...new Set(commands.map(([, key]) => key))];
  const args: Argument[] = [];
  for (const [name, key, what] of commands) {
    const fields = typeof what === "string" ? [what] : what;
    args.push(name.replace("Buffer", ""), keys.indexOf(key) + 1, fields.length);
    // Not spread: a stack holds some 100,000 arguments only.
    for (const field of fields) args.push(field);
  }
  const replies = await (client as unknown as ScriptCalls).evalBuffer(READ_TOGETHER, keys.length, keys, args);
  const textOf = (bytes: unknown): unknown => (Buffer.isBuffer(bytes) ? bytes.toString("utf8") : bytes);
  return commands.map(([name], i) => {
    const reply = replies[i];
    if (name.endsWith("Buffer")) return reply;
    return Array.isArray(reply) ? reply.map(textOf) : textOf(reply);
  });
}

/** Whether a server has refused a call, undone, because it has no memory left. */
export const isOutOfMemory = (thrown: unknown): boolean => messageOf(thrown).startsWith("OOM ");

/** What the client library calls its troubles, and what they mean. */
const PLAIN_WORDS: readonly [pattern: RegExp, meaning: string][] = [
  [/Too many Cluster redirections\. Last error: (?:\w*Error: )?/g, ""],
  [
    /Reached the max retries per request limit[^;]*|Connection is closed\.?|connect E[A-Z]+ \S+|Socket timeout[^;]*/g,
    "Redis cannot be reached",
  ],
  [
    /None of startup nodes is available|Failed to refresh slots cache\.?|Cluster is ended\.?/g,
    "no node of the Redis Cluster can be reached",
  ],
  [/All sentinels are unreachable[^;]*/g, "no Sentinel can be reached"],
  [/Command timed out/g, "Redis does not answer in time"],
  [/OOM (?:command not allowed|allow-oom flag)[^;]*/g, "Redis has no memory left (maxmemory)"],
  [/CLUSTERDOWN [^;]*/g, "the Redis Cluster has no primary for this partition at the moment"],
  [/TRYAGAIN [^;]*/g, "the partition is moving to another node of the Redis Cluster"],
  [/MOVED \d+ \S+|ASK \d+ \S+/g, "the partition has moved to another node of the Redis Cluster"],
  [/LOADING [^;]*/g, "Redis is still reading its data from the disk"],
  [/MASTERDOWN [^;]*/g, "this Redis is a replica without its primary"],
  [/READONLY [^;]*|UNBLOCKED [^;]*/g, "this Redis has become a replica"],
  [/NOREPLICAS [^;]*/g, "Redis has too few replicas to take writes (min-replicas-to-write)"],
];

/** A message with the client library's words replaced by ones that an operator understands. */
export const explainRedisErrors = (message: string): string =>
  PLAIN_WORDS.reduce((text, [pattern, meaning]) => text.replace(pattern, meaning), message);
