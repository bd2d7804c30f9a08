/**
 * Alerts in a running engine, as requests see them: the list of all rules' alerts, and what people do about them.
 */

import type { AlertDirectory } from "../alerting/directory.js";
import { NOTIFICATIONS_TOPIC } from "../alerting/notification.js";
import { ReplenishmentList, type StockedSku } from "../alerting/replenishment-list.js";
import { AlertList } from "../jobs/alerts/alert-list.js";
import { ALERTS_TOPIC } from "../jobs/alerts/events.js";
import { AlertRequests } from "../jobs/alerts/requests.js";
import { AlertsView } from "../jobs/alerts/view.js";
import { NotificationsView } from "../jobs/notifications/view.js";
import type { Clock } from "../kernel/clock.js";
import type { OnTrouble } from "../kernel/logger.js";
import type { NewEvent } from "../stream/event-entry.js";
import type { EngineStock } from "./engine.js";
import { eventTopicNamed, type RunningTopic, viewsOf } from "./running-topics.js";
import { UnnotifiedWatch } from "./unnotified-watch.js";

export interface EngineAlerts {
  readonly alertList: AlertList;
  readonly alertRequests: AlertRequests;
  readonly replenishment: ReplenishmentList;
  readonly notificationsView: NotificationsView;
  /** To the topic `notifications`. */
  appendNotifications(events: readonly NewEvent[]): Promise<void>;
}

export function alertsOf(topics: readonly RunningTopic[], stock: EngineStock, clock: Clock): EngineAlerts {
  const { ledger, depletionView, inbound } = stock;
  const replenishment = new ReplenishmentList({ skus: () => skusOf(stock), inbound: () => inbound.units() });
  const alertList = new AlertList(viewsOf(topics).of(AlertsView), depletionView);
  const alertRequests = new AlertRequests({
    ...{ list: alertList, ledger, clock },
    append: (events) => eventTopicNamed(topics, ALERTS_TOPIC).append(events),
  });
  return {
    ...{ alertList, alertRequests, replenishment, notificationsView: viewsOf(topics).of(NotificationsView) },
    appendNotifications: (events) => eventTopicNamed(topics, NOTIFICATIONS_TOPIC).append(events),
  };
}

/** Of a process that runs jobs. */
export function unnotifiedWatchOf(
  topics: readonly RunningTopic[],
  directory: AlertDirectory,
  onTrouble: OnTrouble,
): UnnotifiedWatch {
  const view = viewsOf(topics).of(AlertsView);
  const append = (events: readonly NewEvent[]) => eventTopicNamed(topics, ALERTS_TOPIC).append(events);
  return new UnnotifiedWatch({ open: () => view.open(), directory, append, onTrouble });
}

function* skusOf({
  storefrontView,
  depletionView,
}: Pick<EngineStock, "storefrontView" | "depletionView">): Generator<StockedSku> {
  for (const [sku, { total, category }] of storefrontView.all()) {
    const dailyAverage = depletionView.dailyAverage(sku);
    yield { sku, category, sellableUnits: total.sellable, safetyUnits: total.safety, dailyAverage };
  }
}
