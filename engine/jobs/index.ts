/**
 * The jobs of each log, in the order in which they process an event. A new job is a folder here and an entry in a list.
 */
import type { Zone } from "../kernel/zone.js";
import type { Deadlines } from "../orders/flow.js";
import type { OrderEvent } from "../orders/model.js";
import type { StockEvent } from "../stock/model.js";
import type { AnyJob } from "../stream/job.js";
import { depletionJob } from "./depletion/job.js";
import { orderFlowJob } from "./order-flow/job.js";
import { storefrontJob } from "./storefront/job.js";

export const stockJobs = (zone: Zone): readonly AnyJob<StockEvent>[] => [depletionJob(zone), storefrontJob];

/** @param deadlines as they are now */
export const orderJobs = (deadlines: () => Deadlines): readonly AnyJob<OrderEvent>[] => [orderFlowJob(deadlines)];
