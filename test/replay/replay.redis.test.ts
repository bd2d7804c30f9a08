/**
 * Replays of small histories written here, and of a real one where its file is at hand: three files that add up, the
 * same state however the work was cut and shared, and nothing left behind by a replay that failed.
 */
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync, gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EngineError } from "../../engine/kernel/errors.js";
import { seededRandom } from "../../engine/kernel/random.js";
import { lengthOf } from "../length.js";
import { type FileReplay, replayFiles } from "./replay-files.js";

const HISTORY = fileURLToPath(new URL("../../../shared/data/online-retail.csv.gz", import.meta.url));
const MINUTE = 60_000;
let directory: string;
let runs = 0;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "shuiwei-replay-test-"));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

const settings = (files: string[], more: Partial<FileReplay> = {}): FileReplay => ({
  files,
  mapping: "online-retail",
  openingStock: 1_000,
  zone: "Europe/London",
  out: join(directory, `out-${runs++}`),
  partitions: 4,
  batchLimit: 500,
  signal: new AbortController().signal,
  onProgress: () => {},
  ...more,
});
const file = async (name: string, content: string | Buffer): Promise<string> => {
  const path = join(directory, name);
  await writeFile(path, content);
  return path;
};
const HEADER = "invoice,sku,description,quantity,time,price,customer,country";
const row = (invoice: string, sku: string, units: number | string, ms: number | string): string =>
  `${invoice},${sku},thing,${units},${typeof ms === "number" ? new Date(ms).toISOString() : ms},1.00,7,United Kingdom`;
const START = Date.UTC(2011, 2, 20, 8);

/** A week and a half of a small shop over the London change of clocks, with a rush on some SKUs. */
function history(seed: number, rows: number, isSorted = true): string {
  const random = seededRandom(seed);
  let ms = START;
  const lines = [HEADER];
  for (let i = 0; i < rows; i++) {
    ms += random.below(random.pick([MINUTE, 5 * MINUTE, 40 * MINUTE]));
    const atMs = isSorted ? ms : ms - random.below(3) * random.below(90 * MINUTE);
    const isRush = random.below(300) < 20;
    const sku = `sku-${random.below(isRush ? 3 : 30)}`;
    if (random.below(25) === 0) lines.push(row(`C${i}`, sku, -1 - random.below(3), atMs));
    else if (random.below(40) === 0) lines.push(row(`${i}`, sku, -1, atMs));
    else lines.push(row(`${i}`, sku, isRush ? 60 + random.below(90) : 1 + random.below(6), atMs));
  }
  return `${lines.join("\n")}\n`;
}

/** Temporary folders of replays that are there. */
const leftovers = async () => (await readdir(tmpdir())).filter((name) => /^shuiwei-replay-(?!test-)/.test(name)).sort();

describe("an earlier result", () => {
  it("is not written over unless that is asked for, and that is said before anything is read", async () => {
    const out = join(directory, "kept");
    await mkdir(out);
    await writeFile(join(out, "summary.json"), "earlier");
    const missing = settings([join(directory, "not-there.csv")], { out });
    await expect(replayFiles(missing)).rejects.toMatchObject({
      code: "bad_input",
      message: `--out: ${out} holds an earlier result: name another folder, or add --force`,
    });
    expect(await readFile(join(out, "summary.json"), "utf8")).toBe("earlier");
    // Then it is the missing file that is reported.
    await expect(replayFiles({ ...missing, force: true })).rejects.toThrow("not-there.csv");
    await expect(replayFiles({ ...missing, out: join(out, "summary.json") })).rejects.toThrow(
      "is a file, not a folder",
    );
  });
});

describe("a replay", () => {
  it("writes three files that add up", async () => {
    const path = await file(
      "small.csv",
      `${[
        HEADER,
        row("1", "cup", 60, START),
        row("2", "cup", 39, START + MINUTE),
        row("3", "cup", 1, START + 2 * MINUTE),
        row("C4", "cup", -5, START + 3 * MINUTE),
        row("5", "cup", -2, START + 4 * MINUTE),
        row("A6", "cup", 1, START + 4 * MINUTE),
        row("7", "cup", "many", START + 4 * MINUTE),
        row("8", "pot", 2_000, START + 5 * MINUTE),
        row("9", "pot", 1, START + 90 * MINUTE),
      ].join("\n")}\n`,
    );
    const asked = settings([path]);
    const summary = await replayFiles(asked);
    expect(summary).toMatchObject({
      rows: 9,
      accepted: 6,
      refused: 1,
      rejected: 2,
      kinds: { sale: 5, return: 1, correct: 1 },
      // Two openings; three events of each sale taken; one of the return and of the correction.
      events: 2 + 4 * 3 + 2,
      alertsFired: 1,
      alertedSkus: 1,
      stateHash: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
    expect((await readdir(asked.out)).sort()).toEqual(["alerts.ndjson", "rejected.ndjson", "summary.json"]);
    const read = async (name: string) => await readFile(join(asked.out, name), "utf8");
    expect(JSON.parse(await read("summary.json"))).toEqual(summary);
    const ndjson = async (name: string) =>
      (await read(name))
        .trimEnd()
        .split("\n")
        .map((text) => JSON.parse(text));
    expect(await ndjson("alerts.ndjson")).toEqual([
      { type: "fired", sku: "cup", at: new Date(START + 2 * MINUTE).toISOString(), hourUnits: 100, dailyAverage: null },
      // The pane of 08:00 is given up when 09:01 has come.
      {
        type: "cleared",
        sku: "cup",
        at: new Date(START + 61 * MINUTE).toISOString(),
        hourUnits: 40,
        dailyAverage: null,
      },
    ]);
    expect((await ndjson("rejected.ndjson")).map(({ file, line, reason }) => [file, line, reason])).toEqual([
      ["small.csv", 7, "bad-debt adjustment, no goods moved"],
      ["small.csv", 8, expect.stringContaining("many")],
      ["small.csv", 9, "refused: insufficient_sellable"],
    ]);
  });

  it("gives the same state and alerts however it is cut into batches and shared among partitions", async () => {
    const path = await file("history.csv.gz", gzipSync(history(618, lengthOf({ short: 600, long: 1_500 }))));
    const results = [];
    for (const [batchLimit, partitions] of [
      [500, 4],
      [1, 4],
      [37, 4],
      [500, 1],
      [500, 16],
    ] as const) {
      const asked = settings([path], { batchLimit, partitions });
      const { seconds: _, ...summary } = await replayFiles(asked);
      results.push({ summary, alerts: await readFile(join(asked.out, "alerts.ndjson"), "utf8") });
    }
    const [first, ...others] = results;
    expect(first?.summary.alertsFired).toBeGreaterThan(4);
    for (const other of others) expect(other).toEqual(first);
  });

  it("gives the same state for rows that are not in the order of time, in any batches", async () => {
    const path = await file("unsorted.csv", history(7, lengthOf({ short: 600, long: 1_500 }), false));
    const hashes = new Set<string>();
    for (const batchLimit of [500, 1, 37]) hashes.add((await replayFiles(settings([path], { batchLimit }))).stateHash);
    expect(hashes.size).toBe(1);
  });

  it("goes through several files one after the other", async () => {
    const lines = history(5, 400).trimEnd().split("\n");
    const one = await file("one.csv", `${lines.slice(0, 200).join("\n")}\n`);
    const two = await file("two.csv", `${[HEADER, ...lines.slice(200)].join("\n")}\n`);
    const both = await replayFiles(settings([one, two]));
    const whole = await replayFiles(settings([await file("whole.csv", `${lines.join("\n")}\n`)]));
    expect({ ...both, seconds: 0 }).toEqual({ ...whole, seconds: 0 });
  });

  it("gives back every hold that is due at the end, however many they are", async () => {
    const mapping = await file(
      "mapping.json",
      `{ "name": "holds", "channel": "HO", "time": "iso", "location": "main",
         "columns": { "time": "time", "sku": "sku", "units": "quantity", "reference": "invoice" },
         "rules": [{ "when": "always", "then": "reserve" }] }`,
    );
    const rows = Array.from({ length: 2_500 }, (_, i) => row(`${i}`, "cup", 1, START));
    rows.push(row("last", "pot", 1, START + 60 * MINUTE));
    const path = await file("holds.csv", `${[HEADER, ...rows].join("\n")}\n`);
    const hashes = new Set<string>();
    for (const partitions of [1, 4]) {
      const summary = await replayFiles(settings([path], { mapping, partitions, openingStock: 5_000 }));
      expect(summary).toMatchObject({ accepted: 2_501, events: 2 + 2_501 + 2_500 });
      hashes.add(summary.stateHash);
    }
    expect(hashes.size).toBe(1);
  });
});

describe("a replay that fails", () => {
  it("on a file that was cut off names it, and leaves nothing", async () => {
    const before = await leftovers();
    const whole = gzipSync(history(3, 6_000));
    const path = await file("cut.csv.gz", whole.subarray(0, Math.floor(whole.length * 0.8)));
    const asked = settings([path]);
    await mkdir(asked.out);
    const failure = replayFiles(asked);
    await expect(failure).rejects.toThrow(EngineError);
    await expect(failure).rejects.toThrow("cut.csv.gz");
    expect(await readdir(asked.out)).toEqual([]);
    expect(await leftovers()).toEqual(before);
  });

  it("because it was cancelled leaves nothing", async () => {
    const before = await leftovers();
    const path = await file("long.csv", history(3, 20_000));
    const controller = new AbortController();
    let calls = 0;
    const asked = settings([path], {
      signal: controller.signal,
      onProgress: () => {
        if (++calls === 3) controller.abort();
      },
    });
    await expect(replayFiles(asked)).rejects.toThrow("abort");
    expect(existsSync(asked.out)).toBe(false);
    expect(await leftovers()).toEqual(before);
  });

  it("before it began, for a mapping, a zone or a file that there is not, leaves nothing", async () => {
    const before = await leftovers();
    const path = await file("good.csv", history(3, 10));
    for (const bad of [{ mapping: "none" }, { zone: "Mars/Olympus" }, { files: [join(directory, "none.csv")] }]) {
      const asked = settings([path], bad);
      await expect(replayFiles(asked)).rejects.toThrow(EngineError);
      expect(existsSync(asked.out)).toBe(false);
    }
    expect(await leftovers()).toEqual(before);
  });
});

describe.skipIf(!existsSync(HISTORY))("the Online Retail history", () => {
  it("is replayed up to the middle of January, with the alerts that are known of it", async () => {
    const rows = gunzipSync(await readFile(HISTORY))
      .toString("latin1")
      .split("\n", 60_001);
    const path = await file("to-january.csv", `${rows.join("\n")}\n`);
    const summary = await replayFiles(settings([path], { openingStock: 1_000_000, partitions: 16 }));
    expect(summary).toMatchObject({ rows: 60_000, kinds: { sale: 58_860 }, alertsFired: 977, alertedSkus: 569 });
    expect(summary.accepted + summary.refused + summary.rejected).toBe(summary.rows);
  });
});
