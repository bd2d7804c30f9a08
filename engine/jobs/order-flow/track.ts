/**
 * The steps and exceptions of one order, read from the order-flow job's state in Redis, some milliseconds after they
 * were recorded.
 */
import { newFlow, type OrderFlow } from "../../orders/flow.js";
import { partitionKeys } from "../../stream/keys.js";
import { partitionOf } from "../../stream/partition.js";
import { readFields } from "../../stream/reads.js";
import type { RedisClient } from "../../stream/redis.js";
import { stateOf } from "../../stream/state-codec.js";
import { ORDER_FLOW_JOB, ORDER_FLOW_STATE } from "./job.js";

export class OrderTracker {
  readonly #redis: RedisClient;
  readonly #prefix: string;
  readonly #partitions: number;

  constructor(redis: RedisClient, prefix: string, partitions: number) {
    this.#redis = redis;
    this.#prefix = prefix;
    this.#partitions = partitions;
  }

  /**
   * Without steps when the order has not been paid, is not known, or has been over for a day.
   * @throws EngineError `newer_version` when a newer release's jobs have written the state
   */
  async track(id: string): Promise<OrderFlow> {
    const keys = partitionKeys(this.#prefix, "orders", partitionOf(id, this.#partitions));
    const [bytes] = await readFields(this.#redis, keys.state(ORDER_FLOW_JOB), [id]);
    return bytes ? stateOf(ORDER_FLOW_STATE, id, bytes) : newFlow();
  }
}
