/**
 * A sandbox of Youzan's open platform: it gives tokens that expire and verifies them, gives items by page, one item
 * with its specifications, and trades by the time of their last change; it throttles with an error at status 200, and
 * on command fails, ends half-way, repeats a page, ends its tokens, or drifts. It has only the fields that the kind
 * reads; codes and texts of its refusals are made up where they are not documented. Everything is in memory.
 *
 *   POST /auth/token                            authorize_type, client_id, client_secret, grant_id
 *   POST /api/youzan.items.onsale.get/3.0.0     page_no, page_size; all items but the newest
 *   POST /api/youzan.items.inventory.get/3.0.0  as before; the newest item
 *   POST /api/youzan.item.get/3.0.0             item_id
 *   POST /api/youzan.trades.sold.get/4.0.0      start_update, end_update, page_no, page_size
 *   POST /sandbox/…                             connectors/sources/sandbox/commands.ts
 */
import { type Clock, DAY_MS, systemClock } from "../../engine/kernel/clock.js";
import { orderedAnswer } from "../sources/sandbox/commands.js";
import { type SandboxAnswer, type SandboxRequest, SandboxServer } from "../sources/sandbox/server.js";
import { type SandboxMovement, SandboxStock } from "../sources/sandbox/stock.js";
import { chinaText, chinaTimeMs } from "./times.js";

export interface YouzanSandboxSettings {
  readonly port?: number;
  readonly perSecond?: number;
  /** How many specifications an item has; 1 when left out: none. */
  readonly specifications?: number;
  /** How long a token is valid; 7 days when left out. */
  readonly tokenMs?: number;
  /** Its own; the real one when left out. */
  readonly clock?: Clock;
  /** Trades that changed last come first. */
  readonly newestFirst?: boolean;
  /** Called before each answer, with the method. */
  readonly before?: (method: string) => void;
}

export const YOUZAN_SANDBOX = { clientId: "sandbox", clientSecret: "sandbox-secret", shop: "92732278" } as const;

interface Item {
  readonly item_id: number;
  readonly item_no: string;
  readonly quantity: number;
  readonly skus: readonly { readonly sku_id: number; readonly item_no: string; readonly quantity: number }[];
}

const TOKEN_MS = 7 * DAY_MS;
const SPAN_MS = 92 * DAY_MS;
const MAX_PAGES = 100;
const FIRST_ITEM = 1_001;

const json = (value: object): SandboxAnswer => ({
  headers: { "content-type": "application/json" },
  body: JSON.stringify(value),
});
const success = (data: object): SandboxAnswer => json({ success: true, code: 200, message: "successful", data });
const refused = (err_code: number, err_msg: string): SandboxAnswer =>
  json({ gw_err_resp: { err_code, err_msg, trace_id: "sandbox" } });

export class YouzanSandbox extends SandboxServer {
  readonly stock: SandboxStock;
  readonly #settings: YouzanSandboxSettings;
  readonly #clock: Clock;
  /** Of each code, in the order of its first coming. */
  readonly #places = new Map<string, number>();
  /** When trades last changed, if after their payment. */
  readonly #changes = new Map<string, number>();
  #tokens = new Map<string, number>();
  #issued = 0;
  #repeats = 0;

  constructor(settings: YouzanSandboxSettings = {}) {
    super(settings);
    const { clock = systemClock } = settings;
    this.#settings = settings;
    this.#clock = clock;
    this.stock = new SandboxStock(clock);
  }

  /** Tokens that it has given so far. */
  get issued(): number {
    return this.#issued;
  }

  /** As many later pages of items are given as if they were the first one. */
  repeatPages(times: number): void {
    this.#repeats = times;
  }

  /** All tokens that were given end now. */
  endTokens(): void {
    this.#tokens.clear();
  }

  /** The trade of a movement changes, as when it is shipped. */
  change(id: string): void {
    this.#changes.set(id, this.#clock.now());
  }

  protected override throttled(): SandboxAnswer {
    return refused(4_106, "触发限流，请稍后再试");
  }

  protected override answer(request: SandboxRequest): SandboxAnswer {
    const ordered = orderedAnswer(this.stock, request);
    if (ordered) return ordered;
    const { method: verb, url, body } = request;
    const given = objectOf(body);
    if (verb !== "POST" || given === undefined) return refused(4_001, "请求参数不是JSON");
    if (url.pathname === "/auth/token") return this.#token(given);
    const validUntilMs = this.#tokens.get(url.searchParams.get("access_token") ?? "");
    if (validUntilMs === undefined || validUntilMs <= this.#clock.now()) return refused(4_203, "token已失效");
    const [, method = ""] = /^\/api\/(youzan\.[a-z.]+)\/\d+\.\d+\.\d+$/.exec(url.pathname) ?? [];
    this.#settings.before?.(method);
    if (method === "youzan.items.onsale.get") return this.#items(given, this.#all().slice(0, -1));
    if (method === "youzan.items.inventory.get") return this.#items(given, this.#all().slice(-1));
    if (method === "youzan.item.get") return this.#item(given);
    if (method === "youzan.trades.sold.get") return this.#trades(given);
    return refused(4_004, "API不存在");
  }

  #token(given: Record<string, unknown>): SandboxAnswer {
    const { clientId, clientSecret, shop } = YOUZAN_SANDBOX;
    const isKnown = given["client_id"] === clientId && given["client_secret"] === clientSecret;
    if (!isKnown || given["authorize_type"] !== "silent" || String(given["grant_id"]) !== shop)
      return json({ success: false, code: 4_301, message: "client_id或client_secret无效", data: null });
    const access_token = `sandbox-token-${++this.#issued}`;
    const expires = this.#clock.now() + (this.#settings.tokenMs ?? TOKEN_MS);
    this.#tokens.set(access_token, expires);
    return success({ access_token, expires, scope: "item trade", authority_id: shop });
  }

  #all(): Item[] {
    const { specifications = 1 } = this.#settings;
    const items = new Map<number, Item>();
    for (const { sku, units } of this.stock.cells) {
      if (!this.#places.has(sku)) this.#places.set(sku, this.#places.size);
      const place = this.#places.get(sku) as number;
      const item_id = FIRST_ITEM + Math.floor(place / specifications);
      const { quantity = 0, skus = [], item_no = sku } = items.get(item_id) ?? {};
      const more = { sku_id: 50_001 + place, item_no: sku, quantity: units };
      items.set(item_id, { item_id, item_no, quantity: quantity + units, skus: [...skus, more] });
    }
    return [...items.values()].sort((a, b) => a.item_id - b.item_id);
  }

  #items(given: Record<string, unknown>, all: readonly Item[]): SandboxAnswer {
    const size = Number(given["page_size"] ?? 20);
    let page = Number(given["page_no"] ?? 1);
    if (!(size >= 1 && size <= 300 && page >= 1)) return refused(4_002, "参数page_no或page_size错误");
    if (page > 1 && this.#repeats > 0) {
      this.#repeats--;
      page = 1;
    }
    const items = all.slice((page - 1) * size, page * size).map(({ skus: _, ...listed }) => listed);
    return success({ count: all.length, items });
  }

  #item(given: Record<string, unknown>): SandboxAnswer {
    const found = this.#all().find(({ item_id }) => item_id === Number(given["item_id"]));
    if (found === undefined) return refused(4_005, "商品不存在");
    const { specifications = 1 } = this.#settings;
    return success({ item: { ...found, skus: specifications === 1 ? [] : found.skus } });
  }

  #trades(given: Record<string, unknown>): SandboxAnswer {
    const [fromMs, toMs] = [chinaTimeMs(given["start_update"]), chinaTimeMs(given["end_update"])];
    const [size, page] = [Number(given["page_size"] ?? 20), Number(given["page_no"] ?? 1)];
    if (!(toMs >= fromMs && toMs - fromMs <= SPAN_MS)) return refused(4_002, "参数start_update或end_update错误");
    if (!(size >= 1 && size <= 100 && page >= 1 && page <= MAX_PAGES)) return refused(4_002, "参数page_no错误");
    // Both ends belong to the span; times have whole seconds.
    const found = this.stock.movements
      .filter(({ units }) => units < 0)
      .map((movement) => ({ movement, changedMs: this.#changes.get(movement.id) ?? movement.atMs }))
      .filter(({ changedMs }) => changedMs >= fromMs && changedMs < toMs + 1_000)
      .sort((a, b) => (this.#settings.newestFirst ? b.changedMs - a.changedMs : a.changedMs - b.changedMs));
    const some = found.slice((page - 1) * size, page * size);
    const full_order_info_list = some.map(({ movement, changedMs }) => tradeOf(movement, changedMs));
    return success({ total_results: found.length, full_order_info_list });
  }
}

const tradeOf = ({ id, sku, units, atMs }: SandboxMovement, changedMs: number) => ({
  full_order_info: {
    order_info: { tid: `E-${id}`, pay_time: chinaText(atMs), update_time: chinaText(changedMs) },
    orders: [{ oid: id, outer_sku_id: sku, outer_item_id: "", num: -units }],
  },
});

function objectOf(body: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
