/**
 * The built commands, each run as a process: output, exit status, and what is left behind. Bad input ends with status
 * 2 and one clear line that names the place; no stack trace reaches a user. `npm test` builds before it runs this.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { COMMANDS } from "../../engine/cli/commands.js";
import { STOREFRONT_JOB } from "../../engine/jobs/storefront/job.js";
import { chainId } from "../../engine/kernel/chain-id.js";
import { systemClock } from "../../engine/kernel/clock.js";
import { runningSocket } from "../../engine/redis/embedded.js";
import { Ledger } from "../../engine/stock/ledger.js";
import { stockKeys } from "../../engine/stream/keys.js";
import { until } from "../stream/toy-log.js";

const CLI = fileURLToPath(new URL("../../dist/engine/cli/main.js", import.meta.url));
const HEADER = "invoice,sku,quantity,time,unit_price,customer,country";
const ROWS = [
  "1,A,6,2010-12-01T08:26:00Z,2.55,7,UK",
  "1,B,2,2010-12-01T08:26:00Z,1,7,UK",
  "C2,A,-1,2010-12-01T09:00:00Z,2.55,7,UK",
  "A3,X,1,2010-12-01T09:30:00Z,2.55,7,UK",
];

let folder: string;
const path = (name: string) => join(folder, name);

interface Ended {
  status: number;
  out: string;
  err: string;
}

function shuiwei(...args: string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(process.execPath, [CLI, ...args], { encoding: "utf8", cwd: folder }, (error, out, err) => {
      resolve({ status: error ? Number(error.code) : 0, out, err });
    });
  });
}

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

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "shuiwei-cli-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

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
    const child = spawn(process.execPath, ["--import", PLANT, CLI, ...args], { cwd: folder });
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
    const child = spawn(process.execPath, [CLI, ...args], { cwd: folder, stdio: ["ignore", "pipe", "ignore"] });
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
    const child = spawn(process.execPath, [CLI, ...args], { cwd: folder, stdio: ["ignore", "pipe", "ignore"] });
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
      await expect.poll(status, { timeout: 20_000, interval: 500 }).toBe(401);
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

describe("dead-letters", { timeout: 300_000 }, () => {
  const PARTITIONS = 16;
  const PREFIX = "shuiwei";
  const deadLetters = (...args: string[]) => shuiwei("dead-letters", ...args, "--dir", "shop");
  let serving: ChildProcess | undefined;
  let client: Redis;

  async function startShop(): Promise<void> {
    const settings = ["--partitions", String(PARTITIONS), "--tick", "50ms", "--tokens", "a-token-of-this-test"];
    const args = ["serve", "--dir", "shop", "--port", "0", "--drain-delay", "0", ...settings];
    const child = spawn(process.execPath, [CLI, ...args], { cwd: folder, stdio: ["ignore", "pipe", "ignore"] });
    serving = child;
    let output = "";
    child.stdout.on("data", (bytes: Buffer) => {
      output += bytes.toString();
    });
    await until(() => output.includes("serving at"), "the shop to open");
    client = new Redis((await runningSocket(path("shop"))) as string);
  }

  async function stopShop(): Promise<void> {
    const child = serving;
    serving = undefined;
    client?.disconnect();
    if (child === undefined) return;
    const ended = once(child, "exit");
    child.kill("SIGTERM");
    await ended;
  }

  afterAll(stopShop);

  /** Appends an entry that cannot be read to a log. */
  async function spoilLog(): Promise<void> {
    const bad = stockKeys(PREFIX, 7);
    const offset = await client.hincrby(bad.head, "offset", 1);
    await client.xadd(bad.log, `${offset}-0`, "t", "1", "z\u001b[31m", "?");
    await until(async () => (await listed()).some(({ job }) => job === undefined), "the dead letter");
  }

  /** Damages the storefront's state of a SKU, and appends an event for it. Returns the state's key. */
  async function spoilState(): Promise<string> {
    // The function names are defined only after the library was read.
    await Ledger.load(client);
    const ledger = new Ledger({ redis: client, prefix: PREFIX, partitions: PARTITIONS });
    const state = stockKeys(PREFIX, ledger.partitionOf("CUP")).state(STOREFRONT_JOB);
    await client.hset(state, "CUP", Buffer.from("81", "hex"));
    await ledger.apply({ kind: "receive", id: chainId("S1", systemClock.now()), sku: "CUP", location: "SH", units: 5 });
    await until(async () => (await listed()).some(({ job }) => job === STOREFRONT_JOB), "the dead letter");
    return state;
  }

  const listed = async (): Promise<{ id: string; job?: string; tries: number }[]> =>
    (await deadLetters("list", "--json")).out
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line));

  it("are listed, shown, replayed by the running shop, and removed", async () => {
    await startShop();
    expect(await deadLetters("list")).toEqual({ status: 0, out: "no dead letters\n", err: "" });
    await spoilLog();
    const state = await spoilState();
    const all = await listed();
    const unread = all.find(({ job }) => job === undefined)?.id ?? "";
    const storefront = all.find(({ job }) => job === STOREFRONT_JOB)?.id ?? "";

    const table = await deadLetters("list");
    expect(table.out).toMatch(/^ID +WHEN +JOB +WHAT +KEY +TRIES +REASON\n/);
    expect(table.out).toMatch(new RegExp(`${unread} .* - +entry \\d+ +- +1 +entry \\d+ cannot be read`));
    expect(table.out).toMatch(
      new RegExp(`${storefront} .* ${STOREFRONT_JOB} +entry \\d+ event 0 +CUP +1 +its stored state`),
    );
    expect(table.out).toContain("2 dead letters");
    // Control characters of a record do not reach the terminal.
    expect(table.out).not.toContain("\u001b");
    expect((await deadLetters("list", "--job", STOREFRONT_JOB)).out).toContain("1 dead letters");
    expect((await deadLetters("list", "--partition", "3", "--json")).out).toBe("");

    const shown = await deadLetters("show", storefront);
    expect(shown.status).toBe(0);
    expect(shown.out).toMatch(/^event +\{"type":"StockReceived".*"units":5/m);
    expect(shown.out).toMatch(/^field b +base64 [A-Za-z0-9+/=]+$/m);
    const whole = JSON.parse((await deadLetters("show", unread, "--json")).out);
    expect(whole).toMatchObject({
      id: unread,
      fields: [{ name: "t" }, { base64: Buffer.from("?").toString("base64") }],
    });

    // Not repaired: it fails again; the output names its new id.
    const again = await deadLetters("replay", unread);
    expect(again.status).toBe(1);
    const [, renamed = ""] = /failed again: entry \d+ cannot be read.* \(now (07\/\d+-\d+)\)/.exec(again.out) ?? [];
    expect((await listed()).map(({ id, tries }) => [id, tries])).toContainEqual([renamed, 2]);
    // Repaired: the job processes the event.
    await client.hdel(state, "CUP");
    expect(await deadLetters("replay", "all", "--job", STOREFRONT_JOB)).toEqual({
      status: 0,
      out: `${storefront}  replayed\n`,
      err: "",
    });
    expect(await client.hexists(state, "CUP")).toBe(1);

    const removed = await deadLetters("remove", renamed, "07/5-5", "--actor", "li.wei");
    expect(removed.status).toBe(1);
    expect(removed.out).toBe(`${renamed}  removed\n07/5-5  does not exist\n`);
    expect((await deadLetters("list")).out).toBe("no dead letters\n");
    expect((await deadLetters("replay", "all")).status).toBe(0);
    const done = (await deadLetters("history", "--json")).out.trim().split("\n");
    const actions = done.map((line) => JSON.parse(line));
    expect(actions.at(-1)).toMatchObject({ actor: "cli:li.wei", action: "remove", deadLetters: [renamed] });
    expect(actions).toContainEqual(expect.objectContaining({ action: "replay", deadLetters: [storefront] }));
    for (const { actor } of actions) expect(actor).toMatch(/^cli:./);
  });

  it("can be listed when no engine runs, and a replay then reports that no worker runs", async () => {
    await spoilLog();
    await stopShop();
    const [unread = ""] = (await listed()).map(({ id }) => id);
    const asked = await deadLetters("replay", unread);
    expect(asked.status).toBe(1);
    expect(asked.out).toContain("no worker runs this partition");
    expect((await deadLetters("show", "07/5-5")).status).toBe(1);
    // The request is processed once a worker runs.
    await startShop();
    await until(async () => (await listed()).some(({ tries }) => tries === 2), "the replay");
    expect((await deadLetters("replay", "all", "--no-wait")).status).toBe(0);
    await stopShop();
  });

  it.each([
    ["no action", [], "ACTION"],
    ["an unknown action", ["delete"], "list, show, replay, remove"],
    ["no id", ["replay"], "ID"],
    ["a malformed id", ["show", "seven"], "07/1718640000000-0"],
    ["an id of a partition that does not exist", ["show", "99/5-5"], "99/5-5"],
    ["a partition that does not exist", ["list", "--partition", "99"], "16 partitions"],
    ["a deployment that does not exist", ["list", "--prefix", "another"], "another"],
  ])("are rejected with %s", async (_, args, place) => {
    const { status, err } = await deadLetters(...args);
    expect(err).toContain(place);
    expect(status).toBe(2);
    expect(err).not.toMatch(/\n\s+at /);
  });

  it("are not read in a folder without a shop, and none is created there", async () => {
    const { status, err } = await shuiwei("dead-letters", "list", "--dir", "nowhere");
    expect(status).toBe(2);
    expect(err).toContain("nowhere");
    expect(existsSync(path("nowhere"))).toBe(false);
  });
});
