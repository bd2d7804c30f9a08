/**
 * Faults of a configuration file with their places: file, line and JSON pointer, in the order of the lines. A process
 * that needs the whole file gets one error with every fault. Names that an object has twice are faults, too, because a
 * reader of JSON would take the last one.
 */
import { badInput } from "../../engine/kernel/errors.js";
import type { JsonPlaces } from "./json-places.js";
import type { ConfigurationFault } from "./schema-faults.js";

/** A fault with its place in the file. */
export interface PlacedFault extends ConfigurationFault {
  readonly file: string;
  readonly line: number;
}

/** Those of names that an object has twice. */
export const repeatedNames = ({ repeated }: JsonPlaces): ConfigurationFault[] =>
  repeated.map((pointer) => ({ pointer, message: "is there twice; each name may come once in an object" }));

/** Adds the places, and sorts by line. */
export const placed = (
  file: string,
  places: JsonPlaces,
  faults: readonly ConfigurationFault[],
): readonly PlacedFault[] =>
  faults
    .map((fault) => ({ ...fault, file, line: places.lineOf(fault.pointer) }))
    .sort((one, other) => one.line - other.line);

/** One line for each fault, as a person reads it. */
export const faultText = ({ file, line, pointer, message }: PlacedFault): string =>
  `${file}:${line} ${pointer === "" ? "the file" : pointer} ${message}`;

/** @throws EngineError `bad_input` with every fault; none: returns */
export function assertNoFaults(op: string, faults: readonly PlacedFault[]): void {
  const [first, ...others] = faults;
  if (first === undefined) return;
  const place = `${first.file}:${first.line} ${first.pointer}`;
  throw badInput(op, place, [first.message, ...others.map(faultText)].join("; "));
}
