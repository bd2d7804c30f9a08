/**
 * One card for each source, from the sources' list and the snapshots' list: the newest complete snapshot, one that is
 * being received, and what is wrong. Pure. The order is that of names, so that cards do not move.
 */
import type { Measure, SnapshotAnswer, SnapshotList, SourceAnswer, SourceList } from "./contracts.js";

export interface SourceCard {
  name: string;
  /** Its kind and when it is pulled; left out for a source that sends its snapshots by itself. */
  about?: string;
  state: "fresh" | "receiving" | "old" | "overdue" | "refused" | "failing" | "waiting";
  newest?: { asOfMs: number; measure: Measure; rows: number; skewMs?: number };
  receiving?: { rows: number; rowsReceived: number };
  /** A sentence of the server. */
  fault?: string;
}

/** A comparison uses no older snapshot, unless the source is configured otherwise. */
const FRESH_MS = 26 * 3_600_000;

function stateOf(
  card: Omit<SourceCard, "state">,
  newestRecord: SnapshotAnswer | undefined,
  source: SourceAnswer | undefined,
  nowMs: number,
): SourceCard["state"] {
  if (card.receiving !== undefined) return "receiving";
  if (newestRecord?.state === "refused") return "refused";
  if (card.fault !== undefined) return "failing";
  if (source?.pulls.some(({ overdue }) => overdue)) return "overdue";
  if (card.newest === undefined) return "waiting";
  return nowMs - card.newest.asOfMs > (source?.freshnessMs ?? FRESH_MS) ? "old" : "fresh";
}

/** The newest fault of a pull that has not succeeded since. */
const pullFault = (source: SourceAnswer | undefined): string | undefined =>
  source?.pulls.find(({ failures = 0 }) => failures > 0)?.faults[0]?.message;

export function sourceCards(
  snapshots: SnapshotList | undefined,
  configured: SourceList | undefined,
  nowMs: number,
): SourceCard[] {
  const records = snapshots?.snapshots ?? [];
  const sources = new Map((configured?.sources ?? []).map((source) => [source.name, source]));
  const names = [...new Set([...records.map(({ source }) => source), ...sources.keys()])].sort();
  return names.map((name) => {
    const own = records.filter(({ source }) => source === name);
    const complete = own.find(({ state }) => state === "complete");
    const receiving = own.find(({ state }) => state === "receiving");
    const source = sources.get(name);
    const [newestRecord] = own;
    const fault = newestRecord?.refusal?.message ?? pullFault(source);
    const card = {
      name,
      ...(source !== undefined &&
        source.pulls.length > 0 && {
          about: [source.kind, ...new Set(source.pulls.map(({ schedule }) => schedule))].join(" · "),
        }),
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
    return { ...card, state: stateOf(card, newestRecord, source, nowMs) };
  });
}
