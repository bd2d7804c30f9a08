/**
 * Makes a fresh clone ready to run: packages, Redis, build; each step announced in one line on stderr, and silent
 * when there is nothing to do. Plain JavaScript without dependencies, because it runs before there are any. Several
 * processes may start at once: one works, the others wait for it; a build appears whole or not at all. Something that
 * is wrong with the machine (no network, no npm, no right to install) is a SetupFault: one line for a person, no
 * stack trace. A shipped build without sources is left as it is.
 */
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { constants } from "node:os";
import { basename, dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder of package.json. */
export const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const DIST = join(ROOT, "dist");
const STAMP = join(DIST, ".stamp");
const LOCK = join(ROOT, ".shuiwei", "setup.lock");

const OLDEST_NODE = [20, 19];
const OLDEST_REDIS = [7, 0];
const SOURCE_FOLDERS = ["engine", "connectors", "dashboards", "bench"];
const SOURCE_FILES = ["package-lock.json", "tsconfig.json", "tsconfig.build.json"];
/** What the compiler or the bundler reads; everything else beside a module is copied beside its compiled form. */
const NOT_AN_ASSET = /\.([cm]?tsx?|mjs|md)$/;
/** A document that `shuiwei dashboards` writes. */
const RUNBOOK = join("dashboards", "grafana", "README.md");
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"];
const LOCK_POLL_MS = 200;
/** A cold `npm ci`, an install of Redis and a build take one to three minutes on two cores. */
const LOCK_STALE_MS = 15 * 60_000;

/** An expected fault: its message is all a person needs. */
export class SetupFault extends Error {}

export function say(text) {
  process.stderr.write(`shuiwei: ${text}\n`);
}

/** Reports what a set-up or a start threw, and ends the process with status 1. */
export function fail(thrown) {
  if (thrown instanceof SetupFault) say(thrown.message);
  else console.error(thrown);
  process.exit(1);
}

/**
 * Does what is missing.
 * @param needs `dev`: the packages of developers too; `redis`: a redis-server on this machine; `build`: an up-to-date
 *   dist
 */
export async function setUp(needs) {
  refuseOldNode();
  const steps = () => [needsPackages(needs) && installPackages, needs.build && needsBuild() && build].filter(Boolean);
  if (steps().length > 0) {
    await alone(async () => {
      // Another process may have done it meanwhile.
      for (const step of steps()) await step();
    });
  }
  if (needs.redis && needsRedis()) await installRedis();
}

/**
 * Runs a program with its output on stderr. Resolves with its status; a missing program has 127. A signal that would
 * end this process ends the program too.
 */
export function run(program, args, options = {}) {
  return new Promise((resolve) => {
    const child = spawn(program, args, { cwd: ROOT, stdio: ["ignore", 2, 2], ...options });
    const onSignal = (signal) => {
      child.kill(signal);
      process.exit(128 + constants.signals[signal]);
    };
    const done = (status) => {
      for (const signal of SIGNALS) process.off(signal, onSignal);
      resolve(status);
    };
    for (const signal of SIGNALS) process.on(signal, onSignal);
    child.once("error", () => done(127));
    child.once("exit", (status, signal) => done(status ?? 128 + constants.signals[signal]));
  });
}

function refuseOldNode() {
  if (isAtLeast(process.versions.node, OLDEST_NODE)) return;
  throw new SetupFault(`needs Node ${OLDEST_NODE.join(".")} or newer; this is ${process.versions.node}`);
}

function isAtLeast(version, [major, minor]) {
  const [foundMajor, foundMinor] = version.split(".").map(Number);
  return foundMajor > major || (foundMajor === major && foundMinor >= minor);
}

/* ---- packages ---- */

const hasSources = () => fs.existsSync(join(ROOT, "tsconfig.build.json"));

/** Compares npm's record of what it installed with the lock: also right after npm was run by hand. */
function needsPackages(needs) {
  const lock = packagesIn(join(ROOT, "package-lock.json"));
  if (lock === undefined) return false;
  const installed = packagesIn(join(ROOT, "node_modules", ".package-lock.json")) ?? {};
  const dev = needs.dev || (needs.build && needsBuild());
  return Object.entries(lock).some(
    ([path, entry]) =>
      path !== "" &&
      !entry.optional &&
      !entry.devOptional &&
      (dev || !entry.dev) &&
      (installed[path]?.version !== entry.version || installed[path]?.integrity !== entry.integrity),
  );
}

function packagesIn(path) {
  try {
    return JSON.parse(fs.readFileSync(path, "utf8")).packages;
  } catch {
    return undefined;
  }
}

async function installPackages() {
  say("installing packages (npm ci)");
  const status = await run("npm", ["ci", "--include=dev", "--no-audit", "--no-fund", "--loglevel=error"]);
  if (status === 127) throw new SetupFault("npm is not on the PATH; it comes with Node");
  if (status !== 0) throw new SetupFault(`the packages could not be installed: npm ci ended with status ${status}`);
}

/* ---- Redis ---- */

/** The version of the redis-server on the PATH (or of a Valkey by that name), or undefined. */
function redisVersion() {
  try {
    const output = execFileSync("redis-server", ["--version"], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    return /v=(\d+\.\d+\.\d+)/.exec(output)?.[1];
  } catch {
    return undefined;
  }
}

function needsRedis() {
  const version = redisVersion();
  return version === undefined || !isAtLeast(version, OLDEST_REDIS);
}

const APT_SCRIPT = `
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  trap 'exit 1' INT TERM HUP
  printf '#!/bin/sh\\nexit 101\\n' > "$policy" && chmod 755 "$policy"
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq -o DPkg::Lock::Timeout=300 \\
  --no-install-recommends redis-server > /dev/null || exit 1
update-rc.d redis-server disable > /dev/null 2>&1 || true`;

/** Each installs the program and starts no service of the machine's own. */
const MANAGERS = [
  { program: "apt-get", asRoot: true, command: ["sh", "-c", APT_SCRIPT], byHand: "apt-get install redis-server" },
  { program: "dnf", asRoot: true, command: ["dnf", "install", "-y", "-q", "redis"], byHand: "dnf install redis" },
  { program: "brew", asRoot: false, command: ["brew", "install", "--quiet", "redis"], byHand: "brew install redis" },
];

async function installRedis() {
  const wanted = `Redis ${OLDEST_REDIS.join(".")} or newer`;
  const old = redisVersion();
  if (old !== undefined)
    throw new SetupFault(`needs ${wanted}, but the redis-server on the PATH is ${old}: replace it`);
  const manager = MANAGERS.find(({ program }) => onPath(program));
  if (manager === undefined) throw new SetupFault(`needs ${wanted}: install it so that redis-server is on the PATH`);
  const sudo = manager.asRoot && process.getuid?.() !== 0;
  const byHand = `run: ${sudo ? "sudo " : ""}${manager.byHand}`;
  if (sudo && (!onPath("sudo") || (await run("sudo", ["-n", "true"], { stdio: "ignore" })) !== 0)) {
    throw new SetupFault(`needs ${wanted} and may not install it; ${byHand}`);
  }
  say(`installing redis-server (${manager.program}); its own service stays off`);
  const [program, ...args] = sudo ? ["sudo", "-n", ...manager.command] : manager.command;
  const status = await run(program, args);
  if (status !== 0) throw new SetupFault(`redis-server could not be installed (status ${status}); ${byHand}`);
  if (needsRedis())
    throw new SetupFault(`this machine's packages bring Redis ${redisVersion() ?? "nowhere"}; needs ${wanted}`);
}

const onPath = (program) =>
  (process.env.PATH ?? "").split(":").some((folder) => folder !== "" && fs.existsSync(join(folder, program)));

/* ---- build ---- */

function needsBuild() {
  if (!hasSources()) return false;
  try {
    return fs.readFileSync(STAMP, "utf8") !== sourceHash();
  } catch {
    return true;
  }
}

function* filesUnder(folder) {
  for (const entry of fs.existsSync(folder) ? fs.readdirSync(folder, { withFileTypes: true }) : []) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* filesUnder(path);
    else if (entry.isFile()) yield path;
  }
}

const sources = () => SOURCE_FOLDERS.flatMap((folder) => [...filesUnder(join(ROOT, folder))]).sort();

/** Of every name and byte that goes into the build; a few milliseconds. */
function sourceHash() {
  const hash = createHash("sha256");
  for (const path of [...SOURCE_FILES.map((name) => join(ROOT, name)), ...sources()]) {
    const bytes = fs.readFileSync(path);
    hash.update(`${relative(ROOT, path)}\0${bytes.length}\0`).update(bytes);
  }
  return hash.digest("hex");
}

async function build() {
  say("building");
  const hash = sourceHash();
  // Beside dist, so that the move is a rename and the source maps' paths hold.
  const next = `${DIST}.${process.pid}`;
  const last = `${DIST}.${process.pid}.last`;
  for (const name of fs.readdirSync(ROOT)) if (/^dist\.\d/.test(name)) fs.rmSync(join(ROOT, name), { recursive: true });
  try {
    // Types are checked by `npm test`: without that a build takes a fifth of the time.
    await compile("typescript/bin/tsc", ["--project", "tsconfig.build.json", "--noCheck", "--outDir", next]);
    for (const path of sources()) {
      const name = relative(ROOT, path);
      if ((NOT_AN_ASSET.test(name) && name !== RUNBOOK) || /^(dashboards.(web|stock-module)|engine.boot)\b/.test(name))
        continue;
      fs.mkdirSync(dirname(join(next, name)), { recursive: true });
      fs.copyFileSync(path, join(next, name));
    }
    // The module is written beside the pages, which empty the folder first.
    for (const name of ["web", "stock-module"]) {
      const folder = join(ROOT, "dashboards", name);
      if (!fs.existsSync(folder) || !fs.readdirSync(folder).some((file) => file.startsWith("vite.config."))) continue;
      const empties = name === "web" ? ["--emptyOutDir"] : [];
      const args = ["build", folder, "--outDir", join(next, "web"), ...empties, "--logLevel", "warn"];
      await compile("vite/bin/vite.js", args);
    }
    fs.writeFileSync(join(next, ".stamp"), hash);
    if (fs.existsSync(DIST)) fs.renameSync(DIST, last);
    fs.renameSync(next, DIST);
  } finally {
    for (const path of [next, last]) fs.rmSync(path, { recursive: true, force: true });
  }
}

async function compile(script, args) {
  const status = await run(process.execPath, [join(ROOT, "node_modules", script), ...args]);
  if (status !== 0) throw new SetupFault(`the build failed: ${basename(script, ".js")} ended with status ${status}`);
}

/* ---- one at a time ---- */

/** Runs `work` while no other process of this clone does. */
async function alone(work) {
  await lock();
  const unlock = () => fs.rmSync(LOCK, { force: true });
  process.once("exit", unlock);
  try {
    await work();
  } finally {
    process.off("exit", unlock);
    unlock();
  }
}

async function lock() {
  // The private Redis keeps its data there, too: no other user of the machine reads them.
  fs.mkdirSync(dirname(LOCK), { recursive: true, mode: 0o700 });
  let waited = false;
  for (;;) {
    try {
      fs.writeFileSync(LOCK, String(process.pid), { flag: "wx" });
      return;
    } catch (fault) {
      if (fault.code !== "EEXIST") throw new SetupFault(`cannot write to ${ROOT}: ${fault.message}`);
    }
    if (dropStaleLock()) continue;
    if (!waited) say("waiting for another process that sets up this folder");
    waited = true;
    await new Promise((resolve) => setTimeout(resolve, LOCK_POLL_MS));
  }
}

/** Removes the lock of a process that has ended. It is renamed first, so that only one of several processes gets it. */
function dropStaleLock() {
  const mine = `${LOCK}.${process.pid}`;
  try {
    const owner = fs.readFileSync(LOCK, "utf8");
    if (isAlive(Number(owner)) && Date.now() - fs.statSync(LOCK).mtimeMs < LOCK_STALE_MS) return false;
    fs.renameSync(LOCK, mine);
    // Another process was faster and this is the new owner's lock: put it back.
    if (fs.readFileSync(mine, "utf8") !== owner) fs.linkSync(mine, LOCK);
    fs.rmSync(mine);
  } catch {
    fs.rmSync(mine, { force: true });
  }
  return true;
}

function isAlive(pid) {
  // An empty lock is one that is being written.
  if (!(pid > 0)) return true;
  try {
    process.kill(pid, 0);
    return true;
  } catch (fault) {
    return fault.code === "EPERM";
  }
}
