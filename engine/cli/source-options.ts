/** The options that only `shuiwei sources` has. */
import { defineOptions } from "../kernel/options.js";

export const sourcesCommandOptions = defineOptions({
  source: { type: "string", about: "run: this source only; all when left out" },
  once: { type: "boolean", about: "run: one pull of each source; required" },
  dryRun: { type: "boolean", about: "run: store and acknowledge nothing" },
  offline: { type: "boolean", about: "check: do not ask the sources for rows" },
  waitMs: {
    type: "duration",
    default: 60_000,
    min: 1_000,
    max: 3_600_000,
    about: "run: how long to wait for the pulls",
  },
  json: { type: "boolean", about: "list: one line of JSON" },
});
