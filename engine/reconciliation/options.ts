/** Options of reconciliation: how long snapshots are kept, and how often the engine reports its own published stock. */
import { defineOptions } from "../kernel/options.js";

export const reconciliationOptions = defineOptions({
  snapshotsKept: {
    type: "integer",
    default: 8,
    min: 2,
    max: 100,
    unit: "snapshots",
    about: "complete snapshots that are kept of each source",
  },
  snapshotRetentionMs: {
    type: "duration",
    default: 7 * 86_400_000,
    min: 3_600_000,
    max: 90 * 86_400_000,
    about: "how long a snapshot is kept at most",
  },
  publishedEveryMs: {
    type: "duration",
    default: 300_000,
    min: 0,
    max: 86_400_000,
    about: "how often what the storefront is shown becomes a snapshot of the source published; 0: never",
  },
});
