/**
 * The vocabulary of reconciliation (R13-R15): what outside systems report as their stock, and how far two reports part.
 * A *source* (an ERP, a WMS, a storefront) reports *snapshots*: units by SKU and location as of an instant, in numbered
 * parts. A *comparison* compares the newest complete snapshot of each source with what the ledger held at that very
 * instant, and the sources with each other. Types and formulas only: nothing here reads a clock, Redis or the ledger.
 */
import { type Balances, displayUnits, onHandUnits } from "../stock/model.js";

/** What a source counts. `display` is what customers are shown (R5). */
export const MEASURES = ["on_hand", "sellable", "display"] as const;
export type Measure = (typeof MEASURES)[number];

/** Units of a cell as a source of this measure would count them. */
export function measuredUnits(balances: Balances, measure: Measure, displayCoefficient?: number): number {
  if (measure === "on_hand") return onHandUnits(balances);
  if (measure === "sellable") return balances.sellable;
  return displayUnits(balances.sellable, balances.reserved, displayCoefficient);
}

/** The ledger's name as a party of a comparison; no source may have it. */
export const LEDGER = "ledger";
/** The source of what the engine itself has published to the storefront. */
export const PUBLISHED = "published";

/** 1 to 32 lower-case letters, digits and hyphens, beginning with a letter or digit. */
const SOURCE_NAME = /^[a-z0-9][a-z0-9-]{0,31}$/;
export const isSourceName = (name: string): boolean => SOURCE_NAME.test(name) && name !== LEDGER;

/** One SKU at one location as a source reports it; whole units, never negative. */
export interface SnapshotRow {
  readonly sku: string;
  readonly location: string;
  readonly units: number;
}

/** A complete snapshot: all parts have come, no cell twice. Only these are compared. */
export interface Snapshot {
  readonly source: string;
  /** Chosen by the source; unique in it. */
  readonly id: string;
  readonly measure: Measure;
  /** The instant that the rows describe, by the engine's clock: the stated one minus the measured skew. */
  readonly asOfMs: number;
  /** The source's clock minus the engine's, as measured when the snapshot came; undefined: not known. */
  readonly skewMs?: number;
  readonly rows: number;
  readonly completedMs: number;
}

/** One movement of units as a source has booked it. */
export interface Movement {
  /** The source's own id; equal to the ledger's command id or an order line where the source passes that on. */
  readonly id: string;
  readonly sku: string;
  readonly location: string;
  /** Signed: what was added to the source's measure of the cell. */
  readonly units: number;
  /** By the source's clock. */
  readonly atMs: number;
}

/** How far two parties part over the cells that both report (R13). */
export interface Divergence {
  /** Σ|a−b|, without what is explained by events around the instant. */
  readonly differingUnits: number;
  /** Σ max(a, b). */
  readonly totalUnits: number;
  /** Cells that both report, and those among them that differ. */
  readonly cells: number;
  readonly differingCells: number;
}

export const NO_DIVERGENCE: Divergence = { differingUnits: 0, totalUnits: 0, cells: 0, differingCells: 0 };

/** Σ|a−b| ÷ Σ max(a, b), from 0 (R13); 0 when there is nothing to compare. */
export const shareOf = ({ differingUnits, totalUnits }: Pick<Divergence, "differingUnits" | "totalUnits">): number =>
  totalUnits === 0 ? 0 : differingUnits / totalUnits;

/** The divergence with one more cell. `explainedUnits` of the gap are explained by events around the instant. */
export function withCell(sum: Divergence, a: number, b: number, explainedUnits = 0): Divergence {
  const differing = Math.max(0, Math.abs(a - b) - explainedUnits);
  return {
    differingUnits: sum.differingUnits + differing,
    totalUnits: sum.totalUnits + Math.max(a, b, 0),
    cells: sum.cells + 1,
    differingCells: sum.differingCells + (differing === 0 ? 0 : 1),
  };
}

/** A cell in which two parties differ. */
export interface Difference {
  readonly sku: string;
  readonly location: string;
  /** Units of the pair's first party, and of its second, brought to the same measure and instant. */
  readonly aUnits: number;
  readonly bUnits: number;
  /** How much of the gap events around the instant explain. */
  readonly explainedUnits: number;
}

/** How far two parties part in one SKU, over the locations that both report. */
export interface SkuDivergence {
  readonly sku: string;
  readonly differingUnits: number;
  readonly totalUnits: number;
}

/** Two parties of a comparison: two sources, or a source and the ledger (always `b`). */
export interface PairDivergence {
  readonly a: string;
  readonly b: string;
  readonly shop: Divergence;
  /** At most 1,000: those with the greatest differing units first. */
  readonly locations: Readonly<Record<string, Divergence>>;
  /** SKUs that differ, those with the greatest differing units first; at most 100. */
  readonly skus: readonly SkuDivergence[];
  /** The greatest differences, greatest first; at most 20. */
  readonly top: readonly Difference[];
  /** Cells that only one of the two reports; they are in no divergence. */
  readonly onlyInA: number;
  readonly onlyInB: number;
}

/** What a comparison was made for. */
export type ComparisonCause = "schedule" | "demand" | "snapshot" | "half_open";

export interface Comparison {
  readonly id: string;
  readonly atMs: number;
  readonly cause: ComparisonCause;
  /** What was compared: the newest complete snapshot of each source that is fresh enough. */
  readonly snapshots: readonly Snapshot[];
  readonly pairs: readonly PairDivergence[];
  /** Sources that were left out, each with the reason in a sentence. */
  readonly leftOut: Readonly<Record<string, string>>;
  readonly durationMs: number;
}

/** Rows of one partition by column, in any order; each cell of a snapshot comes once. At most 4,096 rows. */
export interface RowChunk {
  readonly skus: readonly string[];
  readonly locations: readonly string[];
  readonly units: readonly number[];
}

/** Why a part or a whole snapshot is not accepted; in no order of precedence: the first one found is reported. */
export type SnapshotRefusalCode =
  /** Not all parts came in time, or a newer snapshot of the source was complete before. */
  | "incomplete"
  /** A part came twice with other rows. */
  | "part_differs"
  /** Parts of one snapshot state another measure, instant, number of parts or number of rows. */
  | "header_differs"
  | "row_total"
  | "duplicate_row"
  | "unknown_location"
  /** Units that are no whole number from 0, or that do not count pieces. */
  | "wrong_unit"
  /** A row that cannot be read, or has an impossible SKU. */
  | "malformed_row"
  /** The instant lies ahead of the engine's clock. */
  | "future"
  /** The source has reported a newer complete one. */
  | "older"
  /** The source's clock is too far from the engine's to determine which instant is meant. */
  | "clock_skew"
  | "too_many_rows"
  | "too_many_sources"
  | "too_many_snapshots"
  /** Of movements: one whose time is not in the span that is reported, or a span that no batch may have. */
  | "outside_span";

export interface SnapshotRefusal {
  readonly code: SnapshotRefusalCode;
  /** A sentence for people that names the row and the part, where one is at fault. */
  readonly message: string;
  /** The part, and the row in it, both from 1. */
  readonly part?: number;
  readonly row?: number;
}

/** A batch of movements as it is kept: what a source has booked in a span of time. */
export interface MovementRecord {
  readonly source: string;
  readonly id: string;
  readonly state: "receiving" | "complete" | "refused";
  /** The span [fromMs, toMs), by the source's clock as stated. */
  readonly fromMs: number;
  readonly toMs: number;
  /** The source's clock minus the engine's; undefined: not known. */
  readonly skewMs?: number;
  readonly parts: number;
  readonly rows: number;
  readonly receivedMs: number;
  readonly partsReceived: number;
  readonly rowsReceived: number;
  readonly endedMs?: number;
  readonly refusal?: SnapshotRefusal;
}

/** What every part of a snapshot states about the whole. */
export interface SnapshotHeader {
  readonly source: string;
  readonly id: string;
  readonly measure: Measure;
  /** As stated, by the source's clock. */
  readonly statedAsOfMs: number;
  readonly parts: number;
  /** In all parts together. */
  readonly rows: number;
}

/** A snapshot as it is kept, whatever became of it. */
export interface SnapshotRecord extends SnapshotHeader {
  readonly state: "receiving" | "complete" | "refused";
  /** Corrected by the skew. */
  readonly asOfMs: number;
  readonly skewMs?: number;
  /** When its first part began. */
  readonly receivedMs: number;
  readonly partsReceived: number;
  readonly rowsReceived: number;
  /** When it was complete or refused. */
  readonly endedMs?: number;
  readonly refusal?: SnapshotRefusal;
}

/** What a comparison reads of snapshots; engine/reconciliation/reports/snapshot-store.ts has them. */
export interface SnapshotReader {
  /** The newest complete one of each source. */
  newest(): Promise<ReadonlyMap<string, Snapshot>>;
  /**
   * The rows of one partition (`partitionOf(sku, partitions)`).
   * @throws EngineError `snapshot_gone` when it is no longer kept
   */
  rows(snapshot: Snapshot, partition: number, signal?: AbortSignal): AsyncIterable<RowChunk>;
}
