/**
 * The built commands, each run as a process: output, exit status, and what is left behind. Bad input ends with status
 * 2 and one clear line that names the place; no stack trace reaches a user. `npm test` builds before it runs this.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { COMMANDS } from "../../engine/cli/commands.js";
import { runningSocket } from "../../engine/redis/embedded.js";
import { until } from "../stream/toy-log.js";
import { CLI, withCli } from "./cli-process.js";

const HEADER = "invoice,sku,quantity,time,unit_price,customer,country";
const ROWS = [
  "1,A,6,2010-12-01T08:26:00Z,2.55,7,UK",
  "1,B,2,2010-12-01T08:26:00Z,1,7,UK",
  "C2,A,-1,2010-12-01T09:00:00Z,2.55,7,UK",
  "A3,X,1,2010-12-01T09:30:00Z,2.55,7,UK",
];

const run = withCli();
const { path, shuiwei } = run;

/** Replays a file; `out` is the folder "out". */
const replayOf = (file: string, ...more: string[]) =>
  shuiwei(
    "replay",
    file,
    "--mapping",
    "online-retail",
    "--opening-stock",
    "100",
    "--zone",
    "UTC",
    "--out",
    "out",
    ...more,
  );

function write(name: string, content: string | Buffer): string {
  writeFileSync(path(name), content);
  return name;
}

describe("help", () => {
  it("names the commands", async () => {
    const { status, out } = await shuiwei("--help");
    expect(status).toBe(0);
    for (const { name } of COMMANDS) expect(out).toContain(`  shuiwei ${name} `);
  });

  it("prints the version of the package", async () => {
    const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
    for (const asked of ["version", "--version"])
      expect(await shuiwei(asked)).toEqual({ status: 0, out: `${version}\n`, err: "" });
  });

  it.each(COMMANDS.map(({ name }) => name))("lists every option of %s", async (command) => {
    const { status, out } = await shuiwei(command, "--help");
    expect(status).toBe(0);
    expect(out).toMatchSnapshot();
  });
});

describe("a wrong command line", () => {
  it("is rejected for an unknown command", async () => {
    const { status, err } = await shuiwei("reply");
    expect(status).toBe(2);
    expect(err).toContain('no command "reply"');
  });

  it("is rejected with every bad option at once, and the option that was meant", async () => {
    const { status, err } = await shuiwei("serve", "--prot", "1", "--partitions", "0", "--lease", "soon");
    expect(status).toBe(2);
    expect(err).toContain("--port");
    expect(err).toContain("--partitions");
    expect(err).toContain("--lease");
    expect(err).not.toMatch(/\n\s+at /);
  });

  it("is rejected for a process with only the worker role and no Redis", async () => {
    const { status, err } = await shuiwei("serve", "--roles", "worker");
    expect(status).toBe(2);
    expect(err).toContain("--redis-url");
  });

  it("is rejected when it leaves caches no time for stock answers", async () => {
    const { status, err } = await shuiwei("serve", "--browser-cache", "3s");
    expect(status).toBe(2);
    expect(err).toContain("--browser-cache");
    expect(err).toContain("15 s");
  });

  it("is rejected with the list of benchmarks for an unknown one", async () => {
    const { status, err } = await shuiwei("bench", "lodger");
    expect(status).toBe(2);
    expect(err).toContain("ledger");
  });
});

describe("replay", () => {
  it("writes its three files", async () => {
    const { status, out } = await replayOf(write("good.csv", `${[HEADER, ...ROWS].join("\n")}\n`));
    expect(out).toContain("4 rows");
    expect(status).toBe(0);
    expect(readdirSync(path("out")).sort()).toEqual(["alerts.ndjson", "rejected.ndjson", "summary.json"]);
    expect(JSON.parse(readFileSync(path("out/summary.json"), "utf8"))).toMatchObject({
      rows: 4,
      accepted: 3,
      refused: 0,
      rejected: 1,
      kinds: { sale: 2, return: 1 },
      alertsFired: 0,
    });
    expect(JSON.parse(readFileSync(path("out/rejected.ndjson"), "utf8"))).toMatchObject({ line: 5 });
    rmSync(path("out"), { recursive: true });
  });

  const whole = gzipSync(`${[HEADER, ...Array(5_000).fill(ROWS[0])].join("\n")}\n`);
  it.each([
    ["a file that does not exist", () => "nowhere.csv", "nowhere.csv"],
    ["a missing column", () => write("column.csv", `${HEADER.replace("quantity,", "")}\n`), "quantity"],
    ["a truncated gzip", () => write("cut.csv.gz", whole.subarray(0, whole.length / 2)), "cut.csv.gz"],
    [
      "invalid UTF-8",
      () =>
        write(
          "utf8.csv",
          Buffer.concat([Buffer.from(`${HEADER}\n1,`), Buffer.from([0xc3, 0x28]), Buffer.from(",1\n")]),
        ),
      "line 2",
    ],
    ["a quote that never closes", () => write("quote.csv", `${HEADER}\n1,"A,6\n`), "line 2"],
    ["a row with too few fields", () => write("short.csv", `${HEADER}\n1,A\n`), "line 2"],
  ])("refuses %s with the place, and writes nothing", async (_name, file, place) => {
    const { status, err } = await replayOf(file());
    expect(status).toBe(2);
    expect(err).toContain(place);
    expect(err).not.toMatch(/\n\s+at /);
    expect(existsSync(path("out/summary.json"))).toBe(false);
  });

  it("refuses a mapping that does not exist", async () => {
    const { status, err } = await shuiwei("replay", "x.csv", "--mapping", "nothing", "--out", "out");
    expect(status).toBe(2);
    expect(err).toContain("online-retail");
  });

  it("refuses an unknown zone", async () => {
    const { status, err } = await shuiwei(
      "replay",
      write("z.csv", `${HEADER}\n`),
      "--mapping",
      "online-retail",
      "--zone",
      "Mars/Base",
      "--out",
      "out",
    );
    expect(status).toBe(2);
    expect(err).toContain("Mars/Base");
  });
});

describe("serve", () => {
  /** Leaves a rejected promise unhandled when the process gets SIGUSR2. */
  const PLANT =
    "data:text/javascript,process.on('SIGUSR2',()=>void Promise.reject(new Error('planted a-token-of-this-test')))";

  it("ends cleanly with status 1 after a rejection that nothing handled, and logs its stack without secrets", async () => {
    const args = ["serve", "--dir", "planted", "--port", "0", "--tokens", "a-token-of-this-test"];
    const child = spawn(process.execPath, ["--import", PLANT, CLI, ...args], { cwd: run.folder() });
    const ended = once(child, "close");
    let out = "";
    let err = "";
    child.stdout.on("data", (bytes: Buffer) => {
      out += bytes.toString();
    });
    child.stderr.on("data", (bytes: Buffer) => {
      err += bytes.toString();
    });
    await until(() => out.includes("serving at"), "the server");
    child.kill("SIGUSR2");
    expect(await ended).toEqual([1, null]);
    const lines = err
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line));
    expect(lines).toContainEqual(
      expect.objectContaining({
        level: "error",
        message: expect.stringMatching(/^a rejected promise was not handled: Error: planted \*\*\*\n +at /),
      }),
    );
    expect(err).not.toContain("a-token-of-this-test");
    // Its private Redis has ended with it.
    expect(await runningSocket(path("planted"))).toBeUndefined();
  });

  /** Starts a server. Returns the process, its output and its end. */
  async function started(...more: string[]) {
    const args = ["serve", "--dir", "draining", "--port", "0", "--tokens", "a-token-of-this-test", ...more];
    const child = spawn(process.execPath, [CLI, ...args], { cwd: run.folder(), stdio: ["ignore", "pipe", "ignore"] });
    const ended = once(child, "exit");
    let output = "";
    child.stdout.on("data", (bytes: Buffer) => {
      output += bytes.toString();
    });
    await until(() => output.includes("serving at"), "the server");
    return { child, ended, output: () => output, url: /http:\/\/127\.0\.0\.1:\d+/.exec(output)?.[0] as string };
  }

  it("goes on serving while it is not ready after SIGTERM, and ends at once after a second one", async () => {
    const { child, ended, url } = await started("--drain-delay", "5m");
    await until(async () => (await fetch(`${url}/readyz`)).status === 200, "it to be ready");
    child.kill("SIGTERM");
    await until(async () => (await fetch(`${url}/readyz`)).status === 503, "it to be not ready");
    const stock = await fetch(`${url}/v1/stock?sku=A`);
    expect([stock.status, stock.headers.get("connection")]).toEqual([200, "close"]);
    child.kill("SIGTERM");
    expect(await ended).toEqual([130, null]);
  });

  it("ends cleanly after its delay on SIGTERM, and without one on Ctrl-C", async () => {
    const drained = await started("--drain-delay", "1s");
    drained.child.kill("SIGTERM");
    expect(await drained.ended).toEqual([0, null]);
    expect(drained.output()).toContain("stopping in 1 s");
    const interrupted = await started();
    interrupted.child.kill("SIGINT");
    expect(await interrupted.ended).toEqual([0, null]);
    expect(interrupted.output()).not.toContain("stopping in");
  });
});

describe("tokens", { timeout: 90_000 }, () => {
  it("adds a token, pairs a browser with it, lists and ends the session, and removes the token from a running serve", async () => {
    const file = ["--tokens-file", "tokens.json"];
    const added = await shuiwei("tokens", "add", "li.wei", "--role", "admin", ...file);
    expect(added).toMatchObject({ status: 0, err: expect.stringContaining("li.wei may admin") });
    const secret = added.out.trim();
    expect(secret).toMatch(/^sw_[\w-]{43}$/);
    expect(readFileSync(path("tokens.json"), "utf8")).not.toContain(secret);
    expect(await shuiwei("tokens", "add", "li.wei", "--role", "read", ...file)).toMatchObject({ status: 2, out: "" });
    expect((await shuiwei("tokens", "list", ...file)).out).toMatch(/^li\.wei +admin +\d{4}-/);

    const args = ["serve", "--dir", "paired", "--port", "0", "--drain-delay", "0", ...file];
    const child = spawn(process.execPath, [CLI, ...args], { cwd: run.folder(), stdio: ["ignore", "pipe", "ignore"] });
    const ended = once(child, "exit");
    let output = "";
    child.stdout.on("data", (bytes: Buffer) => {
      output += bytes.toString();
    });
    try {
      await until(() => /serving at/.test(output), "the server");
      const url = /http:\/\/127\.0\.0\.1:\d+/.exec(output)?.[0] as string;
      const asked = ["--server", url, "--token", secret];
      const pair = await shuiwei("tokens", "pair", "--label", "wall-2", ...asked);
      expect(pair).toMatchObject({ status: 0, err: expect.stringContaining("this machine only") });
      expect(pair.out).toContain("█");
      const link = /http\S+/.exec(pair.out)?.[0] as string;
      const begun = await fetch(`${url}/v1/sessions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ code: new URL(link).hash.slice(1) }),
      });
      expect(await begun.json()).toMatchObject({ name: "li.wei/wall-2", role: "read" });
      const [id = ""] = (await shuiwei("tokens", "sessions", ...asked)).out.split(" ");
      expect(await shuiwei("tokens", "revoke", id, ...asked)).toMatchObject({ status: 0 });
      expect((await shuiwei("tokens", "sessions", ...asked)).out).toBe("no sessions\n");

      expect(await shuiwei("tokens", "remove", "li.wei", ...file)).toMatchObject({ status: 0 });
      const status = async () =>
        (await fetch(`${url}/v1/breaker`, { headers: { authorization: `Bearer ${secret}` } })).status;
      await expect.poll(status, { interval: 500 }).toBe(401);
      expect(await shuiwei("tokens", "pair", ...asked)).toMatchObject({
        status: 1,
        err: expect.stringContaining("answers 401"),
      });
    } finally {
      child.kill("SIGTERM");
      await ended;
    }
  });
});
