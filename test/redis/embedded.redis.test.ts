/**
 * The embedded Redis against a real redis-server: what survives a stop, what a second server in the same directory
 * reports, and that nothing stays behind after the parent process is killed.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readdir, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir, totalmem } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { sleep } from "../../engine/kernel/clock.js";
import { type RedisServer, type RedisSettings, startRedis } from "../../engine/redis/embedded.js";
import { until } from "../stream/toy-log.js";
import { withRedis } from "./with-redis.js";

const embedded = fileURLToPath(new URL("../../engine/redis/embedded.ts", import.meta.url));

describe("the embedded Redis", () => {
  let dir: string;
  const servers: RedisServer[] = [];
  const clients: Redis[] = [];
  const parents: ChildProcess[] = [];
  /** Servers that end with one of the parents. */
  const children: number[] = [];
  const litter: string[] = [];

  const start = async (settings: Partial<RedisSettings> = {}): Promise<RedisServer> => {
    const server = await startRedis({ dir, ...settings });
    servers.push(server);
    return server;
  };
  const clientOf = (server: RedisServer): Redis => {
    const client = new Redis({ path: server.socketPath, retryStrategy: () => null });
    client.on("error", () => {});
    clients.push(client);
    return client;
  };

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), "shuiwei-embedded-"));
    litter.push(dir);
  });

  afterEach(async () => {
    for (const client of clients.splice(0)) client.disconnect();
    for (const parent of parents.splice(0)) parent.kill("SIGKILL");
    for (const server of servers.splice(0)) await server.stop();
    for (const pid of children.splice(0)) await until(() => !alive(pid), "the server to end with its parent");
    for (const path of litter.splice(0)) await rm(path, { recursive: true, force: true });
  });

  it("answers on a unix socket only, which no other user may open, and never evicts", async () => {
    const server = await start();
    const config = await clientOf(server).config("GET", "*");
    const settings = new Map(
      Array.from({ length: (config as string[]).length / 2 }, (_, i) =>
        (config as string[]).slice(2 * i, 2 * i + 2),
      ) as [string, string][],
    );
    expect(settings.get("port")).toBe("0");
    expect(settings.get("maxmemory-policy")).toBe("noeviction");
    expect(settings.get("appendonly")).toBe("yes");
    expect(settings.get("appendfsync")).toBe("everysec");
    expect(settings.get("save")).toBe("");
    expect((await stat(server.socketPath)).mode & 0o077).toBe(0);
  });

  it("starts while the server before it deletes its files", async () => {
    await (await start()).stop();
    // A link to nothing is listed like a file, and is gone like a deleted one when its mode is to be changed.
    await symlink(join(dir, "nothing"), join(dir, "appendonlydir", "deleted.aof"));
    expect(await clientOf(await start()).ping()).toBe("PONG");
  });

  it("is accessible to its owner only, also where an older release has left its files readable", async () => {
    const readable = async (): Promise<string[]> => {
      const names = await readdir(dir, { recursive: true });
      const modes = await Promise.all(
        ["", ...names].map(async (name) => [name, (await stat(join(dir, name))).mode] as const),
      );
      return modes.filter(([, mode]) => (mode & 0o077) !== 0).map(([name]) => name);
    };
    dir = join(dir, "new", "shop");
    const first = await start();
    await clientOf(first).set("balance", "42");
    expect(await readable()).toEqual([]);
    await first.stop();
    for (const name of [
      "",
      "redis.lock",
      "redis.log",
      "appendonlydir",
      ...(await readdir(join(dir, "appendonlydir"))).map((file) => `appendonlydir/${file}`),
    ])
      await chmod(join(dir, name), name === "" || name === "appendonlydir" ? 0o755 : 0o644);
    expect((await readable()).length).toBeGreaterThan(4);
    const second = await start();
    expect(await clientOf(second).get("balance")).toBe("42");
    expect(await readable()).toEqual([]);
  });

  it("keeps the mode of a directory that also holds other files", async () => {
    await chmod(dir, 0o755);
    await start();
    expect((await stat(dir)).mode & 0o777).toBe(0o755);
    expect((await stat(join(dir, "appendonlydir"))).mode & 0o777).toBe(0o700);
  });

  it("keeps it at the next start, too, when other files were added", async () => {
    await chmod(dir, 0o755);
    const first = await start();
    await first.stop();
    await writeFile(join(dir, "of-another-program"), "");
    await start();
    expect((await stat(dir)).mode & 0o777).toBe(0o755);
  });

  it("uses at most its share of the memory, so that it rejects writes before the machine is full", async () => {
    const of = async (server: RedisServer) =>
      Number(((await clientOf(server).config("GET", "maxmemory")) as string[])[1]);
    const half = await of(await start());
    expect(half).toBeGreaterThan(0);
    expect(half).toBeLessThanOrEqual(totalmem() / 2);
    dir = join(dir, "other");
    expect(await of(await start({ redisMemoryShare: 0.25 }))).toBeCloseTo(half / 2, -2);
  });

  it.each([
    ["a file", "file", "it is a file, not a folder"],
    ["a place below a file", "file/shop", "a part of the path is a file, not a folder"],
    ["a place where nothing can be made", "/proc/shuiwei-test", "no folder can be made there"],
  ])("refuses %s for its directory, naming the option", async (_, path, words) => {
    await writeFile(join(dir, "file"), "");
    const refused = resolve(dir, path);
    await expect(start({ dir: refused })).rejects.toMatchObject({
      code: "bad_option",
      message: `--dir ${refused}: ${words}`,
    });
  });

  it("aborts a start on request", async () => {
    const stop = new AbortController();
    stop.abort(new Error("stopped"));
    await expect(start({ signal: stop.signal })).rejects.toThrow("stopped");
    // Nothing is left of it: the directory is free.
    await start();
  });

  it("keeps what was written before stop, and removes its socket", async () => {
    const first = await start();
    await clientOf(first).set("balance", "42");
    await first.stop();
    expect(existsSync(first.socketPath)).toBe(false);
    expect(alive(first.pid)).toBe(false);
    const second = await start();
    expect(await clientOf(second).get("balance")).toBe("42");
  });

  it("keeps nothing without persistence", async () => {
    const first = await start({ persistence: false });
    await clientOf(first).set("balance", "42");
    await first.stop();
    expect(await clientOf(await start({ persistence: false })).get("balance")).toBeNull();
  });

  it("stops once, however often stop is called, and reports when it has ended", async () => {
    const server = await start();
    await Promise.all([server.stop(), server.stop()]);
    await server.stop();
    expect(await server.ended).toContain("bye bye");
  });

  it("reports when the server ended by itself", async () => {
    const server = await start();
    process.kill(server.pid, "SIGTERM");
    expect(await server.ended).toContain("bye bye");
  });

  it("rejects a directory that a running server owns, and does not disturb that server", async () => {
    const first = await start();
    await clientOf(first).set("balance", "42");
    await expect(start()).rejects.toMatchObject({
      code: "redis_dir_in_use",
      message: `another Redis (process ${first.pid}) uses ${dir}: stop it, or choose another directory`,
    });
    expect(await clientOf(first).get("balance")).toBe("42");
  });

  it("gives the directory to exactly one of two simultaneous starts", async () => {
    const starts = await Promise.allSettled([start(), start()]);
    expect(starts.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
  });

  it("starts over the stale socket and pid files of a server that was killed", async () => {
    const first = await start({ appendfsync: "always" });
    await clientOf(first).set("balance", "42");
    process.kill(first.pid, "SIGKILL");
    await first.ended;
    expect(existsSync(first.socketPath)).toBe(true);
    const second = await start();
    expect(await clientOf(second).get("balance")).toBe("42");
  });

  it("uses a short path for the socket when the directory's path is long", async () => {
    const deep = join(dir, "x".repeat(100));
    await mkdir(deep);
    const server = await start({ dir: deep });
    litter.push(dirname(server.socketPath));
    expect(Buffer.byteLength(server.socketPath)).toBeLessThan(104);
    expect(await clientOf(server).ping()).toBe("PONG");
    await expect(start({ dir: deep })).rejects.toMatchObject({ code: "redis_dir_in_use" });
  });

  it("reports the server's own message when it does not start", async () => {
    await expect(start({ extraArgs: ["--bogus", "1"] })).rejects.toMatchObject({
      code: "redis_failed",
      message: expect.stringContaining("'bogus \"1\"': Bad directive"),
    });
    await expect(start({ extraArgs: ["--unixsocket", "/nowhere/x.sock"] })).rejects.toMatchObject({
      message: expect.stringMatching(/: Failed opening Unix socket: bind: No such file or directory$/),
    });
  });

  it("reports what to install when there is no redis-server", async () => {
    const path = process.env["PATH"];
    process.env["PATH"] = dir;
    try {
      await expect(start()).rejects.toMatchObject({
        code: "redis_missing",
        message: expect.stringContaining("apt-get install redis-server"),
      });
    } finally {
      process.env["PATH"] = path;
    }
  });

  it.runIf(process.platform === "linux")(
    "is gone when its parent is killed, and its successor has the data",
    async () => {
      const { parent, pid } = await parentOf(dir);
      const client = new Redis({ path: join(dir, "redis.sock"), retryStrategy: () => null });
      client.on("error", () => {});
      clients.push(client);
      await client.set("balance", "42");
      parent.kill("SIGKILL");
      // At once, as a supervisor would: the successor waits for the directory, and where the machine is slow a
      // supervisor tries again.
      let successor: RedisServer | undefined;
      await until(async () => {
        successor = await start().catch((thrown) => {
          expect(thrown).toMatchObject({ code: "redis_dir_in_use" });
          return undefined;
        });
        return successor !== undefined;
      }, "the directory");
      expect(await clientOf(successor as unknown as RedisServer).get("balance")).toBe("42");
      expect(alive(pid)).toBe(false);
    },
  );

  it("does not get its parent's Ctrl-C", async () => {
    const { parent, pid } = await parentOf(dir);
    process.kill(-(parent.pid as number), "SIGINT");
    await sleep(200);
    expect(alive(pid)).toBe(true);
  });

  /** A node process, in a group of its own, that started a Redis in `dir` and shrugs off SIGINT. */
  async function parentOf(where: string) {
    const script = join(where, "parent.mts");
    await writeFile(
      script,
      `process.on("SIGINT", () => {});
       const { startRedis } = await import(${JSON.stringify(embedded)});
       console.log((await startRedis({ dir: ${JSON.stringify(where)} })).pid);
       setInterval(() => {}, 1000);`,
    );
    const vite = fileURLToPath(new URL("../../node_modules/vite/dist/node/index.js", import.meta.url));
    const run = `const { runnerImport } = await import(${JSON.stringify(vite)}); await runnerImport(${JSON.stringify(script)});`;
    const parent = spawn(process.execPath, ["--input-type=module", "-e", run], {
      detached: true,
      stdio: ["ignore", "pipe", "inherit"],
    });
    parents.push(parent);
    const [line] = (await once(parent.stdout, "data")) as [Buffer];
    const pid = Number(line.toString());
    children.push(pid);
    return { parent, pid };
  }

  function alive(pid: number): boolean {
    try {
      process.kill(pid, 0);
    } catch {
      return false;
    }
    // A killed orphan may stay a zombie until the container's first process reaps it.
    return !existsSync(`/proc/${pid}/stat`) || !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  }
});

describe("a test's Redis", () => {
  const redis = withRedis();

  it("is empty, and empty again after a flush", async () => {
    const client = redis.connect();
    expect(await client.dbsize()).toBe(0);
    await client.set("a", "1");
    await redis.flush();
    expect(await client.dbsize()).toBe(0);
  });
});
