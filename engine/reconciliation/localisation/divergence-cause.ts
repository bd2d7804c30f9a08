/**
 * The vocabulary of where two sides part (R15): events of the ledger with their effect on a source's measure, faults of
 * a source's booking of one event, and causes, that is, one or more faults that explain a difference. Several causes
 * that explain it equally well are one group: which of them happened is then not known, and nothing here pretends it
 * is. Types and the effects of events only: nothing here reads a clock or Redis.
 */
import { type Account, type Balances, emptyBalances, type StockEvent } from "../../stock/model.js";
import { type Measure, measuredUnits } from "../model.js";

/** An event of the ledger, as a source of some measure should book it. */
export interface BookableEvent {
  readonly event: StockEvent;
  /** Signed units by location; never zero. */
  readonly effects: ReadonlyMap<string, number>;
}

/**
 * What a source did wrong with one event. `missing`: not booked; `doubled`: booked twice; `misplaced`: booked at
 * another location; `units_changed`: booked with other units, in `bookedAt` the rest of them. `unknown_to_ledger`: a
 * movement without an event of the ledger.
 */
export type FaultKind = "missing" | "doubled" | "misplaced" | "units_changed" | "unknown_to_ledger";

export interface Fault {
  readonly kind: FaultKind;
  /** The ledger's event; undefined: `unknown_to_ledger`. */
  readonly event?: StockEvent;
  /** Of the source, where it gives movements and one of them shows the fault. */
  readonly movementId?: string;
  readonly location: string;
  /** Where the source booked it, or the rest of its units. */
  readonly bookedAt?: string;
  /** Signed units that the source's count is off by, by location. */
  readonly offUnits: Readonly<Record<string, number>>;
  /** By the engine's clock. */
  readonly atMs: number;
}

/** One explanation: these faults together make exactly the difference. */
export interface Cause {
  /** In the order of their time. */
  readonly faults: readonly Fault[];
  /**
   * A snapshot describes an instant so near to the event that the source may have booked it before or after: whether
   * it parted the two sides before or after that snapshot is not certain.
   */
  readonly isNearSnapshot: boolean;
}

/** Causes that explain the difference equally well. */
export interface CauseGroup {
  /** Faults that have to have happened: fewer explain better. */
  readonly faults: number;
  /** The first of them, at most MAX_MEMBERS; whole events before parts of events, older before newer. */
  readonly members: readonly Cause[];
  /** All of them, also those that are not listed. */
  readonly count: number;
}

/** Causes of one group that are listed. 100 × some 300 bytes are 30 KB of an answer. */
export const MAX_MEMBERS = 100;

/** Whether more than one cause of the best group fits. */
export const isAmbiguous = ([best]: readonly CauseGroup[]): boolean => best !== undefined && best.count > 1;

/** Adds an event to (or takes it from, with -1) the balances of the locations of its SKU. */
export function applyEvent(locations: Map<string, Balances>, event: StockEvent, direction: 1 | -1 = 1): void {
  const add = (location: string, account: Account, units: number): void => {
    if (account === "outside") return;
    const balances = locations.get(location) ?? emptyBalances();
    locations.set(location, balances);
    balances[account] += units * direction;
  };
  add(event.location, event.from, -event.units);
  add(event.toLocation ?? event.location, event.to, event.units);
}

/**
 * Each event's effect on a measure. `display` rounds, so that an event's effect depends on the balances before it: all
 * of them are needed.
 * @param locations balances before the first event; those after the last one when it returns
 * @param events of one SKU, in the order of the log
 * @returns events without an effect are left out
 */
export function bookableEvents(
  locations: Map<string, Balances>,
  events: readonly StockEvent[],
  measure: Measure,
  displayCoefficient?: number,
): BookableEvent[] {
  const bookable: BookableEvent[] = [];
  const unitsAt = (location: string): number =>
    measuredUnits(locations.get(location) ?? emptyBalances(), measure, displayCoefficient);
  for (const event of events) {
    if (event.from === event.to && event.toLocation === undefined) continue;
    const places = [...new Set([event.location, event.toLocation ?? event.location])];
    const before = places.map(unitsAt);
    applyEvent(locations, event);
    const effects = new Map<string, number>();
    for (const [i, place] of places.entries()) {
      const units = unitsAt(place) - (before[i] as number);
      if (units !== 0) effects.set(place, units);
    }
    if (effects.size > 0) bookable.push({ event, effects });
  }
  return bookable;
}
