/**
 * Closings: what a job's state of a key was before the key's first change in a period. Together with the log's events
 * from there on they give the state at any time of the period. They are written with the commit of that change, once
 * each, and expire. A key that did not change in a period has none there. Closings written while a dead letter waits
 * lack its event: its replay removes them, and readers must not use closings of a partition that has dead letters.
 */
import { EngineError } from "../kernel/errors.js";
import type { PartitionKeys } from "./keys.js";
import { decodeState, encodeState } from "./pack.js";
import type { RedisClient } from "./redis.js";
import { type StateShape, stateOf } from "./state-codec.js";

/** Where in the log a state was changed. */
export interface ChangePosition {
  offset: number;
  /** Of the event in its entry; a timer counts as before the event at which it fired. */
  index: number;
  /** The log's clock at the change. */
  clockMs: number;
}

export interface Closing<State> extends ChangePosition {
  period: number;
  /** As it was before the change at this position; undefined: the key had none. */
  state: State | undefined;
}

/** A closing that a commit writes, or, without bytes, removes. */
export interface ClosingWrite {
  period: number;
  key: string;
  bytes: Buffer | undefined;
}

/** What a commit writes of one job and period. */
export interface ClosingsOfPeriod {
  job: string;
  period: number;
  keptMs: number;
  of: ClosingWrite[];
}

/** The closings of a commit, by job and period, in a fixed order. */
export function closingsByPeriod(
  states: readonly { job: string; closings?: readonly ClosingWrite[]; closingsKeptMs?: number }[],
): ClosingsOfPeriod[] {
  return states.flatMap(({ job, closings = [], closingsKeptMs: keptMs = 0 }) => {
    const periods = new Map<number, ClosingsOfPeriod>();
    for (const closing of closings) {
      const { period } = closing;
      const found = periods.get(period) ?? { job, period, keptMs, of: [] };
      periods.set(period, found);
      found.of.push(closing);
    }
    return [...periods.values()];
  });
}

/** @param packed the state as it is stored; undefined: the key had none */
export const encodeClosing = ({ offset, index, clockMs }: ChangePosition, packed: Buffer | undefined): Buffer =>
  encodeState([offset, index, clockMs, packed ?? null]);

/**
 * Decodes a closing, as it is stored in the hash of its period.
 * @throws as `stateOf`
 */
export function closingOf<State>(job: StateShape<State>, key: string, period: number, bytes: Buffer): Closing<State> {
  const [offset, index, clockMs, packed] = decodeState(bytes) as [number, number, number, Buffer | null];
  const state = packed === null ? undefined : stateOf(job, key, packed);
  return { period, offset, index, clockMs, state };
}

/**
 * Reads a key's closings of some periods, in their order; undefined for a period in which it did not change, or whose
 * closings have expired.
 * @throws as `stateOf`
 */
export async function readClosings<State>(
  redis: RedisClient,
  keys: PartitionKeys,
  job: StateShape<State>,
  periods: readonly number[],
  key: string,
): Promise<(Closing<State> | undefined)[]> {
  const found = await Promise.all(periods.map((period) => redis.hgetBuffer(keys.closings(job.name, period), key)));
  return found.map((bytes, i) => (bytes ? closingOf(job, key, periods[i] as number, bytes) : undefined));
}

/** The number of a period is stored in 32 bits, which lasts for periods of 415 ms in 2026. */
const PERIOD_LEAST_MS = 1_000;

/** @throws EngineError `bad_closings` when the lengths of a job's closings are not whole numbers, or too short */
export function checkClosings(job: { name: string; closings?: { periodMs: number; keptMs: number } }): void {
  const { periodMs = PERIOD_LEAST_MS, keptMs = 1 } = job.closings ?? {};
  const areWhole = [periodMs, keptMs].every(Number.isSafeInteger);
  if (areWhole && periodMs >= PERIOD_LEAST_MS && keptMs > 0) return;
  throw new EngineError(
    `${job.name}: periodMs of its closings must be a whole number from ${PERIOD_LEAST_MS} on, keptMs one from 1 on`,
    { op: "worker.start", code: "bad_closings", retryable: false, input: job.name },
  );
}
