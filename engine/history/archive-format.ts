/**
 * What an archive consists of, as bytes. A *segment* is a run of log entries, compressed and cut into parts; a
 * *closing* is a partition's balances at the end of a UTC day. Both are stored under the SHA-256 of their bytes. A
 * *manifest* names them and holds the SHA-256 of the manifest before it, so that no byte of what came earlier can
 * change without notice. Manifests are numbered from 1, so they are found without a list of objects. Pure, except for
 * compression.
 */
import { createHash } from "node:crypto";
import { promisify } from "node:util";
import { gunzip, gzip } from "node:zlib";
import { Packr, Unpackr } from "msgpackr";
import { EngineError, messageOf } from "../kernel/errors.js";
import type { LogEntry } from "../stream/log.js";
import { partitionOf } from "../stream/partition.js";

/** Of every object here, at most: the object storage takes 1 MiB. */
export const MAX_OBJECT_BYTES = 1_048_576;
/**
 * Bytes of a segment before compression after which it ends: some 20,000 commands, and 2 MiB of memory for each
 * partition while it fills. One entry more may be in it, of 8 MiB at most.
 */
export const SEGMENT_BYTES = 2 * 1_048_576;
/** Larger is no segment: SEGMENT_BYTES and the largest entry, with room for its form. */
const MAX_SEGMENT_BYTES = 16 * 1_048_576;
/** Cells of one bucket of a closing: 2,000 × some 60 bytes, so that one SKU is found by reading 120 KB at most. */
const BUCKET_CELLS = 2_000;

/** Of manifests, as this release writes them. */
export const VERSION = 1;

const packr = new Packr({ useRecords: false });
const unpackr = new Unpackr({ useRecords: false, int64AsType: "number" });
const compress = promisify(gzip);
const decompress = promisify(gunzip);

export const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** A partition of a deployment's topic. */
export interface ArchivePlace {
  readonly prefix: string;
  readonly topic: string;
  readonly partition: number;
}

/**
 * From which manifest on a generation has them. Each owner of the archive's lease begins a new one, so an owner that
 * was frozen and continues writes nowhere where its successor does; and so does a Redis that has gone back behind what
 * was archived (a backup was restored, a failover lost writes). One that wrote no manifest is not kept.
 */
export type Generation = readonly [from: number, name: string];

export interface ObjectRef {
  readonly sha256: string;
  readonly bytes: number;
}

export interface Closing {
  /** All entries up to this one are in the balances, and no others. */
  readonly offset: number;
  /** The log's clock there, at least. */
  readonly atMs: number;
  readonly cells: number;
  /** By number; a SKU is in the bucket `bucketOf`. */
  readonly buckets: readonly ObjectRef[];
}

export interface Manifest extends ArchivePlace {
  readonly version: typeof VERSION;
  readonly number: number;
  readonly generation: string;
  /** SHA-256 of the manifest before; empty for the first. */
  readonly previous: string;
  /** First and last offset. */
  readonly first: number;
  readonly last: number;
  /** The log's clock before the first entry, and before the last. */
  readonly beginMs: number;
  readonly endMs: number;
  /** Of the entries before compression; `bytes` counts those. */
  readonly content: ObjectRef;
  /** The compressed content, cut. */
  readonly parts: readonly ObjectRef[];
  /** Entries before this segment that the log had lost when it was written. */
  readonly gap?: { readonly first: number; readonly last: number };
  /** The manifest from which on there is no gap up to this one. */
  readonly unbrokenFrom: number;
  /** Balances after the segment's last entry, where a day ends. */
  readonly closing?: Closing;
  /** The last manifest with a closing, this one included; 0: none yet. */
  readonly lastClosing: number;
}

/** Where the archive of a partition ends; also stored as an object, for whoever has lost Redis. */
export interface ArchiveHead {
  readonly number: number;
  /** Of the newest manifest. */
  readonly sha256: string;
  /** The last archived entry. */
  readonly last: number;
  readonly generations: readonly Generation[];
  /** The oldest manifest that is kept. */
  readonly oldest: number;
  readonly unbrokenFrom: number;
  readonly lastClosing: number;
}

export const EMPTY_HEAD: ArchiveHead = {
  ...{ number: 0, sha256: "", last: 0, generations: [], oldest: 1, unbrokenFrom: 1, lastClosing: 0 },
};

const folderOf = ({ prefix, topic, partition }: ArchivePlace): string =>
  `archive/${prefix}/${topic}/${String(partition).padStart(2, "0")}`;

export const headKey = (place: ArchivePlace): string => `${folderOf(place)}/head`;

export const partKey = (place: ArchivePlace, { sha256: hash }: ObjectRef): string =>
  `${folderOf(place)}/segments/${hash}`;

export const bucketKey = (place: ArchivePlace, { sha256: hash }: ObjectRef): string =>
  `${folderOf(place)}/closings/${hash}`;

/** The generation that has a manifest. */
export const generationOf = (generations: readonly Generation[], number: number): string =>
  generations.findLast(([from]) => from <= number)?.[1] ?? "none";

export const manifestKey = (place: ArchivePlace, generation: string, number: number): string =>
  `${folderOf(place)}/manifests/${generation}/${String(number).padStart(9, "0")}`;

export const encodeJson = (value: Manifest | ArchiveHead): Buffer => Buffer.from(JSON.stringify(value));

/**
 * Reads a manifest.
 * @throws EngineError `archive_damaged` when it is none, or that of another place, `newer_version` when a later release
 *   has written it
 */
export function decodeManifest(bytes: Uint8Array, place: ArchivePlace, number: number, key: string): Manifest {
  const manifest = jsonOf(bytes, key) as Partial<Manifest>;
  if (Number(manifest.version) > VERSION)
    throw new EngineError(`the archive's object ${key} was written by a newer release: use that one`, {
      ...{ op: "archive.read", code: "newer_version", retryable: false, input: key },
    });
  const isThis =
    manifest.version === VERSION &&
    manifest.number === number &&
    manifest.prefix === place.prefix &&
    manifest.topic === place.topic &&
    manifest.partition === place.partition;
  const isWhole =
    [
      manifest.first,
      manifest.last,
      manifest.beginMs,
      manifest.endMs,
      manifest.unbrokenFrom,
      manifest.lastClosing,
    ].every(Number.isSafeInteger) &&
    isRef(manifest.content) &&
    areRefs(manifest.parts) &&
    (manifest.closing === undefined || areRefs(manifest.closing.buckets)) &&
    typeof manifest.previous === "string" &&
    typeof manifest.generation === "string";
  if (!isThis || !isWhole) throw damaged(key, "is not the manifest that should be there");
  return manifest as Manifest;
}

/** @throws EngineError `archive_damaged` */
export function decodeHead(bytes: Uint8Array, key: string): ArchiveHead {
  const head = jsonOf(bytes, key) as Partial<ArchiveHead>;
  if (!Number.isSafeInteger(head.number) || typeof head.sha256 !== "string" || !Array.isArray(head.generations))
    throw damaged(key, "is not the head of an archive");
  return { ...EMPTY_HEAD, ...head };
}

function jsonOf(bytes: Uint8Array, key: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString("utf8"));
    if (isRecord(value)) return value;
  } catch (cause) {
    throw damaged(key, `cannot be read: ${messageOf(cause)}`);
  }
  throw damaged(key, "is not a record");
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isRef = (value: unknown): value is ObjectRef =>
  isRecord(value) && typeof value["sha256"] === "string" && Number.isSafeInteger(value["bytes"]);
const areRefs = (value: unknown): value is ObjectRef[] => Array.isArray(value) && value.every(isRef);

/** An object of the archive is not what it was when it was written. */
export const damaged = (key: string, what: string): EngineError =>
  new EngineError(`the archive's object ${key} ${what}`, {
    op: "archive.read",
    code: "archive_damaged",
    retryable: false,
    input: key,
  });

/** Among them the version of a manifest: a changed byte may look like a newer one. */
const DAMAGES: ReadonlySet<string> = new Set(["archive_damaged", "archive_missing", "undecodable", "newer_version"]);

/** An error that states that an object of the archive is missing or not what it was. */
export const isDamage = (thrown: unknown): thrown is EngineError =>
  thrown instanceof EngineError && DAMAGES.has(thrown.code);

/** A segment's entries as bytes, whole and compressed. */
export interface EncodedSegment {
  readonly content: ObjectRef;
  readonly parts: readonly { readonly ref: ObjectRef; readonly bytes: Uint8Array }[];
}

/** @param entries at least one, without a gap */
export async function encodeSegment(entries: readonly LogEntry[]): Promise<EncodedSegment> {
  const bytes = packr.pack([entries[0]?.offset, entries.map(({ fields }) => fields)]);
  const packed = await compress(bytes);
  const parts: EncodedSegment["parts"][number][] = [];
  for (let at = 0; at < packed.length; at += MAX_OBJECT_BYTES) {
    const part = packed.subarray(at, at + MAX_OBJECT_BYTES);
    parts.push({ ref: refOf(part), bytes: part });
  }
  return { content: refOf(bytes), parts };
}

/**
 * @param parts as they were read, each of which has its own hash
 * @throws EngineError `archive_damaged`
 */
export async function decodeSegment(
  parts: readonly Uint8Array[],
  { content, first, last }: Manifest,
  key: string,
): Promise<LogEntry[]> {
  let unpacked: unknown;
  try {
    const bytes = await decompress(Buffer.concat(parts), { maxOutputLength: MAX_SEGMENT_BYTES });
    if (sha256(bytes) !== content.sha256) throw damaged(key, "has another content than its manifest states");
    unpacked = unpackr.unpack(bytes);
  } catch (cause) {
    throw cause instanceof EngineError ? cause : damaged(key, `cannot be read: ${messageOf(cause)}`);
  }
  const [begin, fields] = unpacked as [number, Buffer[][]];
  if (begin !== first || fields.length !== last - first + 1)
    throw damaged(key, "has other entries than its manifest states");
  return fields.map((each, i) => ({ offset: first + i, fields: each }));
}

export const refOf = (bytes: Uint8Array): ObjectRef => ({ sha256: sha256(bytes), bytes: bytes.length });

/** The balances of one cell in a closing, in the order of POOLS. */
export type ClosedCell = [name: string, ...balances: number[]];

export const bucketCount = (cells: number): number => Math.max(1, Math.ceil(cells / BUCKET_CELLS));

/**
 * The bucket of a SKU. All SKUs of a partition have the same remainder of the hash, so the quotient is used.
 * @param partitions of the deployment
 */
export const bucketOf = (sku: string, partitions: number, buckets: number): number =>
  Math.floor(partitionOf(sku, 2 ** 32) / partitions) % buckets;

/** The offset and the number make the bytes of each bucket its own: one that is deleted is no other closing's. */
export async function encodeBucket(offset: number, bucket: number, cells: readonly ClosedCell[]): Promise<Uint8Array> {
  return compress(packr.pack([offset, bucket, cells]));
}

/** @throws EngineError `archive_damaged` */
export async function decodeBucket(
  bytes: Uint8Array,
  offset: number,
  bucket: number,
  key: string,
): Promise<ClosedCell[]> {
  let unpacked: unknown;
  try {
    unpacked = unpackr.unpack(await decompress(bytes, { maxOutputLength: MAX_SEGMENT_BYTES }));
  } catch (cause) {
    throw damaged(key, `cannot be read: ${messageOf(cause)}`);
  }
  const [at, number, cells] = unpacked as [number, number, ClosedCell[]];
  if (at !== offset || number !== bucket) throw damaged(key, "belongs to another closing");
  return cells;
}
