/**
 * The dashboard for the first glance: is the shop safe now, and if not, where to look. The first row is ten figures
 * with colours; every row below has a dashboard of its own.
 */
import type { Board } from "./board.js";
import { chart, stat } from "./panels.js";
import { least, most, quantile, rate, recentQuantile, total } from "./queries.js";

const ORDERS = 'route="/v1/orders",method="POST"';
const MEMORY_SHARE = `${most("shuiwei_redis_memory_bytes")} / (${most("shuiwei_redis_memory_limit_bytes")} > 0)`;

export const OVERVIEW: Board = {
  uid: "shuiwei-overview",
  title: "Shuiwei: overview",
  about: "Is the shop safe now? If a figure is not green, its description says what to do.",
  rows: [
    {
      title: "Is the shop safe now?",
      cells: [
        stat({
          title: "New orders",
          about: "Whether every process accepts new orders. If not: the answer of /readyz gives the reason.",
          expression: least("shuiwei_intake_open"),
          levels: ["red", [1, "green"]],
          texts: { 0: "Refused", 1: "Accepted" },
          unit: "none",
        }),
        stat({
          title: "Breakers open",
          about:
            "Breakers that are open or half-open: both refuse new orders (R14). If any: open the desk, it shows why.",
          expression: most("shuiwei_breakers_open"),
          levels: ["green", [1, "red"]],
          texts: { 0: "None" },
        }),
        stat({
          title: "Cells that differ from the log",
          about:
            "Balances that the shadow fold found different from the log. More than 0 must never occur: run `shuiwei audit`.",
          expression: total("shuiwei_shadow_mismatches"),
          levels: ["green", [1, "red"]],
          texts: { 0: "None" },
        }),
        stat({
          title: "Oldest stock answer",
          about:
            "How old the views behind a stock answer are at most. Above 8 s stock answers are refused, so that no shop sees one older than 15 s (R6).",
          expression: most("shuiwei_views_age_seconds"),
          unit: "s",
          decimals: 1,
          levels: ["green", [4, "yellow"], [8, "red"]],
        }),
        stat({
          title: "Orders waiting for the WMS",
          about:
            "Paid orders that the warehouse does not have yet. If it stays high: see the WMS's circuit and rate in the orders dashboard.",
          expression: most("shuiwei_orders_waiting"),
          levels: ["green", [1_000, "yellow"], [50_000, "red"]],
        }),
        stat({
          title: "Paid → picking, p99",
          about: "From payment to the WMS having the order, last five minutes. It must be below 0.8 s (R22).",
          expression: recentQuantile(0.99, "shuiwei_paid_to_picking_seconds"),
          unit: "s",
          decimals: 2,
          levels: ["green", [0.5, "yellow"], [0.8, "red"]],
        }),
        stat({
          title: "Alerts not acknowledged",
          about:
            "Open alerts of all rules that nobody has acknowledged (R10, R11). See the stock dashboard, or the list on the phone.",
          expression: `sum (${most("shuiwei_alerts", "rule", 'state="fired"')})`,
          levels: ["green", [1, "yellow"], [100, "orange"]],
          texts: { 0: "None" },
        }),
        stat({
          title: "Memory of Redis",
          about: "Share of maxmemory of the fullest primary. At 85 % new orders are refused.",
          expression: MEMORY_SHARE,
          unit: "percentunit",
          decimals: 0,
          noValue: "No limit",
          levels: ["green", [0.7, "yellow"], [0.85, "red"]],
        }),
      ],
    },
    {
      title: "Orders",
      cells: [
        chart({
          title: "Orders over HTTP",
          about:
            "Requests for new orders a second by class of answer. 4xx are refusals with a reason; 5xx with Retry-After.",
          unit: "reqps",
          isStacked: true,
          queries: [[rate("shuiwei_http_request_seconds_count", "status", ORDERS), "{{status}}"]],
        }),
        chart({
          title: "Time to answer an order",
          about:
            "From a request's head to the end of its answer. If it rises: see the ledger's queue in the engine dashboard.",
          unit: "s",
          queries: [
            [quantile(0.5, "shuiwei_http_request_seconds", "", ORDERS), "p50"],
            [quantile(0.99, "shuiwei_http_request_seconds", "", ORDERS), "p99"],
          ],
        }),
        chart({
          title: "Paid → picking",
          about: "From payment to the WMS having the order. The dashed line is the limit of 0.8 s (R22).",
          unit: "s",
          limits: ["green", [0.8, "red"]],
          queries: [
            [quantile(0.5, "shuiwei_paid_to_picking_seconds"), "p50"],
            [quantile(0.99, "shuiwei_paid_to_picking_seconds"), "p99"],
          ],
        }),
      ],
    },
    {
      title: "Stock",
      cells: [
        chart({
          title: "Stock commands",
          about: "Commands that the ledger decides a second, over all processes.",
          unit: "ops",
          queries: [[rate("shuiwei_ledger_commands_total"), "commands"]],
        }),
        chart({
          title: "Age of the views",
          about:
            "How old the views of each topic may be at most. The dashed line: stock answers are refused above 8 s.",
          unit: "s",
          limits: ["green", [8, "red"]],
          queries: [[most("shuiwei_partition_lag_seconds", "topic"), "{{topic}}"]],
        }),
        chart({
          title: "Divergence",
          about:
            "How far two parties part by their newest comparison. Above 0.5 % the breaker opens (R14): open the desk.",
          unit: "percentunit",
          decimals: 2,
          limits: ["green", [0.005, "red"]],
          queries: [[most("shuiwei_divergence_ratio", "a, b"), "{{a}} / {{b}}"]],
        }),
      ],
    },
    {
      title: "Faults",
      cells: [
        chart({
          title: "Dead letters stored",
          about: "Events and deliveries that could not be processed. Read why with `shuiwei dead-letters list`.",
          queries: [[`sum by (topic) (${most("shuiwei_partition_dead_letters", "topic, partition")})`, "{{topic}}"]],
        }),
        chart({
          title: "Deliveries waiting",
          about:
            "How long the oldest delivery to each receiver has waited. If it rises: the receiver is down or too slow.",
          unit: "s",
          queries: [[most("shuiwei_sink_behind_seconds", "sink"), "{{sink}}"]],
        }),
        chart({
          title: "Late order steps",
          about: "Orders whose step is late or was skipped, by step and kind. The exceptions list has each order.",
          queries: [[most("shuiwei_order_exceptions", "step, kind"), "{{step}} {{kind}}"]],
        }),
      ],
    },
  ],
};
