/**
 * `shuiwei backup` and `shuiwei restore`. A backup is a folder with one file of each primary, streamed over a
 * replica's connection, and a manifest. A file is one moment of its primary, and a partition lies on one primary:
 * balances, log, lines and job states of a partition agree. Partitions of different primaries are a few seconds
 * apart, as after a failover: a client that was not answered sends again. A restore verifies every byte, loads the
 * files into a private Redis of its own and copies the deployment's keys from there, so one Redis and a Cluster of
 * any size can be restored to each other; it never touches a deployment that is there. `shuiwei audit` is the proof
 * of what came of it.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { chmod, copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { type backupOptions, environmentWith, type restoreOptions } from "../app/config.js";
import { withDeployment } from "../app/deployment.js";
import { releaseVersion } from "../app/release.js";
import { sleep, systemClock } from "../kernel/clock.js";
import { badInput, EngineError, messageOf } from "../kernel/errors.js";
import type { OptionValues } from "../kernel/options.js";
import { holdsData, runningSocket, startRedis } from "../redis/embedded.js";
import { checkFormat, createDeployment, readDeployment } from "../stream/format.js";
import { deploymentKey, keysOfDeployment, pairingKey, sessionsKey } from "../stream/keys.js";
import { connect, knownPrimaries, type NodeAddress, nodeAddress, type RedisClient } from "../stream/redis.js";

interface BackedUpFile {
  name: string;
  bytes: number;
  sha256: string;
}

interface Manifest {
  /** Of this very file; another number is refused. */
  version: 1;
  madeAt: string;
  release: string;
  prefix: string;
  partitions: number;
  format: number;
  /** One a primary. */
  files: BackedUpFile[];
}

const MANIFEST = "manifest.json";
const COPIED_AT_ONCE = 16;
const SCAN_COUNT = 1_000;
const WAIT_MS = 50;
const run = promisify(execFile);

/**
 * Writes a backup of a deployment's whole Redis.
 * @throws EngineError `bad_input` when the folder is not empty or there is no deployment, `backup_failed` when a
 *   primary does not give its data
 */
export async function runBackup(options: OptionValues<typeof backupOptions>): Promise<void> {
  const { prefix, out } = options;
  await withDeployment("backup", options, async ({ redis, partitions, format }) => {
    await mkdir(out, { recursive: true, mode: 0o700 });
    if ((await readdir(out)).length > 0) throw badInput("backup", "--out", `${out} is not empty`);
    // What is in it concerns buyers.
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
    const manifest: Manifest = {
      version: 1,
      madeAt: new Date(systemClock.now()).toISOString(),
      release: releaseVersion(),
      ...{ prefix, partitions, format, files },
    };
    // Written last: a folder without it is no backup.
    await writeFile(join(out, MANIFEST), `${JSON.stringify(manifest, null, 2)}\n`, { mode: 0o600 });
    const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
    process.stdout.write(
      `backup of deployment ${prefix} in ${out}: ${files.length} file${files.length === 1 ? "" : "s"}, ${bytes} bytes\n`,
    );
  });
}

/** Redis' own client asks as a replica would, and writes what it is given. */
async function fetchData(address: NodeAddress, path: string): Promise<void> {
  const { socketPath, host, port, username, password, tls } = address;
  const place = socketPath === undefined ? ["-h", host ?? "127.0.0.1", "-p", String(port)] : ["-s", socketPath];
  const args = [...place, ...(username ? ["--user", username] : []), ...(tls ? ["--tls"] : []), "--rdb", path];
  try {
    // Not among the arguments, which every user of the machine may read.
    await run("redis-cli", args, { env: environmentWith(password ? { REDISCLI_AUTH: password } : {}) });
  } catch (cause) {
    const detail = { op: "backup", code: "backup_failed", retryable: true, place: place.join(" ") };
    throw new EngineError(`redis-cli could not fetch the data of ${place[1]}: ${messageOf(cause)}`, detail, { cause });
  }
}

async function describeFile(path: string): Promise<BackedUpFile> {
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const part of createReadStream(path)) {
    hash.update(part as Buffer);
    bytes += (part as Buffer).length;
  }
  return { name: basename(path), bytes, sha256: hash.digest("hex") };
}

/**
 * Copies a backed-up deployment to where there is none.
 * @throws EngineError `bad_input` when the folder is no sound backup or a deployment is there, `format_too_new` when
 *   a newer release has made it
 */
export async function runRestore([folder]: string[], options: OptionValues<typeof restoreOptions>): Promise<void> {
  if (folder === undefined) throw badInput("restore", "FOLDER", "name the folder of the backup");
  const manifest = await readManifest(folder);
  checkFormat(manifest.format);
  for (const file of manifest.files) await verify(folder, file);
  const { redisUrl, dir } = options;
  if (redisUrl === undefined && ((await holdsData(dir)) || (await runningSocket(dir)) !== undefined))
    throw badInput("restore", "--dir", `${dir} holds data; a restore needs a folder without`);
  const own = redisUrl === undefined ? await startRedis({ dir }) : undefined;
  const target = connect({ url: redisUrl ?? (own?.socketPath as string) });
  try {
    await target.ping();
    const { prefix } = manifest;
    if (await readDeployment(target, prefix))
      throw badInput(
        "restore",
        "--redis-url",
        `there is a deployment "${prefix}" already; a restore never replaces one`,
      );
    let keys = 0;
    for (const { name } of manifest.files) keys += await copyFrom(join(folder, name), target, prefix);
    // Last, so that a restore that was interrupted is no deployment.
    await finishRestore(target, manifest);
    process.stdout.write(
      `deployment ${prefix} restored as of ${manifest.madeAt}: ${keys} keys; "shuiwei audit" proves it before it is used\n`,
    );
  } finally {
    target.disconnect();
    await own?.stop();
  }
}

async function readManifest(folder: string): Promise<Manifest> {
  const text = await readFile(join(folder, MANIFEST), "utf8").catch(() => undefined);
  if (text === undefined) throw badInput("restore", "FOLDER", `${folder} has no ${MANIFEST}: it is no finished backup`);
  let manifest: Partial<Manifest>;
  try {
    manifest = JSON.parse(text) as Partial<Manifest>;
  } catch {
    throw badInput("restore", "FOLDER", `${join(folder, MANIFEST)} cannot be read`);
  }
  const { version, files, prefix, partitions } = manifest;
  if (version !== 1 || !files?.length || !prefix || !partitions)
    throw badInput("restore", "FOLDER", `${join(folder, MANIFEST)} is not one of a backup that this release can read`);
  return manifest as Manifest;
}

async function verify(folder: string, expected: BackedUpFile): Promise<void> {
  const path = join(folder, basename(expected.name));
  const found = await describeFile(path).catch(() => undefined);
  if (!found) throw badInput("restore", "FOLDER", `${path} is missing`);
  if (found.bytes !== expected.bytes || found.sha256 !== expected.sha256)
    throw badInput("restore", "FOLDER", `${path} is damaged: it is not what the manifest tells`);
}

/** Loads a file into a Redis of its own and copies the deployment's keys from it. @returns how many */
async function copyFrom(file: string, target: RedisClient, prefix: string): Promise<number> {
  const dir = await mkdtemp(join(tmpdir(), "shuiwei-restore-"));
  try {
    await copyFile(file, join(dir, "backup.rdb"));
    const server = await startRedis({ dir, persistence: false, extraArgs: ["--dbfilename", "backup.rdb"] });
    const source = connect({ url: server.socketPath });
    try {
      return await copyKeys(source, target, prefix);
    } finally {
      source.disconnect();
      await server.stop();
    }
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** Sessions that were ended since, and codes that were used, would be good again. */
const isLeftOut = (key: string, prefix: string): boolean =>
  key === deploymentKey(prefix) || key === sessionsKey(prefix) || key.startsWith(pairingKey(prefix, ""));

async function copyKeys(source: RedisClient, target: RedisClient, prefix: string): Promise<number> {
  let copied = 0;
  let cursor = "0";
  do {
    const [next, keys] = await source.scan(cursor, "MATCH", keysOfDeployment(prefix), "COUNT", SCAN_COUNT);
    cursor = next;
    const wanted = keys.filter((key) => !isLeftOut(key, prefix));
    for (let from = 0; from < wanted.length; from += COPIED_AT_ONCE)
      await Promise.all(
        wanted.slice(from, from + COPIED_AT_ONCE).map(async (key) => {
          const [bytes, leftMs] = await Promise.all([source.dumpBuffer(key), source.pttl(key)]);
          // Its time may have ended meanwhile. What an interrupted restore has left is replaced.
          if (bytes && leftMs !== -2) await target.restore(key, Math.max(0, leftMs), bytes, "REPLACE");
        }),
      );
    copied += wanted.length;
  } while (cursor !== "0");
  return copied;
}

/** Makes the copied keys a deployment, and waits until they are in the append-only file where one is written anew. */
async function finishRestore(target: RedisClient, { prefix, partitions, format }: Manifest): Promise<void> {
  await createDeployment(target, prefix, { partitions, format });
  for (const node of await knownPrimaries(target))
    while (/aof_rewrite_(?:in_progress|scheduled):1/.test(await node.info("persistence"))) await sleep(WAIT_MS);
}
