/**
 * Compares the newest fresh snapshot of each source with what the ledger held at that snapshot's instant, and the
 * sources with each other (R13), partition by partition, in the memory of one partition. It reads the ledger while the
 * shop goes on and stops nothing for it. The result is stored and returned; the comparer does not act on it. A source
 * that cannot be compared is left out with the reason, and the others are compared all the same.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { chainId } from "../../kernel/chain-id.js";
import { type Clock, HOUR_MS, MINUTE_MS, sleep, stopwatch } from "../../kernel/clock.js";
import { EngineError } from "../../kernel/errors.js";
import type { BalanceHistory } from "../../stock/as-of.js";
import type { ScannedCells, ScannedInstant } from "../../stock/as-of-scan.js";
import type { CellIndex } from "../../stock/cell-index.js";
import type { AsOfRefusal } from "../../stock/log-instant.js";
import { CELL_SEPARATOR, displayUnits, POOLS } from "../../stock/model.js";
import {
  type Comparison,
  type ComparisonCause,
  LEDGER,
  type Measure,
  type Snapshot,
  type SnapshotReader,
} from "../model.js";
import { PairSum, type PartyCells } from "./comparison.js";
import type { ComparedPair, ComparisonStore } from "./comparison-store.js";
import { NO_REACH, type Reach, reachOf, withOrWithout } from "./explained.js";
import { RowOrder } from "./row-order.js";
import { gapsIdOf, gapsOf, MAX_GAPS, type PartitionGaps, partyFrom, type SnapshotGaps } from "./snapshot-gaps.js";

/** An ERP that reports once a day may be two hours late. */
const DEFAULT_FRESH_MS = 26 * HOUR_MS;
/** R13: events so near to the instant may be on its other side in a source. */
export const DEFAULT_WINDOW_MS = 2_000;
/** Sources compared at once: 8 with the ledger and 28 pairs of them. Those with the newest instants are taken. */
const MAX_SOURCES = 8;
/** The ledger's clock may be behind this process's by so much. */
const CLOCK_MARGIN_MS = 100;
/** How often it looks whether the window is over, in real time; the shop's clock may be faster. */
const POLL_MS = 20;
/** Real time for which it waits at most; afterwards a clock stands still, and what is there is compared. */
const MAX_WAIT_MS = 10_000;
/** Cells of one pair that are compared in one turn of the event loop: 20,000 × 50 ns are 1 ms. */
const TURN_CELLS = 20_000;
/** Rows of snapshots that are taken in before another task gets its turn: four chunks, some 3 ms. */
const TURN_ROWS = 16_384;
/** From then on a snapshot is compared by what its first comparison found (snapshot-gaps.ts). */
const KNOWN_AFTER_MS = 10 * MINUTE_MS;
/** Comparisons that wait for the one under way. Each takes seconds; more than these are a mistake of the caller. */
const MAX_WAITING = 8;

export interface ComparerOptions {
  readonly snapshots: SnapshotReader;
  readonly history: Pick<BalanceHistory, "scan" | "refusalOf">;
  readonly store: Pick<ComparisonStore, "put" | "gaps" | "putGaps">;
  readonly partitions: number;
  /** The shop's clock. */
  readonly clock: Clock;
  /** Older snapshots are left out, in milliseconds of the shop's time; DEFAULT_FRESH_MS when left out. */
  readonly freshMs?: number;
  /** The same for one source; undefined: as above. */
  freshMsOf?(source: string): number | undefined;
  readonly windowMs?: number;
  /** Units that were settled against a snapshot, by cell (`cellOf`): they count as booked before its instant. */
  settledUnits?(snapshot: Snapshot, partition: number): Promise<ReadonlyMap<string, number>>;
  /** The coefficient of a SKU's display today (R5); past ones are not known. Undefined: the default. */
  displayCoefficient?(sku: string): number | undefined;
}

export class Comparer {
  readonly #options: ComparerOptions;
  readonly #freshMs: number;
  readonly #windowMs: number;
  /** Comparisons of this process run one after the other, for the memory's sake. */
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  constructor(options: ComparerOptions) {
    this.#options = options;
    this.#freshMs = options.freshMs ?? DEFAULT_FRESH_MS;
    this.#windowMs = options.windowMs ?? DEFAULT_WINDOW_MS;
  }

  /**
   * Makes a comparison and stores it. Events shortly after a snapshot's instant belong to it, so it waits until they
   * have happened: two seconds at most.
   * @param signal ends it at the next page: it rejects with the signal's reason, and nothing is stored
   * @throws EngineError `busy` when too many wait already, `log_trimmed` when what it reads was removed in the
   *   meantime, both to be tried again; `undecodable` when an entry of the log cannot be read
   */
  async compare(cause: ComparisonCause, signal?: AbortSignal): Promise<Comparison> {
    if (this.#waiting >= MAX_WAITING)
      throw new EngineError(`${MAX_WAITING} comparisons are waiting already`, {
        op: "comparison.make",
        code: "busy",
        retryable: true,
      });
    this.#waiting++;
    const turn = this.#last.then(() => this.#compare(cause, signal));
    this.#last = turn.catch(() => {});
    return turn.finally(() => {
      this.#waiting--;
    });
  }

  async #compare(cause: ComparisonCause, signal: AbortSignal | undefined): Promise<Comparison> {
    const { clock, store } = this.#options;
    signal?.throwIfAborted();
    const elapsedMs = stopwatch();
    const { snapshots, leftOut } = await this.#choose();
    await this.#untilWindowsAreOver(snapshots, signal);
    let chosen: ChosenSnapshot[] = [];
    for (const snapshot of snapshots) {
      const each = await this.#readKnown(snapshot);
      const refusal = each.known ? undefined : await this.#options.history.refusalOf(snapshot.asOfMs, this.#windowMs);
      if (refusal) leftOut[snapshot.source] = reasonOf(refusal);
      else chosen.push(each);
    }
    let sums: PairOfSources[];
    for (;;) {
      sums = pairsOf(chosen.map(({ snapshot }) => snapshot.source));
      const lost = await this.#compareAll(chosen, sums, signal);
      if (!lost) break;
      leftOut[lost.source] = `rows of its newest complete snapshot ${lost.id} are no longer stored`;
      chosen = chosen.filter(({ snapshot }) => snapshot.source !== lost.source);
    }
    const pairs: ComparedPair[] = sums.map(({ sum }) => sum.result());
    const atMs = clock.now();
    const comparison: Comparison = {
      id: chainId("CP", atMs),
      ...{ atMs, cause, leftOut },
      snapshots: chosen.map(({ snapshot }) => snapshot),
      pairs: pairs.map(({ pair }) => pair),
      durationMs: Math.round(elapsedMs()),
    };
    signal?.throwIfAborted();
    await store.put(comparison, pairs);
    for (const { snapshot, found, isFinal } of chosen)
      if (found && isFinal && found.reduce((sum, { gaps }) => sum + gaps.length, 0) <= MAX_GAPS)
        await store.putGaps(snapshot.source, { id: gapsIdOf(snapshot), partitions: found });
    return comparison;
  }

  /** Compares all partitions. Returns the snapshot of which rows are not there any more; undefined: all were. */
  async #compareAll(
    chosen: readonly ChosenSnapshot[],
    sums: readonly PairOfSources[],
    signal: AbortSignal | undefined,
  ): Promise<Snapshot | undefined> {
    // Nothing of an attempt before this one.
    for (const each of chosen) {
      each.found?.splice(0);
      each.isFinal = true;
    }
    try {
      if (chosen.length > 0)
        for (let partition = 0; partition < this.#options.partitions; partition++)
          await this.#comparePartition(partition, chosen, sums, signal);
      return undefined;
    } catch (thrown) {
      if (thrown instanceof RowsLost) return thrown.snapshot;
      throw thrown;
    }
  }

  /** Near its instant, a snapshot is compared from the log, with the events around the instant. */
  async #readKnown(snapshot: Snapshot): Promise<ChosenSnapshot> {
    const gaps = await this.#options.store.gaps(snapshot.source);
    if (gaps?.id !== gapsIdOf(snapshot)) return { snapshot, found: [], isFinal: true };
    const isOld = this.#options.clock.now() - snapshot.asOfMs > KNOWN_AFTER_MS;
    return { snapshot, isFinal: true, ...(isOld ? { known: gaps } : {}) };
  }

  /** The newest complete snapshots that are fresh, in the order of their sources' names. */
  async #choose(): Promise<{ snapshots: Snapshot[]; leftOut: Record<string, string> }> {
    const nowMs = this.#options.clock.now();
    const leftOut: Record<string, string> = {};
    const newest = [...(await this.#options.snapshots.newest()).values()].sort((a, b) => b.asOfMs - a.asOfMs);
    const fresh = newest.filter(({ source, asOfMs }) => {
      const at = new Date(asOfMs).toISOString();
      const freshMs = this.#options.freshMsOf?.(source) ?? this.#freshMs;
      if (nowMs - asOfMs > freshMs)
        leftOut[source] = `its newest complete snapshot is as of ${at}, more than ${hoursOf(freshMs)} hours ago`;
      else if (asOfMs - nowMs > this.#windowMs)
        leftOut[source] = `its newest complete snapshot is as of ${at}, which is in the future`;
      else return true;
      return false;
    });
    for (const { source } of fresh.splice(MAX_SOURCES))
      leftOut[source] = `${MAX_SOURCES} other sources have newer snapshots, and no more are compared at once`;
    return { snapshots: fresh.sort((a, b) => (a.source < b.source ? -1 : 1)), leftOut };
  }

  /** Until all events have happened that may explain a gap. */
  async #untilWindowsAreOver(snapshots: readonly Snapshot[], signal: AbortSignal | undefined): Promise<void> {
    const { clock } = this.#options;
    const overMs = Math.max(0, ...snapshots.map(({ asOfMs }) => asOfMs)) + this.#windowMs + CLOCK_MARGIN_MS;
    const waitedMs = stopwatch();
    while (clock.now() < overMs && waitedMs() < MAX_WAIT_MS) {
      await sleep(Math.min(POLL_MS, overMs - clock.now()), signal);
      signal?.throwIfAborted();
    }
  }

  async #comparePartition(
    partition: number,
    chosen: readonly ChosenSnapshot[],
    sums: readonly PairOfSources[],
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { history } = this.#options;
    const instants = [...new Set(chosen.filter(({ known }) => !known).map(({ snapshot }) => snapshot.asOfMs))];
    const scanned = await history.scan(partition, instants, this.#windowMs, signal);
    if (scanned.outcome !== "scanned")
      throw new EngineError(`partition ${partition}: ${reasonOf(scanned)}`, {
        op: "comparison.make",
        code: "log_trimmed",
        retryable: true,
      });
    const { cells, length } = scanned;
    const order = new RowOrder(cells);
    const reported: Float64Array[] = [];
    for (const { snapshot } of chosen)
      reported.push(await this.#rowsOf(snapshot, partition, order, signal).catch(lossOf(snapshot)));
    const parties: PartyCells[] = [];
    for (const [i, each] of chosen.entries()) {
      const { snapshot, known, found } = each;
      const units = padded(reported[i] as Float64Array, cells.length);
      const instant = scanned.instants[instants.indexOf(snapshot.asOfMs)] as ScannedInstant;
      if (!known && snapshot.measure === "display") leaveOut(units, cells, instant.displayChanged);
      const gaps = known?.partitions[partition];
      const party = gaps ? partyFrom(gaps, units, cells) : this.#partyAt(scanned, instant, snapshot.measure, units);
      if (found && !gaps) {
        found.push(gapsOf(scanned, party));
        each.isFinal &&= instant.position.isFinal;
      }
      const settled = (await this.#options.settledUnits?.(snapshot, partition)) ?? [];
      parties.push(settledParty(party, cells, length, settled));
    }
    for (const { sum, a, b } of sums) {
      sum.begin({ cells, ledgerCells: length });
      for (let from = 0; from < cells.length; from += TURN_CELLS) {
        const to = Math.min(from + TURN_CELLS, cells.length);
        sum.take(from, to, parties[a] as PartyCells, b === undefined ? undefined : parties[b]);
        await nextTurn();
        signal?.throwIfAborted();
      }
      sum.finish(b === undefined ? chosen[a]?.known?.partitions[partition]?.onlyInLedger : 0);
    }
  }

  #partyAt(scanned: ScannedCells, instant: ScannedInstant, measure: Measure, units: Float64Array): PartyCells {
    const { balances, windows } = instant;
    const reach = (cell: number): Reach => {
      const effects = windows.get(cell);
      if (!effects) return NO_REACH;
      const at = cell * POOLS.length;
      return reachOf(effects, measure, {
        sellable: balances[at] as number,
        reserved: balances[at + 1] as number,
        coefficient: measure === "display" ? this.#options.displayCoefficient?.(scanned.cells.sku(cell)) : undefined,
      });
    };
    return { units, ledger: this.#ledgerUnits(scanned, instant, measure), reach };
  }

  /** What a source reports, by cell; cells that the ledger does not have are added to the index. */
  async #rowsOf(
    snapshot: Snapshot,
    partition: number,
    order: RowOrder,
    signal: AbortSignal | undefined,
  ): Promise<Float64Array> {
    let units = new Float64Array(Math.max(1, order.cells.length)).fill(Number.NaN);
    let rows = 0;
    order.begin();
    for await (const chunk of this.#options.snapshots.rows(snapshot, partition, signal)) {
      const { skus, locations, units: reported } = chunk;
      for (let i = 0; i < skus.length; i++) {
        const cell = order.cellOf(skus[i] as string, locations[i] as string);
        if (cell >= units.length) units = padded(units, 2 * cell);
        units[cell] = reported[i] as number;
      }
      rows += skus.length;
      if (rows < TURN_ROWS) continue;
      rows = 0;
      await nextTurn();
    }
    return units;
  }

  #ledgerUnits({ cells, length }: ScannedCells, { balances }: ScannedInstant, measure: Measure): Float64Array {
    const units = new Float64Array(length);
    const coefficients: (number | undefined)[] = [];
    for (let cell = 0; cell < length; cell++) {
      const at = cell * POOLS.length;
      const [sellable, reserved] = [balances[at] as number, balances[at + 1] as number];
      if (measure === "sellable") units[cell] = sellable;
      else if (measure === "on_hand")
        units[cell] = sellable + reserved + (balances[at + 2] as number) + (balances[at + 3] as number);
      else {
        const sku = cells.skuOf[cell] as number;
        if (!(sku in coefficients)) coefficients[sku] = this.#options.displayCoefficient?.(cells.sku(cell));
        units[cell] = displayUnits(sellable, reserved, coefficients[sku]);
      }
    }
    return units;
  }
}

/** Rows of a snapshot were removed, or lost in a failover: the others are compared without it. */
class RowsLost extends Error {
  readonly snapshot: Snapshot;

  constructor(snapshot: Snapshot) {
    super(`rows of snapshot ${snapshot.id} of ${snapshot.source} are lost`);
    this.snapshot = snapshot;
  }
}

const lossOf =
  (snapshot: Snapshot) =>
  (thrown: unknown): never => {
    throw thrown instanceof EngineError && thrown.code === "snapshot_gone" ? new RowsLost(snapshot) : thrown;
  };

interface ChosenSnapshot {
  readonly snapshot: Snapshot;
  /** What a comparison before this one has found, where that is used. */
  readonly known?: SnapshotGaps;
  /** What this one finds, by partition, where that is not stored yet. */
  readonly found?: PartitionGaps[];
  /** The ledger's clock has passed the instant in every partition, so what is found stays true. */
  isFinal: boolean;
}

interface PairOfSources {
  sum: PairSum;
  /** Numbers of the sources; `b` undefined: the ledger. */
  a: number;
  b: number | undefined;
}

/** Every source with the ledger, then every two sources. */
function pairsOf(names: readonly string[]): PairOfSources[] {
  return [
    ...names.map((name, a) => ({ sum: new PairSum(name, LEDGER), a, b: undefined })),
    ...names.flatMap((name, a) =>
      names.slice(a + 1).map((other, i) => ({ sum: new PairSum(name, other), a, b: a + 1 + i })),
    ),
  ];
}

/**
 * The party with settled units in what the ledger held. It may have reported with them or without: they follow another
 * source's snapshot, and its own next one shows whether it contains them.
 */
function settledParty(
  party: PartyCells,
  cells: CellIndex,
  length: number,
  settled: Iterable<readonly [name: string, units: number]>,
): PartyCells {
  const added = new Map<number, number>();
  for (const [name, units] of settled) {
    const at = name.indexOf(CELL_SEPARATOR);
    const cell = cells.find(name.slice(0, at), name.slice(at + 1));
    if (cell < 0 || cell >= length) continue;
    party.ledger[cell] = (party.ledger[cell] as number) + units;
    added.set(cell, units);
  }
  const reach = (cell: number): Reach => {
    const units = added.get(cell);
    return units ? withOrWithout(party.reach(cell), units) : party.reach(cell);
  };
  return added.size === 0 ? party : { ...party, reach };
}

/** The same numbers with room for more cells: those that come after them are not reported. */
function padded(units: Float64Array, length: number): Float64Array<ArrayBuffer> {
  const copy = new Float64Array(length).fill(Number.NaN);
  copy.set(units.length > length ? units.subarray(0, length) : units);
  return copy;
}

/**
 * Of a SKU that was given other settings since the instant, the coefficient that its display had is not known: its
 * cells count as not reported, because the source would look wrong otherwise.
 */
function leaveOut(units: Float64Array, cells: CellIndex, skus: ReadonlySet<string>): void {
  if (skus.size === 0) return;
  for (let cell = 0; cell < cells.length; cell++) if (skus.has(cells.sku(cell))) units[cell] = Number.NaN;
}

const hoursOf = (ms: number): number => Math.round(ms / HOUR_MS);

const reasonOf = (refusal: AsOfRefusal): string =>
  refusal.outcome === "outside_retention"
    ? `the ledger's log does not go back to its instant: it begins at ${new Date(refusal.fromMs).toISOString()}`
    : `${refusal.entries} entries of the log have come since its instant; at most ${refusal.limit} are read`;
