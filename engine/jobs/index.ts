/**
 * The jobs of each log, in the order in which they process an event, and the settings of SKUs. A new job is a folder
 * here and an entry in a list; a setting that a job reads is defined beside it, and an entry in a list here.
 */
import type { Zone } from "../kernel/zone.js";
import type { Deadlines } from "../orders/flow.js";
import type { OrderEvent } from "../orders/model.js";
import type { StockEvent } from "../stock/model.js";
import { DISPLAY_COEFFICIENT, type SkuSetting, skuSettings } from "../stock/settings.js";
import type { AnyJob } from "../stream/job.js";
import { depletionJob } from "./depletion/job.js";
import { ALERT_FACTOR, ALERT_FLOOR_UNITS } from "./depletion/rule.js";
import { orderFlowJob } from "./order-flow/job.js";
import { storefrontJob } from "./storefront/job.js";

export const stockJobs = (zone: Zone): readonly AnyJob<StockEvent>[] => [depletionJob(zone), storefrontJob];

/** @param deadlines as they are now */
export const orderJobs = (deadlines: () => Deadlines): readonly AnyJob<OrderEvent>[] => [orderFlowJob(deadlines)];

/** Settings that every SKU and every category may have. */
export const SKU_SETTINGS: readonly SkuSetting[] = skuSettings([DISPLAY_COEFFICIENT, ALERT_FACTOR, ALERT_FLOOR_UNITS]);
