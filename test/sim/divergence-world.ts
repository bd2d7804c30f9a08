/**
 * A shop and a warehouse that counts the same goods, in virtual time and without Redis. The shop's ledger decides
 * seeded commands by the reference rules; the warehouse books each of its events up to two seconds late and out of
 * order, or has a clock that is off by up to two seconds, and makes one mistake with one event, or none. A seed gives
 * the same shop, warehouse and mistake.
 */
import { chainIdFromNumber } from "../../engine/kernel/chain-id.js";
import { type Random, seededRandom } from "../../engine/kernel/random.js";
import {
  applyEvent,
  type BookableEvent,
  bookableEvents,
} from "../../engine/reconciliation/localisation/divergence-cause.js";
import type { Observation } from "../../engine/reconciliation/localisation/gap-search.js";
import type { Measure, Movement } from "../../engine/reconciliation/model.js";
import { measuredUnits } from "../../engine/reconciliation/model.js";
import type { Balances, ReserveStock, StockCommand, StockEvent } from "../../engine/stock/model.js";
import { Reference } from "./reference.js";

export const LATENESS_MS = 2_000;
const START_MS = Date.UTC(2026, 5, 18, 2);
export const SKUS = ["CUP-RED", "CUP-BLUE", "水杯-红"];
export const LOCATIONS = ["SH-1", "GZ-2", "CD-3"];
const FORMAT = 3;
const RETENTION_DAYS = 45;

export type MistakeKind = "missing" | "doubled" | "misplaced" | "unit_lost" | "unit_doubled" | "unit_misplaced";
export const MISTAKES: readonly MistakeKind[] = [
  "missing",
  "doubled",
  "misplaced",
  "unit_lost",
  "unit_doubled",
  "unit_misplaced",
];

/** What the warehouse did wrong. */
export interface Mistake {
  kind: MistakeKind;
  sku: string;
  bookable: BookableEvent;
}

export interface WorldOptions {
  commands: number;
  snapshots: number;
  /** Milliseconds between commands, at most. */
  pauseMs: number;
  /** Whether the last snapshot is made after everything has been booked. */
  endsQuietly: boolean;
  kind: MistakeKind | "none";
}

export interface Booking {
  id: string;
  sku: string;
  location: string;
  units: number;
  /** By the engine's clock. */
  atMs: number;
}

/** What a warehouse has booked of a ledger's events, and when its snapshots are made. */
export interface Warehouse {
  measure: Measure;
  /** Of each SKU. */
  events: Map<string, BookableEvent[]>;
  bookings: Booking[];
  mistake: Mistake | undefined;
  /** What is added to the true time of a snapshot or a booking where it is stated. */
  clockOffMs: number;
  /** The true instants of its snapshots, the oldest first. */
  instants: number[];
  fromMs: number;
  toMs: number;
}

export interface World extends Warehouse {
  observations: Map<string, Observation[]>;
  movements: Map<string, Movement[]>;
}

/** Commands of an ordinary shop: goods arrive and move, lines are reserved, paid, cancelled and sent out. */
export function* commandsOf(random: Random, options: WorldOptions): Generator<[nowMs: number, command: StockCommand]> {
  const lines: ReserveStock[] = [];
  let [nowMs, serial] = [START_MS, 0];
  const idOf = (): string => chainIdFromNumber("SM", nowMs, serial++);
  const cell = () => ({ sku: random.pick(SKUS), location: random.pick(LOCATIONS) });
  for (const sku of SKUS)
    for (const location of LOCATIONS)
      yield [nowMs, { kind: "receive", id: idOf(), sku, location, units: 40 + random.below(40) }];
  nowMs += 60_000;
  for (let i = 0; i < options.commands; i++) {
    nowMs += 1 + random.below(options.pauseMs);
    const [draw, units] = [random.below(20), 1 + random.below(random.below(3) === 0 ? 5 : 1)];
    const line = lines.length > 0 ? random.pick(lines) : undefined;
    if (draw < 8 || !line) {
      const reserve: ReserveStock = { kind: "reserve", id: idOf(), ...cell(), units };
      lines.push(reserve);
      yield [nowMs, reserve];
    } else if (draw < 12) yield [nowMs, { ...line, kind: "pay" }];
    else if (draw < 15) yield [nowMs, { ...line, kind: "outbound" }];
    else if (draw < 16) yield [nowMs, { ...line, kind: "cancel" }];
    else if (draw < 17) yield [nowMs, { kind: "receive", id: idOf(), ...cell(), units }];
    else if (draw < 18) yield [nowMs, { kind: "correct", id: idOf(), ...cell(), units: -units }];
    else if (draw < 19) yield [nowMs, { kind: "return", id: idOf(), ...cell(), units }];
    else {
      const from = cell();
      const toLocation = random.pick(LOCATIONS.filter((each) => each !== from.location));
      yield [nowMs, { kind: "move", id: idOf(), ...from, units, from: "sellable", to: "sellable", toLocation }];
    }
  }
}

/** The ledger's events, with their positions in the log. */
function eventsOf(random: Random, options: WorldOptions): StockEvent[] {
  const reference = new Reference(RETENTION_DAYS, FORMAT);
  for (const [nowMs, command] of commandsOf(random, options)) reference.apply(nowMs, [command], new Set());
  return reference.events.map((event, i) => ({ ...event, offset: i + 1, index: 1 }));
}

/** @param all the events of the ledger, in the order of each SKU */
export function warehouseOf(random: Random, all: readonly StockEvent[], options: WorldOptions): Warehouse {
  const measure: Measure = random.pick(["on_hand", "sellable"]);
  const eventsOfSku = (sku: string): StockEvent[] => all.filter((each) => each.sku === sku);
  const events = new Map(SKUS.map((sku) => [sku, bookableEvents(new Map(), eventsOfSku(sku), measure)]));
  const [fromMs, endMs] = [START_MS + 30_000, Math.max(...all.map(({ clockMs }) => clockMs))];
  const mistake = options.kind === "none" ? undefined : mistakeOf(random, events, options.kind, fromMs);
  // Its clock is measured and corrected, and it is late; or it books at once and its clock is not known to be off.
  const [latenessMs, clockOffMs] =
    random.below(2) === 0 ? [LATENESS_MS, 0] : [0, random.below(2 * LATENESS_MS - 1) - LATENESS_MS + 1];
  const bookings = [...events].flatMap(([sku, own]) =>
    own.flatMap((bookable) => bookingsOf(random, sku, bookable, mistake, latenessMs)),
  );
  // Before the mistake, while there is traffic, and after all is booked.
  const toMs = endMs + 3 * LATENESS_MS;
  const instants = [fromMs, ...Array.from({ length: options.snapshots }, () => fromMs + random.below(endMs - fromMs))];
  instants.push(options.endsQuietly ? toMs : endMs);
  instants.sort((a, b) => a - b);
  return { measure, events, bookings, mistake, clockOffMs, instants, fromMs, toMs };
}

/** Units that the warehouse has booked. */
export const bookedUnits = (bookings: readonly Booking[], sku: string, location: string, atMs: number): number =>
  bookings.reduce(
    (sum, each) => (each.sku === sku && each.location === location && each.atMs <= atMs ? sum + each.units : sum),
    0,
  );

/** The movements of a SKU by the warehouse's clock. */
const statedMovements = ({ bookings, clockOffMs, fromMs, toMs }: Warehouse, sku: string): Movement[] =>
  bookings
    .map((each) => ({ ...each, atMs: each.atMs + clockOffMs }))
    .filter((each) => each.sku === sku && each.atMs > fromMs && each.atMs <= toMs);

/** A shop and its warehouse without Redis. */
export function makeWorld(seed: number, options: WorldOptions): World {
  const random = seededRandom(seed);
  const all = eventsOf(random, options);
  const warehouse = warehouseOf(random, all, options);
  const observations = new Map(
    SKUS.map((sku) => [sku, warehouse.instants.map((atMs, i) => observe(sku, i, atMs, all, warehouse))]),
  );
  const movements = new Map(SKUS.map((sku) => [sku, statedMovements(warehouse, sku)]));
  return { ...warehouse, observations, movements };
}

function mistakeOf(
  random: Random,
  events: ReadonlyMap<string, readonly BookableEvent[]>,
  kind: MistakeKind,
  fromMs: number,
): Mistake | undefined {
  const isPart = kind.startsWith("unit_");
  const fits = ({ event, effects }: BookableEvent): boolean =>
    event.clockMs > fromMs && [...effects.values()].every((units) => Math.abs(units) > (isPart ? 1 : 0));
  const all = [...events].flatMap(([sku, own]) => own.filter(fits).map((bookable) => ({ kind, sku, bookable })));
  return all.length === 0 ? undefined : random.pick(all);
}

/** What the warehouse books of an event, and when. */
function bookingsOf(
  random: Random,
  sku: string,
  bookable: BookableEvent,
  mistake: Mistake | undefined,
  latenessMs: number,
): Booking[] {
  const lateMs = (): number => random.below(latenessMs + 1);
  const { event, effects } = bookable;
  const atMs = event.clockMs + lateMs();
  const legs = [...effects].map(([location, units]): Booking => ({ id: event.id, sku, location, units, atMs }));
  const [leg, ...rest] = legs as [Booking, ...Booking[]];
  if (mistake?.bookable !== bookable) return legs;
  const elsewhere = random.pick(LOCATIONS.filter((location) => !effects.has(location)));
  const one = Math.sign(leg.units);
  const againMs = event.clockMs + lateMs();
  switch (mistake.kind) {
    case "missing":
      return [];
    case "doubled":
      return [...legs, ...legs.map((each) => ({ ...each, atMs: againMs === atMs ? atMs + 1 : againMs }))];
    case "misplaced":
      return [{ ...leg, location: elsewhere }, ...rest];
    case "unit_lost":
      return [{ ...leg, units: leg.units - one }, ...rest];
    case "unit_doubled":
      return [{ ...leg, units: leg.units + one }, ...rest];
    case "unit_misplaced":
      return [{ ...leg, units: leg.units - one }, { ...leg, location: elsewhere, units: one }, ...rest];
  }
}

function observe(
  sku: string,
  serial: number,
  atMs: number,
  events: readonly StockEvent[],
  { bookings, clockOffMs, measure }: Warehouse,
): Observation {
  const asOfMs = atMs + clockOffMs;
  const locations = new Map<string, Balances>();
  for (const event of events) if (event.sku === sku && event.clockMs <= asOfMs) applyEvent(locations, event);
  const gaps = new Map(
    LOCATIONS.map((location) => {
      const held = locations.get(location);
      const units = bookedUnits(bookings, sku, location, atMs);
      return [location, units - (held ? measuredUnits(held, measure) : 0)];
    }),
  );
  return { snapshotId: `snapshot-${serial}`, asOfMs, gaps };
}
