/**
 * Where a source and the ledger part, found from snapshots alone (R15). A fault of booking one event changes the
 * source's count from that event on, by known units; before it, nothing. Each possible fault is therefore tested
 * against every snapshot of the cells of a SKU: it is a cause only if with it all of them are explained, where events
 * within the window around a snapshot's instant may be booked already or not yet. What really happened passes every
 * test if the source is at most the window late; whatever else passes them, too, is named beside it, in one group.
 * If no single fault does, pairs are tried. Pure.
 */
import { PossibleSums } from "./booking-window.js";
import {
  type BookableEvent,
  type Cause,
  type CauseGroup,
  type Fault,
  type FaultKind,
  MAX_MEMBERS,
} from "./divergence-cause.js";

/** The SKU in one snapshot of the source. */
export interface Observation {
  readonly snapshotId: string;
  readonly asOfMs: number;
  /** The source's units minus the ledger's as of that instant, by location; locations that the source reports. */
  readonly gaps: ReadonlyMap<string, number>;
}

export interface GapSearchOptions {
  /** How late or early a source may book an event; as in comparisons. */
  readonly windowMs: number;
}

export interface GapSearch {
  /** Ids of snapshots: the last that needs no fault before the first that does. */
  readonly lastEqual: string | undefined;
  /** Undefined: every snapshot is explained without a fault. */
  readonly firstUnequal: string | undefined;
  readonly causes: readonly CauseGroup[];
  /** A fault before the oldest snapshot would explain it as well, so that its event may be an older one. */
  readonly mayBeOlder: boolean;
  /**
   * A gap of one direction in so many successive snapshots up to the newest, although each can be explained by events
   * around its instant: by other events each time, which a correct source makes seldom.
   */
  readonly persistent: boolean;
  /** More faults are possible than are tried: there may be further causes. */
  readonly isCut: boolean;
  /** The last snapshot with which the causes agree. Undefined: there are none. */
  readonly agreesUntil: string | undefined;
}

/** Faults that are tested at most: 200,000 × about 2 µs are 0.4 s. The older events come first. */
const MAX_TRIED = 200_000;
/**
 * Cells looked at, and events added up for them, at about 1 µs each: 2 ms in one step, and 10 s in one search. A SKU
 * with hundreds of changes around a snapshot needs hundreds for each fault that is tested there.
 */
const STEP_WORK = 2_000;
const MAX_WORK = 10_000_000;
/** Faults of which pairs are tested: 400 × 400 / 2 × 2 µs are 0.2 s, in steps. Beyond that no pairs are tried. */
const MAX_PAIRED = 400;
/** Other units than an event's that are tried for it. */
const MAX_OFFSETS = 64;
/** A gap that stays for so many snapshots is reported although each of them is explained. */
const PERSISTENT_SNAPSHOTS = 3;

/** What a source may have booked of an event at a location, step by step; the last value stays. */
interface TriedFault {
  readonly bookable: BookableEvent;
  readonly kind: FaultKind;
  /** The location, and of `misplaced` the other one. */
  readonly location: string;
  readonly bookedAt?: string;
  readonly steps: ReadonlyMap<string, readonly number[]>;
}

/** What one event normally contributes to the gap at a location around an instant. */
interface Contribution {
  readonly bookable: BookableEvent;
  readonly values: readonly number[];
}

/** A snapshot's cell: its gap, and the events around its instant. */
interface ObservedCell {
  readonly gap: number;
  readonly around: readonly Contribution[];
  readonly sums: PossibleSums;
}

interface ObservedSnapshot {
  readonly id: string;
  readonly asOfMs: number;
  readonly cells: ReadonlyMap<string, ObservedCell>;
}

/**
 * @param observations the oldest first
 * @param events of the SKU, in the order of the log; at least those from the window before the oldest observation to
 *   the window after the newest one
 */
export function searchGaps(
  observations: readonly Observation[],
  events: readonly BookableEvent[],
  options: GapSearchOptions,
): GapSearch {
  const steps = searchSteps(observations, events, options);
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

/** The same in steps of some milliseconds at most: a process that serves gives way to other requests between them. */
export const searchSteps = (
  observations: readonly Observation[],
  events: readonly BookableEvent[],
  options: GapSearchOptions,
): Generator<void, GapSearch> => new Search(observations, events, options).run();

class Search {
  readonly #snapshots: readonly ObservedSnapshot[];
  readonly #events: readonly BookableEvent[];
  readonly #windowMs: number;
  #work = 0;
  #stepEnds = STEP_WORK;

  constructor(observations: readonly Observation[], events: readonly BookableEvent[], options: GapSearchOptions) {
    this.#events = events;
    this.#windowMs = options.windowMs;
    this.#snapshots = observations.map(({ snapshotId, asOfMs, gaps }) => {
      const around = events.filter(({ event }) => Math.abs(event.clockMs - asOfMs) <= this.#windowMs);
      const cells = [...gaps].map(
        ([location, gap]) => [location, observedCell(location, gap, around, asOfMs)] as const,
      );
      return { id: snapshotId, asOfMs, cells: new Map(cells) };
    });
  }

  *run(): Generator<void, GapSearch> {
    const first = this.#snapshots.findIndex((snapshot) => !this.#agrees([], snapshot));
    if (first >= 0) return yield* this.#searchFrom(first);
    const persistent = this.#persistentFrom();
    const none = { lastEqual: this.#snapshots.at(-1)?.id, firstUnequal: undefined, agreesUntil: undefined };
    if (persistent === undefined) return { ...none, causes: [], mayBeOlder: false, persistent: false, isCut: false };
    return { ...(yield* this.#searchFrom(persistent)), persistent: true };
  }

  /** Of a snapshot with a gap: the faults that explain it and the snapshots around it. */
  *#searchFrom(first: number): Generator<void, GapSearch> {
    const until = this.#snapshots.slice(0, first + 1);
    const found = {
      lastEqual: this.#snapshots[first - 1]?.id,
      firstUnequal: this.#snapshots[first]?.id,
      persistent: false,
    };
    const [agreeing, whole]: [TriedFault[][], TriedFault[]] = [[], []];
    let tried = 0;
    for (const fault of this.#faultsUntil((this.#snapshots[first] as ObservedSnapshot).asOfMs + this.#windowMs)) {
      if (++tried > MAX_TRIED || this.#isExhausted) break;
      if (fault.kind !== "units_changed" && whole.length <= MAX_PAIRED) whole.push(fault);
      if (until.every((snapshot) => this.#agrees([fault], snapshot))) agreeing.push([fault]);
      if (this.#isStepOver()) yield;
    }
    let [faults, last] = yield* this.#extend(agreeing, first);
    if (faults.length === 0) [faults, last] = yield* this.#extend(yield* this.#pairs(whole, until), first);
    const causes = faults.length === 0 ? [] : [this.#groupOf(faults)];
    return {
      ...found,
      causes,
      mayBeOlder: this.#mayBeOlder(first),
      isCut: tried > MAX_TRIED || this.#isExhausted,
      agreesUntil: causes.length > 0 ? this.#snapshots[last]?.id : undefined,
    };
  }

  /** Keeps what agrees with later snapshots too, as long as anything does: later faults are other differences. */
  *#extend(faults: TriedFault[][], first: number): Generator<void, [TriedFault[][], number]> {
    let [kept, last] = [faults, first];
    for (let at = first + 1; at < this.#snapshots.length && kept.length > 0; at++) {
      const agreeing: TriedFault[][] = [];
      for (const each of kept) {
        if (this.#isExhausted) return [kept, last];
        if (this.#agrees(each, this.#snapshots[at] as ObservedSnapshot)) agreeing.push(each);
        if (this.#isStepOver()) yield;
      }
      if (agreeing.length === 0) break;
      [kept, last] = [agreeing, at];
    }
    return [kept, last];
  }

  get #isExhausted(): boolean {
    return this.#work > MAX_WORK;
  }

  #isStepOver(): boolean {
    if (this.#work < this.#stepEnds) return false;
    this.#stepEnds = this.#work + STEP_WORK;
    return true;
  }

  /** Whether a snapshot is explained when these faults happened. */
  #agrees(faults: readonly TriedFault[], { asOfMs, cells }: ObservedSnapshot): boolean {
    for (const [location, cell] of cells) {
      this.#work++;
      let gap = cell.gap;
      let excluded: TriedFault[] | undefined;
      for (const fault of faults) {
        const steps = fault.steps.get(location);
        if (!steps) continue;
        const { clockMs } = fault.bookable.event;
        if (Math.abs(clockMs - asOfMs) <= this.#windowMs) excluded = [...(excluded ?? []), fault];
        else if (clockMs < asOfMs) gap -= (steps.at(-1) as number) - (fault.bookable.effects.get(location) ?? 0);
      }
      const sums = excluded ? this.#sumsWith(location, cell, excluded, asOfMs) : cell.sums;
      if (!sums.has(gap)) return false;
    }
    return true;
  }

  /** The sums when some events around the instant are booked wrongly. */
  #sumsWith(location: string, cell: ObservedCell, faults: readonly TriedFault[], asOfMs: number): PossibleSums {
    this.#work += cell.around.length;
    const sums = new PossibleSums();
    for (const { bookable, values } of cell.around)
      if (faults.every((fault) => fault.bookable !== bookable)) sums.add(values);
    for (const { bookable, steps } of faults) {
      // In the ledger's balances or not; the source is at one of the steps.
      const held = bookable.event.clockMs <= asOfMs ? (bookable.effects.get(location) ?? 0) : 0;
      sums.add((steps.get(location) as readonly number[]).map((units) => units - held));
    }
    return sums;
  }

  /** Every fault of one event up to an instant that would show in the observed cells. */
  *#faultsUntil(untilMs: number): Generator<TriedFault> {
    const locations = [...new Set(this.#snapshots.flatMap(({ cells }) => [...cells.keys()]))];
    const offsets = new Map(locations.map((location) => [location, this.#offsetsAt(location)]));
    for (const bookable of this.#events) {
      if (bookable.event.clockMs > untilMs) return;
      yield* faultsOf(bookable, locations, offsets);
    }
  }

  /** By how many units a location may be off, from the snapshots that differ there. */
  #offsetsAt(location: string): readonly number[] {
    const offsets = new Set<number>();
    for (const { cells } of this.#snapshots) {
      const cell = cells.get(location);
      if (!cell || cell.gap === 0) continue;
      for (const sum of cell.sums.list(MAX_OFFSETS)) if (sum !== cell.gap) offsets.add(cell.gap - sum);
    }
    return [...offsets].sort((a, b) => Math.abs(a) - Math.abs(b)).slice(0, MAX_OFFSETS);
  }

  *#pairs(whole: readonly TriedFault[], until: readonly ObservedSnapshot[]): Generator<void, TriedFault[][]> {
    const pairs: TriedFault[][] = [];
    if (whole.length > MAX_PAIRED) return pairs;
    for (const [i, one] of whole.entries()) {
      for (const other of whole.slice(i + 1)) {
        if (this.#isExhausted) return pairs;
        if (one.bookable === other.bookable) continue;
        if (until.every((snapshot) => this.#agrees([one, other], snapshot))) pairs.push([one, other]);
        if (this.#isStepOver()) yield;
      }
    }
    return pairs;
  }

  /** Whether one constant offset in each location explains all snapshots up to this one. */
  #mayBeOlder(first: number): boolean {
    const until = this.#snapshots.slice(0, first + 1);
    const locations = new Set(until.flatMap(({ cells }) => [...cells.keys()]));
    return [...locations].every((location) => {
      const cells = until.flatMap((snapshot) => snapshot.cells.get(location) ?? []);
      return [0, ...this.#offsetsAt(location)].some((offset) => cells.every(({ gap, sums }) => sums.has(gap - offset)));
    });
  }

  /** The first of the newest snapshots in which a location has a gap of one direction with other events each time. */
  #persistentFrom(): number | undefined {
    const newest = this.#snapshots.at(-1);
    for (const [location, { gap }] of newest?.cells ?? []) {
      if (gap === 0) continue;
      let from = this.#snapshots.length;
      while (from > 0 && this.#isSameDirection(from - 1, location, Math.sign(gap))) from--;
      if (this.#snapshots.length - from >= PERSISTENT_SNAPSHOTS) return from;
    }
    return undefined;
  }

  #isSameDirection(at: number, location: string, sign: number): boolean {
    const [snapshot, next] = [this.#snapshots[at] as ObservedSnapshot, this.#snapshots[at + 1]];
    const gap = snapshot.cells.get(location)?.gap ?? 0;
    return Math.sign(gap) === sign && (!next || next.asOfMs - snapshot.asOfMs > 2 * this.#windowMs);
  }

  #groupOf(all: readonly TriedFault[][]): CauseGroup {
    // Whole events first: a part of an event is lost less often.
    const isPart = (faults: TriedFault[]): number => (faults.some(({ kind }) => kind === "units_changed") ? 1 : 0);
    const members = [...all].sort((a, b) => isPart(a) - isPart(b)).slice(0, MAX_MEMBERS);
    return {
      faults: (all[0] as TriedFault[]).length,
      members: members.map((faults) => this.#causeOf(faults)),
      count: all.length,
    };
  }

  #causeOf(faults: readonly TriedFault[]): Cause {
    const isNear = ({ bookable }: TriedFault): boolean =>
      this.#snapshots.some(({ asOfMs }) => Math.abs(bookable.event.clockMs - asOfMs) <= this.#windowMs);
    return { faults: faults.map(faultOf), isNearSnapshot: faults.some(isNear) };
  }
}

function observedCell(location: string, gap: number, events: readonly BookableEvent[], asOfMs: number): ObservedCell {
  const around = events.flatMap((bookable): Contribution[] => {
    const effect = bookable.effects.get(location);
    if (effect === undefined) return [];
    return [{ bookable, values: bookable.event.clockMs <= asOfMs ? [-effect, 0] : [0, effect] }];
  });
  const sums = new PossibleSums();
  for (const { values } of around) sums.add(values);
  return { gap, around, sums };
}

function faultOf({ bookable, kind, location, bookedAt, steps }: TriedFault): Fault {
  const { event, effects } = bookable;
  const off = [...steps].map(([at, each]) => [at, (each.at(-1) as number) - (effects.get(at) ?? 0)] as const);
  return {
    kind,
    event,
    location,
    ...(bookedAt !== undefined && { bookedAt }),
    offUnits: Object.fromEntries(off),
    atMs: event.atMs,
  };
}

/** The faults that a source can make with one event, as far as they show at these locations. */
function faultsOf(
  bookable: BookableEvent,
  locations: readonly string[],
  offsets: ReadonlyMap<string, readonly number[]>,
): TriedFault[] {
  const legs = [...bookable.effects].filter(([location]) => locations.includes(location));
  const faults: TriedFault[] = [];
  const add = (kind: FaultKind, steps: readonly (readonly [string, readonly number[]])[], bookedAt?: string): void => {
    const [location] = steps[0] as readonly [string, readonly number[]];
    faults.push({ bookable, kind, location, ...(bookedAt !== undefined && { bookedAt }), steps: new Map(steps) });
  };
  if (legs.length === 0) return faults;
  add(
    "missing",
    legs.map(([location]) => [location, [0]]),
  );
  add(
    "doubled",
    legs.map(([location, units]) => [location, [0, units, 2 * units]]),
  );
  for (const [location, units] of legs) {
    if (legs.length > 1) {
      // One half of a movement between two locations.
      add("missing", [[location, [0]]]);
      add("doubled", [[location, [0, units, 2 * units]]]);
    }
    const others = locations.filter((other) => !bookable.effects.has(other));
    for (const other of others)
      add(
        "misplaced",
        [
          [location, [0]],
          [other, [0, units]],
        ],
        other,
      );
    for (const offset of offsets.get(location) ?? []) {
      if (Math.abs(offset) >= Math.abs(units)) continue;
      add("units_changed", [[location, [0, units + offset]]]);
      // Units that are too few here may be too many elsewhere.
      if (Math.sign(offset) === Math.sign(units)) continue;
      for (const other of others)
        add(
          "units_changed",
          [
            [location, [0, units + offset]],
            [other, [0, -offset]],
          ],
          other,
        );
    }
  }
  return faults;
}
