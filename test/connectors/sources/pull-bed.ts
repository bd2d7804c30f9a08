/**
 * What tests of pulls have in common: the stores of an engine in a real Redis, a sandbox of a source, and a folder with
 * a configuration. Made anew for every test.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach } from "vitest";
import type { SourceKind } from "../../../connectors/source.js";
import { loadSources, type SourceConfiguration } from "../../../connectors/sources/configuration.js";
import { fileKind } from "../../../connectors/sources/file-kind.js";
import { httpKind } from "../../../connectors/sources/http-kind.js";
import { openSource } from "../../../connectors/sources/open-source.js";
import { loadSourcesLibrary, SourceProgress } from "../../../connectors/sources/progress.js";
import { type PullResult, pullSnapshot } from "../../../connectors/sources/pull.js";
import { SourceSandbox } from "../../../connectors/sources/sandbox.js";
import { systemClock } from "../../../engine/kernel/clock.js";
import { MovementStore } from "../../../engine/reconciliation/reports/movement-store.js";
import { SnapshotStore } from "../../../engine/reconciliation/reports/snapshot-store.js";
import { SourceRegistry } from "../../../engine/reconciliation/source-registry.js";
import { acquireTask, loadStreamLibrary, type Task } from "../../../engine/stream/commit.js";
import { sourceKeys } from "../../../engine/stream/keys.js";
import type { RedisClient } from "../../../engine/stream/redis.js";
import { withRedis } from "../../redis/with-redis.js";

export const PREFIX = "test";
export const PARTITIONS = 4;
const TOKEN = "token-of-this-test";

/** The parts of the test that runs now. */
export class PullBed {
  folder = "";
  redis!: RedisClient;
  sandbox!: SourceSandbox;
  snapshots!: SnapshotStore;
  movements!: MovementStore;
  registry!: SourceRegistry;
  readonly #kinds: readonly SourceKind[];
  #task!: Task;

  constructor(kinds: readonly SourceKind[]) {
    this.#kinds = [httpKind, fileKind, ...kinds];
  }

  async open(redis: RedisClient): Promise<void> {
    this.redis = redis;
    await loadStreamLibrary(redis);
    await loadSourcesLibrary(redis);
    this.folder = await mkdtemp(join(tmpdir(), "pull-"));
    this.sandbox = new SourceSandbox({ token: TOKEN, pageRows: 40 });
    await this.sandbox.start();
    const shared = { redis, prefix: PREFIX, partitions: PARTITIONS, clock: systemClock, onTrouble: () => {} };
    this.snapshots = new SnapshotStore({ ...shared, locations: () => new Set(["main", "east"]) });
    this.movements = new MovementStore(shared);
    this.registry = new SourceRegistry(redis, PREFIX);
    this.#task = (await acquireTask(redis, sourceKeys(PREFIX, "erp"), "test", 60_000)) as Task;
  }

  async close(): Promise<void> {
    await this.sandbox.stop();
    await rm(this.folder, { recursive: true });
  }

  /** The source `erp`: the sandbox's NDJSON, unless it is changed. */
  configured = async (change: object = {}): Promise<SourceConfiguration> => {
    const path = join(this.folder, "sources.json");
    const { url } = this.sandbox;
    const erp = {
      name: "erp",
      kind: "http",
      measure: "on_hand",
      connection: {
        url: `${url}/stock`,
        format: "ndjson",
        auth: { bearer: { env: "T" } },
        ...{ paging: { link: {} }, asOf: "x-as-of", id: "x-snapshot-id", totalRows: "x-total-rows" },
        movements: { url: `${url}/movements`, fromParameter: "from", toParameter: "to" },
      },
      locations: { A: "main", B: "east" },
      snapshot: { schedule: { every: "1h" }, fields: { sku: "sku", location: "location", units: "units" } },
      retries: 0,
      perSecond: 1_000,
      ...change,
    };
    await writeFile(path, JSON.stringify({ sources: [erp] }));
    const loaded = await loadSources(path, { kinds: this.#kinds, env: () => TOKEN });
    return loaded.sources[0] as SourceConfiguration;
  };

  progress = (maxCells?: number): SourceProgress =>
    new SourceProgress(this.redis, sourceKeys(PREFIX, "erp"), this.#task.epoch, maxCells);

  pull = async (
    configuration: SourceConfiguration,
    work: typeof pullSnapshot = pullSnapshot,
    isDry = false,
  ): Promise<PullResult> => {
    const { source, client, close } = await openSource(configuration, { zone: "Asia/Shanghai", secrets: [] });
    const { snapshots, movements } = this;
    const stores = { snapshots, movements, progress: this.progress() };
    const parts = { configuration, source, client, zone: "Asia/Shanghai", clock: systemClock };
    try {
      return await work({ ...parts, ...(isDry ? {} : { stores }) }, new AbortController().signal);
    } finally {
      await close();
    }
  };

  /** Of the newest snapshot. */
  storedCells = async (): Promise<Record<string, number>> => {
    const snapshot = (await this.snapshots.newest()).get("erp");
    const cells: Record<string, number> = {};
    if (!snapshot) return cells;
    for (let partition = 0; partition < PARTITIONS; partition++)
      for await (const { skus, locations, units } of this.snapshots.rows(snapshot, partition))
        for (const [i, sku] of skus.entries()) cells[`${sku} ${locations[i]}`] = units[i] as number;
    return cells;
  };
}

/** @param kinds beside `http` and `file` */
export function withPulls(...kinds: readonly SourceKind[]): PullBed {
  const redis = withRedis();
  const bed = new PullBed(kinds);
  beforeEach(async () => {
    await redis.flush();
    await bed.open(redis.connect());
  });
  afterEach(() => bed.close());
  return bed;
}
