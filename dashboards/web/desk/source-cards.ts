/**
 * One card for each source, from the sources' list and the snapshots' list: the newest complete snapshot, one that is
 * being received, and what is wrong. Pure. The order is that of names, so that cards do not move.
 */
import type { Measure, SnapshotAnswer, SnapshotList, SourceList } from "./contracts.js";

export interface SourceCard {
  name: string;
  /** Left out for a source that only sends snapshots by itself. */
  kind?: string;
  state: "fresh" | "receiving" | "old" | "refused" | "failing" | "waiting";
  newest?: { asOfMs: number; measure: Measure; rows: number; skewMs?: number };
  receiving?: { rows: number; rowsReceived: number };
  /** A sentence of the server. */
  fault?: string;
}

/** A comparison uses no older snapshot, unless the engine is configured otherwise. */
const FRESH_MS = 26 * 3_600_000;

function stateOf(card: Omit<SourceCard, "state">, newestRecord: SnapshotAnswer | undefined, nowMs: number) {
  if (card.receiving !== undefined) return "receiving";
  if (newestRecord?.state === "refused") return "refused";
  if (card.fault !== undefined) return "failing";
  if (card.newest === undefined) return "waiting";
  return nowMs - card.newest.asOfMs > FRESH_MS ? "old" : "fresh";
}

export function sourceCards(
  snapshots: SnapshotList | undefined,
  configured: SourceList | undefined,
  nowMs: number,
): SourceCard[] {
  const records = snapshots?.snapshots ?? [];
  const kinds = new Map((configured?.sources ?? []).map((source) => [source.name, source]));
  const names = [...new Set([...records.map(({ source }) => source), ...kinds.keys()])].sort();
  return names.map((name) => {
    const own = records.filter(({ source }) => source === name);
    const complete = own.find(({ state }) => state === "complete");
    const receiving = own.find(({ state }) => state === "receiving");
    const source = kinds.get(name);
    const [newestRecord] = own;
    const fault = newestRecord?.refusal?.message ?? source?.faults?.[0]?.message;
    const card = {
      name,
      ...(source !== undefined && { kind: source.kind }),
      ...(complete !== undefined && {
        newest: {
          asOfMs: Date.parse(complete.asOf),
          measure: complete.measure,
          rows: complete.rows,
          ...(complete.skewMs !== undefined && { skewMs: complete.skewMs }),
        },
      }),
      ...(receiving !== undefined && {
        receiving: { rows: receiving.rows, rowsReceived: receiving.rowsReceived },
      }),
      ...(fault !== undefined && { fault }),
    };
    return { ...card, state: stateOf(card, newestRecord, nowMs) };
  });
}
