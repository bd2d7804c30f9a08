/**
 * Metrics of alerts and of how they reach people (R11): alerts by rule and state, messages by channel and step, what
 * waits, silences and devices. Every process that serves reports the same, because views and stores are the
 * deployment's. Labels are rules, states, channels and steps, never people, devices or alerts.
 */
import { NOTIFICATIONS_TOPIC } from "../alerting/notification.js";
import { SILENT_PUSHES } from "../alerting/recipients.js";
import { ALERT_RULES, type AlertRuleName } from "../alerting/rules.js";
import { AlertsView } from "../jobs/alerts/view.js";
import { type NotificationFigures, NotificationsView } from "../jobs/notifications/view.js";
import type { MetricRow, MetricSources, MetricType, Sample } from "./metric-row.js";
import { viewsOf } from "./running-topics.js";

const RULES = Object.keys(ALERT_RULES) as AlertRuleName[];
const STEPS = ["sent", "accepted", "displayed", "failed"] as const;

const alertsOf = ({ engine }: MetricSources): AlertsView => viewsOf(engine.topics).of(AlertsView);
const figuresOf = ({ engine }: MetricSources): NotificationFigures =>
  viewsOf(engine.topics).of(NotificationsView).figures();

/** Channels that the configuration has or that were used: a series exists before the first message. */
const channelsOf = ({ engine }: MetricSources, { counts }: NotificationFigures): readonly string[] => {
  const configured = engine.sinks.flatMap(({ name, topic }) => (topic === NOTIFICATIONS_TOPIC ? [name] : []));
  return [...new Set([...configured, ...counts.keys()])];
};

const ALERTS: readonly MetricRow[] = [
  {
    name: "alerts",
    type: "gauge",
    help: "Open alerts by rule, and whether somebody has acknowledged them: fired or acknowledged",
    labels: ["rule", "state"],
    read(sources) {
      const counts = new Map<string, number>();
      for (const { alert } of alertsOf(sources).open()) {
        const kind = `${alert.rule} ${alert.state}`;
        counts.set(kind, (counts.get(kind) ?? 0) + 1);
      }
      return RULES.flatMap((rule) =>
        (["fired", "acknowledged"] as const).map((state): Sample => [counts.get(`${rule} ${state}`) ?? 0, rule, state]),
      );
    },
  },
  {
    name: "alerts_fired_total",
    type: "counter",
    help: "Alerts that have fired since this process started, by rule; every process counts all of them",
    labels: ["rule"],
    read(sources) {
      const { fired } = alertsOf(sources);
      return RULES.map((rule): Sample => [fired.get(rule) ?? 0, rule]);
    },
  },
  {
    name: "alerts_silenced",
    type: "gauge",
    help: "Open alerts that notify nobody, because a silence matches them",
    labels: [],
    read: (sources) => [
      [
        alertsOf(sources)
          .open()
          .filter(({ silence }) => silence !== undefined).length,
      ],
    ],
  },
  {
    name: "silences_active",
    type: "gauge",
    help: "Silences that have not ended",
    labels: [],
    async read({ engine }) {
      // Other metrics report a Redis that does not answer.
      const active = await engine.alerting.silences.active().catch(() => undefined);
      return [[active?.length]];
    },
  },
  {
    name: "devices",
    type: "gauge",
    help: "Phones and browsers that receive pushes; silent: it has accepted the last pushes and displayed none of them",
    labels: ["state"],
    async read({ engine }) {
      const devices = await engine.alerting.devices.all().catch(() => undefined);
      if (devices === undefined) return [];
      const silent = devices.filter(({ silentPushes }) => silentPushes >= SILENT_PUSHES).length;
      return [
        [devices.length - silent, "active"],
        [silent, "silent"],
      ];
    },
  },
];

/** A figure of all recipients. */
const ofRecipients = (
  name: string,
  type: MetricType,
  help: string,
  read: (figures: NotificationFigures) => number,
): MetricRow => ({
  name: `notification_${name}`,
  type,
  help,
  labels: [],
  read: (sources) => [[read(figuresOf(sources))]],
});

const NOTIFICATIONS: readonly MetricRow[] = [
  {
    name: "notifications_total",
    type: "counter",
    help: "Messages by channel and the step that they have reached, over the life of the deployment",
    labels: ["channel", "step"],
    read(sources) {
      const figures = figuresOf(sources);
      return channelsOf(sources, figures).flatMap((channel) =>
        STEPS.map((step): Sample => [figures.counts.get(channel)?.[step] ?? 0, channel, step]),
      );
    },
  },
  {
    name: "notification_summaries_total",
    type: "counter",
    help: "Messages that hold several alerts, because a channel takes no more messages at once",
    labels: ["channel"],
    read(sources) {
      const figures = figuresOf(sources);
      return channelsOf(sources, figures).map(
        (channel): Sample => [figures.counts.get(channel)?.summaries ?? 0, channel],
      );
    },
  },
  {
    name: "notifications_waiting",
    type: "gauge",
    help: "Alerts, changes and tests that wait for an address of the channel to take the next message",
    labels: ["channel"],
    read(sources) {
      const figures = figuresOf(sources);
      return channelsOf(sources, figures).map((channel): Sample => [figures.waiting.get(channel) ?? 0, channel]);
    },
  },
  ofRecipients("quiet", "gauge", "Alerts that wait for the end of somebody's quiet hours", ({ quiet }) => quiet),
  ofRecipients(
    "climbs_total",
    "counter",
    "Next steps of a recipient's ladder of channels, because the step before was not enough",
    ({ climbs }) => climbs,
  ),
  ofRecipients(
    "unreached_total",
    "counter",
    "Alerts whose last step of a recipient's ladder has failed at every address",
    ({ unreached }) => unreached,
  ),
  ofRecipients(
    "dropped_total",
    "counter",
    "Alerts and changes that were not sent to a recipient, because too many were open or waited",
    ({ unlisted, evicted, changesDropped }) => unlisted + evicted + changesDropped,
  ),
];

export const ALERT_METRICS: readonly MetricRow[] = [...ALERTS, ...NOTIFICATIONS];
