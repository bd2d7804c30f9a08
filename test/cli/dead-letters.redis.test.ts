/**
 * `shuiwei dead-letters`, built and run as a process, beside a running shop and without one. A file of its own, because
 * every command is a process: the other commands' tests run at the same time.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { Redis } from "ioredis";
import { afterAll, describe, expect, it } from "vitest";
import { STOREFRONT_JOB } from "../../engine/jobs/storefront/job.js";
import { chainId } from "../../engine/kernel/chain-id.js";
import { systemClock } from "../../engine/kernel/clock.js";
import { runningSocket } from "../../engine/redis/embedded.js";
import { Ledger } from "../../engine/stock/ledger.js";
import { stockKeys } from "../../engine/stream/keys.js";
import { until } from "../stream/toy-log.js";
import { CLI, withCli } from "./cli-process.js";

const run = withCli();
const { path, shuiwei } = run;

describe("dead-letters", { timeout: 300_000 }, () => {
  const PARTITIONS = 16;
  const PREFIX = "shuiwei";
  const deadLetters = (...args: string[]) => shuiwei("dead-letters", ...args, "--dir", "shop");
  let serving: ChildProcess | undefined;
  let client: Redis;

  async function startShop(): Promise<void> {
    const settings = ["--partitions", String(PARTITIONS), "--tick", "50ms", "--tokens", "a-token-of-this-test"];
    const args = ["serve", "--dir", "shop", "--port", "0", "--drain-delay", "0", ...settings];
    const child = spawn(process.execPath, [CLI, ...args], { cwd: run.folder(), stdio: ["ignore", "pipe", "ignore"] });
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
