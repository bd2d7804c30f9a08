/**
 * The orders' log as a topic of the stream runtime: how its entries are decoded, and how its timers fire without
 * traffic.
 */
import type { Topic } from "../stream/topic.js";
import { onlyEvent, orderEventsOf, timeOf } from "./log-entry.js";
import type { OrderEvent } from "./model.js";
import type { OrderStore } from "./order-store.js";

/** @param onErasuresDue called about once a second for a partition while personal data in it is due to be erased */
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
