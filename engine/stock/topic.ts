/**
 * The stock log as a topic of the runtime: how its entries are decoded, and what a tick does in a partition without
 * commands.
 */
import type { Topic } from "../stream/topic.js";
import type { Ledger } from "./ledger.js";
import { entryTimeMs, eventsOf } from "./log-entry.js";
import { type StockEvent, SWEEP_LIMIT } from "./model.js";

/** Most sweeps in one tick; the rest of a larger backlog waits for the next tick. */
const SWEEPS_OF_A_TICK = 20;

export const stockTopic = (ledger: Ledger): Topic<StockEvent> => ({
  name: "stock",
  keyName: "sku",
  partitions: ledger.partitions,
  decode: eventsOf,
  timeOf: entryTimeMs,
  async tick(partition) {
    for (let sweep = 0; sweep < SWEEPS_OF_A_TICK; sweep++) {
      const { expired } = await ledger.tick(partition);
      if (expired < SWEEP_LIMIT) return;
    }
  },
});
