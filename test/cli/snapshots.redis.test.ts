/** `shuiwei snapshots`: a file becomes a snapshot in parts; what was refused is said, and nothing is sent twice. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { command } from "../../engine/cli/snapshots.js";
import { sleep } from "../../engine/kernel/clock.js";
import { httpBed, TOKEN } from "../connectors/http/http-bed.js";
import { runCommand } from "./run-command.js";

const bed = httpBed();
let dir: string;
let printed: string[];

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "shuiwei-snapshots-"));
  await bed.receive("TEA", 5);
  while (bed.storefrontView.cells < 1) await sleep(10);
});
afterAll(() => rm(dir, { recursive: true, force: true }));
beforeEach(() => {
  printed = [];
  for (const stream of [process.stdout, process.stderr])
    vi.spyOn(stream, "write").mockImplementation((text) => printed.push(String(text)) > 0);
});
afterEach(() => void vi.restoreAllMocks());

const optionsOf = (changes = {}) => ({
  ...{ server: bed.url, token: TOKEN, source: "wms", asOf: new Date().toISOString(), measure: "on_hand" },
  ...{ id: undefined, rowsAPart: 100, json: false },
  ...changes,
});

async function fileOf(name: string, body: string | Buffer): Promise<string> {
  const path = join(dir, name);
  await writeFile(path, body);
  return path;
}

const csvOf = (rows: number): string =>
  `sku,location,units\r\n${Array.from({ length: rows }, (_, i) => `SKU-${i},main,${i % 9}`).join("\r\n")}`;
const ndjsonOf = (rows: number): string =>
  Array.from({ length: rows }, (_, i) => `{"sku":"SKU-${i}","location":"main","units":1}\n`).join("\n");

describe("snapshots send", () => {
  it("sends a CSV file in parts, shows its progress and says that it is complete", async () => {
    const path = await fileOf("a.csv", csvOf(250));
    await runCommand(command, optionsOf({ source: "csv" }), ["send", path]);
    expect(printed.slice(0, 3)).toEqual([
      "part 1 of 3: 100 of 250 rows\n",
      "part 2 of 3: 200 of 250 rows\n",
      "part 3 of 3: 250 of 250 rows\n",
    ]);
    expect(printed[3]).toMatch(/^complete: 250 rows of csv as of /);
  });

  it("sends a compressed NDJSON file, and the same again without harm", async () => {
    const path = await fileOf("b.ndjson.gz", gzipSync(ndjsonOf(120)));
    const options = optionsOf({ source: "erp", id: "b", json: true });
    await runCommand(command, options, ["send", path]);
    await runCommand(command, options, ["send", path]);
    expect(JSON.parse(printed.at(-1) ?? "")).toMatchObject({ outcome: "complete", source: "erp", id: "b" });
  });

  it("states its clock anew when it sends a part again, so that the time in between is no skew", async () => {
    const stated: number[] = [];
    const busy = createServer((request, response) => {
      request.resume().on("end", () => {
        const { searchParams } = new URL(request.url as string, "http://x");
        stated.push(Date.parse(searchParams.get("sentAt") as string));
        response.writeHead(stated.length === 1 ? 503 : 200).end('{"outcome":"complete"}');
      });
    });
    await new Promise<void>((resolve) => busy.listen(0, "127.0.0.1", resolve));
    const { port } = busy.address() as AddressInfo;
    const path = await fileOf("again.csv", csvOf(3));
    await runCommand(command, optionsOf({ server: `http://127.0.0.1:${port}` }), ["send", path]);
    busy.closeAllConnections();
    busy.close();
    expect(stated[1]).toBeGreaterThan(stated[0] as number);
  });

  it("says why a snapshot is refused", async () => {
    const path = await fileOf("c.csv", "sku,location,units\nTEA,main,1\nTEA,moon,1\n");
    await expect(runCommand(command, optionsOf({ source: "bad" }), ["send", path])).rejects.toThrow(
      'answers 422: row 2 of part 1: the ledger has no location "moon"',
    );
  });

  it("names what is missing or cannot be read", async () => {
    const path = await fileOf("d.csv", "sku,location,units\n");
    await expect(runCommand(command, optionsOf(), ["send", path])).rejects.toThrow("has no rows");
    await expect(runCommand(command, optionsOf(), ["send", join(dir, "none.csv")])).rejects.toThrow("cannot be read");
    await expect(runCommand(command, optionsOf(), ["send", await fileOf("e.xlsx", "x")])).rejects.toThrow(".csv");
    await expect(runCommand(command, optionsOf({ asOf: "today" }), ["send", path])).rejects.toThrow("--as-of");
    await expect(runCommand(command, optionsOf({ source: undefined }), ["send", path])).rejects.toThrow("--source");
    await expect(runCommand(command, optionsOf(), ["take"])).rejects.toThrow("send FILE, or list");
  });
});

it("snapshots list prints what is kept, with the reason of what was refused", async () => {
  const path = await fileOf("f.csv", "sku,location,units\nTEA,main,-1\n");
  await expect(runCommand(command, optionsOf({ source: "pos" }), ["send", path])).rejects.toThrow("negative");
  await runCommand(command, optionsOf(), ["list"]);
  expect(printed.join("")).toMatch(/^pos .* refused +1 rows as of .*: row 1 of part 1: the units of SKU TEA/m);
});
