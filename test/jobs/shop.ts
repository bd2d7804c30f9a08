/**
 * A shop's log without a ledger: stock events, appended one by one, go through one job as the runtime would run it,
 * with a commit after each and, when asked for, a restart from what was committed. What came out is kept for the test
 * to read.
 */

import type { StockEvent } from "../../engine/stock/model.js";
import { BatchProcessor } from "../../engine/stream/batch-processor.js";
import type { Emit, Job } from "../../engine/stream/job.js";
import { decodeOut } from "../../engine/stream/out-record.js";
import { stateOf } from "../../engine/stream/state-codec.js";

export type ShopEvent = Partial<StockEvent> & { clockMs: number };

export class Shop<State> {
  readonly emits: Emit[] = [];
  /** Views in the order in which they were published. */
  readonly views: [key: string, view: unknown][] = [];
  readonly #job: Job<StockEvent, State>;
  readonly #states = new Map<string, Buffer>();
  readonly #timers = new Map<string, number>();
  readonly #events: ShopEvent[] = [];
  #cursors = new Map<string, number>();
  #watermarkMs = 0;
  #processor: BatchProcessor<StockEvent>;

  constructor(job: Job<StockEvent, State>) {
    this.#job = job;
    this.#processor = this.#newProcessor();
  }

  /** Appends events; the default moves one unit of SKU `cup` at `SH` from sellable to reserved. */
  async append(...events: ShopEvent[]): Promise<void> {
    for (const event of events) {
      this.#events.push(event);
      await this.#process({ offset: this.#events.length, fields: [] });
    }
  }

  /** Advances the log's clock without an event. */
  tick(clockMs: number): Promise<void> {
    return this.append({ clockMs, sku: "" });
  }

  /** Starts again from what has been committed. */
  restart(): void {
    this.#processor = this.#newProcessor();
  }

  state(key: string): State | undefined {
    const bytes = this.#states.get(key);
    return bytes && stateOf(this.#job, key, bytes);
  }

  get timers(): ReadonlyMap<string, number> {
    return this.#timers;
  }

  get late(): number {
    return this.#processor.counts.late[0] ?? 0;
  }

  async #process(entry: { offset: number; fields: Buffer[] }): Promise<void> {
    const body = await this.#processor.process([entry], 0);
    for (const { set, tombstones } of body.states) {
      for (const [key, state] of set) this.#states.set(key, state);
      for (const key of tombstones) this.#states.delete(key);
    }
    for (const [atMs, member] of body.timersSet) this.#timers.set(member, atMs);
    for (const member of body.timersRemoved) this.#timers.delete(member);
    this.#cursors = new Map(body.cursors);
    this.#watermarkMs = body.watermarkMs;
    if (body.out) {
      const { emits, views } = decodeOut(body.out);
      this.emits.push(...emits);
      this.views.push(...views.map(([, key, view]): [string, unknown] => [key, view]));
    }
    this.#processor.committed();
  }

  #newProcessor(): BatchProcessor<StockEvent> {
    return new BatchProcessor<StockEvent>({
      topic: {
        name: "stock",
        partitions: 1,
        timeOf: () => 0,
        decode: ({ offset }) => {
          const event = this.#events[offset - 1] as ShopEvent;
          if (event.sku === "") return { clockMs: event.clockMs, events: [] };
          return { clockMs: event.clockMs, events: [{ ...DEFAULTS, atMs: event.clockMs, ...event, offset, index: 0 }] };
        },
      },
      jobs: [this.#job],
      cursors: this.#cursors,
      watermarkMs: this.#watermarkMs,
      timers: [...this.#timers],
      loadStates: async (_, keys) => keys.map((key) => this.#states.get(key) ?? null),
      withViews: true,
    });
  }
}

const DEFAULTS = {
  type: "StockReserved",
  id: "id",
  sku: "cup",
  location: "SH",
  units: 1,
  from: "sellable",
  to: "reserved",
} as const;
