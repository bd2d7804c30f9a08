/**
 * The orders' log as a topic of the runtime: how its entries are read, and how its deadlines come without traffic.
 */
import type { Topic } from "../stream/topic.js";
import { onlyEvent, orderEventsOf, timeOf } from "./log-entry.js";
import type { OrderEvent } from "./model.js";
import type { OrderStore } from "./order-store.js";

/** @param onErasuresDue told of a partition where a buyer's text is to go now; about once a second until it has gone */
export const orderTopic = (orderStore: OrderStore, onErasuresDue?: (partition: number) => void): Topic<OrderEvent> => ({
  name: "orders",
  partitions: orderStore.partitions,
  keyName: "order",
  decode: orderEventsOf,
  only: onlyEvent,
  timeOf,
  async tick(partition) {
    if (await orderStore.tick(partition)) onErasuresDue?.(partition);
  },
});
