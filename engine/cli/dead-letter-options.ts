/** The options of `shuiwei dead-letters`. */
import { defineOptions, joinOptions, type OptionValues } from "../kernel/options.js";
import { MAX_PARTITIONS } from "../stream/partition.js";
import { deploymentOptions } from "./deployment-options.js";

export const deadLettersOptions = joinOptions(
  deploymentOptions,
  defineOptions({
    from: {
      type: "string",
      default: "stock",
      pattern: /[a-z0-9-]{1,32}(\/[a-z0-9-]{1,32})?/,
      expects: "a topic such as stock or orders, or a sink of one such as orders/wms",
      about: "dead letters of a topic's jobs, or of a sink that delivers what they emit",
    },
    partition: { type: "integer", min: 0, max: MAX_PARTITIONS - 1, about: "only dead letters of this partition" },
    actor: {
      type: "string",
      pattern: /[A-Za-z0-9][A-Za-z0-9._@-]{0,63}/,
      expects: "up to 64 letters, digits, dots, dashes, underscores or @",
      about: "who replays or removes, recorded as cli:NAME; default: the user of this machine",
    },
    job: { type: "string", about: "only dead letters of this job, for example depletion.1" },
    json: { type: "boolean", about: "one line of JSON for each dead letter" },
    wait: {
      type: "boolean",
      default: true,
      about: "wait until they have been processed again; --no-wait only requests it",
    },
  }),
);

export type DeadLetterOptions = OptionValues<typeof deadLettersOptions>;
