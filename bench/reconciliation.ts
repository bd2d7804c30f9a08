/**
 * Reconciliation at the size of a large shop: how fast a snapshot comes in over HTTP, how long a comparison of three
 * sources with the ledger and with each other takes, and how much memory both take. There is no peer: the usual way, a
 * script that reads both sides one after the other, compares with what the stock is by then, and so gives another
 * answer.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BenchReport, BenchSettings } from "../engine/cli/bench.js";
import { figure } from "../engine/cli/text.js";
import { startRedis } from "../engine/redis/embedded.js";
import { connect } from "../engine/stream/redis.js";
import { measureCompare } from "./reconciliation/compare.js";
import { measureIngest } from "./reconciliation/ingest.js";

const INGESTED_ROWS = 1_000_000;
const SHAPES = [
  { skus: 10_000, locations: 1 },
  { skus: 100_000, locations: 10 },
];

export async function run({ runs, signal, onProgress }: BenchSettings): Promise<BenchReport> {
  const dir = await mkdtemp(join(tmpdir(), "shuiwei-bench-"));
  const server = await startRedis({ dir, appendfsync: "everysec" });
  const redis = connect({ url: server.socketPath });
  try {
    const table: string[] = [];
    const results: unknown[] = [];
    const ingest = await measureIngest(server.socketPath, { rows: INGESTED_ROWS, runs, signal, onProgress });
    for (const { format, rows, rowsPerSecond, cpuSeconds, rssAtTenth, rssAtEnd, storedBytesPerRow } of ingest)
      table.push(
        `ingest ${figure(rows)} rows as ${format}: ${figure(rowsPerSecond)} rows/s, ${cpuSeconds} s of CPU; memory ${rssAtTenth} MiB at a tenth, ${rssAtEnd} MiB at the end; ${storedBytesPerRow} bytes a row stored`,
      );
    for (const shape of SHAPES) {
      onProgress(`comparing ${figure(shape.skus * shape.locations)} cells of three sources`);
      const result = await measureCompare(redis, shape, { runs, signal });
      results.push(result);
      const { rowsOfEach, milliseconds, rssBefore, rssMost } = result;
      table.push(
        `compare ${figure(rowsOfEach)} rows × 3 with the ledger: ${figure(milliseconds)} ms; memory ${rssBefore} MiB before, ${rssMost} MiB at most`,
      );
    }
    return { rows: [], facts: { runs }, details: { ingest, results }, table };
  } finally {
    redis.disconnect();
    await server.stop();
    await rm(dir, { recursive: true, force: true });
  }
}
