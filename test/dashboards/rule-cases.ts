/**
 * For every alert of the Prometheus rules: series with which it fires, and series with which it does not although they
 * come near. A series is its name with labels, and its values every 15 s in promtool's notation.
 */

export type Series = readonly [series: string, values: string];
export interface RuleCase {
  readonly fires: readonly Series[];
  readonly silent: readonly Series[];
}

const held = (value: number): string => `${value}x80`;
const rising = (by: number): string => `0+${by}x80`;
/** A gauge at a value, and at another. */
const gauge = (series: string, fires: number, silent: number): RuleCase => ({
  fires: [[series, held(fires)]],
  silent: [[series, held(silent)]],
});
/** A counter that rises, and one that stands. */
const counter = (series: string, silentBy = 0, by = 5): RuleCase => ({
  fires: [[series, rising(by)]],
  silent: [[series, rising(silentBy)]],
});
const JOB = 'job="shuiwei"';
const ONE = `${JOB},instance="a"`;

const picking = (slow: number): Series[] => [
  [`shuiwei_paid_to_picking_seconds_bucket{${ONE},le="0.5"}`, rising(10 - slow)],
  [`shuiwei_paid_to_picking_seconds_bucket{${ONE},le="2"}`, rising(10)],
  [`shuiwei_paid_to_picking_seconds_bucket{${ONE},le="+Inf"}`, rising(10)],
];
const messages = (failed: number): Series[] => [
  [`shuiwei_notifications_total{${ONE},channel="dingtalk",step="sent"}`, rising(1)],
  [`shuiwei_notifications_total{${ONE},channel="dingtalk",step="failed"}`, rising(failed)],
];
const edgeReads = (errors: number): Series[] => [
  [`shuiwei_edge_reads_total{${ONE},edge="shop",outcome="fresh"}`, rising(1)],
  [`shuiwei_edge_reads_total{${ONE},edge="shop",outcome="error"}`, rising(errors)],
];
const edgeBurns = (long: number, short: number): Series[] => [
  [`shuiwei_edge_burn_rate{${ONE},edge="shop",window="1h"}`, held(long)],
  [`shuiwei_edge_burn_rate{${ONE},edge="shop",window="5m"}`, held(short)],
];
const answers = (errors: number): Series[] => [
  [`shuiwei_http_request_seconds_count{${ONE},route="/v1/orders",status="2xx"}`, rising(100)],
  [`shuiwei_http_request_seconds_count{${ONE},route="/v1/orders",status="5xx"}`, rising(errors)],
];

export const RULE_CASES: Readonly<Record<string, RuleCase>> = {
  ShuiweiAbsent: {
    fires: [[`up{${ONE}}`, held(0)]],
    silent: [[`shuiwei_up_seconds{${ONE}}`, rising(15)]],
  },
  ShuiweiProcessDown: {
    fires: [
      [`up{${ONE}}`, "1x20 0x60"],
      [`shuiwei_up_seconds{${ONE}}`, "0+15x20 _x60"],
    ],
    // Another job's target is down.
    silent: [
      [`up{${ONE}}`, held(1)],
      ['up{job="other",instance="b"}', held(0)],
      [`shuiwei_up_seconds{${ONE}}`, rising(15)],
    ],
  },
  ShuiweiNewOrdersRefused: {
    fires: [
      [`shuiwei_intake_open{${ONE}}`, held(0)],
      [`shuiwei_intake_open{${JOB},instance="b"}`, held(1)],
    ],
    silent: [[`shuiwei_intake_open{${ONE}}`, held(1)]],
  },
  ShuiweiBreakerOpen: gauge(`shuiwei_breakers_open{${ONE}}`, 1, 0),
  ShuiweiBalancesDiffer: gauge(`shuiwei_shadow_mismatches{${ONE}}`, 1, 0),
  ShuiweiStockAnswersOld: gauge(`shuiwei_views_age_seconds{${ONE}}`, 8.1, 7.9),
  ShuiweiJobsBehind: gauge(`shuiwei_partition_lag_seconds{${ONE},topic="stock",partition="3"}`, 16, 14),
  ShuiweiServerErrors: { fires: answers(10), silent: answers(4) },
  ShuiweiReceiverDown: gauge(`shuiwei_sink_circuit_open{${ONE},sink="wms"}`, 1, 0),
  ShuiweiDeliveriesLate: gauge(`shuiwei_sink_behind_seconds{${ONE},sink="wms"}`, 61, 59),
  ShuiweiDeliveriesLost: counter(`shuiwei_sink_dropped_total{${ONE},sink="wms"}`),
  ShuiweiDeliveryRefused: counter(`shuiwei_sink_dead_letters_total{${ONE},sink="wms"}`),
  ShuiweiPickingSlow: { fires: picking(1), silent: picking(0) },
  ShuiweiOrderStepsLate: gauge(`shuiwei_order_exceptions{${ONE},step="labelled",kind="late"}`, 101, 99),
  ShuiweiDivergence: gauge(`shuiwei_divergence_ratio{${ONE},a="ledger",b="wms"}`, 0.0041, 0.0039),
  ShuiweiSourceSilent: gauge(`shuiwei_snapshot_age_seconds{${ONE},source="erp"}`, 93_700, 90_000),
  ShuiweiSourceFailing: gauge(`shuiwei_source_failures{${ONE},source="wangdian",kind="stock"}`, 3, 2),
  ShuiweiMessagesFail: {
    fires: messages(1),
    silent: messages(0.4),
  },
  ShuiweiAlertsReachNobody: counter(`shuiwei_notification_unreached_total{${ONE}}`),
  ShuiweiAlertsNotAcknowledged: {
    fires: [[`shuiwei_alerts{${ONE},rule="depletion",state="fired"}`, "2x200"]],
    // Acknowledged for a minute, then another one fires.
    silent: [[`shuiwei_alerts{${ONE},rule="depletion",state="fired"}`, "2x60 0x4 1x140"]],
  },
  ShuiweiRedisNearlyFull: {
    fires: [
      [`shuiwei_redis_memory_bytes{${ONE}}`, held(76)],
      [`shuiwei_redis_memory_limit_bytes{${ONE}}`, held(100)],
    ],
    // Without a limit there is no share.
    silent: [
      [`shuiwei_redis_memory_bytes{${ONE}}`, held(76)],
      [`shuiwei_redis_memory_limit_bytes{${ONE}}`, held(0)],
    ],
  },
  ShuiweiDeadLetters: gauge(`shuiwei_partition_dead_letters{${ONE},topic="stock",partition="1"}`, 1, 0),
  ShuiweiLateEvents: counter(`shuiwei_job_late_events_total{${ONE},topic="stock",job_name="depletion.1"}`, 1),
  ShuiweiLeasesUnstable: {
    fires: [[`shuiwei_partition_lease_changes_total{${ONE},topic="stock",partition="1"}`, rising(1)]],
    // A rollout: each partition is taken once.
    silent: [[`shuiwei_partition_lease_changes_total{${ONE},topic="stock",partition="1"}`, "1x40 2x40"]],
  },
  ShuiweiEventLoopSlow: gauge(`shuiwei_event_loop_delay_seconds{${ONE}}`, 0.21, 0.19),
  ShuiweiClocksDiffer: gauge(`shuiwei_clock_difference_seconds{${ONE}}`, -3.1, 2.9),
  ShuiweiScheduleMissed: counter(`shuiwei_schedule_missed_total{${ONE},topic="consistency",schedule="comparison"}`),
  ShuiweiForwarderLate: gauge(`shuiwei_forwarder_behind_seconds{${ONE},source="stock",target="alerts"}`, 31, 29),
  ShuiweiArchiveLate: gauge(`shuiwei_archive_behind_seconds{${ONE}}`, 3_601, 3_599),
  ShuiweiHistoryLate: gauge(`shuiwei_series_behind_seconds{${ONE}}`, 901, 899),
  ShuiweiPublicationLate: gauge(`shuiwei_publication_age_seconds{${ONE}}`, 16, 14),
  ShuiweiEdgeBodyTooOld: counter(`shuiwei_edge_reads_total{${ONE},edge="shop",outcome="old"}`),
  // The fault is over: only the long window still has it.
  ShuiweiEdgeBudgetBurns: { fires: edgeBurns(15, 20), silent: edgeBurns(15, 3) },
  ShuiweiEdgeNotJudged: { fires: edgeReads(2), silent: edgeReads(0.5) },
  ShuiweiArchiveGap: counter(`shuiwei_archive_lost_entries_total{${ONE}}`),
};
