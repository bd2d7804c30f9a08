/**
 * `shuiwei dead-letters`: the options and help of the command with which an operator lists, replays and removes
 * records that could not be processed or delivered. Its work is in dead-letter-commands.ts.
 */
import { defineOptions, joinOptions, type OptionValues } from "../kernel/options.js";
import { MAX_PARTITIONS } from "../stream/partition.js";
import { defineCommand } from "./command.js";
import { deploymentOptions } from "./deployment-options.js";

const deadLettersOptions = joinOptions(
  deploymentOptions,
  defineOptions({
    from: {
      type: "string",
      default: "stock",
      pattern: /(stock|orders)(\/[a-z0-9-]{1,32})?/,
      expects: "a topic (stock, orders), or a sink of one such as orders/wms",
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

export const command = defineCommand({
  name: "dead-letters",
  about: "records that could not be processed: list, show, replay or remove them",
  operands: "ACTION [ID…]",
  more: `  list              every dead letter: id, when, job, event or timer, key, tries, reason
  show ID…          all details: reason, event, the log entry's bytes
  replay ID… | all  the partition's worker processes them once more, each with the job that failed: at most once, and what the job then emits
                    is delivered. An event whose window is over by now counts as late. One that fails again stays, under a new id.
  remove ID… | all  delete them
  history           who has replayed or removed dead letters, the newest last

Dead letters are kept for 30 days. Status 1: a dead letter does not exist, failed again, or was not processed in time.

`,
  options: deadLettersOptions,
  async run({ values, operands, signal }) {
    const { runDeadLetters } = await import("./dead-letter-commands.js");
    await runDeadLetters(operands, values, signal);
  },
});
