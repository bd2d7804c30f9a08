/**
 * The stored bytes of a job's state. A state of version 1 is its MessagePack alone, as every release has written it. A
 * later version begins with a header: the byte 0xC1, which MessagePack never uses, then the version and the period of
 * the last change (null where the job keeps no closings), both as MessagePack. Every reader of stored states decodes
 * them here, so that a state of an older version is upgraded and one of a newer version is never misread. Nothing is
 * written here.
 */
import { EngineError } from "../kernel/errors.js";
import type { AnyJob, Job, LogEvent } from "./job.js";
import { decodeState, PackWriter } from "./pack.js";

/** What decoding needs of a job. */
export type StateShape<State> = Pick<Job<never, State>, "name" | "version" | "upgrade">;

/** From this format on states may have a header, which the previous release cannot read. */
export const STATE_HEADER_FORMAT = 3;

const MARK = 0xc1;
const NIL = 0xc0;
const FIRST_VERSION = 1;

const writer = new PackWriter();

interface Header {
  version: number;
  /** Undefined when there is none. */
  period: number | undefined;
  /** Where the state begins. */
  length: number;
}

const NO_HEADER: Header = { version: FIRST_VERSION, period: undefined, length: 0 };

export const versionOf = ({ version = FIRST_VERSION }: { version?: number | undefined }): number => version;

/** By name, the version of each job. */
export const versionsOf = <Event extends LogEvent>(jobs: readonly AnyJob<Event>[]): ReadonlyMap<string, number> =>
  new Map(jobs.map((job) => [job.name, versionOf(job)]));

/**
 * Checks that a deployment's format allows the jobs to write their states and timers.
 * @throws EngineError `format_too_old` when it does not
 */
export function checkJobs<Event extends LogEvent>(jobs: readonly AnyJob<Event>[], format: number): void {
  if (format >= STATE_HEADER_FORMAT) return;
  for (const job of jobs) {
    const version = versionOf(job);
    const hasNamedTimers = (job.timers?.length ?? 0) > 0;
    if (version === FIRST_VERSION && !hasNamedTimers) continue;
    const what = hasNamedTimers
      ? `${job.name} has named timers, which need`
      : `version ${version} of ${job.name} needs`;
    throw new EngineError(
      `${what} format ${STATE_HEADER_FORMAT}, and this deployment writes format ${format}: run "shuiwei upgrade --finish" first, then start this worker`,
      { op: "worker.start", code: "format_too_old", retryable: false, input: job.name },
    );
  }
}

/** Whether an error says that a newer version of a job wrote what was to be read. */
export const isNewerVersion = (thrown: unknown): boolean =>
  thrown instanceof EngineError && thrown.code === "newer_version";

/** The error of a reader whose job is of an older version than what is stored. */
export const newerVersion = (
  place: string,
  job: { name: string; version?: number | undefined },
  there: number | string,
): EngineError =>
  new EngineError(
    `${place}: its state of ${job.name} is of version ${there}; this release reads up to ${versionOf(job)}`,
    { op: "state.read", code: "newer_version", retryable: false, input: place },
  );

/**
 * Decodes a stored state, and upgrades one of an older version in memory.
 * @throws EngineError `newer_version` when a newer version wrote it; otherwise what decoding or upgrading throws
 */
export function stateOf<State>(job: StateShape<State>, key: string, bytes: Buffer): State {
  const version = versionOf(job);
  if (bytes[0] !== MARK && version === FIRST_VERSION) return decodeState(bytes) as State;
  const header = headerOf(bytes);
  if (header.version > version) throw newerVersion(key, job, header.version);
  const state = decodeState(withoutHeader(bytes));
  if (header.version === version) return state as State;
  if (job.upgrade) return job.upgrade(state, header.version, key);
  throw new EngineError(`${job.name} of version ${version} has no upgrade from version ${header.version}`, {
    op: "state.decode",
    code: "no_upgrade",
    retryable: false,
    input: key,
  });
}

/** The period of a stored state's last change; undefined when it was written without. */
export const periodOf = (bytes: Buffer): number | undefined => headerOf(bytes).period;

/** A stored state without its header. */
export const withoutHeader = (bytes: Buffer): Buffer =>
  bytes[0] === MARK ? bytes.subarray(headerOf(bytes).length) : bytes;

/** Packs a state with a header. @throws when it contains a value that cannot be packed */
export function encodeWithHeader(version: number, period: number | undefined, state: unknown): Buffer {
  writer.begin();
  writer.byte(MARK);
  writer.number(version);
  if (period === undefined) writer.byte(NIL);
  else writer.number(period);
  writer.value(state);
  return writer.take();
}

function headerOf(bytes: Buffer): Header {
  if (bytes[0] !== MARK) return NO_HEADER;
  const version = numberAt(bytes, 1);
  const hasPeriod = bytes[version.end] !== NIL;
  const period = hasPeriod ? numberAt(bytes, version.end) : { value: undefined, end: version.end + 1 };
  return { version: version.value, period: period.value, length: period.end };
}

/** An unsigned MessagePack integer below 2^32. */
function numberAt(bytes: Buffer, at: number): { value: number; end: number } {
  const first = bytes.readUInt8(at);
  if (first < 0x80) return { value: first, end: at + 1 };
  const size = { 204: 1, 205: 2, 206: 4 }[first];
  if (size !== undefined) return { value: bytes.readUIntBE(at + 1, size), end: at + 1 + size };
  throw new EngineError("the header of a stored state cannot be read", {
    op: "state.decode",
    code: "bad_header",
    retryable: false,
  });
}
