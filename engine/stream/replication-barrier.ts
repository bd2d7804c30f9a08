/**
 * Calls that return only when replicas have the write. Replication is asynchronous, and a primary that dies loses what
 * no replica has; this barrier returns a function's reply only when the given number of replicas has acknowledged
 * everything that it wrote. The call and WAIT are sent together on one connection, so both reach the same server. A
 * write that too few replicas have is not undone: the same command sent again finds it done, and waits again. Nothing
 * answered is lost with its primary when the number is that of all its replicas. With fewer a loss is only less likely:
 * Cluster and Sentinel may promote a replica that has not acknowledged.
 */
import { sleep } from "../kernel/clock.js";
import { EngineError } from "../kernel/errors.js";
import { functionName, withLibraries } from "./functions.js";
import type { RedisClient } from "./redis.js";

export interface ReplicationBarrierOptions {
  /**
   * Opens a connection of the barrier's own: one a partition, when first needed, because WAIT blocks the commands after
   * it.
   */
  open(): RedisClient;
  /** How many replicas have to acknowledge. */
  replicas: number;
}

/** A replica that is up to date acknowledges within a round trip; one that takes longer than this counts as lost. */
const WAIT_MS = 1_000;
const RETRY_AFTER_MS = 1_000;
/**
 * Rejected because the slot is elsewhere or moving; 40 attempts every 50 ms: moving a slot of a few thousand keys takes
 * that long.
 */
const REDIRECTION = /^(?:MOVED|ASK|TRYAGAIN|CLUSTERDOWN) /;
const REDIRECTED_TRIES = 40;
const REDIRECTED_PAUSE_MS = 50;

type Argument = string | number | Buffer;

/** The client's pipeline with lists, which it flattens. */
interface Pipeline {
  fcallBuffer(name: string, keyCount: number, keys: string[], args: Argument[]): Pipeline;
  wait(replicas: number, timeoutMs: number): Pipeline;
  exec(): Promise<[fault: Error | null, reply: unknown][]>;
}

export class ReplicationBarrier {
  readonly #options: ReplicationBarrierOptions;
  /** By the keys' hash tag. */
  readonly #connections = new Map<string, RedisClient>();

  constructor(options: ReplicationBarrierOptions) {
    this.#options = options;
  }

  /**
   * Calls a function that writes; texts in the reply are buffers. All keys are of one partition.
   * @throws EngineError `not_replicated` (retryable): the call has been done, but too few replicas have it
   */
  call(name: string, keys: string[], args: Argument[]): Promise<unknown> {
    const connection = this.#connectionFor(keys[0] as string);
    return withLibraries(connection, () => this.#call(connection, name, keys, args));
  }

  close(): void {
    for (const connection of this.#connections.values()) connection.disconnect();
    this.#connections.clear();
  }

  async #call(connection: RedisClient, name: string, keys: string[], args: Argument[]): Promise<unknown> {
    const { replicas } = this.#options;
    for (let tries = 1; ; tries++) {
      const pipeline = connection.pipeline() as unknown as Pipeline;
      const [called, waited] = await pipeline
        .fcallBuffer(functionName(name), keys.length, keys, args)
        .wait(replicas, WAIT_MS)
        .exec();
      const [fault, reply] = called as [Error | null, unknown];
      if (!fault) {
        const acknowledged = waited?.[0] ? 0 : Number(waited?.[1]);
        if (acknowledged >= replicas) return reply;
        throw notReplicated(keys[0] as string, acknowledged, replicas);
      }
      if (!REDIRECTION.test(fault.message) || tries === REDIRECTED_TRIES) throw fault;
      // The client does not redirect a pipeline. It redirects a single read, and records where the slot is now.
      await connection.exists(keys[0] as string);
      if (!fault.message.startsWith("MOVED")) await sleep(REDIRECTED_PAUSE_MS);
    }
  }

  #connectionFor(key: string): RedisClient {
    const tag = /\{.*?\}/.exec(key)?.[0] ?? key;
    let connection = this.#connections.get(tag);
    if (!connection) {
      connection = this.#options.open();
      this.#connections.set(tag, connection);
    }
    return connection;
  }
}

const notReplicated = (place: string, acknowledged: number, wanted: number): EngineError =>
  new EngineError(`${place}: ${acknowledged} of ${wanted} replicas have acknowledged the command in time`, {
    op: "replicas.call",
    code: "not_replicated",
    retryable: true,
    retryAfterMs: RETRY_AFTER_MS,
    input: place,
  });
