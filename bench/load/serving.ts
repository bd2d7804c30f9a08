/**
 * `shuiwei serve` as a process of its own, started as an operator starts it, on a Redis that is there already. It
 * reports its address, and ends as on SIGTERM: requests under way are drained.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

export interface ServingSettings {
  redisPath: string;
  roles: "api,worker" | "api" | "worker";
  token: string;
  /** Further options, and variables of its environment. */
  args?: readonly string[];
  env?: Readonly<Record<string, string>>;
}

export interface Serving {
  readonly pid: number;
  /** Undefined when the process only works. */
  readonly port: number | undefined;
  stop(): Promise<void>;
}

const CLI = fileURLToPath(new URL("../../engine/cli/main.js", import.meta.url));

/** Starts it and resolves when it has said that it serves or works; rejects when it ends before. */
export async function startServing({
  redisPath,
  roles,
  token,
  args = [],
  env = {},
}: ServingSettings): Promise<Serving> {
  const serve = ["serve", "--port", "0", "--drain-delay", "0", "--redis-url", redisPath, "--roles", roles];
  // With the same flags of Node as this process, as the other loads' processes have.
  const child = spawn(process.execPath, [...process.execArgv, CLI, ...serve, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, ...env, SHUIWEI_TOKENS: token },
  });
  const ended = once(child, "exit");
  // A bench that is stopped by force leaves no engine behind.
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);
  const said = await new Promise<string>((resolve, reject) => {
    let text = "";
    child.stdout.on("data", (part) => {
      text += part;
      if (text.includes("\n")) resolve(text);
    });
    ended.then(() => reject(new Error("shuiwei serve has ended before it served")), reject);
  });
  const port = /http:\/\/[^\s/]+:(\d+)/.exec(said)?.[1];
  return {
    pid: child.pid as number,
    port: port === undefined ? undefined : Number(port),
    async stop() {
      child.kill("SIGTERM");
      await ended;
      process.off("exit", kill);
    },
  };
}
