/**
 * The parts of the HTTP API's answers that the desk reads, as connectors/http/schemas states them. Instants are ISO
 * texts, units are whole numbers, shares go from 0 to 1. Further fields are ignored.
 */
import type { EvidenceBody } from "../../feeds/consistency.js";

export type Measure = "on_hand" | "sellable" | "display";

/** `GET /v1/sessions/current` */
export interface Caller {
  name: string;
  role: "read" | "order" | "operate" | "admin";
}

/** `GET /v1/snapshots`, newest first */
export interface SnapshotList {
  snapshots: readonly SnapshotAnswer[];
}

export interface SnapshotAnswer {
  source: string;
  id: string;
  state: "receiving" | "complete" | "refused";
  measure: Measure;
  asOf: string;
  skewMs?: number;
  rows: number;
  rowsReceived: number;
  refusal?: { code: string; message: string };
}

/** `GET /v1/sources` */
export interface SourceList {
  sources: readonly SourceAnswer[];
}

export interface SourceAnswer {
  name: string;
  /** `pushed`: it sends its snapshots by itself. */
  kind: string;
  freshnessMs?: number;
  pulls: readonly {
    schedule: string;
    failures?: number;
    overdue: boolean;
    /** The newest first. */
    faults: readonly { message: string }[];
  }[];
}

/** `GET /v1/comparisons`, newest first */
export interface ComparisonList {
  comparisons: readonly {
    id: string;
    at: string;
    pairs: readonly { a: string; b: string; share: number }[];
  }[];
}

/** `GET /v1/breaker/history`, newest first */
export interface BreakerHistory {
  events: readonly BreakerEvent[];
}

export interface BreakerEvent {
  at: string;
  /** `shop`, `location:X` or `sku:X`. */
  scope: string;
  kind: string;
  by: "engine" | "operator";
  actor: string;
  reason: string;
  evidence?: EvidenceBody;
}

/** `GET /v1/settlements`, the greatest difference first */
export interface SettlementList {
  rows: readonly SettlementRow[];
  /** For the next page; left out on the last. */
  next?: number;
}

export interface SettlementRow {
  /** `proposed`, `source_to_correct`, `needs_decision`, `outdated`, `approving`, `approved` or `rejected`. */
  state: string;
  proposal: Proposal;
  /** The last approval that the ledger refused; what is proposed is newer. */
  refused?: { at: string };
}

export interface Proposal {
  /** Another proposal about the same cell has another id. */
  id: string;
  source: string;
  sku: string;
  location: string;
  sourceUnits: number;
  ledgerUnits: number;
  /** Signed; what the ledger's sellable units would change by; 0: nothing can be corrected there. */
  correctionUnits: number;
  /** Lost units that are not sellable. */
  restUnits: number;
}

/** `POST /v1/settlements/approval` and `/rejection` */
export interface SettlementResult {
  rows: readonly { id: string; outcome: string }[];
}

/** `GET /v1/divergence/{sku}` */
export interface PartingAnswer {
  sources: readonly SourceParting[];
}

export interface SourceParting {
  source: string;
  /** `equal`, `differs`, or why it is not known; then `message` has a sentence. */
  state: string;
  message?: string;
  lastEqual?: { asOf: string };
  firstUnequal?: { asOf: string };
  causes?: readonly CauseGroup[];
  mayBeOlder?: boolean;
  persistent?: boolean;
}

export interface CauseGroup {
  members: readonly { faults: readonly Fault[] }[];
  count: number;
}

export interface Fault {
  kind: "missing" | "doubled" | "misplaced" | "units_changed" | "unknown_to_ledger";
  event?: { units: number; actor?: string; reason?: string; order?: string };
  location: string;
  bookedAt?: string;
  off: readonly { location: string; units: number }[];
  at: string;
}

/** `GET /v1/ledger/{sku}/history?format=story` */
export interface StoryAnswer {
  story: Story;
  /** For the next page; left out on the last. */
  next?: string;
}

export interface Story {
  title: string;
  before: readonly string[];
  changes: readonly { time: string; text: string }[];
  after: readonly string[];
  remarks: readonly string[];
}
