/**
 * Answers that outlive their primary. Replication lags a little behind what a primary has answered, and a primary
 * that dies takes along what no replica has; behind this gate a function's reply is given only when so many replicas
 * have acknowledged everything that it wrote. The call and the wait for replicas go out together on one connection:
 * so they reach the same server, and a successor that never saw the write cannot vouch for it. It does not take back
 * what too few replicas have: the same command sent again finds it done, and waits anew. Nothing answered is lost
 * with its primary when all of that primary's replicas are asked for. With fewer it is less likely, no more: Cluster
 * and Sentinel choose the successor by what they last heard of each, and that need not be one which has acknowledged.
 */
import { sleep } from "../kernel/clock.js";
import { EngineError } from "../kernel/errors.js";
import { functionName, withLibraries } from "./functions.js";
import type { RedisClient } from "./redis.js";

export interface ReplicationBarrierOptions {
  /**
   * Opens a connection of the gate's own: one a partition, when first needed, for waiting holds up whatever comes
   * after on it.
   */
  open(): RedisClient;
  /** How many replicas have to acknowledge. */
  replicas: number;
}

/** A replica in step acknowledges within a round trip; one that does not in this time is taken for lost. */
const WAIT_MS = 1_000;
const RETRY_AFTER_MS = 1_000;
/**
 * Refused because the slot is elsewhere or on its way; 40 tries of 50 ms: what a slot of a few thousand keys takes to
 * move.
 */
const REDIRECTION = /^(?:MOVED|ASK|TRYAGAIN|CLUSTERDOWN) /;
const REDIRECTED_TRIES = 40;
const REDIRECTED_PAUSE_MS = 50;

type Argument = string | number | Buffer;

/** As the client has them: lists are flattened by it. */
interface Pipeline {
  fcallBuffer(name: string, keyCount: number, keys: string[], args: Argument[]): Pipeline;
  wait(replicas: number, timeoutMs: number): Pipeline;
  exec(): Promise<[fault: Error | null, reply: unknown][]>;
}

export class ReplicationBarrier {
  readonly #options: ReplicationBarrierOptions;
  readonly #lanes = new Map<string, RedisClient>();

  constructor(options: ReplicationBarrierOptions) {
    this.#options = options;
  }

  /**
   * Calls a function that writes; texts in the reply are bytes. All keys are of one partition.
   * @throws EngineError `not_replicated` (retryable): the call has been done, but too few replicas have it
   */
  call(name: string, keys: string[], args: Argument[]): Promise<unknown> {
    const lane = this.#lane(keys[0] as string);
    return withLibraries(lane, () => this.#call(lane, name, keys, args));
  }

  close(): void {
    for (const lane of this.#lanes.values()) lane.disconnect();
    this.#lanes.clear();
  }

  async #call(lane: RedisClient, name: string, keys: string[], args: Argument[]): Promise<unknown> {
    const { replicas } = this.#options;
    for (let tries = 1; ; tries++) {
      const pipeline = lane.pipeline() as unknown as Pipeline;
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
      // A pipeline of two does not follow by itself. A single read does, and with it the client learns where the slot
      // is now.
      await lane.exists(keys[0] as string);
      if (!fault.message.startsWith("MOVED")) await sleep(REDIRECTED_PAUSE_MS);
    }
  }

  #lane(key: string): RedisClient {
    const tag = /\{.*?\}/.exec(key)?.[0] ?? key;
    let lane = this.#lanes.get(tag);
    if (!lane) {
      lane = this.#options.open();
      this.#lanes.set(tag, lane);
    }
    return lane;
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
