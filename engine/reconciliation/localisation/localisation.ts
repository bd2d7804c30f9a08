/**
 * Where a source and the ledger part, SKU by SKU (R15): the last snapshot in which they agree, the first in which they
 * do not, and the events whose faulty booking explains the difference. It goes back from the source's newest snapshot
 * as far as the ledger's log and the kept snapshots reach. Causes that explain equally well are named together; if the
 * difference may be older than what is kept, the answer says so. It reads only, and changes nothing.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { EngineError } from "../../kernel/errors.js";
import type { BalanceHistory } from "../../stock/as-of.js";
import type { Corrections, SettledCorrection } from "../../stock/corrections.js";
import type { AsOfRefusal } from "../../stock/log-instant.js";
import { type Balances, cellOf, emptyBalances, type StockEvent } from "../../stock/model.js";
import { findSkuEvents, type SkuEventsOptions } from "../../stock/sku-events.js";
import { partitionOf } from "../../stream/partition.js";
import { DEFAULT_WINDOW_MS } from "../comparison/comparer.js";
import { type Measure, measuredUnits, type Snapshot, type SnapshotReader, type SnapshotRecord } from "../model.js";
import { type BookableEvent, bookableEvents, type CauseGroup, isAmbiguous } from "./divergence-cause.js";
import { type Observation, searchSteps } from "./gap-search.js";
import type { Pairing } from "./movement-pairing.js";
import { type KeptMovements, MovementSearch, type PartedCells } from "./movement-search.js";

/** What is read of snapshots: snapshot-store.ts has them. */
export interface KeptSnapshots extends Pick<SnapshotReader, "rows"> {
  list(): Promise<readonly SnapshotRecord[]>;
}

export interface LocaliserOptions extends SkuEventsOptions {
  readonly snapshots: KeptSnapshots;
  readonly history: Pick<BalanceHistory, "asOf">;
  readonly corrections: Corrections;
  /** Left out: causes are found by snapshots alone. */
  readonly movements?: KeptMovements;
  /** How late or early a source may book an event; left out: as in comparisons. */
  readonly windowMs?: number;
  /** Of what customers are shown, for sources that count that (R5); left out: the default. */
  displayCoefficient?(sku: string): number | undefined;
}

/** A snapshot of the source, as an answer names it. */
export interface NamedSnapshot {
  readonly id: string;
  readonly asOfMs: number;
}

/** One location in the newest snapshot that was looked at. */
export interface LocatedCell {
  readonly location: string;
  readonly sourceUnits: number;
  /** In the source's measure, as of the snapshot's instant, with the corrections that settled it. */
  readonly ledgerUnits: number;
}

export interface Localisation {
  readonly outcome: "located";
  readonly sku: string;
  readonly source: string;
  readonly cells: readonly LocatedCell[];
  readonly newest: NamedSnapshot;
  /** `movements`: of the source's movements and the ledger's events, those without partner. */
  readonly basis: "snapshots" | "movements";
  readonly lastEqual: NamedSnapshot | undefined;
  /** Undefined: no snapshot differs by more than events around its instant explain. */
  readonly firstUnequal: NamedSnapshot | undefined;
  /** The best group first; empty when nothing that was tried explains the difference. */
  readonly causes: readonly CauseGroup[];
  /** By movements: further faults up to the first unequal snapshot, after that of `causes`, each as a group. */
  readonly further: readonly CauseGroup[];
  /** Several causes fit equally well, or an older event may be the cause, or more are possible than were tried. */
  readonly isAmbiguous: boolean;
  /** The difference may be older than the oldest snapshot that could be looked at. */
  readonly mayBeOlder: boolean;
  /** It stays over several snapshots, although events around the instant explain it in each. */
  readonly isPersistent: boolean;
  /** Causes are looked for up to this snapshot; what is later has a further cause. */
  readonly agreesUntil: NamedSnapshot | undefined;
}

export type LocalisationResult =
  | Localisation
  /** The source has no complete snapshot with this SKU. */
  | { readonly outcome: "not_reported" }
  | AsOfRefusal
  /** More events than can be looked at lie between the snapshots. */
  | { readonly outcome: "too_many_events"; readonly limit: number };

/** What the movements of a source show, without snapshots. */
export type MovementFaults =
  | (Extract<PartedCells, { outcome: "found" }> & {
      /**
       * Of the first SKUs of the cells: what has no partner. Left out: those with too many movements, and with only
       * what is under way at the span's ends.
       */
      readonly skus: readonly { readonly sku: string; readonly pairing: Pairing }[];
    })
  /** The source counts what customers are shown, which follows from no single movement. */
  | { readonly outcome: "display_measure" }
  | Exclude<PartedCells, { outcome: "found" }>
  | Exclude<LocalisationResult, Localisation>;

/** SKUs whose movements are paired with events in one call: each reads the span's part of the log once. */
const MAX_PAIRED_SKUS = 20;
/** Events of a SKU that are looked at: 20,000 × some 500 B are 10 MB, and the search tests each of them. */
const MAX_EVENTS = 20_000;
/** Snapshots without any difference that are read before the first one that differs: one may be equal by chance. */
const EQUAL_SNAPSHOTS = 2;

/** A snapshot and what it and the ledger have of the SKU. */
interface Looked {
  readonly snapshot: Snapshot;
  readonly cells: readonly LocatedCell[];
}

export class Localiser {
  readonly #options: LocaliserOptions & { readonly windowMs: number };
  readonly #movements: MovementSearch | undefined;

  constructor(options: LocaliserOptions) {
    const windowMs = options.windowMs ?? DEFAULT_WINDOW_MS;
    this.#options = { ...options, windowMs };
    const { movements } = options;
    this.#movements = movements && new MovementSearch({ ...options, movements, windowMs });
  }

  /** The sources that have a complete snapshot. */
  async sources(): Promise<string[]> {
    const records = await this.#options.snapshots.list();
    return [...new Set(records.flatMap(({ state, source }) => (state === "complete" ? [source] : [])))].sort();
  }

  /**
   * Where a source and the ledger part in a SKU.
   * @param signal ends it before the next page: it rejects with the signal's reason
   * @throws EngineError `undecodable` when an entry of the log cannot be read
   */
  async locate(sku: string, source: string, signal?: AbortSignal): Promise<LocalisationResult> {
    const { corrections, partitions, windowMs } = this.#options;
    const records = await this.#options.snapshots.list();
    const kept = records.flatMap((each) => (each.source === source && each.state === "complete" ? [each] : []));
    kept.sort((a, b) => b.asOfMs - a.asOfMs);
    const oldestMs = kept.at(-1)?.asOfMs;
    if (oldestMs === undefined) return { outcome: "not_reported" };
    const settled = await corrections.settledAfter(partitionOf(sku, partitions), oldestMs - windowMs);
    const looked = await this.#lookBack(sku, kept, settled, signal);
    if (!Array.isArray(looked)) return looked;
    const isSettled = new Set(settled.map(({ id }) => id));
    while (looked.length > 0) {
      const events = await this.#eventsBetween(sku, spanOf(looked), isSettled, signal);
      if (Array.isArray(events)) return this.#answer(sku, source, looked, events, signal);
      // The log reaches back to the oldest instant, but not to the window before it.
      if (events.outcome !== "outside_retention" || looked.length === 1) return events;
      looked.shift();
    }
    return { outcome: "not_reported" };
  }

  async #answer(
    sku: string,
    source: string,
    looked: readonly Looked[],
    events: readonly BookableEvent[],
    signal: AbortSignal | undefined,
  ): Promise<Localisation> {
    const observations = looked.map(
      ({ snapshot, cells }): Observation => ({
        snapshotId: snapshot.id,
        asOfMs: snapshot.asOfMs,
        gaps: new Map(cells.map(({ location, sourceUnits, ledgerUnits }) => [location, sourceUnits - ledgerUnits])),
      }),
    );
    const { windowMs } = this.#options;
    const sinceMs = (observations[0] as Observation).asOfMs - windowMs;
    const steps = searchSteps(
      observations,
      events.filter(({ event }) => event.clockMs >= sinceMs),
      { windowMs },
    );
    let step = steps.next();
    for (; !step.done; step = steps.next()) {
      signal?.throwIfAborted();
      await nextTurn();
    }
    const search = step.value;
    const first = observations.find(({ snapshotId }) => snapshotId === search.firstUnequal);
    const last = observations.find(({ snapshotId }) => snapshotId === search.lastEqual);
    const instants = { sinceMs, equalMs: last?.asOfMs ?? sinceMs, unequalMs: first?.asOfMs ?? sinceMs };
    const pairing = first && (await this.#pair(sku, source, instants, events, signal));
    const byMovements = pairing && { basis: "movements" as const, causes: pairing.parts.slice(0, 1) };
    const named = (id: string | undefined): NamedSnapshot | undefined => {
      const found = looked.find(({ snapshot }) => snapshot.id === id)?.snapshot;
      return found && { id: found.id, asOfMs: found.asOfMs };
    };
    const newest = looked.at(-1) as Looked;
    return {
      ...{ outcome: "located", sku, source },
      ...(byMovements ?? { basis: "snapshots", causes: search.causes }),
      further: pairing?.parts.slice(1) ?? [],
      cells: newest.cells,
      newest: named(newest.snapshot.id) as NamedSnapshot,
      lastEqual: named(search.lastEqual),
      firstUnequal: named(search.firstUnequal),
      isAmbiguous: byMovements
        ? isAmbiguous(byMovements.causes)
        : isAmbiguous(search.causes) || search.mayBeOlder || search.isCut,
      mayBeOlder: search.mayBeOlder && !byMovements,
      isPersistent: search.persistent,
      agreesUntil: named(search.agreesUntil),
    };
  }

  /**
   * What has no partner from the oldest snapshot to the first unequal one: an equal one may be equal by chance.
   * Undefined: nothing, or too many movements, or the source has not reported all movements since the last equal one.
   */
  async #pair(
    sku: string,
    source: string,
    { sinceMs, equalMs, unequalMs }: { sinceMs: number; equalMs: number; unequalMs: number },
    events: readonly BookableEvent[],
    signal: AbortSignal | undefined,
  ): Promise<Pairing | undefined> {
    const { toleranceMs = 0 } = this.#movements ?? {};
    // What is nearer than the tolerance to an end of the reported span is not decided in any case.
    const covered = await this.#movements?.covered(source, unequalMs - toleranceMs);
    if (!this.#movements || !covered || covered.fromMs > equalMs + toleranceMs) return undefined;
    // Partners of what is near the two ends are looked for beyond them.
    const marginMs = 2 * toleranceMs;
    const span = {
      fromMs: Math.max(covered.fromMs, sinceMs - marginMs),
      toMs: Math.min(covered.toMs, unequalMs + marginMs),
      skewMs: covered.skewMs,
    };
    const pairing = await this.#movements.pair(sku, source, events, span, signal);
    return pairing && pairing.count > 0 ? pairing : undefined;
  }

  /**
   * What a source's movements show of the whole shop, in the latest span that it has reported without a gap.
   * @throws as `locate`
   */
  async movementFaults(source: string, signal?: AbortSignal): Promise<MovementFaults> {
    const records = await this.#options.snapshots.list();
    const measure = records.find((each) => each.source === source && each.state === "complete")?.measure ?? "on_hand";
    if (measure === "display") return { outcome: "display_measure" };
    if (!this.#movements) return { outcome: "not_covered" };
    const parted = await this.#movements.partedCells(source, measure, signal);
    if (parted.outcome !== "found") return parted;
    const skus: { sku: string; pairing: Pairing }[] = [];
    for (const sku of [...new Set(parted.cells.map((cell) => cell.sku))].slice(0, MAX_PAIRED_SKUS)) {
      const { fromMs, toMs } = parted.span;
      const events = await this.#eventsBetween(sku, { fromMs, toMs, measure }, new Set(), signal);
      if (!Array.isArray(events)) return events;
      const pairing = await this.#movements.pair(sku, source, events, parted.span, signal);
      if (pairing && pairing.count > 0) skus.push({ sku, pairing });
    }
    return { ...parted, skus };
  }

  /** Snapshots that have the SKU, the oldest first, from the newest back to the last that is surely equal. */
  async #lookBack(
    sku: string,
    kept: readonly SnapshotRecord[],
    settled: readonly SettledCorrection[],
    signal: AbortSignal | undefined,
  ): Promise<Looked[] | Exclude<LocalisationResult, Localisation>> {
    const looked: Looked[] = [];
    let equal = 0;
    for (const record of kept) {
      const snapshot = snapshotOf(record);
      // One whose rows were removed meanwhile, or lost in a failover, is as one that was never there.
      const reported = await this.#cellsOf(sku, snapshot, signal).catch(noneIfGone);
      if (reported.size === 0) continue;
      const asOf = await this.#options.history.asOf([sku], snapshot.asOfMs, signal);
      if (asOf.outcome !== "found") {
        if (looked.length > 0) break;
        return asOf;
      }
      const held = asOf.skus.get(sku) ?? new Map<string, Balances>();
      const cells = [...reported].map(([location, sourceUnits]): LocatedCell => {
        const balances = held.get(location) ?? emptyBalances();
        const booked = measuredUnits(balances, snapshot.measure, this.#options.displayCoefficient?.(sku));
        // Before a correction was booked, a source may have reported with it or without it, as in a comparison.
        const correct = booked + settledAt(settled, sku, location, snapshot.asOfMs);
        return { location, sourceUnits, ledgerUnits: sourceUnits === booked ? booked : correct };
      });
      looked.unshift({ snapshot, cells });
      equal = cells.every(({ sourceUnits, ledgerUnits }) => sourceUnits === ledgerUnits) ? equal + 1 : 0;
      if (equal === EQUAL_SNAPSHOTS) break;
    }
    return looked.length > 0 ? looked : { outcome: "not_reported" };
  }

  /** Units of the SKU by location, as the source reports them. */
  async #cellsOf(sku: string, snapshot: Snapshot, signal: AbortSignal | undefined): Promise<Map<string, number>> {
    const { snapshots, partitions } = this.#options;
    const found = new Map<string, number>();
    const partition = partitionOf(sku, partitions);
    for await (const { skus, locations, units } of snapshots.rows(snapshot, partition, signal)) {
      for (let at = skus.indexOf(sku); at >= 0; at = skus.indexOf(sku, at + 1))
        found.set(locations[at] as string, units[at] as number);
      await nextTurn();
    }
    return found;
  }

  /** The events of the SKU in a span and around it. */
  async #eventsBetween(
    sku: string,
    span: { fromMs: number; toMs: number; measure: Measure },
    isSettled: ReadonlySet<string>,
    signal: AbortSignal | undefined,
  ): Promise<BookableEvent[] | Exclude<LocalisationResult, Localisation>> {
    const { windowMs, history, displayCoefficient } = this.#options;
    const marginMs = this.#movements ? 3 * this.#movements.toleranceMs : windowMs;
    const [fromMs, toMs] = [span.fromMs - marginMs - 1, span.toMs + marginMs];
    const found = await findSkuEvents(this.#options, sku, fromMs, toMs, signal);
    if (found.outcome !== "found") return found;
    const events: StockEvent[] = [];
    for await (const event of found.events) {
      if (events.length === MAX_EVENTS) return { outcome: "too_many_events", limit: MAX_EVENTS };
      events.push(event);
    }
    const before = await history.asOf([sku], fromMs, signal);
    if (before.outcome !== "found") return before;
    const locations = new Map([...(before.skus.get(sku) ?? [])].map(([each, held]) => [each, { ...held }] as const));
    const all = bookableEvents(locations, events, span.measure, displayCoefficient?.(sku));
    // A correction that settles a difference counts at its snapshot's instant; the source has nothing to book for it.
    return all.filter(({ event }) => !isSettled.has(event.id));
  }
}

const spanOf = (looked: readonly Looked[]) => ({
  fromMs: (looked[0] as Looked).snapshot.asOfMs,
  toMs: (looked.at(-1) as Looked).snapshot.asOfMs,
  measure: (looked[0] as Looked).snapshot.measure,
});

/** What settled a cell before a snapshot's instant and was booked after it. */
const settledAt = (all: readonly SettledCorrection[], sku: string, location: string, asOfMs: number): number =>
  all.reduce(
    (sum, each) =>
      each.cell === cellOf(sku, location) && each.asOfMs <= asOfMs && each.bookedMs > asOfMs ? sum + each.units : sum,
    0,
  );

function noneIfGone(thrown: unknown): Map<string, number> {
  if (thrown instanceof EngineError && thrown.code === "snapshot_gone") return new Map();
  throw thrown;
}

const snapshotOf = ({ source, id, measure, asOfMs, rows, endedMs = asOfMs }: SnapshotRecord): Snapshot => ({
  ...{ source, id, measure, asOfMs, rows },
  completedMs: endedMs,
});
