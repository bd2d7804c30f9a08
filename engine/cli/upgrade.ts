/**
 * `shuiwei upgrade`: the end of a rollout. Without `--finish` it tells the deployment's format and which processes of
 * which release are there. With it, it raises the format to this release's, after which releases that cannot read it
 * are refused at their start; it refuses while one of them lives. It takes no lease and stops nothing; done twice it
 * changes nothing more.
 */
import type { upgradeOptions } from "../app/config.js";
import { withDeployment } from "../app/deployment.js";
import { EngineError } from "../kernel/errors.js";
import type { OptionValues } from "../kernel/options.js";
import { callsOldLibrary, deleteOldLibraries, type Fleet, outdatedProcesses, readFleet } from "../stream/fleet.js";
import { LATEST_FORMAT, raiseFormat } from "../stream/format.js";
import type { RedisClient } from "../stream/redis.js";

/**
 * @throws EngineError `upgrade_too_early` when a process that cannot read the latest format lives, `bad_input` when
 *   there is no deployment
 */
export async function runUpgrade(options: OptionValues<typeof upgradeOptions>): Promise<void> {
  const { prefix, finish, force, json } = options;
  await withDeployment("upgrade", options, async ({ redis, format }) => {
    const fleet = await readFleet(redis, prefix);
    if (finish && format < LATEST_FORMAT) {
      if (!force) await refuseWhileOld(redis, fleet);
      await raiseFormat(redis, prefix, LATEST_FORMAT);
    }
    // Done again when it was interrupted last time; whoever still wanted them would load them.
    if (finish) await deleteOldLibraries(redis);
    const reached = finish ? LATEST_FORMAT : format;
    process.stdout.write(
      json
        ? `${JSON.stringify({ prefix, format: reached, latestFormat: LATEST_FORMAT, ...fleet })}\n`
        : textOf(prefix, reached, fleet),
    );
  });
}

async function refuseWhileOld(redis: RedisClient, fleet: Fleet): Promise<void> {
  const old = outdatedProcesses(fleet);
  if (old.length === 0 && !(await callsOldLibrary(redis))) return;
  const who =
    old.length > 0 ? `${old.join(", ")} cannot read format ${LATEST_FORMAT}` : "a process of the first release lives";
  throw new EngineError(`${who}: end it first, or finish with --force when it is not of this deployment`, {
    op: "upgrade",
    code: "upgrade_too_early",
    retryable: true,
  });
}

function textOf(prefix: string, format: number, fleet: Fleet): string {
  const lines = [
    format < LATEST_FORMAT
      ? `deployment ${prefix} writes format ${format}; this release can write ${LATEST_FORMAT}: "shuiwei upgrade --finish" when every process is of it`
      : `deployment ${prefix} writes format ${format}, the latest of this release`,
    ...fleet.members.map(
      ({ name, release, format: reads, runsJobs, seenMsAgo }) =>
        `${name}: release ${release}, reads up to format ${reads}, ${runsJobs ? "runs jobs" : "serves"}, seen ${Math.round(seenMsAgo / 1_000)} s ago`,
    ),
    ...fleet.unknownWorkers.map((name) => `${name}: of a release that does not tell its format, runs jobs`),
  ];
  return `${lines.join("\n")}\n`;
}
