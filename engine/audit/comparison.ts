/**
 * Compares one cell: whether ledger, job, log and lines agree, which of them differs, and with which event the
 * difference began. Pure; the audit reads. Direct causes come first (a dead letter, a missing entry, a line without
 * its record), then the moment of the log that the wrong balances still show, then the first event since the last
 * agreement. Without a known agreement that event is only a bound, and the message states it.
 */
import { type Balances, cellOf, emptyBalances, POOLS, type Pool, type StockEvent } from "../stock/model.js";
import type { ReadEntry } from "./log-window.js";

/** One balance in each source; a source that has no number for it is left out. */
export interface PoolNumbers {
  pool: Pool;
  ledger: number;
  /** The storefront job's state, and the log beyond it. */
  job: number;
  /** The log folded from its first entry. */
  log?: number;
  /** Of `reserved`: what the lines hold. */
  lines?: number;
}

export interface NamedEvent {
  partition: number;
  offset: number;
  index: number;
  type: string;
  id: string;
  units: number;
}

export interface Mismatch {
  kind: "balances" | "below_zero" | "lost_line" | "lost_entry" | "unreadable_entry";
  partition: number;
  sku?: string;
  location?: string;
  /** Pools that differ. */
  pools: PoolNumbers[];
  /** Which source differs from the others, if that is certain. */
  fault?: "ledger" | "job" | "log" | "lines";
  /** The first differing event, or of the log's own faults the entry. */
  first?: NamedEvent | { partition: number; offset: number };
  /** The whole mismatch as text. */
  words: string;
}

/** One cell at one moment. */
export interface CellReading {
  sku: string;
  location: string;
  /** Undefined: the ledger has no such cell. */
  ledger: Balances | undefined;
  /** Whether the SKU's list of locations names it. */
  listed: boolean;
  job: Balances | undefined;
  log: Balances | undefined;
  fromFirst: boolean;
  lines: number | undefined;
  belowZero: StockEvent | undefined;
}

// ---- comparing

const EMPTY = emptyBalances();

/** The pools in which not all agree. */
function poolsOf({ ledger, job, log, fromFirst, lines }: CellReading): PoolNumbers[] {
  return POOLS.flatMap((pool): PoolNumbers[] => {
    const numbers: PoolNumbers = { pool, ledger: (ledger ?? EMPTY)[pool], job: (job ?? EMPTY)[pool] };
    if (fromFirst) numbers.log = (log ?? EMPTY)[pool];
    if (pool === "reserved" && lines !== undefined) numbers.lines = lines;
    const all = [numbers.job, numbers.log ?? numbers.job, numbers.lines ?? numbers.job];
    return all.every((units) => units === numbers.ledger) ? [] : [numbers];
  });
}

const isMissing = ({ ledger, listed, job, log }: CellReading): boolean =>
  ledger === undefined && (listed || job !== undefined || log !== undefined);
const isUnlisted = ({ ledger, listed }: CellReading): boolean => ledger !== undefined && !listed;

const isNegative = ({ job, belowZero }: CellReading): boolean =>
  belowZero !== undefined || (job !== undefined && POOLS.some((pool) => job[pool] < 0));

/** Whether anything is wrong with a cell. */
export const differs = (at: CellReading): boolean =>
  isNegative(at) || isMissing(at) || isUnlisted(at) || poolsOf(at).length > 0;

/** The same as long as the difference is; balances that move on alike do not change it. */
export const signatureOf = (at: CellReading): string =>
  JSON.stringify([
    poolsOf(at).map(({ pool, ledger, job, log, lines }) => [
      pool,
      ledger - job,
      ledger - (log ?? 0),
      ledger - (lines ?? 0),
    ]),
    isMissing(at),
    isUnlisted(at),
    isNegative(at),
  ]);

function faultOf(pools: readonly PoolNumbers[], at: CellReading): Mismatch["fault"] {
  if (pools.length === 0) return isMissing(at) || isUnlisted(at) ? "ledger" : "log";
  const all = (same: (numbers: PoolNumbers) => boolean): boolean => pools.every(same);
  if (all(({ ledger, job, log }) => ledger === job && (log === undefined || log === job))) return "lines";
  if (!at.fromFirst) return undefined;
  if (all(({ job, log }) => job === log)) return "ledger";
  if (all(({ ledger, log }) => ledger === log)) return "job";
  if (all(({ ledger, job }) => ledger === job)) return "log";
  return undefined;
}

/** The cells whose balances an event moves. */
export function cellsTouched({ sku, location, toLocation, from, to }: StockEvent): string[] {
  const cells = from === "outside" ? [] : [cellOf(sku, location)];
  if (to !== "outside") {
    const cell = cellOf(sku, toLocation ?? location);
    if (cell !== cells[0]) cells.push(cell);
  }
  return cells;
}

// ---- words

export interface DeadLetter {
  event: StockEvent;
  reason: string;
}

export interface Past {
  /** Where the cell was last seen to agree; 0: never. */
  agreed: number;
  /** What has touched it since, the newest of them if there are too many. */
  events: StockEvent[];
  isCut: boolean;
}

export interface AuditRecords {
  past: Past | undefined;
  deadLetters: readonly DeadLetter[];
  /** Entries that are missing or cannot be read. */
  broken: readonly ReadEntry[];
  /** Ids of lines that hold units and have no record. */
  lostLines: readonly string[];
  /** The oldest entry that was read. */
  kept: number;
  head: number;
}

const nameOf = (partition: number, { offset, index, type, id, units }: StockEvent): NamedEvent => ({
  partition,
  offset,
  index,
  type,
  id,
  units,
});

const describeEvent = ({ offset, index, type, units, from, to, id }: StockEvent): string =>
  `entry ${offset} number ${index}, ${type}, ${units} units from ${from} to ${to}, id ${id}`;

/** Describes a differing cell, and with which event it began. */
export function mismatchOf(partition: number, cell: string, at: CellReading, records: AuditRecords): Mismatch {
  const pools = poolsOf(at);
  const fault = faultOf(pools, at);
  const origin = originOf(cell, at, fault, records);
  const facts = pools.map(
    ({ pool, ledger, job, log, lines }) =>
      `${pool} is ${figure(ledger)} in the ledger, ${figure(job)} in the storefront job${log === undefined ? "" : `, ${figure(log)} in the log`}${lines === undefined ? "" : `, ${figure(lines)} in its lines`}`,
  );
  if (isMissing(at)) facts.push("the ledger has no such cell");
  if (isUnlisted(at)) facts.push("the SKU's list of locations leaves it out");
  if (at.belowZero) facts.push(`the log takes it below zero with ${describeEvent(at.belowZero)}`);
  else if (isNegative(at)) facts.push("it is below zero in the storefront job");
  const { event, entry } = origin;
  const first = event ? nameOf(partition, event) : entry && { partition, offset: entry.offset };
  return {
    kind: pools.length === 0 && isNegative(at) ? "below_zero" : "balances",
    partition,
    sku: at.sku,
    location: at.location,
    pools,
    ...(fault && { fault }),
    ...(first && { first }),
    words: `${at.sku} at ${at.location} (partition ${partition}): ${facts.join("; ")}. ${origin.words}`,
  };
}

/** Describes a line that holds units and has no record. `reserved`: its reservation, if the log still has it. */
export const lostLineMismatch = (partition: number, id: string, reserved: StockEvent | undefined): Mismatch => ({
  kind: "lost_line",
  partition,
  ...(reserved && { sku: reserved.sku, location: reserved.location }),
  pools: [],
  fault: "lines",
  ...(reserved && { first: nameOf(partition, reserved) }),
  words: reserved
    ? `${reserved.sku} at ${reserved.location} (partition ${partition}): the record of line ${id}, which holds ${reserved.units} units, is missing. First differing event: ${describeEvent(reserved)}`
    : `partition ${partition}: the record of line ${id}, which holds units, is missing; the log no longer has its event`,
});

/** Describes entries of the log that are missing or cannot be read. */
export function brokenEntryMismatch(partition: number, { offset, lastOffset, state }: ReadEntry): Mismatch {
  const which = offset === lastOffset ? `entry ${offset}` : `entries ${offset} to ${lastOffset}`;
  return {
    kind: state === "lost" ? "lost_entry" : "unreadable_entry",
    partition,
    pools: [],
    fault: "log",
    first: { partition, offset },
    words: `partition ${partition}: ${which} of the log ${state === "lost" ? "missing" : "cannot be read"}`,
  };
}

const figure = (units: number): string => (Number.isNaN(units) ? "unreadable" : String(units));

interface Origin {
  words: string;
  event?: StockEvent;
  entry?: ReadEntry;
}

/** With which event a difference began, as far as the records show. */
function originOf(cell: string, at: CellReading, fault: Mismatch["fault"], records: AuditRecords): Origin {
  const { past, deadLetters, broken, lostLines, kept, head } = records;
  if (!past) return { words: "Its past was not searched: too many cells differ at once" };
  const deadLetter = deadLetters
    .filter(({ event }) => event.offset > past.agreed && cellsTouched(event).includes(cell))
    .sort((a, b) => a.event.offset - b.event.offset || a.event.index - b.event.index)[0];
  if (deadLetter && (fault === "job" || fault === undefined)) {
    const words = `First differing event: ${describeEvent(deadLetter.event)}, which the job could not process (dead letter): ${deadLetter.reason}`;
    return { words, event: deadLetter.event };
  }
  const blamed = broken.find(
    ({ state, lastOffset }) =>
      lastOffset > past.agreed &&
      (fault === undefined || (fault === "log" && state === "lost") || (fault === "ledger" && state === "unreadable")),
  );
  if (blamed) {
    const what = blamed.state === "lost" ? "is missing from the log" : "cannot be read";
    return { words: `First differing event: in entry ${blamed.offset}, which ${what}`, entry: blamed };
  }
  const lost = fault === "lines" && past.events.findLast(({ to, id }) => to === "reserved" && lostLines.includes(id));
  if (lost)
    return { words: `First differing event: ${describeEvent(lost)}; the record of that line is missing`, event: lost };
  if (fault === "log" && at.belowZero)
    return { words: `First differing event: ${describeEvent(at.belowZero)}`, event: at.belowZero };
  const since = past.agreed > 0 ? `since entry ${past.agreed}, where all agreed` : `in the log, from entry ${kept} on`;
  const [first] = past.events;
  if (!first) {
    return { words: `No event has changed it ${since}, up to entry ${head}: it was changed without an event` };
  }
  const left = leftAt(cell, at, fault, past.events);
  if (left) {
    return {
      words: `First differing event: ${describeEvent(left)}; the ${fault ?? "ledger"} still has the balances from before it`,
      event: left,
    };
  }
  const many = past.isCut ? " (only the newest were read)" : "";
  const words =
    past.agreed > 0
      ? `First differing event: ${describeEvent(first)}, the first to change it ${since}${many}`
      : `The balances fit no moment of the log${many}; first differing event, if an event is the cause, from here on: ${describeEvent(first)}`;
  return { words, event: first };
}

/**
 * The event before which the balances at fault were right, if there was such a time: everything from it on is missing
 * in them.
 */
function leftAt(
  cell: string,
  at: CellReading,
  fault: Mismatch["fault"],
  events: readonly StockEvent[],
): StockEvent | undefined {
  if (fault === "lines" || fault === "log") return undefined;
  const wrong = (fault === "job" ? at.job : at.ledger) ?? EMPTY;
  const right = { ...((fault === "job" ? at.ledger : at.job) ?? EMPTY) };
  for (const event of events.toReversed()) {
    const { sku, location, toLocation, from, to, units } = event;
    if (from !== "outside" && cellOf(sku, location) === cell) right[from] += units;
    if (to !== "outside" && cellOf(sku, toLocation ?? location) === cell) right[to] -= units;
    if (POOLS.every((pool) => right[pool] === wrong[pool])) return event;
  }
  return undefined;
}
