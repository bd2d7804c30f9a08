/**
 * Changes of a SKU's stock as a person reads them: an event of the log, the balances after it, and the order line that
 * it belongs to. Pure: what is applied here was read elsewhere. A balance may be below zero here when the log is wrong;
 * it is shown, not corrected.
 */
import { CHAIN_ID_LENGTH } from "../kernel/chain-id.js";
import type { Evidence } from "../orders/model.js";
import type { Locations } from "../stock/as-of.js";
import { type Balances, emptyBalances, POOLS, type Pool, type StockEvent } from "../stock/model.js";

/** An event, and what it left. */
export interface Change {
  readonly event: StockEvent;
  /** The balances after it, of each location that it touched. */
  readonly after: Locations;
  /** The order line that it belongs to. */
  readonly line?: OrderLineRef;
  /** Who or what reported the order's step that caused it, where the orders' log was searched for it. */
  readonly evidence?: Evidence;
}

export interface OrderLineRef {
  readonly order: string;
  /** From 1. */
  readonly line: number;
}

/** An order's line has the order's id with its number. */
export function lineOf({ type, id }: Pick<StockEvent, "type" | "id">): OrderLineRef | undefined {
  if (!type.startsWith("Line") && type !== "StockReserved") return undefined;
  const line = Number(id.slice(CHAIN_ID_LENGTH + 1));
  return id.charAt(CHAIN_ID_LENGTH) === "-" && line >= 1 ? { order: id.slice(0, CHAIN_ID_LENGTH), line } : undefined;
}

/** Running balances of one SKU by location. */
export class RunningBalances {
  readonly locations = new Map<string, Balances>();

  constructor(opening: Locations) {
    for (const [location, balances] of opening) this.locations.set(location, { ...balances });
  }

  /** Applies an event, and returns the balances that it left. */
  apply({ from, to, location, toLocation = location, units }: StockEvent): Locations {
    const after = new Map<string, Balances>();
    // A change of settings or of a breaker may name no location.
    for (const each of new Set([location, toLocation])) if (each !== "") after.set(each, this.#at(each));
    if (from !== "outside") this.#at(location)[from] -= units;
    if (to !== "outside") this.#at(toLocation)[to] += units;
    return new Map([...after].map(([each, balances]) => [each, { ...balances }]));
  }

  #at(location: string): Balances {
    const found = this.locations.get(location) ?? emptyBalances();
    this.locations.set(location, found);
    return found;
  }
}

/** A balance that differs from what it was counted to be. */
export interface Mismatch {
  readonly location: string;
  readonly pool: Pool;
  /** Opening balance and all changes. */
  readonly countedUnits: number;
  /** As the ledger has it. */
  readonly storedUnits: number;
}

export function mismatchesOf(counted: Locations, stored: Locations): Mismatch[] {
  return [...new Set([...counted.keys(), ...stored.keys()])].flatMap((location) =>
    POOLS.flatMap((pool): Mismatch[] => {
      const countedUnits = counted.get(location)?.[pool] ?? 0;
      const storedUnits = stored.get(location)?.[pool] ?? 0;
      return countedUnits === storedUnits ? [] : [{ location, pool, countedUnits, storedUnits }];
    }),
  );
}
