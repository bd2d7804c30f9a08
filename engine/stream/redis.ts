/**
 * Connections to one Redis or a Redis Cluster, and the loading of function libraries. A connection that writes never resends by
 * itself after a break (a resend could append twice): the caller sees the error and repeats with the same ids. One that has fallen
 * silent is given up after a while, and the next command has a new one. A blocking read has a connection of its own, once. Says nothing
 * about how a Redis is installed or started.
 */
import { readFileSync } from "node:fs";
import { Cluster, Redis, type RedisOptions } from "ioredis";
import { EngineError } from "../kernel/errors.js";

export type RedisClient = Redis | Cluster;

export interface RedisAddress {
  /** `redis://…`, `rediss://…`, several of them with commas for a Cluster's nodes, or the path of a unix socket. */
  url: string;
  cluster?: boolean;
  /** How long a command may go without an answer; 10 s when left out. */
  timeoutMs?: number;
}

const COMMAND_TIMEOUT_MS = 10_000;
const RECONNECT_MAX_MS = 1_000;
/** Oldest Redis with functions and everything used here. */
const OLDEST_MAJOR = 7;

const common = {
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
  enableAutoPipelining: false,
  // A connection that is closed already is waited for as long as this, and the process with it.
  disconnectTimeout: 100,
  retryStrategy: (attempt: number) => Math.min(50 * attempt, RECONNECT_MAX_MS),
} satisfies RedisOptions;

/**
 * Opens a connection.
 * @param blocking for reads that wait, less than the timeout each: the connection is nobody else's, and its owner drops it on any error
 */
export function connect(address: RedisAddress, blocking = false): RedisClient {
  const { timeoutMs = COMMAND_TIMEOUT_MS } = address;
  const options = {
    ...common,
    commandTimeout: timeoutMs,
    // A network that loses everything closes nothing: without this, every later command would wait on the same dead connection.
    // A reader that has lost its server must not go on at another's without its owner knowing: what it has read may be gone there.
    ...(blocking ? { retryStrategy: () => null } : { socketTimeout: timeoutMs }),
  } satisfies RedisOptions;
  const urls = address.url.split(",").map((url) => url.trim());
  const client =
    address.cluster === true || urls.length > 1
      ? new Cluster(urls, {
          redisOptions: options,
          clusterRetryStrategy: (attempt) => Math.min(50 * attempt, RECONNECT_MAX_MS),
        })
      : new Redis(urls[0] ?? "", options);
  // Errors reach whoever waits for a command; without a listener a broken connection would end the process.
  client.on("error", () => {});
  return client;
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
  for (const node of primaries(client)) {
    // A managed Redis may refuse to tell; then its operator has to know.
    const told = (await node.call("CONFIG", "GET", "maxmemory-policy", "appendonly").catch(() => [])) as string[];
    const setting = (name: string) => told[told.indexOf(name) + 1];
    if (told.includes("maxmemory-policy") && setting("maxmemory-policy") !== "noeviction") {
      throw new EngineError(
        `the Redis at ${place} has maxmemory-policy ${setting("maxmemory-policy")}: it would throw away balances; set noeviction`,
        { op: "redis.check", code: "redis_evicts", retryable: false, place },
      );
    }
    if (setting("appendonly") === "no" && told.includes("appendonly")) {
      warn(`the Redis at ${place} has appendonly no: what it holds is gone when it stops`);
    }
  }
}

/** Every primary that holds data: all of a Cluster's, or the one Redis. */
export const primaries = (client: RedisClient): Redis[] =>
  client instanceof Cluster ? client.nodes("master") : [client];

/** Loads a function library on every primary, unless exactly this one is there. */
export async function loadLibrary(client: RedisClient, file: URL): Promise<void> {
  const code = readFileSync(file, "utf8");
  const name = /^#!lua name=(\w+)/.exec(code)?.[1];
  if (!name)
    throw new EngineError(`${file.pathname}: has no "#!lua name=" line`, {
      op: "redis.load",
      code: "bad_library",
      retryable: false,
    });
  for (const node of primaries(client)) {
    const version = Number(/redis_version:(\d+)/.exec(await node.info("server"))?.[1] ?? 0);
    if (version < OLDEST_MAJOR) {
      throw new EngineError(`Redis ${version} is too old: functions need Redis ${OLDEST_MAJOR} or newer`, {
        op: "redis.load",
        code: "redis_too_old",
        retryable: false,
      });
    }
    const found = (await node.call("FUNCTION", "LIST", "LIBRARYNAME", name, "WITHCODE")) as unknown[][];
    const fields = found[0] ?? [];
    if (fields[fields.indexOf("library_code") + 1] !== code) await node.call("FUNCTION", "LOAD", "REPLACE", code);
  }
}

type Argument = string | number | Buffer;

/** The calls as they are: lists are flattened by the client, and never spread here, for a stack holds some 100,000 arguments only. */
interface FunctionCalls {
  fcall(name: string, keyCount: number, keys: string[], args: Argument[]): Promise<unknown>;
  fcallBuffer(name: string, keyCount: number, keys: string[], args: Argument[]): Promise<unknown>;
}

/** Calls a function of a library; texts in the reply are strings. All keys are of one partition. */
export const callFunction = (client: RedisClient, name: string, keys: string[], args: Argument[]): Promise<unknown> =>
  (client as unknown as FunctionCalls).fcall(name, keys.length, keys, args);

/** The same; texts in the reply are the bytes as they came. */
export const callFunctionBuffer = (
  client: RedisClient,
  name: string,
  keys: string[],
  args: Argument[],
): Promise<unknown> => (client as unknown as FunctionCalls).fcallBuffer(name, keys.length, keys, args);

/** What the client library calls its troubles, and what they mean. */
const PLAIN_WORDS: readonly [pattern: RegExp, meaning: string][] = [
  [
    /Reached the max retries per request limit[^;]*|Connection is closed\.?|connect E[A-Z]+ \S+/g,
    "Redis cannot be reached",
  ],
  [/Command timed out/g, "Redis does not answer in time"],
  [/OOM command not allowed[^;]*/g, "Redis has no memory left (maxmemory)"],
];

/** A message with the client library's words replaced by ones that an operator understands. */
export const inPlainWords = (message: string): string =>
  PLAIN_WORDS.reduce((text, [pattern, meaning]) => text.replace(pattern, meaning), message);
