/**
 * What a test's engine is started with: on a Redis that is there, with jobs, four partitions, and times short enough
 * for a test.
 */
import type { ObjectStore } from "../../connectors/objects/index.js";
import type { EngineSettings } from "../../engine/app/engine-settings.js";

/** What every test decides for itself, and what it wants otherwise. */
export type OwnSettings = Partial<EngineSettings> & Pick<EngineSettings, "redisUrl" | "prefix">;

export const engineSettings = (own: OwnSettings): EngineSettings => ({
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
  ...own,
});

export const wmsSettings = (url: string, objects: ObjectStore): NonNullable<EngineSettings["wms"]> => ({
  url,
  token: undefined,
  limitPerSecond: 1_000,
  inFlight: 64,
  // A busy machine may keep an answer waiting; a WMS that gives none is waited for this long.
  timeoutMs: 3_000,
  maxBacklog: 100_000,
  objects,
});
