/**
 * What every load buys: a thousand million units of each of 10,000 SKUs, so that no order is refused, one unit an
 * order, the SKUs in an order that looks random and is the same in every process.
 */
export const SKUS = 10_000;
export const UNITS = 1_000_000_000;

export const skuNamed = (n: number): string => `SKU-${n}`;

/** A prime step spreads the SKUs without an order. */
export const skuOfArrival = (i: number): string => skuNamed((i * 7_919) % SKUS);

/** The SKU whose alert the n-th order for one makes fire; nobody buys it otherwise. */
export const alertSkuNamed = (n: number): string => `HOT-${n}`;
