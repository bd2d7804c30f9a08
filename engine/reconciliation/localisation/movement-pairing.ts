/**
 * Where a source and the ledger part, found from the source's own movements (R15). Each effect of an event on a
 * location is paired with the movement that books it: by id where the source passes on the ledger's, else by location,
 * units and time. What has no partner names the fault. Without ids several events may take the place of the one without
 * partner: all of them are named. What is so near to an end of the span that its partner may be outside is left
 * undecided. Pure.
 */
import type { StockEvent } from "../../stock/model.js";
import type { Movement } from "../model.js";
import { type BookableEvent, type Cause, type CauseGroup, type Fault, MAX_MEMBERS } from "./divergence-cause.js";
import { type Effect, type Looks, Matching } from "./movement-matching.js";

export interface PairingOptions {
  /** The movements are complete after this instant, */
  readonly fromMs: number;
  /** and up to this one. */
  readonly toMs: number;
  /** How far a movement's time may be from its event's, by the engine's clock. */
  readonly toleranceMs: number;
}

export interface Pairing {
  /** The faults, each as a group of what explains it equally well, in the order of time; at most MAX_PARTS. */
  readonly parts: readonly CauseGroup[];
  /** All of them, also those that are not listed. */
  readonly count: number;
  /** Effects and movements with a partner; and those whose partner may be outside the span, or too many to decide. */
  readonly pairs: number;
  readonly undecided: number;
}

/** Faults of one SKU that are listed. */
const MAX_PARTS = 20;
/** Looked at for what could be left over instead: 100,000, each of which becomes a cause, take 0.2 s. */
const MAX_LOOKS = 100_000;
/** Of each kind, the earliest are joined with what the same fault explains: 500 × 500 × 0.2 µs are 50 ms. */
const MAX_JOINED = 500;

/** One fault: its causes, and when the earliest of them happened. */
interface Part {
  readonly atMs: number;
  readonly causes: readonly Fault[];
}

interface Cell {
  readonly location: string;
  readonly units: number;
}

/** An effect is without partner: one of these, and it is not known which. */
interface Deficit extends Cell {
  readonly effects: readonly Effect[];
}

/** A movement is without partner: one of these. */
interface Surplus extends Cell {
  readonly movements: readonly Movement[];
  /** What it may book a second time. */
  readonly effects: readonly Effect[];
}

/**
 * @param events of one SKU; at least those from `toleranceMs` before the span to `toleranceMs` after it
 * @param movements of the SKU with times by the engine's clock
 */
export function pairMovements(
  events: readonly BookableEvent[],
  movements: readonly Movement[],
  options: PairingOptions,
): Pairing {
  const effects = events.flatMap((bookable) =>
    [...bookable.effects].map(
      ([location, units]): Effect => ({ bookable, location, units, atMs: bookable.event.clockMs }),
    ),
  );
  const { fromMs, toMs, toleranceMs } = options;
  const isDecided = (atMs: number): boolean => atMs > fromMs + toleranceMs && atMs <= toMs - toleranceMs;
  const looks = { left: MAX_LOOKS };
  const byId = pairById(effects, movements, toleranceMs, isDecided, looks);
  const byTime = pairByTime(byId.effects, byId.movements, toleranceMs, isDecided, looks);
  const parts = [...byId.parts, ...partsOf(byTime.deficits, byTime.surpluses, toleranceMs)];
  parts.sort((a, b) => a.atMs - b.atMs);
  return {
    parts: parts.slice(0, MAX_PARTS).map(groupOf),
    count: parts.length,
    pairs: byId.pairs + byTime.pairs,
    undecided: byId.undecided + byTime.undecided,
  };
}

function groupOf({ causes }: Part): CauseGroup {
  const members = causes.slice(0, MAX_MEMBERS).map((fault): Cause => ({ faults: [fault], isNearSnapshot: false }));
  return { faults: 1, members, count: causes.length };
}

/** The ids under which a source may book an event: its command's or line's, and the order's. */
const idsOf = ({ id }: StockEvent): string[] => {
  const dash = id.lastIndexOf("-");
  return dash > 0 ? [id, id.slice(0, dash)] : [id];
};

interface ById {
  parts: Part[];
  /** What has no id in common with the other side. */
  effects: Effect[];
  movements: Movement[];
  pairs: number;
  undecided: number;
}

function pairById(
  effects: readonly Effect[],
  movements: readonly Movement[],
  toleranceMs: number,
  isDecided: (atMs: number) => boolean,
  looks: Looks,
): ById {
  const known = new Set(movements.map(({ id }) => id));
  const groups = new Map<string, { effects: Effect[]; movements: Movement[] }>();
  const rest: ById = { parts: [], effects: [], movements: [], pairs: 0, undecided: 0 };
  for (const effect of effects) {
    const id = idsOf(effect.bookable.event).find((each) => known.has(each));
    if (id === undefined) {
      rest.effects.push(effect);
      continue;
    }
    const group = groups.get(id) ?? { effects: [], movements: [] };
    group.effects.push(effect);
    groups.set(id, group);
  }
  for (const movement of movements) (groups.get(movement.id)?.movements ?? rest.movements).push(movement);
  for (const group of groups.values()) {
    const { parts, pairs } = partsOfId(group.effects, group.movements, toleranceMs, looks);
    rest.pairs += pairs;
    for (const part of parts) {
      if (isDecided(part.atMs)) rest.parts.push(part);
      else rest.undecided++;
    }
  }
  return rest;
}

/**
 * Pairs what has the same id. A line has several events under one id, so that time decides between equal ones; but
 * a movement with the right id, location and units books its event however late it is.
 */
function partsOfId(
  effects: readonly Effect[],
  movements: readonly Movement[],
  toleranceMs: number,
  looks: Looks,
): { parts: Part[]; pairs: number } {
  const { deficits, surpluses, pairs } = pairByTime(effects, movements, toleranceMs, () => true, looks);
  const isSame = (a: Cell, b: Cell): boolean => a.location === b.location && a.units === b.units;
  const rest = new Set(surpluses);
  const open = deficits.filter((deficit) => {
    const late = [...rest].find((surplus) => isSame(surplus, deficit));
    return !late || !rest.delete(late);
  });
  const named = [...rest].map((surplus) =>
    surplus.effects.length > 0 ? surplus : { ...surplus, effects: effects.filter((each) => isSame(each, surplus)) },
  );
  return { parts: partsOf(open, named, Number.POSITIVE_INFINITY), pairs: pairs + deficits.length - open.length };
}

interface ByTime {
  deficits: Deficit[];
  surpluses: Surplus[];
  pairs: number;
  undecided: number;
}

/** Pairs equal units at a location, nearest in order; what is left is widened to all that could be left instead. */
function pairByTime(
  effects: readonly Effect[],
  movements: readonly Movement[],
  toleranceMs: number,
  isDecided: (atMs: number) => boolean,
  looks: Looks,
): ByTime {
  const keyOf = ({ location, units }: Cell): string => `${units} ${location}`;
  const result: ByTime = { deficits: [], surpluses: [], pairs: 0, undecided: 0 };
  const [effectsOf, movementsOf] = [grouped(effects, keyOf), grouped(movements, keyOf)];
  for (const key of new Set([...effectsOf.keys(), ...movementsOf.keys()])) {
    const matching = new Matching(effectsOf.get(key) ?? [], movementsOf.get(key) ?? [], toleranceMs, looks);
    result.pairs += matching.pairs;
    for (const effect of matching.openEffects) {
      const all = matching.couldBeOpenInsteadOf(effect);
      const { location, units } = effect;
      if (all?.every(({ atMs }) => isDecided(atMs))) result.deficits.push({ location, units, effects: all });
      else result.undecided++;
    }
    for (const movement of matching.openMovements) {
      const found = matching.couldBeSurplusInsteadOf(movement);
      const { location, units } = movement;
      if (found?.all.every(({ atMs }) => isDecided(atMs)))
        result.surpluses.push({ location, units, movements: found.all, effects: found.near });
      else result.undecided++;
    }
  }
  return result;
}

function grouped<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  return groups;
}

/** Joins what one fault explains: a movement between locations that is missing as a whole, units at another place. */
function partsOf(deficits: readonly Deficit[], surpluses: readonly Surplus[], toleranceMs: number): Part[] {
  const parts: Part[] = [];
  const earliest = <T extends Deficit | Surplus>(all: readonly T[], atMs: (each: T) => number): [T[], T[]] => {
    const sorted = [...all].sort((a, b) => atMs(a) - atMs(b));
    return [sorted.slice(0, MAX_JOINED), sorted.slice(MAX_JOINED)];
  };
  const [joinedDeficits, laterDeficits] = earliest(deficits, ({ effects: [first] }) => first?.atMs ?? 0);
  const [joinedSurpluses, laterSurpluses] = earliest(surpluses, ({ movements: [first] }) => first?.atMs ?? 0);
  const [openDeficits, openSurpluses] = [new Set(joinedDeficits), new Set(joinedSurpluses)];
  const isNear = (a: { atMs: number }, b: { atMs: number }): boolean => Math.abs(a.atMs - b.atMs) <= toleranceMs;
  for (const deficit of openDeficits) {
    openDeficits.delete(deficit);
    const found =
      otherLeg(deficit, openDeficits, missing) ??
      elsewhere(deficit, openSurpluses, isNear) ??
      otherUnits(deficit, openSurpluses, isNear);
    parts.push(found ?? ofDeficit(deficit));
  }
  for (const surplus of openSurpluses) {
    openSurpluses.delete(surplus);
    const found = otherLeg(surplus, openSurpluses, doubled);
    parts.push(found ?? ofSurplus(surplus));
  }
  return [...parts, ...laterDeficits.map(ofDeficit), ...laterSurpluses.map(ofSurplus)];
}

const ofDeficit = ({ effects }: Deficit): Part => partOf(...effects.map(missing));

const ofSurplus = ({ effects, movements }: Surplus): Part =>
  effects.length > 0
    ? partOf(...effects.map((effect) => doubled(effect, movements[0])))
    : partOf(...movements.map(unknown));

/** An event between two locations, both halves of which have the same fault. */
function otherLeg<T extends Deficit | Surplus>(
  one: T,
  open: Set<T>,
  faultOf: (effect: Effect) => Fault,
): Part | undefined {
  for (const other of open) {
    if (other.location === one.location) continue;
    const events = new Set(other.effects.map(({ bookable }) => bookable));
    const both = one.effects.filter(({ bookable }) => events.has(bookable));
    if (both.length === 0) continue;
    open.delete(other);
    const wholeOf = (effect: Effect): Fault => {
      const fault = faultOf(effect);
      const sign = fault.kind === "missing" ? -1 : 1;
      const off = [...effect.bookable.effects].map(([location, units]) => [location, sign * units]);
      return { ...fault, offUnits: Object.fromEntries(off) };
    };
    return partOf(...both.map(wholeOf));
  }
  return undefined;
}

type IsNear = (a: { atMs: number }, b: { atMs: number }) => boolean;

function elsewhere(deficit: Deficit, open: Set<Surplus>, isNear: IsNear): Part | undefined {
  for (const surplus of open) {
    if (surplus.location === deficit.location || surplus.units !== deficit.units) continue;
    const faults = deficit.effects.flatMap((effect) => {
      const movement = surplus.movements.find((each) => isNear(effect, each));
      return movement ? [misplaced(effect, movement)] : [];
    });
    if (faults.length === 0) continue;
    open.delete(surplus);
    return partOf(...faults);
  }
  return undefined;
}

function otherUnits(deficit: Deficit, open: Set<Surplus>, isNear: IsNear): Part | undefined {
  for (const surplus of open) {
    if (surplus.location !== deficit.location || Math.sign(surplus.units) !== Math.sign(deficit.units)) continue;
    const pairs = deficit.effects.flatMap((effect) => {
      const movement = surplus.movements.find((each) => isNear(effect, each));
      return movement ? [[effect, movement] as const] : [];
    });
    if (pairs.length === 0) continue;
    open.delete(surplus);
    const missingUnits = deficit.units - surplus.units;
    const rest = [...open].find(
      (other) =>
        other.location !== deficit.location &&
        other.units === missingUnits &&
        other.movements.some((each) => pairs.some(([effect]) => isNear(effect, each))),
    );
    if (rest) open.delete(rest);
    return partOf(...pairs.map(([effect, movement]) => unitsChanged(effect, movement, rest?.movements[0])));
  }
  return undefined;
}

const partOf = (...causes: Fault[]): Part => ({ atMs: Math.min(...causes.map(({ atMs }) => atMs)), causes });

const faultAt = ({ bookable: { event }, location, atMs }: Effect, movement?: Movement) => ({
  event,
  location,
  atMs,
  ...(movement && { movementId: movement.id }),
});

const missing = (effect: Effect): Fault => ({
  kind: "missing",
  ...faultAt(effect),
  offUnits: { [effect.location]: -effect.units },
});

const doubled = (effect: Effect, movement?: Movement): Fault => ({
  kind: "doubled",
  ...faultAt(effect, movement),
  offUnits: { [effect.location]: effect.units },
});

const misplaced = (effect: Effect, movement: Movement): Fault => ({
  kind: "misplaced",
  ...faultAt(effect, movement),
  bookedAt: movement.location,
  offUnits: { [effect.location]: -effect.units, [movement.location]: effect.units },
});

const unitsChanged = (effect: Effect, movement: Movement, elsewhere?: Movement): Fault => ({
  kind: "units_changed",
  ...faultAt(effect, movement),
  ...(elsewhere && { bookedAt: elsewhere.location }),
  offUnits: {
    [effect.location]: movement.units - effect.units,
    ...(elsewhere && { [elsewhere.location]: elsewhere.units }),
  },
});

const unknown = ({ id, location, units, atMs }: Movement): Fault => ({
  kind: "unknown_to_ledger",
  movementId: id,
  location,
  offUnits: { [location]: units },
  atMs,
});
