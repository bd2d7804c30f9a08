/**
 * `shuiwei restore`: verifies every byte of a backup, loads each file into a temporary private Redis and copies the
 * deployment's keys from there; so one Redis and a Cluster of any size can be restored to each other. It never
 * changes a deployment that exists. The deployment's own key is written last: an interrupted restore leaves no
 * deployment and can be repeated. `shuiwei audit` then checks the result.
 */
import { copyFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sleep } from "../kernel/clock.js";
import { badInput } from "../kernel/errors.js";
import { holdsData, runningSocket, startRedis } from "../redis/embedded.js";
import { checkFormat, createDeployment, readDeployment } from "../stream/format.js";
import { deploymentKey, keysOfDeployment, pairingKey, sessionsKey } from "../stream/keys.js";
import { connect, knownPrimaries, type RedisClient } from "../stream/redis.js";
import { type Manifest, readManifest, verifyFiles } from "./backup-folder.js";
import { defineCommand } from "./command.js";
import { targetOptions } from "./deployment-options.js";
import { printLine } from "./text.js";

const COPIED_AT_ONCE = 16;
const SCAN_COUNT = 1_000;
const WAIT_MS = 50;

export const command = defineCommand({
  name: "restore",
  about: "load a backup into a Redis, a Cluster or a private folder where the deployment does not exist",
  operands: "FOLDER",
  more: `Verifies every byte first, and never replaces a deployment. Start no process on it before "shuiwei audit" has agreed. Everything that was
answered after the backup is lost: compare with the warehouse and the shop (an order that they have and the restored deployment has not can be
placed again under its id).

`,
  options: targetOptions,
  /**
   * @throws EngineError `bad_input` when the folder is no complete backup or the deployment exists, `format_too_new`
   *   when a newer release has made it
   */
  async run({ values: { redisUrl, dir }, operands: [folder] }) {
    if (folder === undefined) throw badInput("restore", "FOLDER", "name the folder of the backup");
    const manifest = await readManifest(folder);
    checkFormat(manifest.format);
    await verifyFiles(folder, manifest);
    if (redisUrl === undefined && ((await holdsData(dir)) || (await runningSocket(dir)) !== undefined))
      throw badInput("restore", "--dir", `${dir} holds data; a restore needs a folder without`);
    const own = redisUrl === undefined ? await startRedis({ dir }) : undefined;
    const target = connect({ url: redisUrl ?? (own?.socketPath as string) });
    try {
      const keys = await restoreTo(target, folder, manifest);
      printLine(
        `deployment ${manifest.prefix} restored as of ${manifest.madeAt}: ${keys} keys; run "shuiwei audit" before you use it`,
      );
    } finally {
      target.disconnect();
      await own?.stop();
    }
  },
});

/** @returns how many keys were copied */
async function restoreTo(target: RedisClient, folder: string, manifest: Manifest): Promise<number> {
  const { prefix } = manifest;
  await target.ping();
  if (await readDeployment(target, prefix))
    throw badInput("restore", "--redis-url", `there is a deployment "${prefix}" already; a restore never replaces one`);
  let keys = 0;
  for (const { name } of manifest.files) keys += await copyFrom(join(folder, name), target, prefix);
  await finishRestore(target, manifest);
  return keys;
}

/** Loads a file into a temporary private Redis and copies the deployment's keys from it. @returns how many */
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

/** Sessions that were ended since the backup, and pairing codes that were used, would be valid again. */
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
          // The key may have expired meanwhile. What an interrupted restore has left is replaced.
          if (bytes && leftMs !== -2) await target.restore(key, Math.max(0, leftMs), bytes, "REPLACE");
        }),
      );
    copied += wanted.length;
  } while (cursor !== "0");
  return copied;
}

/** Makes the copied keys a deployment, and waits until a rewrite of the append-only file has saved them. */
async function finishRestore(target: RedisClient, { prefix, partitions, format }: Manifest): Promise<void> {
  await createDeployment(target, prefix, { partitions, format });
  for (const node of await knownPrimaries(target))
    while (/aof_rewrite_(?:in_progress|scheduled):1/.test(await node.info("persistence"))) await sleep(WAIT_MS);
}
