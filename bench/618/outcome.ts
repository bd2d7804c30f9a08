/**
 * What came of an hour: the warehouse's books and the buyers' side by side, as counts, as series for the picture, and
 * as the time from payment to picking. That time begins when the request that pays was due, whenever it went out, and
 * ends when the warehouse first had a picking order.
 */
import type { WmsReport } from "../../connectors/wms/sandbox.js";
import type { BuyersReport } from "./buyers.js";
import type { ShopHour } from "./shop-hour.js";

export interface HourOutcome {
  orders: number;
  /** Orders with a picking order. */
  atWms: number;
  /** Picking orders beyond an order's first. */
  duplicates: number;
  /** Orders that never got one. */
  lost: number;
  /** The most requests that arrived at the WMS in any sliding second. */
  maxPerSecond: number;
  /** Of the orders that got there; null when none did. */
  paidToPickingP50Ms: number | null;
  paidToPickingP99Ms: number | null;
  /** How long buyers waited for the answer to their order, in real milliseconds; null when none was answered. */
  orderAnsweredP50Ms: number | null;
  orderAnsweredP99Ms: number | null;
  /** The shop's second in which the first order got there; null when none did. */
  firstAtWmsSecond: number | null;
  /** The most requests that buyers sent in any sliding second, and all of them. */
  requestsPerSecondMost: number;
  requests: number;
  /** How late the generator sent what was due, in real milliseconds. */
  generatorLateP99Ms: number;
  generatorLateMostMs: number;
  /** Buyers by how they ended. */
  ends: Record<string, number>;
  /** What buyers were answered, by status. */
  answers: Record<string, number>;
  /** The WMS's own counts. */
  wms: Omit<WmsReport, "orders" | "arrivedBySecond" | "madeBySecond">;
  series: HourSeries;
}

/** Index 0 is 00:00. */
export interface HourSeries {
  ordersBySecond: number[];
  requestsBySecond: number[];
  /** Requests that arrived at the WMS: what was dispatched. */
  dispatchedBySecond: number[];
  acceptedBySecond: number[];
  /**
   * Of the orders that were paid in a span and got there: each second of the rush, then each minute; spans without
   * any are left out.
   */
  paidToPicking: PickingSpan[];
}

export interface PickingSpan {
  fromSecond: number;
  toSecond: number;
  p50Ms: number;
  p99Ms: number;
}

/** The series have a value for every second up to here, then for every minute. */
export const RUSH_SECONDS = 30;

/**
 * @param inTime the milliseconds in which payment to picking is reported: the shop's when all of it is simulated, real
 *   ones with a real engine
 */
export function outcomeOf(hour: ShopHour, buyers: BuyersReport, wms: WmsReport, inTime: "shop" | "real"): HourOutcome {
  const firstMs = new Map(wms.orders);
  const delays: number[] = [];
  const delaysFrom = new Map<number, number[]>();
  const ordersBySecond: number[] = [];
  let firstAtMs = Number.POSITIVE_INFINITY;
  for (const { id, placedMs, paidDueMs } of buyers.buyers) {
    const second = Math.floor(placedMs / 1_000);
    ordersBySecond[second] = (ordersBySecond[second] ?? 0) + 1;
    const pickedMs = firstMs.get(id);
    if (pickedMs === undefined || paidDueMs === null) continue;
    firstAtMs = Math.min(firstAtMs, pickedMs);
    const delayMs = inTime === "shop" ? hour.shopOf(pickedMs) - paidDueMs : pickedMs - hour.realOf(paidDueMs);
    delays.push(delayMs);
    const { fromSecond } = spanOf(paidDueMs / 1_000);
    const others = delaysFrom.get(fromSecond);
    if (others === undefined) delaysFrom.set(fromSecond, [delayMs]);
    else others.push(delayMs);
  }
  const { orders: _orders, arrivedBySecond, madeBySecond, ...counts } = wms;
  const answered = buyers.buyers.flatMap(({ answeredInRealMs }) => answeredInRealMs ?? []);
  const ends: Record<string, number> = {};
  for (const { end } of buyers.buyers) ends[end] = (ends[end] ?? 0) + 1;
  return {
    orders: buyers.buyers.length,
    atWms: delays.length,
    duplicates: wms.duplicates,
    lost: buyers.buyers.length - delays.length,
    maxPerSecond: wms.arrivedPerSecondMost,
    paidToPickingP50Ms: percentile(delays, 0.5),
    paidToPickingP99Ms: percentile(delays, 0.99),
    orderAnsweredP50Ms: percentile(answered, 0.5),
    orderAnsweredP99Ms: percentile(answered, 0.99),
    firstAtWmsSecond: Number.isFinite(firstAtMs) ? Math.round(hour.shopOf(firstAtMs) / 1_000) : null,
    requestsPerSecondMost: buyers.requestsPerSecondMost,
    requests: buyers.requests,
    generatorLateP99Ms: buyers.lateMsP99,
    generatorLateMostMs: buyers.lateMsMost,
    ends,
    answers: buyers.answers,
    wms: counts,
    series: {
      ordersBySecond: filled(ordersBySecond),
      requestsBySecond: buyers.requestsBySecond,
      dispatchedBySecond: arrivedBySecond,
      acceptedBySecond: madeBySecond,
      paidToPicking: [...delaysFrom]
        .sort(([a], [b]) => a - b)
        .map(([fromSecond, list]) => ({
          ...spanOf(fromSecond),
          p50Ms: percentile(list, 0.5) as number,
          p99Ms: percentile(list, 0.99) as number,
        })),
    },
  };
}

/** The span that a second lies in. */
export function spanOf(second: number): { fromSecond: number; toSecond: number } {
  if (second < RUSH_SECONDS) return { fromSecond: Math.floor(second), toSecond: Math.floor(second) + 1 };
  const minute = Math.floor(second / 60);
  return { fromSecond: Math.max(minute * 60, RUSH_SECONDS), toSecond: (minute + 1) * 60 };
}

const filled = (sparse: number[]): number[] => Array.from(sparse, (n) => n ?? 0);

/**
 * The smallest value that at least this share of all is not above (nearest rank), in whole milliseconds; null of
 * none.
 */
export function percentile(values: readonly number[], share: number): number | null {
  const sorted = values.toSorted((a, b) => a - b);
  const value = sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)];
  return value === undefined ? null : Math.round(value);
}
