/**
 * The dashboard about stock figures and the alerts on them: depletion alerts, what sources report, how far the parties
 * part, breakers, and whether balances are proved against the log.
 */
import type { Board } from "./board.js";
import { chart, stat, table } from "./panels.js";
import { most, mostRisen, quantile, rate, risen, total } from "./queries.js";

export const STOCK_AND_ALERTS: Board = {
  uid: "shuiwei-stock-and-alerts",
  title: "Shuiwei: stock and alerts",
  about: "Alerts, divergence of the sources, breakers, and the proof of the balances.",
  rows: [
    {
      title: "Now",
      cells: [
        stat({
          title: "Not acknowledged",
          about: "Open alerts of all rules that nobody has acknowledged. Acknowledge them on the phone or the desk.",
          expression: `sum (${most("shuiwei_alerts", "rule", 'state="fired"')})`,
          levels: ["green", [1, "yellow"], [100, "orange"]],
          texts: { 0: "None" },
        }),
        stat({
          title: "Acknowledged",
          about: "Open alerts that somebody works on.",
          expression: `sum (${most("shuiwei_alerts", "rule", 'state="acknowledged"')})`,
          levels: ["blue"],
          texts: { 0: "None" },
        }),
        stat({
          title: "Breakers open",
          about: "Breakers that are open or half-open. The desk shows why, and until when.",
          expression: most("shuiwei_breakers_open"),
          levels: ["green", [1, "red"]],
          texts: { 0: "None" },
        }),
        stat({
          title: "Opened by the engine",
          about: "Of these, those that a comparison opened.",
          expression: most("shuiwei_breakers_open_by_themselves"),
          levels: ["green", [1, "red"]],
          texts: { 0: "None" },
        }),
        stat({
          title: "Greatest divergence",
          about: "Of all pairs, by their newest comparisons. Above 0.5 % the breaker opens (R14).",
          expression: `${most("shuiwei_divergence_ratio")} or vector(0)`,
          unit: "percentunit",
          decimals: 2,
          levels: ["green", [0.003, "yellow"], [0.005, "red"]],
        }),
        stat({
          title: "Cells that differ from the log",
          about: "Found by the shadow fold. More than 0 must never occur: run `shuiwei audit`.",
          expression: total("shuiwei_shadow_mismatches"),
          levels: ["green", [1, "red"]],
          texts: { 0: "None" },
        }),
        stat({
          title: "A fault is found within",
          about: "Duration of the slowest round of the shadow fold over all balances.",
          expression: most("shuiwei_shadow_cycle_seconds"),
          unit: "s",
          levels: ["blue"],
        }),
      ],
    },
    {
      title: "Alerts and the people they reach",
      cells: [
        chart({
          title: "Open alerts by rule",
          about:
            "Of all rules, acknowledged or not. If depletion rises in a rush, that is expected; other rules are faults.",
          isStacked: true,
          queries: [[`sum by (rule) (${most("shuiwei_alerts", "rule, state")})`, "{{rule}}"]],
        }),
        chart({
          title: "Alerts fired",
          about: "In an hour, by rule. If one rule fires again and again: repair its cause, or raise its threshold.",
          queries: [[mostRisen("shuiwei_alerts_fired_total", "rule"), "{{rule}}"]],
        }),
        chart({
          title: "Alert → accepted by a channel, p99",
          about: "From firing to acceptance. Waits of the ladder, of summaries and of quiet hours are included.",
          unit: "s",
          queries: [[quantile(0.99, "shuiwei_alert_acceptance_seconds", "channel"), "{{channel}}"]],
        }),
        chart({
          title: "Messages by step",
          about:
            "In an hour: sent, accepted by the channel, displayed, failed. Accepted but not displayed: people do not look, or their phones do not show them.",
          width: 16,
          queries: [[mostRisen("shuiwei_notifications_total", "channel, step"), "{{channel}} {{step}}"]],
        }),
        chart({
          title: "Waiting and silenced",
          about: "Alerts that wait for a channel's limit or the end of quiet hours, and open alerts within a silence.",
          queries: [
            [most("shuiwei_notifications_waiting", "channel"), "wait for {{channel}}"],
            [most("shuiwei_notification_quiet"), "wait for the end of quiet hours"],
            [most("shuiwei_alerts_silenced"), "silenced"],
            [most("shuiwei_silences_active"), "silences"],
          ],
        }),
        chart({
          title: "Ladders and summaries",
          about:
            "In an hour: next steps because nobody saw a message, ladders that reached nobody, messages with several alerts, alerts that were not sent.",
          width: 16,
          queries: [
            [mostRisen("shuiwei_notification_climbs_total"), "next steps"],
            [mostRisen("shuiwei_notification_unreached_total"), "reached nobody"],
            [mostRisen("shuiwei_notification_summaries_total", "channel"), "summaries to {{channel}}"],
            [mostRisen("shuiwei_notification_dropped_total"), "not sent"],
          ],
        }),
        chart({
          title: "Devices",
          about:
            "Phones and browsers with push. Silent ones accept pushes and display none: their owners are reached by other channels; pair them again.",
          queries: [[most("shuiwei_devices", "state"), "{{state}}"]],
        }),
      ],
    },
    {
      title: "Comparison with the sources",
      cells: [
        chart({
          title: "Divergence",
          about: "How far two parties part (R13). The dashed line is 0.5 %: above it the breaker opens.",
          unit: "percentunit",
          decimals: 2,
          limits: ["green", [0.005, "red"]],
          queries: [[most("shuiwei_divergence_ratio", "a, b"), "{{a}} / {{b}}"]],
        }),
        chart({
          title: "Cells that differ",
          about: "SKUs at locations whose units differ between two parties. The desk lists them, and settles them.",
          queries: [[most("shuiwei_divergence_cells", "a, b"), "{{a}} / {{b}}"]],
        }),
        chart({
          title: "Age of the newest snapshot",
          about:
            "How long ago the instant of each source's newest complete snapshot is. If it rises: the source sends nothing.",
          unit: "s",
          queries: [[most("shuiwei_snapshot_age_seconds", "source"), "{{source}}"]],
        }),
        chart({
          title: "Comparisons and breakers",
          about: "In an hour: comparisons, breakers opened by them, and those that a dry run would have opened.",
          queries: [
            [mostRisen("shuiwei_comparisons_total"), "comparisons"],
            [mostRisen("shuiwei_breaker_openings_total"), "opened"],
            [mostRisen("shuiwei_breaker_would_have_opened_total"), "would have opened"],
          ],
        }),
        table({
          title: "Pulled sources",
          about: "Pulls that failed or were refused since the last success. `shuiwei sources` has the reasons.",
          expression: most("shuiwei_source_failures", "source, kind"),
          columns: { source: "Source", kind: "What" },
          value: "Failures",
        }),
        chart({
          title: "Clocks of the sources",
          about: "How far a source's clock was ahead of the engine's. Snapshots are compared at a corrected instant.",
          unit: "s",
          min: -10,
          queries: [[most("shuiwei_source_clock_skew_seconds", "source"), "{{source}}"]],
        }),
      ],
    },
    {
      title: "What readers get through a CDN",
      cells: [
        chart({
          title: "Age of bodies at the edge",
          about:
            "Of 99 % of the bodies that `shuiwei edge watch` reads. Above 15 s the promise is broken: run `shuiwei edge check`.",
          unit: "s",
          limits: ["green", [13, "yellow"], [15, "red"]],
          queries: [[quantile(0.99, "shuiwei_edge_body_age_seconds", "edge"), "{{edge}}"]],
        }),
        chart({
          title: "Burn rate at the edge",
          about: "How fast the budget of the objective is spent; 1 is exactly the budget. If 1 h is above 14.4: act.",
          queries: [[most("shuiwei_edge_burn_rate", "edge, window"), "{{edge}} {{window}}"]],
        }),
        chart({
          title: "Readings at the edge",
          about: "In an hour, by outcome. If there are errors: the output of the watch says which.",
          queries: [[risen("shuiwei_edge_reads_total", "edge, outcome"), "{{edge}} {{outcome}}"]],
        }),
      ],
    },
    {
      title: "Proof and settlement",
      cells: [
        chart({
          title: "Balances compared with the log",
          about: "Comparisons of a balance with the log a second. If it is 0 while jobs run: no fault would be found.",
          unit: "ops",
          queries: [[rate("shuiwei_shadow_cells_checked_total"), "cells"]],
        }),
        chart({
          title: "Snapshots",
          about: "Snapshots that ended in an hour, by source and outcome. Refused ones have wrong content.",
          queries: [[risen("shuiwei_snapshots_total", "source, outcome"), "{{source}} {{outcome}}"]],
        }),
        chart({
          title: "Settlements",
          about: "Differing rows that somebody settled or rejected in an hour, by outcome.",
          queries: [[risen("shuiwei_settlements_total", "kind"), "{{kind}}"]],
        }),
      ],
    },
  ],
};
