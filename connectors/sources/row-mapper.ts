/**
 * Maps a source's raw rows to ours by the configuration (R29): fields, units, locations, times. A row becomes a mapped
 * one, is left out by the configuration, or is a fault with its place and the field; nothing is guessed. Pure; what
 * rows mean together (a cell twice, a wrong total) is checked where they are collected.
 */
import type { SnapshotRefusalCode } from "../../engine/reconciliation/model.js";
import { isReportId, isSku, MAX_ROW_UNITS } from "../../engine/reconciliation/reports/snapshot-rules.js";
import { valueAt } from "../configuration/json-places.js";
import { parseNumber, quote } from "../mapping/fields.js";
import { nameFault } from "../mapping/mapping.schema.js";
import type { FieldNames, PullKind, RawRow } from "../source.js";
import type { PullConfiguration, SourceConfiguration } from "./configuration.js";
import { sourceTimeReader } from "./times.js";

/** A row in our names and units. */
export interface StockRow {
  readonly sku: string;
  readonly location: string;
  /** As the source names it; undefined when no field does. */
  readonly theirLocation: string | undefined;
  /** Pieces: from 0 in a snapshot, signed and not 0 in a movement. */
  readonly units: number;
  /** By the source's clock; undefined when no field is mapped. */
  readonly timeMs: number | undefined;
  readonly id: string | undefined;
  /** 0 when no field is mapped. */
  readonly version: number;
}

/** Why a row cannot be used. */
export interface RowFault {
  readonly code: SnapshotRefusalCode;
  readonly place: string;
  /** The end of a sentence that begins with the place. */
  readonly message: string;
}

export type RowReading = { row: StockRow } | { fault: RowFault } | "ignored";

class Fault extends Error {
  readonly code: SnapshotRefusalCode;

  constructor(code: SnapshotRefusalCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** Products of decimals and pieces differ from whole numbers by less than this. */
const ROUNDING = 1e-6;

type MapperConfiguration = Pick<SourceConfiguration, "location" | "locations" | "otherLocations" | "units">;

/** @param zone the IANA zone of times without one */
export function rowMapper(
  source: MapperConfiguration,
  kind: PullKind,
  pull: Pick<PullConfiguration, "fields" | "timeFormat">,
  zone: string,
): (raw: RawRow) => RowReading {
  const { fields } = pull;
  const readTime = sourceTimeReader(pull.timeFormat, zone);
  const read = (raw: RawRow): StockRow | "ignored" => {
    const value = (name: keyof FieldNames): unknown => fieldOf(raw, fields[name] as string);
    const theirLocation =
      fields.location === undefined || source.location !== undefined
        ? undefined
        : textOf(value("location"), fields.location, "unknown_location");
    const location = source.location ?? locationOf(source, fields.location ?? "", theirLocation ?? "");
    if (location === null) return "ignored";
    const sku = textOf(value("sku"), fields.sku as string, "malformed_row");
    const skuFault = nameFault(sku) ?? (isSku(sku) ? undefined : `is no SKU: ${quote(sku)}`);
    if (skuFault !== undefined) throw new Fault("malformed_row", `${quote(fields.sku as string)} ${skuFault}`);
    const pieces = fields.unit === undefined ? 1 : piecesOf(source, fields.unit, value("unit"));
    return {
      sku,
      location,
      theirLocation,
      units: unitsOf(value("units"), fields.units as string, pieces, kind),
      timeMs: fields.time === undefined ? undefined : timeOf(readTime, value("time"), fields.time),
      id: fields.id === undefined ? undefined : idOf(value("id"), fields.id),
      version: fields.version === undefined ? 0 : versionOf(value("version"), fields.version),
    };
  };
  return (raw) => {
    try {
      const row = read(raw);
      return row === "ignored" ? row : { row };
    } catch (thrown) {
      if (!(thrown instanceof Fault)) throw thrown;
      return { fault: { code: thrown.code, place: raw.place, message: thrown.message } };
    }
  };
}

const fieldOf = ({ fields }: RawRow, name: string): unknown =>
  name.startsWith("/") ? valueAt(fields, name) : Object.hasOwn(fields, name) ? fields[name] : undefined;

function textOf(value: unknown, name: string, code: SnapshotRefusalCode): string {
  if (typeof value === "string" && value !== "") return value;
  if (typeof value === "number" && Number.isSafeInteger(value)) return String(value);
  throw new Fault(code, value === undefined ? `lacks ${quote(name)}` : `${quote(name)} is no name: ${shown(value)}`);
}

function locationOf(source: MapperConfiguration, field: string, theirs: string): string | null {
  const ours = ourLocation(source, theirs);
  if (ours === undefined)
    throw new Fault("unknown_location", `${quote(field)} is ${quote(theirs)}, which "locations" does not have`);
  const fault = ours === null ? undefined : nameFault(ours);
  if (fault !== undefined) throw new Fault("unknown_location", `${quote(field)} ${fault}`);
  return ours;
}

/** Our name of an outside location; null: its rows are left out; undefined: it is not in the configuration. */
export function ourLocation(
  { locations, otherLocations }: Pick<MapperConfiguration, "locations" | "otherLocations">,
  theirs: string,
): string | null | undefined {
  const ours = locations.get(theirs);
  if (ours !== undefined) return ours;
  return { ignore: null, fault: undefined, same: theirs }[otherLocations];
}

function piecesOf({ units }: MapperConfiguration, field: string, value: unknown): number {
  const pieces = units?.get(textOf(value, field, "wrong_unit"));
  if (pieces === undefined)
    throw new Fault("wrong_unit", `${quote(field)} is ${shown(value)}, a unit that "units" does not have`);
  return pieces;
}

function unitsOf(value: unknown, field: string, pieces: number, kind: PullKind): number {
  const given = typeof value === "number" ? value : typeof value === "string" ? parseNumber(value) : Number.NaN;
  const units = Math.round(given * pieces);
  const fail = (message: string) => new Fault("wrong_unit", `${quote(field)} ${message}: ${shown(value)}`);
  if (value === undefined) throw new Fault("wrong_unit", `lacks ${quote(field)}`);
  if (Number.isNaN(given)) throw fail("is no number");
  if (Math.abs(given * pieces - units) > ROUNDING) throw fail("is no whole number of pieces");
  if (Math.abs(units) > MAX_ROW_UNITS) throw fail(`is beyond ${MAX_ROW_UNITS} units`);
  if (kind === "snapshot" && units < 0) throw fail("is below 0");
  if (kind === "movements" && units === 0) throw fail("moves nothing");
  // -0 is no number of units.
  return units === 0 ? 0 : units;
}

function timeOf(read: (value: unknown) => number | string, value: unknown, field: string): number {
  const ms = value === undefined ? "is missing" : read(value);
  if (typeof ms === "string") throw new Fault("malformed_row", `${quote(field)} ${ms}`);
  return ms;
}

function idOf(value: unknown, field: string): string {
  const id = textOf(value, field, "malformed_row");
  if (!isReportId(id))
    throw new Fault(
      "malformed_row",
      `${quote(field)} must be 1 to 64 letters, digits, dots, colons, hyphens: ${quote(id)}`,
    );
  return id;
}

function versionOf(value: unknown, field: string): number {
  const version = typeof value === "number" ? value : /^\d{1,15}$/.test(String(value)) ? Number(value) : Number.NaN;
  if (!Number.isSafeInteger(version) || version < 0)
    throw new Fault("malformed_row", `${quote(field)} is no whole number from 0: ${shown(value)}`);
  return version;
}

const shown = (value: unknown): string => quote(typeof value === "string" ? value : (JSON.stringify(value) ?? ""));
