/**
 * A sandbox of Wangdian's open platform: it verifies signature and timestamp (5 minutes) of every request, gives stock
 * by page and span, changes until they are acknowledged, and outbound orders, throttles with a code of its own at
 * status 200, and on command fails, ends half-way or drifts. It has only the fields that the kind reads; codes and
 * texts of its refusals are made up, because they are not documented.
 *
 *   POST /openapi2/stock_query.php                    start_time, end_time (at most 30 days), page_no, page_size
 *   POST /openapi2/api_goods_stock_change_query.php   shop_no, limit
 *   POST /openapi2/api_goods_stock_change_ack.php     stock_sync_list
 *   POST /openapi2/stockout_order_query_trade.php     as stock_query, and status
 */
import { type Clock, DAY_MS, systemClock } from "../../engine/kernel/clock.js";
import { type SandboxAnswer, type SandboxRequest, SandboxServer } from "../sources/sandbox/server.js";
import { SandboxStock } from "../sources/sandbox/stock.js";
import { type LengthUnit, signatureOf } from "./signature.js";

export interface WangdianSandboxSettings {
  readonly port?: number;
  readonly sid?: string;
  readonly appKey?: string;
  readonly appSecret?: string;
  readonly perSecond?: number;
  /** Changes that one answer has at most, whatever is asked for. */
  readonly changeRows?: number;
  readonly lengths?: LengthUnit;
  /** Its own; the real one when left out. */
  readonly clock?: Clock;
}

export const WANGDIAN_SANDBOX = { sid: "sandbox", appKey: "sandbox-key", appSecret: "sandbox-secret" } as const;

const CLOCK_BOUND_MS = 5 * 60_000;
const SPAN_MS = 30 * DAY_MS;
const CHANGE_ROWS = 2_000;
const PAGE_ROWS = 100;
const CHINA_OFFSET_MS = 8 * 3_600_000;

/** A code and a text in Wangdian's form. */
const refusal = (code: number, message: string): SandboxAnswer => ({ body: JSON.stringify({ code, message }) });

const success = (fields: object): SandboxAnswer => ({ body: JSON.stringify({ code: 0, message: "", ...fields }) });

export class WangdianSandbox extends SandboxServer {
  readonly stock: SandboxStock;
  readonly #settings: Required<Omit<WangdianSandboxSettings, "port" | "perSecond">>;
  /** Of each cell, the version that was acknowledged. */
  readonly #acknowledged = new Map<string, number>();

  constructor(settings: WangdianSandboxSettings = {}) {
    super(settings);
    const { clock = systemClock } = settings;
    const defaults = { changeRows: CHANGE_ROWS, lengths: "characters" as const, ...WANGDIAN_SANDBOX };
    this.#settings = { ...defaults, ...settings, clock };
    this.stock = new SandboxStock(clock);
  }

  override get url(): string {
    return `${super.url}/openapi2`;
  }

  /** Changes that have been given and are not acknowledged. */
  get waiting(): number {
    return this.stock.cells.filter(({ sku, location, version }) => this.#isNew(sku, location, version)).length;
  }

  protected override throttled(): SandboxAnswer {
    return refusal(1_090, "接口调用频率超限");
  }

  protected override answer({ method, url, body }: SandboxRequest): SandboxAnswer {
    const given = Object.fromEntries(new URLSearchParams(body));
    const { sid, appKey, appSecret, lengths, clock } = this.#settings;
    if (method !== "POST") return { status: 405, body: "POST" };
    if (given["sid"] !== sid || given["appkey"] !== appKey) return refusal(1_001, "sid或appkey无效");
    if (Math.abs(Number(given["timestamp"]) * 1_000 - clock.now()) > CLOCK_BOUND_MS || !given["timestamp"])
      return refusal(1_002, "时间戳与服务器时间相差超过5分钟");
    if (given["sign"] !== signatureOf(given, appSecret, lengths)) return refusal(1_003, "签名错误");
    const [, action] = /^\/openapi2\/(\w+)\.php$/.exec(url.pathname) ?? [];
    if (action === "stock_query") return this.#paged("stocks", given, this.#stocks());
    if (action === "stockout_order_query_trade") return this.#paged("stockout_list", given, this.#outbound());
    if (action === "api_goods_stock_change_query") return this.#changes(given);
    if (action === "api_goods_stock_change_ack") return this.#acknowledge(given["stock_sync_list"] ?? "");
    return { status: 404, body: "nothing here" };
  }

  #stocks() {
    return this.stock.cells.map(({ sku, location, units, changedMs }) => ({
      atMs: changedMs,
      row: { spec_no: sku, warehouse_no: location, stock_num: units.toFixed(4), modified: textOf(changedMs) },
    }));
  }

  #outbound() {
    return this.stock.movements
      .filter(({ units }) => units < 0)
      .map(({ id, sku, location, units, atMs }, i) => ({
        atMs,
        row: {
          order_no: id,
          warehouse_no: location,
          consign_time: textOf(atMs),
          details_list: [{ rec_id: i + 1, spec_no: sku, goods_count: (-units).toFixed(4) }],
        },
      }));
  }

  #paged(list: string, given: Record<string, string>, all: readonly { atMs: number; row: object }[]): SandboxAnswer {
    const [fromMs, toMs] = [timeOf(given["start_time"]), timeOf(given["end_time"])];
    if (Number.isNaN(fromMs) || Number.isNaN(toMs)) return refusal(2_001, "参数start_time或end_time错误");
    if (toMs - fromMs >= SPAN_MS) return refusal(2_002, "参数时间跨度超过30天");
    const size = Number(given["page_size"] ?? 40);
    if (!(size >= 1 && size <= PAGE_ROWS)) return refusal(2_003, "参数page_size错误");
    // Both ends belong to the span; times have whole seconds.
    const rows = all.filter(({ atMs }) => Math.floor(atMs / 1_000) * 1_000 >= fromMs && atMs < toMs + 1_000);
    const page = Number(given["page_no"] ?? 0);
    const some = rows.slice(page * size, (page + 1) * size).map(({ row }) => row);
    return success({ ...(page === 0 ? { total_count: rows.length } : {}), [list]: some });
  }

  #changes(given: Record<string, string>): SandboxAnswer {
    const limit = Number(given["limit"]);
    if (!(limit >= 100 && limit <= CHANGE_ROWS) || !given["shop_no"]) return refusal(2_004, "参数limit或shop_no错误");
    const rows = this.stock.cells
      .filter(({ sku, location, version }) => this.#isNew(sku, location, version))
      .slice(0, Math.min(limit, this.#settings.changeRows))
      .map(({ sku, location, units, version }) => ({
        ...{ rec_id: `${sku}\u001f${location}`, shop_no: given["shop_no"], spec_no: sku },
        ...{ sync_stock: units, stock_change_count: version },
      }));
    return success({ current_count: rows.length, stock_change_list: rows });
  }

  #acknowledge(text: string): SandboxAnswer {
    const list = JSON.parse(text) as { rec_id: string; stock_change_count: number }[];
    for (const { rec_id, stock_change_count } of list) this.#acknowledged.set(rec_id, stock_change_count);
    return success({});
  }

  #isNew(sku: string, location: string, version: number): boolean {
    return (this.#acknowledged.get(`${sku}\u001f${location}`) ?? -1) < version;
  }
}

const textOf = (ms: number): string => new Date(ms + CHINA_OFFSET_MS).toISOString().slice(0, 19).replace("T", " ");

const timeOf = (text: string | undefined): number => Date.parse(`${(text ?? "").replace(" ", "T")}+08:00`);
