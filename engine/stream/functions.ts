/**
 * Function libraries in Redis: loading them on every primary, and calling their functions. A call that is rejected
 * because its library is missing (a new primary, a server that lost its data) is made again after the libraries have
 * been loaded. Any other error is the caller's: nothing is sent again that may have been done.
 */
import { readFileSync } from "node:fs";
import { EngineError, messageOf } from "../kernel/errors.js";
import { type Library, libraryOf } from "./library.js";
import { knownPrimaries, type RedisClient, type RedisNode } from "./redis.js";

/** Oldest Redis with functions and everything used here. */
const OLDEST_MAJOR = 7;

/** Libraries that this process has loaded, by name without version: each primary that lacks them gets them. */
const libraries = new Map<string, Library>();
/** Functions of these libraries: the name in Redis by the name in the code. */
const functions = new Map<string, string>();

/** Names of the libraries that this process calls, versions included. */
export const librariesInUse = (): string[] => [...libraries.values()].map(({ name }) => name);

/** Loads a function library on every primary that lacks it. Other versions of the library stay. */
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
    await ensureLoaded(node, library);
  }
  libraries.set(library.plainName, library);
}

/** Loads a library on a primary that lacks it, and records the names of its functions. */
async function ensureLoaded(node: RedisNode, { name, code, suffix }: Library): Promise<void> {
  let found = await functionsOf(node, name);
  if (found.length === 0) {
    // Another process may load it at the same moment: the same name means the same code.
    await node.call("FUNCTION", "LOAD", "REPLACE", code);
    found = await functionsOf(node, name);
  }
  for (const versioned of found) functions.set(versioned.slice(0, -suffix.length), versioned);
}

async function functionsOf(node: RedisNode, library: string): Promise<string[]> {
  const [fields = []] = (await node.call("FUNCTION", "LIST", "LIBRARYNAME", library)) as unknown[][];
  const listed = (fields[fields.indexOf("functions") + 1] ?? []) as string[][];
  return listed.map((each) => each[each.indexOf("name") + 1] as string);
}

/** The name in Redis of a function of a library that this process has loaded. */
export const functionName = (name: string): string => functions.get(name) ?? name;

const restoring = new WeakMap<RedisClient, Promise<void>>();

/** Loads this process's libraries wherever they are missing; once for all callers at the same time. */
function restoreLibraries(client: RedisClient): Promise<void> {
  const current = restoring.get(client);
  if (current) return current;
  const own = (async () => {
    for (const node of await knownPrimaries(client))
      for (const library of libraries.values()) await ensureLoaded(node, library);
  })().finally(() => restoring.delete(client));
  restoring.set(client, own);
  return own;
}

export type FunctionArgument = string | number | Buffer;

/** The client's calls with lists, which it flattens; spreading them here would overflow the stack at about 100,000. */
interface FunctionCalls {
  fcall(name: string, keyCount: number, keys: string[], args: FunctionArgument[]): Promise<unknown>;
  fcallBuffer(name: string, keyCount: number, keys: string[], args: FunctionArgument[]): Promise<unknown>;
}

/** Calls a function of a library; texts in the reply are strings. All keys are of one partition. */
export const callFunction = (
  client: RedisClient,
  name: string,
  keys: string[],
  args: FunctionArgument[],
): Promise<unknown> =>
  withLibraries(client, () => (client as unknown as FunctionCalls).fcall(functionName(name), keys.length, keys, args));

/** The same; texts in the reply are buffers. */
export const callFunctionBuffer = (
  client: RedisClient,
  name: string,
  keys: string[],
  args: FunctionArgument[],
): Promise<unknown> =>
  withLibraries(client, () =>
    (client as unknown as FunctionCalls).fcallBuffer(functionName(name), keys.length, keys, args),
  );

/** Makes a call, and makes it again after loading the libraries when the server lacks the function. */
export async function withLibraries<Reply>(client: RedisClient, call: () => Promise<Reply>): Promise<Reply> {
  try {
    return await call();
  } catch (thrown) {
    if (!messageOf(thrown).includes("Function not found") || libraries.size === 0) throw thrown;
    await restoreLibraries(client);
    return call();
  }
}
