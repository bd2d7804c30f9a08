/**
 * Reading history end to end: files in, mapped rows out, with every fault reported before its row or at it. The last
 * test reads a real shop's year where the data is at hand, and is skipped where it is not.
 */
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readHistory } from "../../../connectors/csv/index.js";
import { loadMapping } from "../../../connectors/mapping/mapping.js";
import { commandsOf, type MappedRow } from "../../../engine/replay/history.js";
import { decide } from "../../../engine/stock/decide.js";
import { advance, evolve } from "../../../engine/stock/evolve.js";
import { cellOf } from "../../../engine/stock/model.js";
import { emptyPartitionState } from "../../../engine/stock/partition-state.js";

const REAL_FILE = fileURLToPath(new URL("../../../../shared/data/online-retail.csv.gz", import.meta.url));

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "csv-history-"));
});
afterAll(() => rm(folder, { recursive: true }));

const HEADER = "invoice,sku,quantity,time,unit_price,customer,country\n";
const file = async (name: string, content: string | Uint8Array): Promise<string> => {
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
};

async function all(files: string[]): Promise<MappedRow[]> {
  const rows: MappedRow[] = [];
  for await (const chunk of readHistory(files, await loadMapping("online-retail"))) rows.push(...chunk.rows);
  return rows;
}

describe("a history in files", () => {
  it("is read file after file, with progress over all of them", async () => {
    const first = await file("1.csv", `${HEADER}1,a,6,2010-12-01T08:26:00Z,2.55,17850,United Kingdom\n`);
    const second = await file(
      "2.csv",
      gzipSync(`${HEADER}C2,a,-1,2010-12-02T08:26:00Z,2.55,,"Congo, DR"\n3,A,-2,2010-12-02T09:00:00Z,0,,\n`),
    );
    const chunks = [];
    for await (const chunk of readHistory([first, second], await loadMapping("online-retail"))) chunks.push(chunk);
    expect(chunks.map((chunk) => chunk.file)).toEqual([first, second]);
    expect(chunks.flatMap((chunk) => chunk.rows)).toMatchObject([
      { line: 2, intent: "sale", sku: "a", units: 6, reference: "1" },
      { line: 2, intent: "return", sku: "a", units: 1, reference: "C2", reason: "cancelled invoice" },
      { line: 3, intent: "correct", sku: "A", units: -2, reason: "stock written off" },
    ]);
    const last = chunks.at(-1);
    expect(last?.bytesRead).toBe(last?.totalBytes);
    expect(chunks[0]?.totalBytes).toBe(last?.totalBytes);
  });

  it("is refused before the first row when a later file does not fit the mapping or is missing", async () => {
    const first = await file("1.csv", `${HEADER}1,a,6,2010-12-01T08:26:00Z,2.55,17850,United Kingdom\n`);
    const second = await file("other.csv", "a,b\n1,2\n");
    await expect(readHistory([first, second], await loadMapping("online-retail")).next()).rejects.toThrow(
      `${second}: lacks the columns "time", "sku", "quantity", "invoice", used by`,
    );
    await expect(all([first, join(folder, "none.csv")])).rejects.toThrow("there is no such file");
  });

  it("gives commands that the ledger accepts, and recognises as repeated when they are replayed", async () => {
    const lines = ["1,a,6", "1,a,6", "C2,a,-1", "3,a,-2"].map((line) => `${line},2010-12-01T08:26:00Z,1,,\n`);
    const path = await file("1.csv", HEADER + lines.join(""));
    const partition = emptyPartitionState();
    advance(partition, Date.UTC(2010, 11, 1, 8, 26));
    partition.cells.set(cellOf("a", "main"), { sellable: 20, reserved: 0, committed: 0, safety: 0, presale: 0 });
    for (const isReplay of [false, true]) {
      for (const row of await all([path])) {
        if (row.intent === "reject") throw new Error(row.reason);
        for (const command of commandsOf(row)) {
          const decision = decide(partition, command);
          expect(decision).toMatchObject({ outcome: "accepted", repeated: isReplay });
          evolve(partition, command.id, decision);
        }
      }
      expect(partition.cells.get(cellOf("a", "main"))).toMatchObject({
        sellable: 20 - 12 + 1 - 2,
        reserved: 0,
        committed: 0,
      });
    }
  });
});

describe.skipIf(!existsSync(REAL_FILE))("the data set Online Retail", () => {
  it("is mapped completely, with a different id for every row", { timeout: 60_000 }, async () => {
    const intents: Record<string, number> = {};
    const ids = new Set<string>();
    const rejected: number[] = [];
    let rows = 0;
    for await (const chunk of readHistory([REAL_FILE], await loadMapping("online-retail"))) {
      for (const row of chunk.rows) {
        rows++;
        intents[row.intent] = (intents[row.intent] ?? 0) + 1;
        if (row.intent === "reject") rejected.push(row.line);
        else ids.add(row.id);
      }
    }
    expect(rows).toBe(453_843);
    expect(intents).toEqual({ sale: 444_422, return: 8_221, correct: 1_197, reject: 3 });
    expect(ids.size).toBe(453_840);
    expect(rejected).toHaveLength(3);
  });
});
