/** The formats in which rows may be sent, by content type. */
import { CsvLines } from "./csv-rows.js";
import { MsgpackRows } from "./msgpack-rows.js";
import { NdjsonLines } from "./ndjson-rows.js";
import type { RowReader } from "./row-reader.js";
import { TextRows } from "./text-rows.js";

export const ROW_TYPES = ["application/x-ndjson", "text/csv", "application/msgpack", "application/x-msgpack"] as const;
export type RowType = (typeof ROW_TYPES)[number];

/** @param columns the names of the values, in the order in which they are passed on */
export function rowReader(type: RowType, columns: readonly string[]): RowReader {
  if (type === "application/x-ndjson") return new TextRows(new NdjsonLines(columns));
  return type === "text/csv" ? new TextRows(new CsvLines(columns)) : new MsgpackRows(columns);
}
