#!/usr/bin/env node
/**
 * The `shuiwei` command: sets up what is missing, then becomes the built engine/cli/main.ts in this same process, so
 * that arguments, signals, the working directory and the exit status are the command's own. Help needs no Redis, and
 * neither does a command that is given one by address.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { fail, ROOT, SetupFault, setUp } from "./setup.mjs";

const args = process.argv.slice(2);
const asksOnly =
  args.length === 0 || ["help", "version"].includes(args[0]) || args.some((arg) => /^(-h|--help|--version)$/.test(arg));
const hasRedis = Boolean(process.env.SHUIWEI_REDIS_URL) || args.some((arg) => /^--redis-url(=|$)/.test(arg));
const cli = join(ROOT, "dist", "engine", "cli", "main.js");

try {
  await setUp({ dev: false, redis: !asksOnly && !hasRedis, build: true });
  if (!existsSync(cli)) throw new SetupFault(`there is neither a build nor its sources in ${ROOT}`);
} catch (thrown) {
  fail(thrown);
}
await import(pathToFileURL(cli).href);
