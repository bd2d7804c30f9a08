/** A replay of a real year of sales where its file is at hand: 453,843 rows, with the alerts that are known of it. */
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { replayFiles } from "./replay-files.js";

const HISTORY = fileURLToPath(new URL("../../../shared/data/online-retail.csv.gz", import.meta.url));
let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "shuiwei-real-year-"));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

it.skipIf(!existsSync(HISTORY))("the Online Retail history is replayed as a whole", async () => {
  const summary = await replayFiles({
    files: [HISTORY],
    mapping: "online-retail",
    openingStock: 1_000_000,
    zone: "Europe/London",
    out: join(directory, "out"),
    partitions: 16,
    batchLimit: 500,
    signal: new AbortController().signal,
    onProgress: () => {},
  });
  expect(summary).toMatchObject({ rows: 453_843, kinds: { sale: 444_422 }, alertsFired: 9_087, alertedSkus: 1_738 });
  expect(summary.accepted + summary.refused + summary.rejected).toBe(summary.rows);
});
