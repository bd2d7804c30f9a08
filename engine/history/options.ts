/** Options of the archive. Processes that serve and processes that work are given the same ones. */
import { defineOptions } from "../kernel/options.js";

export const HISTORY_CHOICES = ["auto", "redis", "time-series", "off"] as const;

export const historyOptions = defineOptions({
  history: {
    type: "choice",
    choices: HISTORY_CHOICES,
    default: "auto",
    about:
      "where depletion and stock of each SKU and figures of the engine are recorded by the minute: in time series where the Redis has them, else in a compact form; redis: always the latter",
  },
  archive: {
    type: "boolean",
    about:
      "archive the logs of stock and orders, with each day's closing balances, to the object storage, and read what the log no longer has from there",
  },
  archiveRetentionMs: {
    type: "duration",
    default: 0,
    min: 0,
    // 10 years.
    max: 3_650 * 86_400_000,
    about: "how long the archive keeps entries; 0: without end",
  },
});
