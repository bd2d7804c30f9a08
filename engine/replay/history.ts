/**
 * The rows that a source of history gives to the replay, in chunks: each row with its meaning for the ledger, or with
 * the reason why it has none. Sources are connectors; the replay does not depend on any of them. What each promises is
 * the contract of HistoryReading, which test/conformance/source.ts tests.
 */
import type { StockCommand } from "../stock/model.js";

/** What a row can mean. `sale` is an order line that was reserved, paid and went out at one time. */
export const INTENTS = ["sale", "reserve", "pay", "cancel", "outbound", "receive", "return", "correct"] as const;
export type Intent = (typeof INTENTS)[number];

/** A row that means something for the ledger. */
export interface IntentRow {
  line: number;
  timeMs: number;
  intent: Intent;
  sku: string;
  location: string;
  /** Above 0; of a `correct`, not 0. */
  units: number;
  /** Of the ledger command, or of all three when the intent is a sale. */
  id: string;
  /** The order line's id at its source, when the mapping names reference columns. */
  reference: string | undefined;
  /** The rule's. */
  reason: string | undefined;
  /** Name of the mapping. */
  mapping: string;
}
/** A row that means nothing, or cannot be understood. */
export interface RejectedRow {
  line: number;
  intent: "reject";
  reason: string;
  /** The fields by column. */
  row: Record<string, string>;
}
export type MappedRow = IntentRow | RejectedRow;

/** A chunk has at most so many rows, whatever the size of the input: a source's memory does not grow with it. */
export const MAX_CHUNK_ROWS = 65_536;

/**
 * A source that is being read. Rows come once each and in the order of the input, file after file; the same input
 * gives the same rows with the same ids. A row that cannot be understood is a RejectedRow, and the reading goes on.
 * Nothing is read before a chunk is asked for. However the reading ends (at the end, by `return`, which is how it is
 * cancelled, or by a fault), nothing stays open.
 * @throws EngineError (`bad_input`, with the file and where possible the line) when the input cannot be read on, after
 *   the rows before; when a file is missing or is none of this source's, before the first row
 */
export type HistoryReading = AsyncGenerator<HistoryChunk, void, undefined>;

/** Some rows of one file, and how far the reading has come. */
export interface HistoryChunk {
  file: string;
  rows: MappedRow[];
  /** Bytes on disk read so far, and in all, over all files; compressed where the file is. */
  bytesRead: number;
  totalBytes: number;
}

/**
 * The ledger commands of a mapped row: three with one id for a sale, one for anything else.
 * Pure; the same row gives the same commands, so sending them again is answered again (R3).
 */
export function commandsOf(row: IntentRow): StockCommand[] {
  const { id, sku, location, units, timeMs: atMs, reason } = row;
  const line = { id, sku, location, units, atMs };
  switch (row.intent) {
    case "sale":
      return [
        { kind: "reserve", ...line },
        { kind: "pay", ...line },
        { kind: "outbound", ...line },
      ];
    case "reserve":
    case "pay":
    case "cancel":
    case "outbound":
      return [{ kind: row.intent, ...line }];
    case "receive":
    case "return":
      return [{ kind: row.intent, ...line, ...(reason === undefined ? {} : { reason }) }];
    case "correct":
      return [{ kind: "correct", ...line, actor: row.mapping, ...(reason === undefined ? {} : { reason }) }];
  }
}
