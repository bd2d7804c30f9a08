/**
 * `shuiwei dead-letters`: the command with which an operator lists, replays and removes records that could not be
 * processed or delivered. Its work is in dead-letter-commands.ts.
 */
import { defineCommand } from "./command.js";
import { deadLettersOptions } from "./dead-letter-options.js";

export const command = defineCommand({
  name: "dead-letters",
  about: "records that could not be processed: list, show, replay or remove them",
  operands: "ACTION [ID…]",
  more: `  list              every dead letter: id, when, job, event or timer, key, tries, reason
  show ID…          all details: reason, event, the log entry's bytes
  replay ID… | all  the partition's worker processes them once more, each with the job that failed: at most once, and what the job then emits
                    is delivered. An event whose window is over by now counts as late. One that fails again stays, under a new id.
  remove ID… | all  delete them
  history           who has replayed or removed dead letters (engine: to make room), the newest last

Dead letters are kept for 30 days. Status 1: a dead letter does not exist, failed again, or was not processed in time.

`,
  options: deadLettersOptions,
  async run({ values, operands, signal }) {
    const { runDeadLetters } = await import("./dead-letter-commands.js");
    await runDeadLetters(operands, values, signal);
  },
});
