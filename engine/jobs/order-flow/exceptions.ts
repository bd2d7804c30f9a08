/**
 * The open exceptions of orders (R16), as any process reads them: a page at a time and the counts, from the index of
 * the order-flow job's states. It keeps only the counts of the last second in memory: a warehouse that stops causes an
 * exception for every order.
 */
import { stopwatch } from "../../kernel/clock.js";
import type { FlowException } from "../../orders/flow.js";
import type { OrderStep } from "../../orders/model.js";
import { JobIndex } from "../../stream/job-index.js";
import type { RedisClient } from "../../stream/redis.js";
import { NAME_SEPARATOR, ORDER_FLOW_JOB } from "./job.js";

export interface OrderException extends FlowException {
  order: string;
}

export interface ExceptionPage {
  exceptions: OrderException[];
  /** Where the next page begins; undefined after the last. */
  next: string | undefined;
}

export interface ExceptionCounts {
  counts: { step: OrderStep; kind: FlowException["kind"]; open: number }[];
  /** False while some are missing, because their partition is indexed anew after an older release has run it. */
  complete: boolean;
}

/** Callers within this time get the same counts. */
const COUNTS_KEPT_MS = 1_000;

function ofName(name: string): Pick<FlowException, "step" | "kind"> {
  const [step, kind] = name.split(NAME_SEPARATOR);
  return { step: step as OrderStep, kind: kind as FlowException["kind"] };
}

export class ExceptionList {
  readonly #index: JobIndex;
  #counts: { counts: Promise<ExceptionCounts>; ageMs(): number } | undefined;

  constructor(redis: RedisClient, prefix: string, partitions: number) {
    this.#index = new JobIndex(redis, prefix, "orders", partitions, ORDER_FLOW_JOB);
  }

  /**
   * So many, the oldest first.
   * @param after where the page before ended
   */
  async page(limit: number, after?: string): Promise<ExceptionPage> {
    const { entries, next } = await this.#index.page(limit, after);
    const exceptions = entries.map(({ name, key, score }) => ({ order: key, ...ofName(name), sinceMs: score }));
    return { exceptions, next };
  }

  /** How many are open, by step and kind; at most a second old. */
  counts(): Promise<ExceptionCounts> {
    if (this.#counts && this.#counts.ageMs() < COUNTS_KEPT_MS) return this.#counts.counts;
    const counts = this.#readCounts();
    const own = { counts, ageMs: stopwatch() };
    this.#counts = own;
    counts.catch(() => {
      if (this.#counts === own) this.#counts = undefined;
    });
    return counts;
  }

  async #readCounts(): Promise<ExceptionCounts> {
    const { counts, complete } = await this.#index.counts();
    return { counts: [...counts].map(([name, open]) => ({ ...ofName(name), open })), complete };
  }
}
