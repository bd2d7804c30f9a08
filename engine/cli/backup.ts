/**
 * `shuiwei backup`: writes a folder with one file of each primary, streamed over a replication connection, and a
 * manifest. A file is one moment of its primary, and a partition is stored on one primary, so balances, log, lines
 * and job states of a partition agree. Partitions of different primaries are a few seconds apart, as after a
 * failover: a client without an answer sends its command again. It does not stop the engine.
 */
import { execFile } from "node:child_process";
import { chmod, mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { environmentWith } from "../app/config.js";
import { withDeployment } from "../app/deployment.js";
import { releaseVersion } from "../app/release.js";
import { systemClock } from "../kernel/clock.js";
import { badInput, EngineError, messageOf } from "../kernel/errors.js";
import { defineOptions, joinOptions } from "../kernel/options.js";
import { knownPrimaries, type NodeAddress, nodeAddress } from "../stream/redis.js";
import { describeFile, writeManifest } from "./backup-folder.js";
import { defineCommand } from "./command.js";
import { deploymentOptions } from "./deployment-options.js";
import { counted, printLine } from "./text.js";

const runProgram = promisify(execFile);

export const command = defineCommand({
  name: "backup",
  about: "copy the whole Redis of a deployment (one Redis or a Cluster) into a folder while the engine runs",
  more: `Needs redis-cli, and a Redis user that may replicate. Every file is one moment of its primary; those of a Cluster are seconds apart. Objects
under --objects-url are not included. A backup holds personal data of buyers: only its owner can read it.

`,
  options: joinOptions(
    deploymentOptions,
    defineOptions({
      out: { type: "string", required: true, about: "the folder for the backup; it must be empty or not exist" },
    }),
  ),
  /** @throws EngineError `bad_input` when the folder is not empty, `backup_failed` when a primary sends no data */
  async run({ values }) {
    const { prefix, out } = values;
    await withDeployment("backup", values, async ({ redis, partitions, format }) => {
      await mkdir(out, { recursive: true, mode: 0o700 });
      if ((await readdir(out)).length > 0) throw badInput("backup", "--out", `${out} is not empty`);
      // The folder may have existed before; a backup holds personal data of buyers.
      await chmod(out, 0o700);
      const nodes = await knownPrimaries(redis);
      const files = await Promise.all(
        nodes.map(async (node, i) => {
          const path = join(out, `primary-${i + 1}.rdb`);
          await writeFile(path, "", { mode: 0o600 });
          await fetchData(nodeAddress(node), path);
          return describeFile(path);
        }),
      );
      const madeAt = new Date(systemClock.now()).toISOString();
      await writeManifest(out, { version: 1, madeAt, release: releaseVersion(), prefix, partitions, format, files });
      const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
      printLine(`backup of deployment ${prefix} in ${out}: ${counted(files.length, "file")}, ${bytes} bytes`);
    });
  },
});

/** Lets redis-cli request the data as a replica would, and write it to a file. */
async function fetchData(address: NodeAddress, path: string): Promise<void> {
  const { socketPath, host, port, username, password, tls } = address;
  const place = socketPath === undefined ? ["-h", host ?? "127.0.0.1", "-p", String(port)] : ["-s", socketPath];
  const args = [...place, ...(username ? ["--user", username] : []), ...(tls ? ["--tls"] : []), "--rdb", path];
  try {
    // The password is not an argument: every user of the machine can read those.
    await runProgram("redis-cli", args, { env: environmentWith(password ? { REDISCLI_AUTH: password } : {}) });
  } catch (cause) {
    const detail = { op: "backup", code: "backup_failed", retryable: true, place: place.join(" ") };
    throw new EngineError(`redis-cli could not get the data of ${place[1]}: ${messageOf(cause)}`, detail, { cause });
  }
}
