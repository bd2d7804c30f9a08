/**
 * nginx for a benchmark, with one worker, in a folder of its own: as the cache of connectors/cdn in front of an
 * engine, or with one file. It ends by the process that was started, and its folder is removed.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sleep, stopwatch } from "../../engine/kernel/clock.js";
import { renderConfiguration, writeNginxConf } from "./cache-configuration.js";

export interface Nginx {
  readonly port: number;
  /** Of its worker, where the system tells. */
  readonly workerPid: number | undefined;
  stop(): Promise<void>;
}

/** From the compiled benchmark. */
const CONFIGURATION = new URL("../../../connectors/cdn/nginx/", import.meta.url);
const HOST = "127.0.0.1";
const CONNECTIONS = 4_096;
const START_LIMIT_MS = 60_000;
const CHECK_MS = 20;
/** Of a header without its value. */
const HEADER_BYTES = "x-filling: \r\n".length;

/** Whether this machine has nginx. */
export const hasNginx = (): boolean => spawnSync("nginx", ["-v"]).status === 0;

/** In front of an engine, as its README says. */
export function startEdge(originPort: number): Promise<Nginx> {
  return start(async (dir, port) => {
    const values = {
      ORIGIN: `${HOST}:${originPort}`,
      LISTEN: `${HOST}:${port}`,
      OPERATORS: `${HOST}:${await freePort()}`,
      CACHE_DIR: join(dir, "cache"),
    };
    await renderConfiguration(CONFIGURATION, join(dir, "shuiwei"), values);
    await mkdir(values.CACHE_DIR);
    return "include shuiwei/edge.conf;";
  });
}

/**
 * With one file, under every path.
 * @param addedBytes by one header more, with its name and line end; 0: none
 */
export function startStatic(body: string, addedBytes: number): Promise<Nginx> {
  return start(async (dir, port) => {
    await writeFile(join(dir, "answer.json"), body);
    // As distributions install it.
    const usual = "sendfile on; tcp_nopush on; types { application/json json; }";
    const added = addedBytes > HEADER_BYTES ? `add_header x-filling ${"x".repeat(addedBytes - HEADER_BYTES)};` : "";
    return `${usual} ${added} server { listen ${HOST}:${port}; root ${dir}; location / { try_files /answer.json =404; } }`;
  });
}

/** @param prepare writes files into the folder, and returns what is in `http { }` */
async function start(prepare: (dir: string, port: number) => Promise<string>): Promise<Nginx> {
  const dir = await mkdtemp(join(tmpdir(), "shuiwei-nginx-"));
  const port = await freePort();
  const inside = await prepare(dir, port);
  // Connections are kept on both sides of the comparison.
  const file = await writeNginxConf(dir, CONNECTIONS, `keepalive_requests 100000000; ${inside}`);
  const child = spawn("nginx", ["-p", dir, "-c", file], { stdio: ["ignore", "ignore", "inherit"] });
  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill("SIGTERM");
      await once(child, "exit");
    }
    await rm(dir, { recursive: true, force: true });
  };
  try {
    await answers(port, child);
  } catch (thrown) {
    await stop();
    throw thrown;
  }
  return { port, workerPid: await workerOf(child.pid as number), stop };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, HOST);
  await once(server, "listening");
  const address = server.address();
  await once(server.close(), "close");
  return typeof address === "object" && address !== null ? address.port : 0;
}

async function answers(port: number, child: ChildProcess): Promise<void> {
  for (const elapsed = stopwatch(); elapsed() < START_LIMIT_MS; await sleep(CHECK_MS)) {
    if (child.exitCode !== null) throw new Error(`nginx has ended with status ${child.exitCode}`);
    const answer = await fetch(`http://${HOST}:${port}/v1/stock/none`).catch(() => undefined);
    await answer?.arrayBuffer();
    if (answer) return;
  }
  throw new Error("nginx does not answer");
}

/** The first child of the master; helpers for the cache follow. */
async function workerOf(master: number): Promise<number | undefined> {
  const children = await readFile(`/proc/${master}/task/${master}/children`, "latin1").catch(() => "");
  const [first] = children.split(" ");
  return first ? Number(first) : undefined;
}
