/**
 * Starts nginx and varnishd with the configurations of connectors/cdn, each in a folder and on a port of its own. They
 * run with what a shop copies: only the placeholders are replaced, and the parts of nginx.conf and of the command line
 * that concern the machine are added. Both end with the test's process where the system can do that. Where a program
 * is missing, the tests that need it are skipped.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, rm } from "node:fs/promises";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { renderConfiguration, writeNginxConf } from "../../bench/load/cache-configuration.js";
import { sleep, stopwatch } from "../../engine/kernel/clock.js";
import { freePort } from "../faults/bed.js";

/** `edge` is asked by browsers, `shield` by other caches. */
export type CacheRole = "edge" | "shield";
export type CacheProgram = "nginx" | "varnish";

export interface CacheServer {
  readonly url: string;
  /** Where operators renew and delete copies. */
  readonly operatorsUrl: string;
  /** HOST:PORT, as the origin of an outer cache. */
  readonly address: string;
  /** Ends it and removes its folder. */
  stop(): Promise<void>;
}

export interface CacheServerSettings {
  readonly role: CacheRole;
  /** HOST:PORT of the engine or the next inner cache. */
  readonly origin: string;
  /** Files to use instead of those of connectors/cdn, by name; they may have the same placeholders. */
  readonly files?: Readonly<Record<string, string>>;
}

interface Ports {
  readonly readers: number;
  readonly operators: number;
}

const CONFIGURATIONS = fileURLToPath(new URL("../../connectors/cdn", import.meta.url));
const START_LIMIT_MS = 60_000;
/** Readers, and as many connections to the origin. */
const CONNECTIONS = 16_384;
/** The master ends its workers when it is told to, not when it is killed. */
const BOUND =
  spawnSync("setpriv", ["--pdeathsig", "TERM", "true"]).status === 0 ? ["setpriv", "--pdeathsig", "TERM"] : [];

const runs = (program: string): boolean => spawnSync(program, ["-V"]).status === 0;
/** Whether the machine has the program. */
export const HAS: Readonly<Record<CacheProgram, boolean>> = { nginx: runs("nginx"), varnish: runs("varnishd") };

export function startCacheServer(program: CacheProgram, settings: CacheServerSettings): Promise<CacheServer> {
  return program === "nginx" ? startNginx(settings) : startVarnish(settings);
}

async function startNginx(settings: CacheServerSettings): Promise<CacheServer> {
  const ports = await freePorts();
  const dir = await renderNginx(settings, ports);
  return started(dir, ports, ["nginx", "-p", dir, "-c", join(dir, "nginx.conf")], `${settings.role} nginx`);
}

async function startVarnish(settings: CacheServerSettings): Promise<CacheServer> {
  const ports = await freePorts();
  const dir = await renderVarnish(settings);
  // default_grace is left at its default of 10 s: the configuration must not depend on it. By default Varnish refuses
  // requests when more than 20 wait for a thread, and closes connections that are idle for 5 s.
  const command = [
    ...["varnishd", "-F", "-n", join(dir, "work"), "-a", listenAt(ports.readers)],
    ...["-a", `operators=${listenAt(ports.operators)}`],
    ...["-f", join(dir, `${settings.role}.vcl`), "-s", "malloc,64m", "-T", "none"],
    ...["-p", `thread_queue_limit=${CONNECTIONS}`, "-p", "timeout_idle=60"],
  ];
  return started(dir, ports, command, `${settings.role} Varnish`);
}

/** What the program's own check says of a configuration; empty when it finds nothing. */
export async function syntaxFaults(program: CacheProgram, settings: CacheServerSettings): Promise<string> {
  const dir = await (program === "nginx" ? renderNginx(settings, await freePorts()) : renderVarnish(settings));
  try {
    const [name, ...args] =
      program === "nginx"
        ? (["nginx", "-t", "-p", dir, "-c", join(dir, "nginx.conf")] as const)
        : (["varnishd", "-C", "-n", join(dir, "work"), "-f", join(dir, `${settings.role}.vcl`)] as const);
    const { status, stderr } = spawnSync(name, args, { encoding: "utf8" });
    const warnings = stderr.split("\n").filter((line) => /\[(warn|emerg|error)\]/.test(line));
    return status === 0 ? warnings.join("\n") : stderr;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function renderNginx({ role, origin, files }: CacheServerSettings, ports: Ports): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "shuiwei-nginx-"));
  const [listen, operators] = [listenAt(ports.readers), listenAt(ports.operators)];
  const values = { ORIGIN: origin, LISTEN: listen, OPERATORS: operators, CACHE_DIR: join(dir, "cache") };
  await renderConfiguration(join(CONFIGURATIONS, "nginx"), join(dir, "shuiwei"), values, files);
  await mkdir(values.CACHE_DIR);
  await writeNginxConf(dir, CONNECTIONS, `include shuiwei/${role}.conf;`);
  return dir;
}

async function renderVarnish({ origin, files }: CacheServerSettings): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "shuiwei-varnish-"));
  // varnishd reads as a user of its own.
  await chmod(dir, 0o755);
  const [host = "", port = ""] = origin.split(":");
  await renderConfiguration(join(CONFIGURATIONS, "varnish"), dir, { ORIGIN_HOST: host, ORIGIN_PORT: port }, files);
  return dir;
}

async function started(dir: string, ports: Ports, command: readonly string[], name: string): Promise<CacheServer> {
  const [program, ...args] = [...BOUND, ...command] as [string, ...string[]];
  const child = spawn(program, args, { stdio: ["ignore", "ignore", "pipe"] });
  const complaints: string[] = [];
  child.stderr.on("data", (text: Buffer) => complaints.push(text.toString()));
  const stop = async () => {
    await end(child);
    await rm(dir, { recursive: true, force: true });
  };
  try {
    for (const elapsed = stopwatch(); !(await accepts(ports.readers)); await sleep(20)) {
      if (child.exitCode !== null || elapsed() > START_LIMIT_MS)
        throw new Error(`${name} does not start: ${complaints.join("")}`);
    }
  } catch (thrown) {
    await stop();
    throw thrown;
  }
  const address = listenAt(ports.readers);
  return { url: `http://${address}`, address, operatorsUrl: `http://${listenAt(ports.operators)}`, stop };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGTERM");
  await once(child, "exit");
}

const freePorts = async (): Promise<Ports> => ({ readers: await freePort(), operators: await freePort() });
const listenAt = (port: number): string => `127.0.0.1:${port}`;

const accepts = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = createConnection(port, "127.0.0.1");
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
