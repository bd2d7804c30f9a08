/**
 * The rules by which a snapshot is accepted (R13): what its header may state, what a row may hold, and what makes a
 * whole snapshot wrong. Each refusal is a code and a sentence that names its place. Pure: the caller passes the time,
 * what is known of the source, and the locations of the ledger.
 */
import { HOUR_MS, MINUTE_MS } from "../../kernel/clock.js";
import { badInput } from "../../kernel/errors.js";
import { isSourceName, MEASURES, type SnapshotHeader, type SnapshotRefusal } from "../model.js";

/** What a part states about itself and its snapshot. */
export interface SnapshotPartHeader {
  readonly source: string;
  readonly id: string;
  readonly measure: SnapshotHeader["measure"];
  /** By the source's clock. */
  readonly asOfMs: number;
  /** From 1 to `parts`. */
  readonly part: number;
  readonly parts: number;
  /** In all parts together. */
  readonly rows: number;
  /** The source's clock when it sends; left out: its clock is taken to be right. */
  readonly sentAtMs?: number;
  /** How far its clock is ahead, where that was measured by a request to the source; then `sentAtMs` does not count. */
  readonly skewMs?: number;
  /** What units count; left out: pieces. */
  readonly unit?: string;
}

/** Beyond it the instant that the source means is not certain. */
const MAX_SKEW_MS = 10 * MINUTE_MS;
/** As far as events around the instant explain a gap. */
export const MAX_AHEAD_MS = 2_000;
/** All parts have to come within it. */
export const RECEIVING_MS = HOUR_MS;
export const MAX_SOURCES = 64;
/** Of all sources together, not complete yet. */
export const MAX_RECEIVING = 64;
const MAX_PARTS = 1_000;
/** A million SKUs at 5 locations; some 40 MB stored. */
export const MAX_ROWS = 5_000_000;
/** More is a mistake in the file; sums of a million rows of it are exact. */
export const MAX_ROW_UNITS = 1_000_000_000;

/** Letters and digits, then dots, colons, hyphens and underscores, too: ids become parts of keys. */
const ID = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$/;
export const isReportId = (id: string): boolean => ID.test(id);
/** As in requests to the HTTP API: no control characters, not only blanks. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it refuses
const BAD_SKU = /[\u0000-\u001f\u007f-\u009f\p{Cs}]|^\s*$/u;
const MAX_SKU_LENGTH = 64;

/** Names of the one unit that is counted in. */
const PIECES = new Set(["piece", "pieces", "pcs", "pc", "ea", "each", "件", "个"]);

/** Whether a text can be a SKU. */
export const isSku = (sku: string): boolean => sku.length <= MAX_SKU_LENGTH && !BAD_SKU.test(sku);

/**
 * Refuses a header that the caller should never have passed on.
 * @throws EngineError `bad_input`
 */
export function checkShape({ source, id, parts, part, rows }: Omit<SnapshotPartHeader, "measure" | "asOfMs">): void {
  const fault = (place: string, message: string) => badInput("reconciliation.receive", place, message);
  if (!isSourceName(source))
    throw fault("source", 'expected 1 to 32 lower-case letters, digits and hyphens, and not "ledger"');
  if (!isReportId(id)) throw fault("id", "expected 1 to 64 letters, digits, dots, colons, hyphens and underscores");
  if (!isWhole(parts, 1, MAX_PARTS)) throw fault("parts", `expected a whole number from 1 to ${MAX_PARTS}`);
  if (!isWhole(part, 1, parts)) throw fault("part", `expected a whole number from 1 to ${parts}, the number of parts`);
  if (!isWhole(rows, 1, Number.MAX_SAFE_INTEGER)) throw fault("rows", "expected a whole number from 1");
}

/** The same for what only snapshots state. @throws EngineError `bad_input` */
export function checkSnapshotShape(header: SnapshotPartHeader): void {
  checkShape(header);
  if (!MEASURES.includes(header.measure))
    throw badInput("reconciliation.receive", "measure", `expected one of ${MEASURES.join(", ")}`);
}

const isWhole = (n: number, from: number, to: number): boolean => Number.isSafeInteger(n) && n >= from && n <= to;

const seconds = (ms: number): string => `${(Math.abs(ms) / 1_000).toFixed(Math.abs(ms) < 10_000 ? 3 : 0)} s`;
export const isoOf = (ms: number): string => {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? `${ms} ms` : date.toISOString();
};

/** What is known of a source's clock: both left out when it stated none. */
export interface Skew {
  /** The source's clock minus the engine's, as its instants are corrected. */
  readonly skewMs?: number;
  /** The same by this one request, however long it was on its way. */
  readonly measuredSkewMs?: number;
}

/** Clocks drift apart by less than 0.4 s in it (100 millionths), and sources send a report every few minutes. */
const SKEW_KEPT_MS = HOUR_MS;

/**
 * How far a source's clock is ahead of the engine's. A request that is long on its way makes the clock look slower than
 * it is, never faster: so the greatest of the source's last measurements is the nearest to the truth. One that differs
 * by more than events around an instant explain may be of a clock that was set since, and does not count.
 * @param earlier of the same source
 */
export function skewOf(
  { sentAtMs, skewMs }: Pick<SnapshotPartHeader, "sentAtMs" | "skewMs">,
  nowMs: number,
  earlier: readonly (Skew & { readonly receivedMs: number })[],
): Skew {
  if (skewMs !== undefined) return { skewMs };
  if (sentAtMs === undefined) return {};
  const measuredSkewMs = sentAtMs - nowMs;
  const near = earlier.flatMap(({ measuredSkewMs: other, receivedMs }) =>
    other !== undefined && nowMs - receivedMs <= SKEW_KEPT_MS && other - measuredSkewMs <= MAX_AHEAD_MS ? [other] : [],
  );
  return { skewMs: Math.max(measuredSkewMs, ...near), measuredSkewMs };
}

/** What is wrong with the clock of a source. */
export function skewRefusal(skewMs: number | undefined): SnapshotRefusal | undefined {
  if (skewMs === undefined || Math.abs(skewMs) <= MAX_SKEW_MS) return undefined;
  const direction = skewMs > 0 ? "ahead of" : "behind";
  return {
    code: "clock_skew",
    message: `the source's clock is ${seconds(skewMs)} ${direction} the engine's; ${MAX_SKEW_MS / MINUTE_MS} minutes are allowed: correct the clock`,
  };
}

/** What is wrong with a header at this time. `newestMs`: the instant of the source's newest complete snapshot. */
export function headerRefusal(
  header: SnapshotPartHeader,
  {
    nowMs,
    skewMs,
    newestMs,
    maxRows,
  }: { nowMs: number; skewMs: number | undefined; newestMs: number | undefined; maxRows: number },
): SnapshotRefusal | undefined {
  const skewed = skewRefusal(skewMs);
  if (skewed) return skewed;
  const asOfMs = header.asOfMs - (skewMs ?? 0);
  if (asOfMs > nowMs + MAX_AHEAD_MS)
    return {
      code: "future",
      message: `the instant ${isoOf(header.asOfMs)} lies ${seconds(asOfMs - nowMs)} ahead of the engine's clock`,
    };
  return olderRefusal(header.source, asOfMs, newestMs) ?? unitRefusal(header.unit) ?? rowsRefusal(header.rows, maxRows);
}

export function olderRefusal(
  source: string,
  asOfMs: number,
  newestMs: number | undefined,
): SnapshotRefusal | undefined {
  if (newestMs === undefined || asOfMs >= newestMs) return undefined;
  return {
    code: "older",
    message: `${source} has reported a newer snapshot, of ${isoOf(newestMs)}; this one is of ${isoOf(asOfMs)}`,
  };
}

function unitRefusal(unit: string | undefined): SnapshotRefusal | undefined {
  if (unit === undefined || PIECES.has(unit.toLowerCase())) return undefined;
  return { code: "wrong_unit", message: `units must count pieces; this snapshot counts ${JSON.stringify(unit)}` };
}

export const rowsRefusal = (rows: number, maxRows: number): SnapshotRefusal | undefined =>
  rows <= maxRows
    ? undefined
    : { code: "too_many_rows", message: `${rows} rows are announced; at most ${maxRows} are accepted` };

/** What a part states otherwise than the part that came first. */
export function headerDifference(
  first: Readonly<Record<string, unknown>>,
  given: Readonly<Record<string, unknown>>,
  part: number,
): SnapshotRefusal | undefined {
  for (const [name, value] of Object.entries(given))
    if (first[name] !== value)
      return {
        code: "header_differs",
        message: `part ${part} states ${name} ${String(value)}, an earlier part ${String(first[name])}`,
        part,
      };
  return undefined;
}

/** What is wrong with a row. */
export function rowFault(
  sku: unknown,
  location: unknown,
  units: unknown,
  from: number,
): Pick<SnapshotRefusal, "code" | "message"> | undefined {
  if (typeof sku !== "string" || !isSku(sku))
    return { code: "malformed_row", message: "the SKU must be a text of 1 to 64 characters" };
  if (typeof location !== "string") return { code: "malformed_row", message: "the location must be a text" };
  if (typeof units !== "number" || !Number.isSafeInteger(units))
    return { code: "wrong_unit", message: `the units of SKU ${sku} at ${location} must be a whole number of pieces` };
  if (units < from)
    return { code: "wrong_unit", message: `the units of SKU ${sku} at ${location} are negative: ${units}` };
  if (Math.abs(units) > MAX_ROW_UNITS)
    return { code: "wrong_unit", message: `${units} units of SKU ${sku} at ${location}: more than ${MAX_ROW_UNITS}` };
  return undefined;
}
