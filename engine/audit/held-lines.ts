/**
 * What the unpaid lines of a partition hold, cell by cell: every reserved unit belongs to a line, and every line to a
 * record (R1, R2). Lines are listed once at the start, those that come later are taken from the log; so the sum over
 * a cell is exact at the very moment of a read, while orders go on. Lines taken from presale hold none of the goods
 * that are there and are left out.
 */
import { chainIdDay } from "../kernel/chain-id.js";
import { cellOf, type StockEvent } from "../stock/model.js";
import { storedRecordOf } from "../stock/records.js";
import type { StockKeys } from "../stream/keys.js";
import { readFields, readTogether } from "../stream/reads.js";
import type { RedisClient } from "../stream/redis.js";

/** 1,000 records of some 60 bytes: about 1 ms of Redis. */
const PAGE_LINES = 1_000;

type LineRead = [command: "hmgetBuffer", key: string, ids: string[]];

interface Line {
  cell: string;
  isHeld: boolean;
  units: number;
}

export class HeldLines {
  /** Lines without a record: they hold units that will never be released. */
  lost: string[] = [];
  /** Lines that were there at the start, by cell. */
  readonly #listed = new Map<string, Set<string>>();
  /** Units of those that came later, by cell and id. */
  readonly #later = new Map<string, Map<string, number>>();
  readonly #redis: RedisClient;
  readonly #keys: StockKeys;
  #lines = 0;

  constructor(redis: RedisClient, keys: StockKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  get count(): number {
    return this.#lines;
  }

  /**
   * Lists the lines that are held. Events of the log from before the call must not be passed to `fold`, all later ones
   * must.
   */
  async list(): Promise<void> {
    const suspects = new Set<string>();
    let cursor = "0";
    do {
      const [next, flat] = await this.#redis.zscan(this.#keys.holds, cursor, "COUNT", PAGE_LINES);
      cursor = next;
      const ids = flat.filter((_, i) => i % 2 === 0);
      const records = await this.#read(ids);
      for (const id of ids) {
        const line = records.get(id);
        if (!line) suspects.add(id);
        else if (line.isHeld) {
          const listed = this.#listed.get(line.cell) ?? new Set();
          this.#listed.set(line.cell, listed.add(id));
        }
      }
    } while (cursor !== "0");
    for (const listed of this.#listed.values()) this.#lines += listed.size;
    // A line may have been ended between the two reads; one that is still in the list at the same moment has lost its
    // record.
    for (const id of suspects) {
      const [score, record] = await readTogether(this.#redis, [
        ["zscore", this.#keys.holds, id],
        ["hgetBuffer", this.#keys.lines(chainIdDay(id)), id],
      ]);
      if (score !== null && record === null) this.lost.push(id);
    }
  }

  /** Takes the events that follow on the listing, in the order of the log. */
  fold(event: StockEvent): void {
    const cell = cellOf(event.sku, event.location);
    if (event.to === "reserved" && this.#listed.get(cell)?.has(event.id) !== true) {
      const later = this.#later.get(cell) ?? new Map();
      this.#later.set(cell, later.set(event.id, event.units));
    } else if (event.from === "reserved") this.#later.get(cell)?.delete(event.id);
  }

  /** How many records a read of these cells needs. */
  size(cells: Iterable<string>): number {
    let size = 0;
    for (const cell of cells) size += this.#listed.get(cell)?.size ?? 0;
    return size;
  }

  /**
   * The reads that `units` needs, one for each day of ids; ids are a list of their own, for one SKU may have more
   * than a call has room for.
   */
  commands(cells: Iterable<string>): LineRead[] {
    const days = new Map<number, string[]>();
    for (const cell of cells) for (const id of this.#listed.get(cell) ?? []) addTo(days, id);
    return [...days].map(([day, ids]) => ["hmgetBuffer", this.#keys.lines(day), ids]);
  }

  /**
   * Units that the lines of each cell hold, given what the commands have read and the log folded up to the same
   * moment.
   */
  units(commands: readonly LineRead[], replies: readonly unknown[]): Map<string, number> {
    const units = new Map<string, number>();
    commands.forEach(([, , ids], i) => {
      const records = replies[i] as (Buffer | null)[];
      ids.forEach((id, k) => {
        const line = lineOf(records[k]);
        // An id that was let go and came again for another cell is a later line there.
        if (line?.isHeld && this.#listed.get(line.cell)?.has(id))
          units.set(line.cell, (units.get(line.cell) ?? 0) + line.units);
      });
    });
    for (const [cell, later] of this.#later)
      for (const held of later.values()) units.set(cell, (units.get(cell) ?? 0) + held);
    return units;
  }

  async #read(ids: readonly string[]): Promise<Map<string, Line>> {
    const days = new Map<number, string[]>();
    for (const id of ids) addTo(days, id);
    const found = new Map<string, Line>();
    for (const [day, group] of days) {
      const records = await readFields(this.#redis, this.#keys.lines(day), group);
      group.forEach((id, i) => {
        const line = lineOf(records[i]);
        if (line) found.set(id, line);
      });
    }
    return found;
  }
}

function addTo(days: Map<number, string[]>, id: string): void {
  const day = chainIdDay(id);
  const ids = days.get(day) ?? [];
  ids.push(id);
  days.set(day, ids);
}

function lineOf(record: Buffer | null | undefined): Line | undefined {
  const stored = storedRecordOf(record);
  if (!stored) return undefined;
  const { cell, state, pool, units } = stored;
  return { cell, isHeld: state === "held" && pool !== "presale", units };
}
