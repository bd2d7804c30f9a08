/**
 * The dashboard about orders and the receivers of deliveries, the WMS first: what is accepted and refused, how fast it
 * is answered, how orders reach the warehouse, and which of them are late.
 */
import type { Board } from "./board.js";
import { chart, stat, table } from "./panels.js";
import { most, quantile, rate, recentQuantile, risen, total } from "./queries.js";

const HTTP = "shuiwei_http_request_seconds";
const WMS = 'sink="wms"';

export const ORDERS_AND_WMS: Board = {
  uid: "shuiwei-orders-and-wms",
  title: "Shuiwei: orders and WMS",
  about: "Orders from the request to the warehouse, and the deliveries to every receiver.",
  rows: [
    {
      title: "Now",
      cells: [
        stat({
          title: "Orders waiting for the WMS",
          about: "Paid orders that the warehouse does not have yet. New orders are refused at 500,000.",
          expression: most("shuiwei_orders_waiting"),
          levels: ["green", [1_000, "yellow"], [50_000, "red"]],
        }),
        stat({
          title: "WMS",
          about: "Whether the WMS takes deliveries. If not: its fault is in /readyz and in the log; deliveries wait.",
          expression: `${most("shuiwei_sink_circuit_open", "", WMS)} or vector(0)`,
          levels: ["green", [1, "red"]],
          texts: { 0: "Takes orders", 1: "Down" },
          unit: "none",
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
          title: "Oldest delivery",
          about: "How long the oldest delivery to any receiver has waited.",
          expression: most("shuiwei_sink_behind_seconds"),
          unit: "s",
          levels: ["green", [5, "yellow"], [60, "red"]],
        }),
        stat({
          title: "Late order steps",
          about: "Steps of orders that are late or were skipped (R16). The exceptions list has each order.",
          expression: `sum (${most("shuiwei_order_exceptions", "step, kind")}) or vector(0)`,
          levels: ["green", [1, "yellow"], [100, "red"]],
          texts: { 0: "None" },
        }),
        stat({
          title: "Refused in an hour",
          about:
            "Requests for new work refused by the intake: jobs behind, Redis full, warehouse behind or clients too fast.",
          expression: risen("shuiwei_intake_refused_total"),
          decimals: 0,
          levels: ["green", [1, "yellow"], [1_000, "red"]],
        }),
      ],
    },
    {
      title: "Requests",
      cells: [
        chart({
          title: "Requests by class of answer",
          about: "All routes. 5xx are refusals with Retry-After, or faults: the log names faults.",
          unit: "reqps",
          isStacked: true,
          queries: [[rate(`${HTTP}_count`, "status"), "{{status}}"]],
        }),
        chart({
          title: "Requests by route",
          about: "The ten busiest routes.",
          unit: "reqps",
          queries: [[`topk(10, ${rate(`${HTTP}_count`, "method, route")})`, "{{method}} {{route}}"]],
        }),
        chart({
          title: "Time to answer, p99, by route",
          about: "The ten slowest routes. Compare with the ledger's queue and the event loop in the engine dashboard.",
          unit: "s",
          queries: [[`topk(10, ${quantile(0.99, HTTP, "method, route")})`, "{{method}} {{route}}"]],
        }),
        chart({
          title: "New work refused",
          about: "Requests a second that the intake refused. /readyz gives the reason while it lasts.",
          unit: "reqps",
          queries: [[rate("shuiwei_intake_refused_total"), "refused"]],
        }),
        chart({
          title: "Requests being answered",
          about: "At once, in all processes. 4,096 a process is the limit.",
          queries: [
            [total("shuiwei_http_requests_under_way"), "all"],
            [total("shuiwei_http_bulk_requests_under_way"), "bulk"],
          ],
        }),
        chart({
          title: "Clients cut off or rejected",
          about:
            "Connections closed because a client pipelines or does not read, and logins with a wrong secret. If it rises: find the client.",
          unit: "ops",
          queries: [
            [rate("shuiwei_http_connections_cut_total"), "connections cut"],
            [rate("shuiwei_http_failed_logins_total", "with"), "wrong {{with}}"],
          ],
        }),
      ],
    },
    {
      title: "To the warehouse",
      cells: [
        chart({
          title: "Paid → picking",
          about: "From payment to the WMS having the order. The dashed line is the limit of 0.8 s (R22).",
          unit: "s",
          limits: ["green", [0.8, "red"]],
          queries: [
            [quantile(0.5, "shuiwei_paid_to_picking_seconds"), "p50"],
            [quantile(0.95, "shuiwei_paid_to_picking_seconds"), "p95"],
            [quantile(0.99, "shuiwei_paid_to_picking_seconds"), "p99"],
          ],
        }),
        chart({
          title: "Orders waiting",
          about: "Paid orders that the warehouse does not have yet. It rises in a rush, and must fall again.",
          queries: [[most("shuiwei_orders_waiting"), "waiting"]],
        }),
        chart({
          title: "Deliveries and their limit",
          about:
            "Deliveries a second to the WMS, and how many it may be sent now. The limit falls when the WMS requests a lower rate.",
          unit: "reqps",
          queries: [
            [`${rate("shuiwei_sink_delivered_total", "", WMS)} or vector(0)`, "delivered"],
            [`${most("shuiwei_sink_rate_limit", "", WMS)} or vector(0)`, "limit"],
          ],
        }),
      ],
    },
    {
      title: "All receivers",
      cells: [
        chart({
          title: "Delivered",
          about: "Deliveries a second that each receiver has accepted.",
          unit: "ops",
          queries: [[rate("shuiwei_sink_delivered_total", "sink"), "{{sink}}"]],
        }),
        chart({
          title: "Tried again, and throttled",
          about: "Deliveries a second that were tried again, and answers that request a lower rate.",
          unit: "ops",
          queries: [
            [rate("shuiwei_sink_retries_total", "sink"), "{{sink}} tried again"],
            [rate("shuiwei_sink_throttled_total", "sink"), "{{sink}} throttled"],
          ],
        }),
        chart({
          title: "Oldest waiting delivery",
          about: "By receiver. If it rises: the receiver is down or slower than what comes.",
          unit: "s",
          queries: [[most("shuiwei_sink_behind_seconds", "sink"), "{{sink}}"]],
        }),
        chart({
          title: "Circuit",
          about: "Is 1 while a receiver takes nothing and its deliveries wait. A probe is sent from time to time.",
          unit: "none",
          max: 1,
          queries: [[most("shuiwei_sink_circuit_open", "sink"), "{{sink}}"]],
        }),
        chart({
          title: "Refused for good",
          about:
            "Deliveries in an hour that became dead letters: refused, waited too long, or removed (lost). `shuiwei dead-letters list` has the first two.",
          queries: [
            [risen("shuiwei_sink_dead_letters_total", "sink"), "{{sink}} refused"],
            [risen("shuiwei_sink_overflowed_total", "sink"), "{{sink}} waited too long"],
            [risen("shuiwei_sink_dropped_total", "sink"), "{{sink}} lost"],
          ],
        }),
        chart({
          title: "Kept for receivers",
          about:
            "Bytes of emits that are kept because they are not delivered. 64 MiB a partition is the default limit.",
          unit: "bytes",
          queries: [[total("shuiwei_sink_pinned_bytes", "sink"), "{{sink}}"]],
        }),
      ],
    },
    {
      title: "Late steps",
      cells: [
        table({
          title: "Late and skipped steps now",
          about: "By step and kind. The exceptions list has each order, and what to do.",
          expression: most("shuiwei_order_exceptions", "step, kind"),
          columns: { step: "Step", kind: "Kind" },
          value: "Orders",
        }),
        chart({
          title: "Late and skipped steps",
          about: "If one step rises alone, the party that reports it is late: warehouse, label printer or carrier.",
          width: 16,
          queries: [[most("shuiwei_order_exceptions", "step, kind"), "{{step}} {{kind}}"]],
        }),
      ],
    },
  ],
};
