/**
 * How fast a snapshot of a large shop comes in: one body of a million rows over HTTP at `shuiwei serve`, a process of
 * its own, until it is complete; in each format. The body is made before the clock starts, and this process only sends
 * it, so the figure is the server's together with its Redis and this sender on one machine. Memory is the server's
 * resident set when a tenth of the body was taken, and when the answer came.
 */
import { readFile } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { Packr } from "msgpackr";
import { chainIdFromNumber } from "../../engine/kernel/chain-id.js";
import { stopwatch, systemClock } from "../../engine/kernel/clock.js";
import { assert } from "../../engine/kernel/errors.js";
import { Ledger } from "../../engine/stock/ledger.js";
import { streamOptions } from "../../engine/stream/options.js";
import { connect } from "../../engine/stream/redis.js";
import { cpuSecondsOf } from "../load/cpu.js";
import { type Serving, startServing } from "../load/serving.js";

export interface IngestResult {
  readonly format: string;
  readonly rows: number;
  readonly bytes: number;
  /** Medians of the runs. */
  readonly rowsPerSecond: number;
  /** Of the serving process: how busy it was, whatever else the machine did. */
  readonly cpuSeconds: number;
  /** Of the serving process, in MiB. */
  readonly rssAtTenth: number;
  readonly rssAtEnd: number;
  /** What Redis holds more for one snapshot, in bytes a row. */
  readonly storedBytesPerRow: number;
}

const TOKEN = "a-token-of-the-benchmark-0123456789";
const PARTITIONS = streamOptions.partitions.default;
const PREFIX = streamOptions.prefix.default;
const LOCATIONS = 10;
const PIECE_BYTES = 64 * 1024;
const TENTH = 0.1;

const skuName = (i: number): string => `SKU-${String(i).padStart(7, "0")}`;
const locationName = (i: number): string => `warehouse-${i}`;
const rowAt = (i: number): [sku: string, location: string, units: number] => [
  skuName(Math.floor(i / LOCATIONS)),
  locationName(i % LOCATIONS),
  // No two neighbours alike, as in a real stock.
  (Math.imul(i + 1, 0x9e3779b1) >>> 12) % 1_000,
];

const packr = new Packr({ useRecords: false });
const linesOf = (rows: number, line: (row: ReturnType<typeof rowAt>) => string): Buffer =>
  Buffer.concat(
    Array.from({ length: Math.ceil(rows / 10_000) }, (_, block) => {
      let text = "";
      for (let i = block * 10_000; i < Math.min(rows, (block + 1) * 10_000); i++) text += line(rowAt(i));
      return Buffer.from(text);
    }),
  );
const ndjson = ([sku, location, units]: ReturnType<typeof rowAt>): string =>
  `{"sku":"${sku}","location":"${location}","units":${units}}\n`;

interface Format {
  readonly name: string;
  readonly headers: Record<string, string>;
  body(rows: number): Buffer;
}

const FORMATS: readonly Format[] = [
  {
    name: "NDJSON with gzip",
    headers: { "content-type": "application/x-ndjson", "content-encoding": "gzip" },
    body: (rows) => gzipSync(linesOf(rows, ndjson)),
  },
  {
    name: "NDJSON",
    headers: { "content-type": "application/x-ndjson" },
    body: (rows) => linesOf(rows, ndjson),
  },
  {
    name: "CSV",
    headers: { "content-type": "text/csv" },
    body: (rows) => Buffer.concat([Buffer.from("sku,location,units\n"), linesOf(rows, (row) => `${row.join(",")}\n`)]),
  },
  {
    name: "msgpack",
    headers: { "content-type": "application/msgpack" },
    body: (rows) => Buffer.concat(Array.from({ length: rows }, (_, i) => packr.pack(rowAt(i)))),
  },
];

const rssMiB = async (pid: number): Promise<number> =>
  Math.round(Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${pid}/status`, "utf8"))?.[1]) / 1_024);

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] as number;

/** Sends one body; resolves with the answer. */
function send(
  { port }: Serving,
  path: string,
  headers: Record<string, string>,
  body: Buffer,
  onSent: (share: number) => void,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      {
        ...{ host: "127.0.0.1", port, method: "POST", path },
        headers: { authorization: `Bearer ${TOKEN}`, "content-length": body.length, ...headers },
      },
      (response) => {
        let text = "";
        response.on("data", (part) => (text += part)).on("end", () => resolve(text));
      },
    );
    request.on("error", reject);
    const write = (from: number): void => {
      onSent(from / body.length);
      if (from >= body.length) request.end();
      else if (request.write(body.subarray(from, from + PIECE_BYTES))) setImmediate(write, from + PIECE_BYTES);
      else request.once("drain", () => write(from + PIECE_BYTES));
    };
    write(0);
  });
}

/** A unit of one SKU at each location, so that the ledger has the locations; waits until the server shows them. */
async function openLocations(socketPath: string, serving: Serving): Promise<void> {
  const redis = connect({ url: socketPath });
  await Ledger.load(redis);
  const ledger = new Ledger({ redis, prefix: PREFIX, partitions: PARTITIONS });
  for (let i = 0; i < LOCATIONS; i++)
    await ledger.apply({
      ...{ kind: "receive", id: chainIdFromNumber("BN", systemClock.now(), i) },
      ...{ sku: skuName(0), location: locationName(i), units: 1 },
    });
  redis.disconnect();
  for (;;) {
    const answer = await fetch(`http://127.0.0.1:${serving.port}/v1/stock/${skuName(0)}?by=location`);
    const { locations = [] } = (await answer.json()) as { locations?: unknown[] };
    if (locations.length === LOCATIONS) return;
    await pause(50);
  }
}

/** Measures every format on one Redis that holds nothing else. */
export async function measureIngest(
  socketPath: string,
  {
    rows,
    runs,
    signal,
    onProgress,
  }: { rows: number; runs: number; signal: AbortSignal; onProgress(text: string): void },
): Promise<IngestResult[]> {
  const redis = connect({ url: socketPath });
  const usedBytes = async (): Promise<number> => Number(/used_memory:(\d+)/.exec(await redis.info("memory"))?.[1]);
  // Apart, because the worker compares each snapshot, which takes memory of its own.
  const worker = await startServing({ redisPath: socketPath, roles: "worker", token: TOKEN });
  const serving = await startServing({ redisPath: socketPath, roles: "api", token: TOKEN });
  const results: IngestResult[] = [];
  try {
    await openLocations(socketPath, serving);
    for (const { name, headers, body } of FORMATS) {
      onProgress(`receiving ${rows} rows as ${name}`);
      const bytes = body(rows);
      const rates: number[] = [];
      const cpu: number[] = [];
      const tenths: number[] = [];
      const ends: number[] = [];
      let stored = 0;
      for (let run = 0; run < runs; run++) {
        signal.throwIfAborted();
        const before = await usedBytes();
        const asOf = new Date(systemClock.now()).toISOString();
        const id = `${run}-${asOf}`;
        const query = new URLSearchParams({ id, asOf, measure: "on_hand", rows: String(rows) });
        const cpuBefore = cpuSecondsOf(serving.pid) ?? 0;
        let atTenth: Promise<number> | undefined;
        const elapsed = stopwatch();
        const answer = await send(serving, `/v1/snapshots/wms?${query}`, headers, bytes, (share) => {
          if (share >= TENTH) atTenth ??= rssMiB(serving.pid);
        });
        rates.push(rows / (elapsed() / 1_000));
        cpu.push((cpuSecondsOf(serving.pid) ?? 0) - cpuBefore);
        assert(answer.includes('"complete"'), answer);
        ends.push(await rssMiB(serving.pid));
        tenths.push((await atTenth) ?? 0);
        stored = (await usedBytes()) - before;
      }
      results.push({
        ...{ format: name, rows, bytes: bytes.length, rowsPerSecond: Math.round(median(rates)) },
        cpuSeconds: Math.round(100 * median(cpu)) / 100,
        ...{ rssAtTenth: median(tenths), rssAtEnd: median(ends) },
        storedBytesPerRow: Math.round((10 * stored) / rows) / 10,
      });
    }
  } finally {
    await serving.stop();
    await worker.stop();
    redis.disconnect();
  }
  return results;
}
