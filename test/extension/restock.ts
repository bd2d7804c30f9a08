/**
 * A topic of its own, fed by the low-stock job's emits and by a schedule; a job on it with two timers a key, which
 * orders a SKU a moment after it became low and reminds once; its view, and the feed that shows it.
 */

import { wholeState } from "../../dashboards/feed.js";
import type { FeedEntry, TopicEntry } from "../../engine/app/tables.js";
import { eventTopicEntry } from "../../engine/app/tables.js";
import type { JobEntry } from "../../engine/jobs/index.js";
import { TICK_KIND, type TopicEvent } from "../../engine/stream/event-entry.js";
import type { View } from "../../engine/stream/follower.js";
import type { Job } from "../../engine/stream/job.js";
import { every } from "../../engine/stream/schedule.js";
import { LOW_EMIT } from "./low-stock.js";

export const RESTOCK = "restock";
const REVIEW = "review";
export const ORDER_EMIT = "order";
/** A key whose events the job cannot process. */
export const POISON = "POISON";
const JOB = "restock.1";
const REMIND_AFTER_MS = 300;

export const RESTOCK_TOPIC: TopicEntry = eventTopicEntry({
  name: RESTOCK,
  routes: [{ from: "stock", kinds: [LOW_EMIT], event: ({ key, payload }) => ({ key, kind: LOW_EMIT, payload }) }],
  schedules: [{ name: REVIEW, due: every(1_000), catchUp: "last" }],
});

interface Restock {
  lows: number;
  orders: number;
  reminders: number;
  reviews: number;
}

const restockJob: Job<TopicEvent, Restock> = {
  name: JOB,
  timers: ["order", "remind"],
  key: ({ key }) => key,
  initial: () => ({ lows: 0, orders: 0, reminders: 0, reviews: 0 }),
  onEvent(state, { key, kind }, context) {
    if (key === POISON) throw new Error("this SKU cannot be ordered");
    if (kind === TICK_KIND) state.reviews++;
    else {
      state.lows++;
      context.setTimer(context.watermarkMs + 1, "order");
      context.setTimer(context.watermarkMs + REMIND_AFTER_MS, "remind");
    }
  },
  onTimer(state, _atMs, context, timer) {
    if (timer === "remind") state.reminders++;
    else context.emit(ORDER_EMIT, { sku: context.key, order: ++state.orders });
  },
  view: (state) => state,
};

class RestockView implements View {
  readonly job = JOB;
  readonly skus = new Map<string, Restock>();

  onView(key: string, view: unknown): void {
    this.skus.set(key, view as Restock);
  }
}

export const RESTOCK_JOB: JobEntry = { topic: RESTOCK, make: () => restockJob, views: [RestockView] };

/** What the feed shows: by SKU, and how often the schedule has fired. */
export interface RestockBody {
  skus: Record<string, { lows: number; orders: number; reminders: number }>;
  reviews: number;
}

export const RESTOCK_FEED: FeedEntry = (_sources, views) => {
  const view = views.of(RestockView);
  const read = (): RestockBody => {
    const { [REVIEW]: review, ...skus } = Object.fromEntries(view.skus);
    return { skus, reviews: review?.reviews ?? 0 };
  };
  return { name: RESTOCK, role: "read", open: () => wholeState(read) };
};
