/**
 * The table of jobs: the topic that each reads, how it is made, and the views that it fills; and the settings of
 * SKUs. A new job is a folder here and its line. Jobs of one topic process an event in the order of the table. A
 * setting that a job reads is defined beside it, and an entry in a list here.
 */

import { NOTIFICATIONS_TOPIC } from "../alerting/notification.js";
import type { Zone } from "../kernel/zone.js";
import type { Deadlines } from "../orders/flow.js";
import type { StockEvent } from "../stock/model.js";
import { DISPLAY_COEFFICIENT, type SkuSetting, skuSettings } from "../stock/settings.js";
import type { View } from "../stream/follower.js";
import type { AnyJob, LogEvent } from "../stream/job.js";
import { ALERTS_TOPIC } from "./alerts/events.js";
import { alertsJob } from "./alerts/job.js";
import { AlertsView } from "./alerts/view.js";
import { CONSISTENCY_TOPIC } from "./consistency/events.js";
import { consistencyJob } from "./consistency/job.js";
import { ConsistencyView } from "./consistency/view.js";
import { depletionJob } from "./depletion/job.js";
import { ALERT_FACTOR, ALERT_FLOOR_UNITS } from "./depletion/rule.js";
import { DepletionView } from "./depletion/view.js";
import { notificationsJob } from "./notifications/job.js";
import { NotificationsView } from "./notifications/view.js";
import { orderFlowJob } from "./order-flow/job.js";
import { storefrontJob } from "./storefront/job.js";
import { StorefrontView } from "./storefront/view.js";

/** What a job may depend on besides its events. */
export interface JobParts {
  /** The shop's time zone. */
  readonly zone: Zone;
  /** How long an order may take from step to step, as it is now. */
  deadlines(): Deadlines;
}

/** A line of the table. */
export interface JobEntry {
  /** Name of the topic that it reads. */
  readonly topic: string;
  make(parts: JobParts): AnyJob<LogEvent>;
  /** Each process that serves keeps one of each, filled from what the job publishes. */
  readonly views?: readonly (new () => View)[];
}

export const JOBS: readonly JobEntry[] = [
  { topic: "stock", make: ({ zone }) => depletionJob(zone), views: [DepletionView] },
  { topic: "stock", make: () => storefrontJob, views: [StorefrontView] },
  { topic: "orders", make: ({ deadlines }) => orderFlowJob(deadlines) },
  { topic: CONSISTENCY_TOPIC, make: () => consistencyJob, views: [ConsistencyView] },
  { topic: ALERTS_TOPIC, make: () => alertsJob, views: [AlertsView] },
  { topic: NOTIFICATIONS_TOPIC, make: ({ zone }) => notificationsJob(zone), views: [NotificationsView] },
];

/** The jobs of one topic, made. */
export const jobsOf = (jobs: readonly JobEntry[], topic: string, parts: JobParts): readonly AnyJob<LogEvent>[] =>
  jobs.filter((entry) => entry.topic === topic).map(({ make }) => make(parts));

/** The jobs of the stock log, for a replay or a comparison: they depend on the zone alone. */
export const stockJobs = (zone: Zone): readonly AnyJob<StockEvent>[] =>
  jobsOf(JOBS, "stock", { zone, deadlines: () => ({}) });

/** Settings that every SKU and every category may have. */
export const SKU_SETTINGS: readonly SkuSetting[] = skuSettings([DISPLAY_COEFFICIENT, ALERT_FACTOR, ALERT_FLOOR_UNITS]);
