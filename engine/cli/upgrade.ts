/**
 * `shuiwei upgrade`: the end of a rollout. Without `--finish` it prints the deployment's format and the running
 * processes with their releases. With it, it raises the format to this release's; from then on releases that cannot
 * read it are refused at their start. It refuses to do so while such a process is running. It takes no lease and
 * stops nothing; a second run changes nothing more.
 */
import { withDeployment } from "../app/deployment.js";
import { EngineError } from "../kernel/errors.js";
import { defineOptions, joinOptions } from "../kernel/options.js";
import { callsOldLibrary, deleteOldLibraries, type Fleet, outdatedProcesses, readFleet } from "../stream/fleet.js";
import { LATEST_FORMAT, raiseFormat } from "../stream/format.js";
import type { RedisClient } from "../stream/redis.js";
import { defineCommand } from "./command.js";
import { deploymentOptions } from "./deployment-options.js";

export const command = defineCommand({
  name: "upgrade",
  about: "finish a rollout: show the stored format and the running processes, change to the latest format",
  more: `Old and new processes may run at the same time. Replace them one by one; when all are new, run "shuiwei upgrade --finish". Until then the new
ones write what the old ones can read, and you can go back; afterwards the old release is refused. A process of the first release that serves
is found by the library that it calls; one that is frozen is not found.

`,
  options: joinOptions(
    deploymentOptions,
    defineOptions({
      finish: {
        type: "boolean",
        about: "write the latest format from now on; refused while a process runs that cannot read it",
      },
      force: { type: "boolean", about: "with --finish: do not check which processes run" },
      json: { type: "boolean", about: "one line of JSON instead of text" },
    }),
  ),
  /** @throws EngineError `upgrade_too_early` when a process runs that cannot read the latest format */
  async run({ values }) {
    const { prefix, finish, force, json } = values;
    await withDeployment("upgrade", values, async ({ redis, format }) => {
      const fleet = await readFleet(redis, prefix);
      if (finish && format < LATEST_FORMAT) {
        if (!force) await refuseWhileOld(redis, fleet);
        await raiseFormat(redis, prefix, LATEST_FORMAT);
      }
      // Also with the latest format: an earlier run may have been interrupted. A process that needs one loads it again.
      if (finish) await deleteOldLibraries(redis);
      const reached = finish ? LATEST_FORMAT : format;
      process.stdout.write(
        json
          ? `${JSON.stringify({ prefix, format: reached, latestFormat: LATEST_FORMAT, ...fleet })}\n`
          : textOf(prefix, reached, fleet),
      );
    });
  },
});

async function refuseWhileOld(redis: RedisClient, fleet: Fleet): Promise<void> {
  const old = outdatedProcesses(fleet);
  if (old.length === 0 && !(await callsOldLibrary(redis))) return;
  const who =
    old.length > 0
      ? `${old.join(", ")} cannot read format ${LATEST_FORMAT}`
      : "a process of the first release is running";
  throw new EngineError(`${who}: stop it first, or add --force when it does not belong to this deployment`, {
    op: "upgrade",
    code: "upgrade_too_early",
    retryable: true,
  });
}

function textOf(prefix: string, format: number, fleet: Fleet): string {
  const lines = [
    format < LATEST_FORMAT
      ? `deployment ${prefix} writes format ${format}; this release can write ${LATEST_FORMAT}: run "shuiwei upgrade --finish" when every process is of this release`
      : `deployment ${prefix} writes format ${format}, the latest of this release`,
    ...fleet.members.map(
      ({ name, release, format: reads, runsJobs, seenMsAgo }) =>
        `${name}: release ${release}, reads up to format ${reads}, ${runsJobs ? "runs jobs" : "serves"}, seen ${Math.round(seenMsAgo / 1_000)} s ago`,
    ),
    ...fleet.unknownWorkers.map((name) => `${name}: of a release that does not report its format, runs jobs`),
  ];
  return `${lines.join("\n")}\n`;
}
