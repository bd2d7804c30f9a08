/** Alerts about what readers get through a CDN or cache, as `shuiwei edge watch` sees it. */
import type { Alert } from "./alert-rule.js";

const burnsIn = (long: string, short: string, above: number): string =>
  [long, short]
    .map((window) => `max by (job, edge) (shuiwei_edge_burn_rate{window="${window}"}) > ${above}`)
    .join(" and ");

export const EDGE_ALERTS: readonly Alert[] = [
  {
    name: "ShuiweiEdgeBodyTooOld",
    severity: "critical",
    expression: 'sum by (job, edge) (increase(shuiwei_edge_reads_total{outcome="old"}[5m])) > 0',
    summary: "Readers of {{ $labels.edge }} of {{ $labels.job }} got stock that is older than 15 s",
    meaning: "A cache shows stock figures that are older than the promise (R6). Orders are decided by the ledger.",
    look: [
      "The panel Age of bodies at the edge: since when, and how old.",
      "`shuiwei edge check` with the address of a stock answer: it names the likely rule.",
      "The panel Age of the views: whether the engine itself is late.",
    ],
    act: [
      "Undo what was changed last in the CDN's console, or correct the rule that the check names.",
      "Delete the old answers there: purge /v1/stock and /v1/publication/manifest.json.",
    ],
  },
  {
    name: "ShuiweiEdgeBudgetBurns",
    severity: "warning",
    expression: `(${burnsIn("1h", "5m", 14.4)}) or (${burnsIn("6h", "30m", 6)})`,
    summary:
      "Too many bodies from {{ $labels.edge }} of {{ $labels.job }} are older than 13 s: {{ $value | humanize }} times the budget",
    meaning: "More bodies are older than 13 s than the objective allows. None needs to be older than 15 s yet.",
    look: [
      "The panels Age of bodies at the edge and Burn rate at the edge.",
      "The time that the edge needs for a reading: a slow way to the reader makes bodies older.",
    ],
    act: [
      "`shuiwei edge check`: a cache in the row may count a lifetime anew.",
      "Raise --edge-tiers of serve to the number of caches in the row.",
      "Repair the slow way between the edge and the engine.",
    ],
  },
  {
    name: "ShuiweiEdgeNotJudged",
    severity: "warning",
    expression:
      'sum by (job, edge) (increase(shuiwei_edge_reads_total{outcome=~"error|unjudged"}[5m])) / sum by (job, edge) (increase(shuiwei_edge_reads_total[5m])) > 0.5',
    for: "5m",
    summary: "Most readings of {{ $labels.edge }} of {{ $labels.job }} have no body whose age can be judged",
    meaning: "The edge answers with errors, is not reached, or the watching machine's clock is wrong.",
    look: [
      "The output of `shuiwei edge watch`: it names the status or the reason.",
      "/readyz of the engine: it refuses stock answers while its views are late.",
    ],
    act: ["Repair the edge, the engine, or the clock of the watching machine (NTP)."],
  },
];
