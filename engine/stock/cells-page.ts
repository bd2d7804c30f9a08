/**
 * Reads all cells of a partition page by page, each page together with the log's last offset at that moment. A scan
 * returns every cell that exists from its start to its end, and may return one twice; a cell that is made meanwhile may
 * be missing. It writes nothing and works also when Redis is full.
 */
import { readFileSync } from "node:fs";
import type { StockKeys } from "../stream/keys.js";
import type { RedisClient } from "../stream/redis.js";
import { CELL_SEPARATOR, POOLS } from "./model.js";

export interface CellsPage {
  /** The cursor of the next page; "0" after the last one. */
  next: string;
  /** The balances contain the log's events up to this entry and no others. */
  offset: number;
  /** SKU and location of each cell, one after the other. */
  names: readonly string[];
  /** Five balances of each cell, in the order of POOLS. */
  balances: Float64Array;
  /** Cells in all, and SKUs, each of which has a list of its locations. */
  fields: number;
}

const CELLS_PAGE = readFileSync(new URL("./cells-page.lua", import.meta.url), "utf8");
/** 512 cells take Redis about 1 ms; commands wait that long at most. */
const PAGE_CELLS = 512;
const CELL_BYTES = POOLS.length * 8;

interface Scripts {
  evalBuffer(script: string, keyCount: number, ...args: (string | number)[]): Promise<unknown[]>;
}

/** One page; the cursor "0" begins. */
export async function readCellsPage(redis: RedisClient, keys: StockKeys, cursor: string): Promise<CellsPage> {
  const scripts = redis as unknown as Scripts;
  const reply = await scripts.evalBuffer(CELLS_PAGE, 2, keys.cells, keys.head, cursor, PAGE_CELLS, CELL_BYTES);
  const [next, offset, names, bytes, fields] = reply as [Buffer, Buffer, Buffer, Buffer, number];
  const balances = new Float64Array(bytes.length / 8);
  // Copied: the reply's bytes do not begin at a multiple of 8.
  bytes.copy(new Uint8Array(balances.buffer));
  return {
    next: next.toString("latin1"),
    offset: Number(offset.toString("latin1")),
    names: names.length === 0 ? [] : names.toString("utf8").split(CELL_SEPARATOR),
    balances,
    fields,
  };
}
