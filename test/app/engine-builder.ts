/**
 * Starts whole engines for the tests of a file or of one `describe`, and stops them after the last of these tests. An
 * engine gets times that are short enough for a test, four partitions and jobs, unless the test chooses otherwise.
 */
import { afterAll } from "vitest";
import type { ObjectStore } from "../../connectors/objects/index.js";
import { type Engine, startEngine } from "../../engine/app/engine.js";
import type { EngineSettings } from "../../engine/app/engine-settings.js";
import { Lifecycle } from "../../engine/app/lifecycle.js";
import type { Tables } from "../../engine/app/tables.js";

/** What every test chooses itself, and what it wants to be different. */
export type OwnSettings = Partial<EngineSettings> & Pick<EngineSettings, "redisUrl" | "prefix">;

export interface TestEngines {
  /** The test may stop the engine earlier. */
  start(own: OwnSettings, tables?: Tables): Promise<Engine>;
  /** Adds what has to stop before the engines that run now. */
  onStop(stop: () => unknown): void;
  /** Stops everything now, for tests that need each an engine of its own. */
  stop(): Promise<void>;
}

const DEFAULTS: Omit<EngineSettings, "redisUrl" | "prefix"> = {
  dir: "",
  appendfsync: "everysec",
  partitions: 4,
  leaseMs: 2_000,
  tickMs: 200,
  retentionMs: 86_400_000,
  pollMs: 20,
  zone: "UTC",
  idRetentionDays: 45,
  batchLimit: 500,
  worker: true,
  empty: false,
  shopTime: undefined,
  onTrouble: () => {},
};

/** Call it after `withRedis`, so that the engines stop before their Redis. */
export function withEngines(): TestEngines {
  const lifecycle = new Lifecycle();
  afterAll(() => lifecycle.stop());
  return {
    async start(own, tables) {
      const engine = await startEngine({ ...DEFAULTS, ...own }, tables);
      lifecycle.onStop(() => engine.stop());
      return engine;
    },
    onStop: (stop) => lifecycle.onStop(stop),
    stop: () => lifecycle.stop(),
  };
}

/** An engine that sends orders to a WMS. */
export const wmsSettings = (url: string, objects: ObjectStore): Pick<EngineSettings, "options" | "objects"> => ({
  // On a busy machine an answer may take long; one of the WMS may take this long.
  options: { wmsUrl: url, wmsLimit: 1_000, wmsInFlight: 64, wmsTimeoutMs: 3_000 },
  objects,
});
