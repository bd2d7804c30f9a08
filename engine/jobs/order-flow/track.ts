/**
 * The steps and exceptions of one order, read from the order-flow job's state in Redis, some milliseconds after they
 * were recorded.
 */
import { newFlow, type OrderFlow } from "../../orders/flow.js";
import { partitionKeys } from "../../stream/keys.js";
import { decodeState } from "../../stream/pack.js";
import { partitionOf } from "../../stream/partition.js";
import { readFields } from "../../stream/reads.js";
import type { RedisClient } from "../../stream/redis.js";
import { ORDER_FLOW_JOB } from "./job.js";

export class OrderTracker {
  readonly #redis: RedisClient;
  readonly #prefix: string;
  readonly #partitions: number;

  constructor(redis: RedisClient, prefix: string, partitions: number) {
    this.#redis = redis;
    this.#prefix = prefix;
    this.#partitions = partitions;
  }

  /** Without steps when the order has not been paid, is not known, or has been over for a day. */
  async track(id: string): Promise<OrderFlow> {
    const keys = partitionKeys(this.#prefix, "orders", partitionOf(id, this.#partitions));
    const [bytes] = await readFields(this.#redis, keys.state(ORDER_FLOW_JOB), [id]);
    return bytes ? (decodeState(bytes) as OrderFlow) : newFlow();
  }
}
