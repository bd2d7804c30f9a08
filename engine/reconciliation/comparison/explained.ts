/**
 * What events around an instant explain of a gap between two reports (R13). A source may book an event a little earlier
 * or later than the ledger, and not in the ledger's order, so any subset of the events within the window may be on the
 * other side of the instant: a gap is explained as far as some subset of their units comes to it. Subsets are counted
 * exactly up to a bound; beyond it, everything between the smallest and the greatest sum counts as possible, which can
 * only explain more, never less. A busy SKU has many events in four seconds and may explain a small gap by chance.
 */
import { displayUnits } from "../../stock/model.js";
import type { Measure } from "../model.js";

/** By how much the ledger's number at an instant may be another, if some events are on the other side of it. */
export interface Reach {
  readonly low: number;
  readonly high: number;
  /** All of them in ascending order; undefined: everything from `low` to `high`. */
  readonly values: readonly number[] | undefined;
}

export const NO_REACH: Reach = { low: 0, high: 0, values: [0] };

/** What the display follows from (R5), as the ledger holds it at the instant. */
export interface DisplayBase {
  readonly sellable: number;
  readonly reserved: number;
  readonly coefficient: number | undefined;
}

/**
 * Sums are counted as bits of one long number: 2^18 bits are 32 KiB, and each of some 40 additions takes about 10 µs.
 * Of a display, sums of sellable and of reserved units are counted together: 512 × 512.
 */
const MAX_BITS = 2 ** 18;

/**
 * @param effects three numbers for each event, as `ScannedInstant.windows` has them: sellable, reserved, on hand
 * @param base of a display; not used for other measures
 */
export function reachOf(effects: readonly number[], measure: Measure, base: DisplayBase): Reach {
  const steps = stepsOf(effects, measure);
  let [minX, maxX, minY, maxY] = [0, 0, 0, 0];
  for (const { x, y, times } of steps) {
    minX += Math.min(0, x) * times;
    maxX += Math.max(0, x) * times;
    minY += Math.min(0, y) * times;
    maxY += Math.max(0, y) * times;
  }
  const width = maxY - minY + 1;
  // Written so that numbers too great to be exact are refused, too.
  if (!((maxX - minX + 1) * width <= MAX_BITS)) {
    // The share of reserved units is rounded down, here and there: one unit to each side covers it.
    const share = (units: number): number => (measure === "display" ? (base.coefficient ?? 1) * units : 0);
    const slack = minY === maxY ? 0 : 1;
    const low = minX + Math.floor(share(minY)) - slack;
    return { low, high: maxX + Math.ceil(share(maxY)) + slack, values: undefined };
  }
  // The bit of a sum (x, y) is (x - minX) × width + (y - minY): no subset leaves its row.
  let bits = 1n << BigInt(-minX * width - minY);
  for (const { x, y, times } of steps)
    for (let left = times, part = 1; left > 0; left -= part, part = Math.min(2 * part, left)) {
      // Groups of 1, 2, 4, … equal steps have the same sums as all of them one by one.
      const by = (x * width + y) * part;
      bits |= by > 0 ? bits << BigInt(by) : bits >> BigInt(-by);
    }
  const here = displayUnits(base.sellable, base.reserved, base.coefficient);
  const sums = new Set<number>();
  forEachBit(bits, (bit) => {
    const [x, y] = [Math.floor(bit / width) + minX, (bit % width) + minY];
    sums.add(measure === "display" ? displayUnits(base.sellable + x, base.reserved + y, base.coefficient) - here : x);
  });
  const values = [...sums].sort((a, b) => a - b);
  return { low: values[0] as number, high: values.at(-1) as number, values };
}

/**
 * The reach where the ledger's number contains units that the party may not have taken into account: those that settled
 * a difference with another source.
 */
export function withOrWithout({ low, high, values }: Reach, units: number): Reach {
  const shifted = values && [...new Set([...values, ...values.map((value) => value - units)])];
  return {
    low: Math.min(low, low - units),
    high: Math.max(high, high - units),
    values: shifted?.sort((a, b) => a - b),
  };
}

/** Equal effects in the measure, with how often each occurs; without those that change nothing. */
function stepsOf(effects: readonly number[], measure: Measure): { x: number; y: number; times: number }[] {
  const steps = new Map<string, { x: number; y: number; times: number }>();
  for (let i = 0; i < effects.length; i += 3) {
    const x = effects[measure === "on_hand" ? i + 2 : i] as number;
    const y = measure === "display" ? (effects[i + 1] as number) : 0;
    if (x === 0 && y === 0) continue;
    const key = `${x} ${y}`;
    const step = steps.get(key);
    if (step) step.times++;
    else steps.set(key, { x, y, times: 1 });
  }
  return [...steps.values()];
}

function forEachBit(bits: bigint, take: (bit: number) => void): void {
  const digits = bits.toString(16);
  for (let i = 0; i < digits.length; i++) {
    const digit = Number.parseInt(digits[digits.length - 1 - i] as string, 16);
    for (let bit = 0; bit < 4; bit++) if ((digit & (1 << bit)) !== 0) take(4 * i + bit);
  }
}

/**
 * Units of a gap that no events explain: how far the gap is from the nearest number that they come to.
 * @param gap what the first party has more than the ledger, minus what the second one has more
 * @param a what the events around the first party's instant may come to
 * @param b the same for the second party; `NO_REACH` for the ledger itself
 */
export function unexplainedUnits(gap: number, a: Reach, b: Reach): number {
  if (gap === 0) return 0;
  if (!a.values || !b.values) return Math.max(0, a.low - b.high - gap, gap - (a.high - b.low));
  let least = Math.abs(gap);
  let at = 0;
  // Both are ascending, so the nearest partner of each number is not before that of the one before it.
  for (const value of a.values) {
    const wanted = value - gap;
    while (at + 1 < b.values.length && (b.values[at + 1] as number) <= wanted) at++;
    least = Math.min(least, Math.abs(wanted - (b.values[at] as number)));
    if (at + 1 < b.values.length) least = Math.min(least, Math.abs(wanted - (b.values[at + 1] as number)));
    if (least === 0) return 0;
  }
  return least;
}
