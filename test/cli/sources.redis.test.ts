/** `shuiwei sources`: faults with their places, mapped rows, dry runs, requests to a deployment, and its list. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { SourceSandbox } from "../../connectors/sources/sandbox.js";
import { command } from "../../engine/cli/sources.js";
import { valuesOf } from "../../engine/kernel/options.js";
import { withEngines } from "../app/engine-builder.js";
import { withRedis } from "../redis/with-redis.js";
import { runCommand } from "./run-command.js";

const redis = withRedis();
const engines = withEngines();

describe("the sources command", () => {
  let folder: string;
  let file: string;
  let sandbox: SourceSandbox;
  let printed = "";
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "sources-"));
    file = join(folder, "sources.json");
    sandbox = new SourceSandbox();
    await sandbox.start();
    for (let i = 0; i < 5; i++) sandbox.stock.set(`SKU-${i}`, "WH", i);
  });
  afterAll(async () => {
    await sandbox.stop();
    await rm(folder, { recursive: true });
  });
  beforeEach(() => {
    printed = "";
    vi.spyOn(process.stdout, "write").mockImplementation((text) => {
      printed += String(text);
      return true;
    });
  });
  afterEach(() => vi.restoreAllMocks());

  const write = (change: object = {}) => {
    const erp = {
      ...{ name: "erp", kind: "http", measure: "on_hand", locations: { WH: "main" }, retries: 0 },
      connection: { url: `${sandbox.url}/stock`, format: "ndjson", paging: { link: {} }, asOf: "x-as-of" },
      snapshot: { schedule: { every: "1h" }, fields: { sku: "sku", location: "location", units: "units" } },
      ...change,
    };
    return writeFile(file, JSON.stringify({ sources: [erp] }, null, 2));
  };
  const run = async (operands: readonly string[], given: object = {}): Promise<string> => {
    const values = { ...valuesOf(command.options, {}), redisUrl: redis.url, ...given } as never;
    const status = await runCommand(command, values, operands).then(
      () => "done",
      (thrown: unknown) => `${(thrown as { code: string }).code}: ${(thrown as Error).message}`,
    );
    return `${printed}${status}`;
  };

  it("shows three mapped rows of each source", async () => {
    await write();
    expect(await run(["check", file])).toBe(
      [
        "erp: http, on_hand",
        ...[0, 1, 2].map((i) => `  SKU SKU-${i} at main: ${i} units`),
        `${file}: 1 source, no fault`,
        "done",
      ].join("\n"),
    );
  });

  it("explains every fault with its line, and rows that cannot be mapped", async () => {
    await write({ measure: "stock" });
    expect(await run(["check", file])).toMatch(
      /sources\.json:6 \/sources\/0\/measure is "stock", and must be one of[\s\S]*not_done: 1 fault found/,
    );
    printed = "";
    await write({ locations: { OTHER: "main" } });
    expect(await run(["check", file])).toMatch(
      /erp: erp page 1 line 1: "location" is "WH", which "locations" does not have/,
    );
    printed = "";
    expect(await run(["check", file], { offline: true })).toMatch(/^erp: http, on_hand\n.*no fault\ndone$/);
  });

  it("says in a dry run what would be stored", async () => {
    await write();
    expect(await run(["run", file], { once: true, dryRun: true })).toMatch(
      /^erp snapshot: would be stored: 5 rows in 1 page, as of \S+Z\n {2}SKU SKU-0 at main: 0 units\n/,
    );
    printed = "";
    sandbox.fail("fail", 5);
    expect(await run(["run", file], { once: true, dryRun: true })).toMatch(
      /erp: http\S+: HTTP 503: out of service\nnot_done/,
    );
    sandbox.fail("fail", 0);
  });

  it.each([
    [["list", "a", "b"], {}, /bad_input: FILE/],
    [["pull"], {}, /bad_input: ACTION/],
    [["run"], {}, /bad_input: --once/],
    [["check"], {}, /bad_input: FILE/],
  ])("refuses %j", async (operands, given, message) => {
    expect(await run(operands, given)).toMatch(message);
  });

  it("asks a running deployment for a pull, and lists what became of it", async () => {
    await redis.flush();
    await write({ locations: { WH: "nowhere" } });
    const prefix = "shuiwei";
    const engine = await engines.start({ redisUrl: redis.url, prefix, options: { sources: file } });
    try {
      expect(await run(["run"], { once: true })).toMatch(/^erp snapshot: refused, 0 rows\nnot_done: a pull failed/);
      printed = "";
      expect(await run(["list"])).toMatch(
        /^erp \(http, on_hand\) snapshot every 1h: no success yet, 0 rows, \d failures? since\n.*the ledger has no location/,
      );
      printed = "";
      expect(JSON.parse((await run(["list"], { json: true })).replace(/done$/, ""))).toMatchObject([{ name: "erp" }]);
    } finally {
      await engine.stop();
    }
  });
});
