/**
 * When a SKU is reordered, and how much (R7): when sellable + inbound < 1.8 × safety + 3 × daily average. Pure.
 */

const SAFETY_FACTOR = 1.8;
const AVERAGE_DAYS = 3;

export interface ReplenishmentFigures {
  /** Over all locations. */
  readonly sellableUnits: number;
  readonly safetyUnits: number;
  /** Units of receipts on their way. */
  readonly inboundUnits: number;
  /** Undefined in cold start: then nothing is suggested. */
  readonly dailyAverage: number | undefined;
}

/** Units at which a SKU is reordered, without the last bits of the products: 1.8 × 5 is 9. Undefined in cold start. */
export const reorderPointOf = ({
  safetyUnits,
  dailyAverage,
}: Pick<ReplenishmentFigures, "safetyUnits" | "dailyAverage">): number | undefined =>
  dailyAverage === undefined
    ? undefined
    : Math.round((SAFETY_FACTOR * safetyUnits + AVERAGE_DAYS * dailyAverage) * 1e9) / 1e9;

/** Units to order: what is missing to the reorder point, rounded up; 0: none; undefined in cold start. */
export function suggestedUnitsOf(figures: ReplenishmentFigures): number | undefined {
  const point = reorderPointOf(figures);
  if (point === undefined) return undefined;
  return Math.max(0, Math.ceil(point - figures.sellableUnits - figures.inboundUnits));
}
