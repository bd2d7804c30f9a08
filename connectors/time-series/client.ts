/**
 * The connection to a Redis with time series, and the few of its commands that are used. It is a connection of its own,
 * by the client library that has these commands. No command waits without limit: while the server is away it fails at
 * once, and otherwise after a time. RESP 2 is used always: with RESP 3 older modules answer in another shape.
 */
import { createClient, createCluster } from "@redis/client";
import timeSeries from "@redis/time-series";
import { within } from "../../engine/kernel/clock.js";
import { badInput, EngineError, messageOf } from "../../engine/kernel/errors.js";
import type { OnTrouble } from "../../engine/kernel/logger.js";

export interface Sample {
  readonly key: string;
  readonly timestamp: number;
  readonly value: number;
}

/** What is used of a Redis with time series. */
export interface TimeSeriesClient {
  /** Makes a series; does nothing when it exists. */
  create(key: string, retentionMs: number): Promise<void>;
  /** For each sample undefined, or what is wrong with it. All keys are in one slot. */
  add(samples: readonly Sample[]): Promise<(string | undefined)[]>;
  /** Samples from an instant to another, both included; none of a series that does not exist. */
  range(key: string, fromMs: number, toMs: number): Promise<Pick<Sample, "timestamp" | "value">[]>;
  /** The newest of them. */
  last(key: string, fromMs: number, toMs: number): Promise<Pick<Sample, "timestamp" | "value"> | undefined>;
  /** Removes them; does nothing to a series that does not exist. */
  remove(key: string, fromMs: number, toMs: number): Promise<void>;
  close(): void;
}

const COMMAND_MS = 10_000;
const RECONNECT_MAX_MS = 1_000;
/** The smallest that holds some hours of a busy series: every series takes one such block at least. */
const CHUNK_BYTES = 256;
const MISSING = /does not exist/;
const EXISTS = /already exists/;

/** The package is CommonJS: its default export is the module, or, as a bundler reads it, the commands themselves. */
const { default: commands = timeSeries as never } = timeSeries;
const modules = { ts: commands };

/**
 * Connects. @param url as `--redis-url`: a server, nodes of a Cluster with commas between, or the path of a socket
 * @throws EngineError `bad_input` for Sentinels, `redis_unreachable`
 */
export async function openTimeSeries({
  url,
  onTrouble,
}: {
  url: string;
  onTrouble: OnTrouble;
}): Promise<TimeSeriesClient> {
  if (url.startsWith("redis+sentinel:"))
    throw badInput("time-series.connect", "--history", "time series are not used through Sentinels; choose redis");
  const urls = url.split(",").map((each) => each.trim());
  const socket = { connectTimeout: COMMAND_MS, reconnectStrategy: (tries: number) => Math.min(50 * tries, RECONNECT_MAX_MS) }; // biome-ignore format: one line
  const common = { RESP: 2 as const, modules, disableOfflineQueue: true };
  const client =
    urls.length > 1
      ? createCluster({ ...common, rootNodes: urls.map((each) => ({ url: each })), defaults: { socket } })
      : createClient({
          ...common,
          ...(/^rediss?:/.test(url) ? { url, socket } : { socket: { ...socket, path: url } }),
        });
  let isReported = false;
  client.on("error", (thrown: unknown) => {
    if (!isReported) onTrouble(`the connection for time series: ${messageOf(thrown)}`, {});
    isReported = true;
  });
  client.on("ready", () => {
    isReported = false;
  });
  try {
    await answer<unknown>("time-series.connect", client.connect());
  } catch (cause) {
    client.destroy();
    const detail = { op: "time-series.connect", code: "redis_unreachable", retryable: true };
    throw new EngineError("the Redis cannot be reached for its time series", detail, { cause });
  }
  return commandsOf(client.ts, () => client.destroy());
}

type Commands = ReturnType<typeof createClient<typeof modules, Record<string, never>, Record<string, never>, 2>>["ts"];

function commandsOf(given: unknown, close: () => void): TimeSeriesClient {
  // Of a client and of a Cluster's the same.
  const ts = given as Commands;
  const samplesOf = (reply: { timestamp: unknown; value: unknown }[]) =>
    reply.map(({ timestamp, value }) => ({ timestamp: Number(timestamp), value: Number(value) }));
  return {
    close,
    async create(key, retentionMs) {
      const options = { RETENTION: retentionMs, CHUNK_SIZE: CHUNK_BYTES, DUPLICATE_POLICY: "LAST" as const };
      await unless(EXISTS, undefined, answer("time-series.create", ts.create(key, options)));
    },
    async add(samples) {
      const replies = await answer("time-series.add", ts.mAdd([...samples]));
      return (replies as unknown[]).map((reply) => (reply instanceof Error ? reply.message : undefined));
    },
    range: async (key, fromMs, toMs) =>
      samplesOf(await unless(MISSING, [], answer("time-series.range", ts.range(key, fromMs, toMs)))),
    async last(key, fromMs, toMs) {
      const read = answer("time-series.range", ts.revRange(key, fromMs, toMs, { COUNT: 1 }));
      return samplesOf(await unless(MISSING, [], read))[0];
    },
    async remove(key, fromMs, toMs) {
      await unless(MISSING, undefined, answer("time-series.remove", ts.del(key, fromMs, toMs)));
    },
  };
}

/** Another result for a command that is rejected with this message. */
async function unless<Reply, Other>(message: RegExp, other: Other, call: Promise<Reply>): Promise<Reply | Other> {
  try {
    return await call;
  } catch (thrown) {
    if (message.test(messageOf((thrown as { cause?: unknown }).cause ?? thrown))) return other;
    throw thrown;
  }
}

/** @throws EngineError `unavailable`, also when there is no answer in time */
async function answer<Reply>(op: string, call: Promise<Reply>): Promise<Reply> {
  try {
    return await within(call, COMMAND_MS, () => new Error(`no answer within ${COMMAND_MS / 1_000} s`));
  } catch (cause) {
    const detail = { op, code: "unavailable", retryable: true };
    throw new EngineError(`${op}: ${messageOf(cause)}`, detail, { cause });
  }
}
