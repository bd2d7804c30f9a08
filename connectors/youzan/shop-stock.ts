/**
 * Reads a shop's whole stock so that its rows describe one instant, although Youzan gives stock of specifications for
 * one item at a time, which for 10,000 items takes half an hour. The list of all items, with their totals, takes
 * seconds: it is read again and again, and only items whose total is another one are asked for again, until that takes
 * no longer than the list. The instant is the middle of the last list; rows are off by the length of the list at most.
 * A shop whose items change faster than they can be read gives no snapshot, and the error states this.
 */
import type { RawRow } from "../source.js";
import type { Row, YouzanApi } from "./api.js";

/** Items on sale, and items that are not: together all items. */
const LISTS = ["youzan.items.onsale.get", "youzan.items.inventory.get"] as const;
const LIST_VERSION = "3.0.0";
const ITEM = { method: "youzan.item.get", version: "3.0.0" } as const;
/** A row takes some 400 bytes in memory: 120 MB. */
const MAX_ITEMS = 100_000;
const MAX_ROWS = 300_000;
/** What is kept of an item or a specification; Youzan gives texts and pictures, too. */
const KEPT_FIELDS = ["item_id", "sku_id", "item_no", "quantity", "title"] as const;
/** The first one asks for all items; half an hour later one in ten may have changed, then one in a hundred. */
const MAX_ROUNDS = 8;

export interface ShopStock {
  readonly rows: readonly RawRow[];
  /** By Youzan's clock. */
  readonly asOfMs: number;
}

interface Listed {
  readonly items: ReadonlyMap<string, Row>;
  readonly requests: number;
  readonly middleMs: number;
}

interface Known {
  readonly units: number;
  readonly rows: readonly RawRow[];
}

/** @throws EngineError `retryable` when the shop changes faster than it can be read */
export async function readShopStock(
  api: YouzanApi,
  { pageRows, specifications }: { readonly pageRows: number; readonly specifications: boolean },
  signal: AbortSignal,
): Promise<ShopStock> {
  const known = new Map<string, Known>();
  let rows = 0;
  for (let round = 1; round <= MAX_ROUNDS; round++) {
    const { items, requests, middleMs } = await listed(api, pageRows, signal);
    if (!specifications) return { rows: [...items.values()].map((item) => rowOf(item, item)), asOfMs: middleMs };
    const changed = [...items].filter(([id, item]) => known.get(id)?.units !== totalOf(api, item));
    for (const [id, item] of changed) {
      const now = await asked(api, item, signal);
      rows += now.rows.length - (known.get(id)?.rows.length ?? 0);
      if (rows > MAX_ROWS) throw api.failed(`its items have more than ${MAX_ROWS} specifications`);
      known.set(id, now);
    }
    if (changed.length <= requests)
      return { rows: [...items.keys()].flatMap((id) => known.get(id)?.rows ?? []), asOfMs: middleMs };
  }
  throw api.failed(`items change faster than they can be read; after ${MAX_ROUNDS} rounds there is no common instant`);
}

/** All items with their totals. */
async function listed(api: YouzanApi, pageRows: number, signal: AbortSignal): Promise<Listed> {
  const beginMs = api.now();
  const items = new Map<string, Row>();
  let requests = 0;
  let announced = 0;
  for (const method of LISTS) {
    let total = 0;
    for (let page = 1; page === 1 || (page - 1) * pageRows < total; page++) {
      // A new item comes last, so it moves none to a page that was read.
      const paging = { page_no: page, page_size: pageRows, order_by: "created_time:asc" };
      const answer = await api.call(method, LIST_VERSION, paging, signal);
      requests++;
      const count = api.count(answer["count"], `${method}: count`);
      if (page > 1 && count !== total) throw api.failed(`${method}: items were added or taken away while it was read`);
      if (count > MAX_ITEMS) throw api.failed(`${method}: there are more than ${MAX_ITEMS} items`);
      total = count;
      const rows = api.list(answer["items"] ?? [], `${method} page ${page}: items`);
      if (rows.length === 0 && total > 0) throw api.failed(`${method}: page ${page} is empty, and there are ${total}`);
      for (const item of rows) items.set(idOf(api, item, `${method} page ${page}`), keptOf(item));
    }
    announced += total;
  }
  // One item twice and another one not at all: a page came twice, or an item went from one list to the other.
  if (items.size !== announced) throw api.failed(`its lists have ${items.size} items, and ${announced} are announced`);
  return { items, requests, middleMs: Math.round((beginMs + api.now()) / 2) };
}

/** An item's specifications; one without any is itself what is sold. */
async function asked(api: YouzanApi, listing: Row, signal: AbortSignal): Promise<Known> {
  const answer = await api.call(ITEM.method, ITEM.version, { item_id: listing["item_id"] }, signal);
  const item = answer["item"];
  if (typeof item !== "object" || item === null) throw api.failed(`${ITEM.method}: the answer has no item`);
  const { skus } = item as Row;
  const specifications = api.list(skus ?? [], `${ITEM.method} ${String(listing["item_id"])}: skus`);
  const rows =
    specifications.length === 0
      ? [rowOf(item as Row, item as Row)]
      : specifications.map((sku) => rowOf(sku, item as Row));
  return { units: totalOf(api, item as Row), rows };
}

const totalOf = (api: YouzanApi, item: Row): number =>
  api.count(item["quantity"], `item ${String(item["item_id"])}: quantity`);

const keptOf = (row: Row): Row => Object.fromEntries(KEPT_FIELDS.map((name) => [name, row[name]]));

function idOf(api: YouzanApi, { item_id: id }: Row, place: string): string {
  if (typeof id !== "number" && typeof id !== "string") throw api.failed(`${place}: an item has no item_id`);
  return String(id);
}

/** @param sold the specification, or the item itself */
function rowOf(sold: Row, item: Row): RawRow {
  const { item_no: code, quantity, sku_id } = sold;
  const place = `item ${String(item["item_id"])}${sku_id === undefined ? "" : ` specification ${String(sku_id)}`}`;
  // An empty code is none.
  return { place, fields: { ...keptOf(sold), quantity, code: code === "" || code === null ? undefined : code } };
}
