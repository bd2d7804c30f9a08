/** What the tests of mappings share: a small mapping, and rows given by column name. */
// biome-ignore-all lint/suspicious/noThenProperty: `then` is a field of a mapping's rules, and never a function
import { createMapper } from "../../../connectors/mapping/mapping.js";
import { checkMapping } from "../../../connectors/mapping/mapping.schema.js";
import type { MappedRow } from "../../../engine/replay/history.js";

export const COLUMNS = ["when", "sku", "pieces", "place", "order", "kind", "price"];
export const TIME = "2025-06-18T12:00:00Z";
export const TIME_MS = Date.UTC(2025, 5, 18, 12);

export const base = {
  name: "till-export",
  channel: "TL",
  columns: { time: "when", sku: "sku", units: "pieces" },
  time: "iso",
  rules: [{ when: "always", then: "sale" }] as unknown[],
};
export type Json = Record<string, unknown>;

/** Maps rows given as columns by name; columns not given make a sale of 2 units. */
export function mapped(change: Json, rows: Record<string, string>[], zone?: string): MappedRow[] {
  const mapper = createMapper(checkMapping({ ...base, ...change }, "m.json"), { zone });
  const map = mapper.forFile({ name: "till.csv", columns: COLUMNS, ordinal: 0 });
  return rows.map((row, index) => {
    const full: Record<string, string> = {
      when: TIME,
      sku: "A",
      pieces: "2",
      place: "B1",
      order: "o1",
      kind: "S",
      price: "1",
      ...row,
    };
    return map({ line: index + 2, fields: COLUMNS.map((column) => full[column] ?? "") });
  });
}
export const one = (change: Json, row: Record<string, string> = {}, zone?: string): MappedRow =>
  mapped(change, [row], zone)[0] as MappedRow;
export const reasonOf = (row: MappedRow): string | undefined => row.reason;
export const timeOf = (row: MappedRow): number | string => (row.intent === "reject" ? row.reason : row.timeMs);
export const unitsOf = (row: MappedRow): number | string => (row.intent === "reject" ? row.reason : row.units);
export const holds = (when: unknown, row: Record<string, string>): boolean =>
  one({ rules: [{ when, then: "sale" }] }, row).intent === "sale";
