/**
 * The texts of a publication. The manifest is the only one that changes: it states as of when the displays are
 * complete, up to which offsets, and names the index objects; these name the leaves, which have the displays. Their
 * form is what every page reads, so a reader refuses a text of another version instead of guessing. The manifest stays
 * within MAX_MANIFEST_BYTES: one of so many partitions that their offsets do not fit states none.
 */
import { createHash } from "node:crypto";
import { assert, EngineError } from "../kernel/errors.js";

const VERSION = 1;
/** Every page reads it every few seconds. */
export const MAX_MANIFEST_BYTES = 2_048;
/** Names of 19 bytes each: 608 of the manifest. */
export const MAX_INDEXES = 32;
/** 16 of these have 96 bits of the hash. */
const NAME_LENGTH = 16;
const NAME = /^[A-Za-z0-9_-]{16}$/;

export interface Manifest {
  /** A full second. */
  readonly asOfMs: number;
  /** By partition, the offset up to which everything is contained; empty: not stated. */
  readonly positions: readonly number[];
  readonly skus: number;
  /** A power of two. */
  readonly leaves: number;
  /** Names of the index objects, in order. */
  readonly index: readonly string[];
}

/** Units by SKU; null in an index: the SKU does not exist any more. */
export type Displays = Iterable<readonly [sku: string, displayUnits: number | null]>;

/** The part of an index object that a new owner needs. */
export interface IndexNames {
  /** Names of its leaves, in order. */
  readonly leaves: readonly string[];
}

/** The name of an object: from the SHA-256 of its content. */
export const nameOf = (content: string | Uint8Array): string =>
  createHash("sha256").update(content).digest("base64url").slice(0, NAME_LENGTH);

/** Without the positions where they do not fit: pages need none, and an upgraded deployment goes on. */
export function encodeManifest({ asOfMs, positions, skus, leaves, index }: Manifest): Buffer {
  assert(asOfMs % 1_000 === 0, `a manifest is as of a full second, not ${asOfMs}`);
  const asOf = new Date(asOfMs).toISOString();
  const encoded = (stated: readonly number[]): Buffer =>
    Buffer.from(JSON.stringify({ v: VERSION, asOf, positions: stated, skus, leaves, index }));
  const whole = encoded(positions);
  const bytes = whole.length <= MAX_MANIFEST_BYTES ? whole : encoded([]);
  assert(bytes.length <= MAX_MANIFEST_BYTES, `a manifest of ${bytes.length} bytes`);
  return bytes;
}

/**
 * @param place in messages
 * @throws EngineError `newer_version` for a later form, `undecodable` for anything else that is not a manifest
 */
export function parseManifest(json: Uint8Array, place: string): Manifest {
  const parsed = parse(json, place);
  const { v, asOf, positions, skus, leaves, index } = parsed;
  if (Number.isSafeInteger(v) && (v as number) > VERSION)
    throw unreadable(place, "newer_version", `is of version ${v}, and this process knows ${VERSION}: replace it`);
  const asOfMs = typeof asOf === "string" ? Date.parse(asOf) : Number.NaN;
  const isComplete =
    v === VERSION &&
    Number.isSafeInteger(asOfMs) &&
    areCounts(positions) &&
    areCounts([skus]) &&
    areNames(index) &&
    isPowerOfTwo(index.length) &&
    index.length <= MAX_INDEXES &&
    isPowerOfTwo(leaves) &&
    leaves >= index.length;
  if (!isComplete) throw unreadable(place, "undecodable", "is not a manifest");
  return { asOfMs, positions, skus: skus as number, leaves, index };
}

/** @param displays in the order of their SKUs, so that equal displays have equal texts */
export function leafText(displays: Displays): string {
  const parts: string[] = [];
  for (const [sku, units] of displays) parts.push(`${JSON.stringify(sku)}:${units}`);
  return `{${parts.join(",")}}`;
}

/** @param changes override the leaves; in the order of their SKUs */
export const indexText = (leaves: readonly string[], changes: Displays): string =>
  `{"leaves":${JSON.stringify(leaves)},"changes":${leafText(changes)}}`;

/** @throws EngineError `undecodable` */
export function parseIndexNames(json: Uint8Array, place: string): IndexNames {
  const { leaves } = parse(json, place);
  if (!areNames(leaves)) throw unreadable(place, "undecodable", "is not an index object");
  return { leaves };
}

function parse(json: Uint8Array, place: string): Record<string, unknown> {
  try {
    const parsed: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(json));
    if (typeof parsed === "object" && parsed !== null) return parsed as Record<string, unknown>;
  } catch {
    // Reported below.
  }
  throw unreadable(place, "undecodable", "is not a JSON object");
}

const unreadable = (place: string, code: string, message: string): EngineError =>
  new EngineError(`${place}: ${message}`, { op: "publication.read", code, retryable: false, input: place });

const areNames = (value: unknown): value is string[] =>
  Array.isArray(value) && value.length > 0 && value.every((name) => typeof name === "string" && NAME.test(name));

const areCounts = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((each) => Number.isSafeInteger(each) && each >= 0);

const isPowerOfTwo = (value: unknown): value is number =>
  Number.isSafeInteger(value) && (value as number) > 0 && Number.isInteger(Math.log2(value as number));
