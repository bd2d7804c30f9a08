/** Alerts about orders on their way, the receivers of deliveries, and the sources of stock figures. */
import type { Alert } from "./alert-rule.js";

export const DELIVERY_ALERTS: readonly Alert[] = [
  {
    name: "ShuiweiReceiverDown",
    severity: "critical",
    expression: "max by (job, sink) (shuiwei_sink_circuit_open) == 1",
    for: "1m",
    summary: "{{ $labels.sink }} takes no deliveries of {{ $labels.job }}",
    meaning: "The receiver fails or refuses everything. Deliveries wait in order, and nothing is lost.",
    look: [
      "/readyz: the receiver's fault.",
      "The receiver's own monitoring.",
      "The panel Kept for receivers: how much waits.",
    ],
    act: [
      "Repair the receiver, its address or its credential.",
      "Deliveries continue by themselves, within the receiver's limit.",
    ],
  },
  {
    name: "ShuiweiDeliveriesLate",
    severity: "warning",
    expression: "max by (job, sink) (shuiwei_sink_behind_seconds) > 60",
    for: "2m",
    summary: "The oldest delivery of {{ $labels.job }} to {{ $labels.sink }} waits for {{ $value | humanizeDuration }}",
    meaning: "More comes than the receiver takes, or it is down.",
    look: ["The panels Deliveries and their limit, and Circuit."],
    act: [
      "The circuit is open: see ShuiweiReceiverDown.",
      "The limit is low because the receiver asks for less: find out why it is slow.",
      "The limit of the configuration is too low: raise it.",
    ],
  },
  {
    name: "ShuiweiDeliveriesLost",
    severity: "critical",
    expression: "sum by (job, sink) (increase(shuiwei_sink_dropped_total[15m])) > 0",
    summary: "Deliveries of {{ $labels.job }} to {{ $labels.sink }} were removed: they are lost",
    meaning:
      "The receiver was down so long that the oldest waiting deliveries were removed, after the limits of bytes and dead letters.",
    look: ["The log: it names the removed entries.", "`shuiwei dead-letters list`."],
    act: [
      "Repair the receiver.",
      "Replay the dead letters that are stored.",
      "Send what was lost by hand: orders in the step locked that the warehouse does not have.",
    ],
  },
  {
    name: "ShuiweiDeliveryRefused",
    severity: "warning",
    expression: "sum by (job, sink) (increase(shuiwei_sink_dead_letters_total[15m])) > 0",
    summary: "{{ $labels.sink }} has refused deliveries of {{ $labels.job }} for good",
    meaning: "A delivery became a dead letter, because the receiver refuses its content.",
    look: ["`shuiwei dead-letters list`: the reason of each.", "`shuiwei contract check`, if fields are the reason."],
    act: ["Correct the data or the receiver.", "`shuiwei dead-letters replay` sends them again."],
  },
  {
    name: "ShuiweiPickingSlow",
    severity: "warning",
    expression: "job:shuiwei_paid_to_picking_seconds:p99_5m > 0.8",
    for: "5m",
    summary: "Paid orders of {{ $labels.job }} reach the WMS after {{ $value | humanizeDuration }} (p99)",
    meaning: "From payment to picking takes longer than 0.8 s (R22). No order is lost.",
    look: ["The panels Orders waiting, Deliveries and their limit, Duration of a commit."],
    act: [
      "Orders wait: the WMS is the limit; see ShuiweiDeliveriesLate.",
      "Nothing waits: the engine is slow; see ShuiweiEventLoopSlow.",
    ],
  },
  {
    name: "ShuiweiOrderStepsLate",
    severity: "warning",
    expression: "sum by (job, step, kind) (max by (job, step, kind) (shuiwei_order_exceptions)) > 100",
    for: "15m",
    summary: "{{ $value }} orders of {{ $labels.job }}: step {{ $labels.step }} is {{ $labels.kind }}",
    meaning: "Many orders wait for the same step (R16), so one party does not report or does not work.",
    look: [
      "The exceptions list: the orders and the time since their step was due.",
      "The party of that step: warehouse, printer or carrier.",
    ],
    act: ["Call the party.", "If it works but does not report: repair the report; exceptions end by themselves."],
  },
  {
    name: "ShuiweiDivergence",
    severity: "warning",
    expression: "max by (job, a, b) (shuiwei_divergence_ratio) > 0.004",
    for: "1m",
    summary: "{{ $labels.a }} and {{ $labels.b }} of {{ $labels.job }} part by {{ $value | humanizePercentage }}",
    meaning: "Two parties report different stock. Above 0.5 % the breaker opens at the next comparison (R14).",
    look: ["The desk: the SKUs, and the cause of each."],
    act: ["Settle the differences, or correct the side that is wrong, before the comparison at 18:00."],
  },
  {
    name: "ShuiweiSourceSilent",
    severity: "warning",
    expression: "max by (job, source) (shuiwei_snapshot_age_seconds) > 93600",
    for: "5m",
    summary: "{{ $labels.source }} has sent {{ $labels.job }} no snapshot for {{ $value | humanizeDuration }}",
    meaning: "A source that should report every day has not. Comparisons leave it out, so it protects nothing.",
    look: ["The desk: the source, and its last fault.", "`shuiwei sources`."],
    act: [
      "Repair the source's export or its credential.",
      "If it is not used any more: remove it from the configuration.",
    ],
  },
  {
    name: "ShuiweiSourceFailing",
    severity: "warning",
    expression: "max by (job, source, kind) (shuiwei_source_failures) >= 3",
    for: "5m",
    summary:
      "{{ $value }} pulls of {{ $labels.kind }} from {{ $labels.source }} of {{ $labels.job }} failed one after another",
    meaning: "The outside system does not answer, or refuses the credential. Nothing of a failed pull is stored.",
    look: ["`shuiwei sources`: the fault in words."],
    act: ["Repair access to the system. Pulls continue by themselves where they ended."],
  },
];
