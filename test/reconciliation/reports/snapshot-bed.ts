/** A snapshot store on a test's Redis, with a clock that the test moves, and a short way to send parts. */
import { ManualClock } from "../../../engine/kernel/clock.js";
import type { Snapshot } from "../../../engine/reconciliation/model.js";
import type { SnapshotPartHeader } from "../../../engine/reconciliation/reports/snapshot-rules.js";
import {
  type PartOutcome,
  SnapshotPartWriter,
  SnapshotStore,
  type SnapshotStoreOptions,
} from "../../../engine/reconciliation/reports/snapshot-store.js";
import type { RedisClient } from "../../../engine/stream/redis.js";

export const START_MS = Date.UTC(2026, 10, 30, 10);
export const PARTITIONS = 4;
export type Row = readonly [sku: unknown, location: unknown, units: unknown];

export const rowsOf = (count: number, first = 0): Row[] =>
  Array.from({ length: count }, (_, i) => [`SKU-${first + i}`, i % 2 === 0 ? "main" : "W-1", i % 100]);

export interface SnapshotBed {
  readonly clock: ManualClock;
  readonly store: SnapshotStore;
  /** Another process on the same Redis. */
  readonly other: SnapshotStore;
  readonly announced: Snapshot[];
  readonly troubles: string[];
}

export function snapshotBed(redis: RedisClient, changes: Partial<SnapshotStoreOptions> = {}): SnapshotBed {
  const clock = new ManualClock(START_MS);
  const announced: Snapshot[] = [];
  const troubles: string[] = [];
  const make = () =>
    new SnapshotStore({
      redis,
      prefix: "t",
      partitions: PARTITIONS,
      clock,
      locations: () => new Set(["main", "W-1"]),
      onTrouble: (message) => void troubles.push(message),
      onComplete: async (snapshot) => void announced.push(snapshot),
      ...changes,
    });
  return { clock, store: make(), other: make(), announced, troubles };
}

export const headerOf = (changes: Partial<SnapshotPartHeader> = {}): SnapshotPartHeader => ({
  source: "wms",
  id: "s1",
  measure: "on_hand",
  asOfMs: START_MS,
  part: 1,
  parts: 1,
  rows: 3,
  ...changes,
});

/** Adds rows as a route does: the first wrong one refuses the part. */
export async function fill(writer: SnapshotPartWriter, rows: readonly Row[]): Promise<PartOutcome | undefined> {
  for (const [sku, location, units] of rows) {
    const refusal = writer.add(sku, location, units);
    if (refusal) return writer.refuse(refusal);
    if (writer.isFull) await writer.drain();
  }
  return undefined;
}

export async function sendPart(
  store: SnapshotStore,
  changes: Partial<SnapshotPartHeader>,
  rows: readonly Row[],
): Promise<PartOutcome> {
  const writer = await store.receive(headerOf({ rows: rows.length, ...changes }));
  if (!(writer instanceof SnapshotPartWriter)) return writer;
  return (await fill(writer, rows)) ?? writer.end();
}

/** All rows of a snapshot, by partition, sorted. */
export async function readRows(store: SnapshotStore, snapshot: Snapshot): Promise<Row[][]> {
  const all: Row[][] = [];
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const rows: Row[] = [];
    for await (const { skus, locations, units } of store.rows(snapshot, partition))
      for (let i = 0; i < skus.length; i++) rows.push([skus[i], locations[i], units[i]]);
    all.push(rows.sort());
  }
  return all;
}
