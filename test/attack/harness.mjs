/**
 * What every attack script uses: a `serve` to attack, an ordinary client beside it, and the result. A script
 * works from outside, over HTTP alone, and needs nothing but Node: with `--url URL --token T` it attacks a running
 * server, without them it starts the built product with a private Redis in a temporary directory and ends it by its
 * process id. Exit status: 0 when everything that was checked holds, 1 when something does not or the script did not
 * end in time, 77 when it was skipped. It prints what it saw.
 */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

export const SKIPPED_STATUS = 77;
/** Longer than any script takes on a busy machine; the runner's own limit is above it. */
const SCRIPT_LIMIT_MS = 120_000;
/** The set-up may have to build first. */
const START_LIMIT_MS = 90_000;
const END_LIMIT_MS = 15_000;
const OWN_TOKEN = "a-token-of-the-attack-scripts";
const SHUIWEI = fileURLToPath(new URL("../../engine/boot/shuiwei.mjs", import.meta.url));
const BASE32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Calls `holds` until it returns something true or the time is over; returns its last result. */
export async function until(holds, limitMs = 10_000, everyMs = 50) {
  const startedMs = performance.now();
  for (;;) {
    const answer = await holds();
    if (answer || performance.now() - startedMs > limitMs) return answer;
    await sleep(everyMs);
  }
}

/**
 * A chain id as the README describes it: channel, milliseconds in base 32, random salt, check character (ISO 7064 MOD
 * 37,36).
 */
export function chainId(channel = "AT", timeMs = Date.now()) {
  let time = "";
  for (let rest = timeMs, i = 0; i < 9; i++, rest = Math.floor(rest / 32)) time = BASE32[rest % 32] + time;
  const body = channel + time + [...randomBytes(8)].map((byte) => BASE32[byte & 31]).join("");
  let check = 36;
  for (const character of body) {
    check += ALPHABET.indexOf(character);
    if (check > 36) check -= 36;
    check = (check * 2) % 37;
  }
  return body + ALPHABET[(37 - check) % 36];
}

/** An honest client of one server. */
export class Client {
  constructor(url, token) {
    this.url = url;
    this.token = token;
  }

  /**
   * Sends a request; `body` as JSON, or a text as it is. Gives status, headers and the answer (JSON where it is
   * some).
   */
  async send(method, path, body, headers = {}) {
    const isText = typeof body === "string";
    const answer = await fetch(this.url + path, {
      method,
      headers: {
        ...(this.token === undefined ? {} : { authorization: `Bearer ${this.token}` }),
        ...(body === undefined ? {} : { "content-type": isText ? "application/x-ndjson" : "application/json" }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: isText ? body : JSON.stringify(body) }),
    });
    const text = await answer.text();
    let json;
    try {
      json = JSON.parse(text);
    } catch {}
    return { status: answer.status, headers: answer.headers, text, json };
  }

  /** Applies stock commands; gives their outcomes. */
  async apply(...commands) {
    const answer = await this.send("POST", "/v1/commands", commands.map((each) => JSON.stringify(each)).join("\n"));
    if (answer.status !== 200) throw new Error(`commands: ${answer.status} ${answer.text}`);
    return answer.text
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
  }

  /** Takes in units of a SKU (a new one unless named) and returns its name. */
  async receive(units, sku = `ATTACK-${randomBytes(5).toString("hex").toUpperCase()}`, location = "main") {
    await this.apply({ kind: "receive", id: chainId(), sku, location, units });
    return sku;
  }

  /** Places an order; lines are `[sku, units]`. */
  place(lines, more = {}) {
    return this.send("POST", "/v1/orders", { ...more, lines: lines.map(([sku, units]) => ({ sku, units })) });
  }

  /** A step of an order: `payment`, `cancellation`, `outbound`. */
  step(id, step, body) {
    return this.send("POST", `/v1/orders/${id}/${step}`, body);
  }

  /** The ledger's balances of a SKU over all locations. */
  async balances(sku) {
    return (await this.send("GET", `/v1/ledger/${sku}`)).json.total;
  }

  /** The value of a metric without labels, or undefined when there is none. */
  async metric(name) {
    const { text } = await this.send("GET", "/metrics");
    const value = new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1];
    return value === undefined ? undefined : Number(value);
  }
}

/**
 * Runs one attack and ends the process with its exit status.
 * @param about one sentence: what must hold
 * @param work gets `{ client, url, token, print, check }`; `check(holds, text)` notes a finding, a throw is a failure
 * @param options `serve`: more arguments for a server of its own, or a function that returns them and receives
 *   `onEnd(action)`;
 *   a script that needs them cannot attack a running server and is skipped there
 */
export async function attack(about, work, { serve } = {}) {
  const name = basename(process.argv[1], ".attack.mjs");
  const print = (text) => process.stdout.write(`${name}: ${text}\n`);
  const { values } = parseArgs({ options: { url: { type: "string" }, token: { type: "string" } } });
  const ends = [];
  let failed = 0;
  const check = (holds, text) => {
    if (!holds) failed++;
    print(`${holds ? "holds" : "FAILS"}: ${text}`);
  };
  const end = async () => {
    for (const action of ends.splice(0).reverse()) await action();
  };
  print(about);
  if (values.url !== undefined && serve !== undefined) {
    print("skipped: it needs a server of its own");
    process.exit(SKIPPED_STATUS);
  }
  const late = setTimeout(async () => {
    print(`FAILS: not over after ${SCRIPT_LIMIT_MS / 1_000} s`);
    await end();
    process.exit(1);
  }, SCRIPT_LIMIT_MS);
  for (const signal of ["SIGINT", "SIGTERM"]) {
    process.once(signal, async () => {
      await end();
      process.exit(1);
    });
  }
  try {
    const more = typeof serve === "function" ? await serve((action) => ends.push(action)) : (serve ?? []);
    const target = values.url === undefined ? await startServe(more, ends) : { url: values.url, token: values.token };
    const { url, token } = target;
    await work({ client: new Client(url, token), url, token, print, check });
  } catch (thrown) {
    failed++;
    print(`FAILS: ${thrown.stack ?? thrown}`);
  } finally {
    await end();
    clearTimeout(late);
  }
  process.exit(failed === 0 ? 0 : 1);
}

/** Starts the product on a free port of loopback; how it ends goes on the list. */
async function startServe(more, ends) {
  const dir = mkdtempSync(join(tmpdir(), "shuiwei-attack-"));
  ends.push(() => rmSync(dir, { recursive: true, force: true }));
  const settings = Object.entries(process.env).filter(([name]) => !name.startsWith("SHUIWEI_"));
  const child = spawn(
    process.execPath,
    [SHUIWEI, "serve", "--port", "0", "--dir", dir, "--drain-delay", "0", ...more],
    {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...Object.fromEntries(settings), SHUIWEI_TOKENS: OWN_TOKEN },
    },
  );
  const complaints = [];
  child.stderr.on("data", (bytes) => complaints.push(bytes.toString()));
  const ended = new Promise((resolve) => child.once("exit", resolve));
  ends.push(async () => {
    child.kill("SIGTERM");
    const cut = setTimeout(() => child.kill("SIGKILL"), END_LIMIT_MS);
    await ended;
    clearTimeout(cut);
  });
  const url = await new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`serve does not start: ${complaints.join("")}`)), START_LIMIT_MS);
    createInterface({ input: child.stdout }).on("line", (line) => {
      const found = /http:\/\/[\w.:[\]-]+/.exec(line)?.[0];
      if (found === undefined) return;
      clearTimeout(late);
      resolve(found.replace(/,$/, ""));
    });
    child.once("exit", (status) => {
      clearTimeout(late);
      reject(new Error(`serve ended with ${status}: ${complaints.join("")}`));
    });
  });
  return { url, token: OWN_TOKEN };
}
