/**
 * The answers of an edge, grouped by their `asOf`: each group is one answer of the engine, and how long the edge kept
 * it shows. An edge of several nodes serves several groups at the same time, so a group is not one run of readings.
 */
import { bodyAgeMs, type Reading } from "./reader.js";

export interface Generation {
  readonly asOfMs: number;
  readonly readings: readonly Reading[];
  /** Body age when it was first and last received, in milliseconds. */
  readonly firstAgeMs: number;
  readonly lastAgeMs: number;
  /** An older group was seen before: the edge had fetched this one shortly before its first reading. */
  readonly isStartSeen: boolean;
  /** A newer group was seen after its last reading. */
  readonly isEndSeen: boolean;
}

/** In the order of `asOf`; readings without one are left out. */
export function generationsOf(readings: readonly Reading[]): readonly Generation[] {
  const groups = new Map<number, Reading[]>();
  for (const reading of readings) {
    if (reading.asOfMs === undefined) continue;
    const group = groups.get(reading.asOfMs) ?? [];
    group.push(reading);
    groups.set(reading.asOfMs, group);
  }
  const sorted = [...groups].sort(([a], [b]) => a - b);
  return sorted.map(([asOfMs, group], i) => {
    const ages = group.map(bodyAgeMs);
    return {
      ...{ asOfMs, readings: group, firstAgeMs: Math.min(...ages), lastAgeMs: Math.max(...ages) },
      ...{ isStartSeen: i > 0, isEndSeen: i < sorted.length - 1 },
    };
  });
}
