/**
 * The kind `wangdian`: stock of Wangdian (旺店通, enterprise edition) over its open platform. `stock: "warehouse"`
 * asks for physical stock by warehouse, changed in a span of time; `stock: "shop"` for the sellable stock that a shop
 * of one's own is to show, which Wangdian gives until it is acknowledged. Both give changes, so the runner keeps the
 * cells and makes whole snapshots. Outbound orders are movements. What the public documents leave open is in README.md.
 */

import { type Static, Type } from "typebox";
import { DAY_MS } from "../../engine/kernel/clock.js";
import { badInput, EngineError } from "../../engine/kernel/errors.js";
import { secretText } from "../configuration/secret-text.js";
import {
  defineSourceKind,
  type PullRequest,
  type RawRow,
  type Refusal,
  type Source,
  type SourcePage,
  type SourceParts,
  type SourceRequest,
} from "../source.js";
import { signatureOf } from "./signature.js";

const Text = Type.String({ minLength: 1, maxLength: 100 });
const Connection = Type.Object(
  {
    url: Type.String({
      pattern: "^https?://[^\\s/?#]+[^\\s?#]*$",
      maxLength: 500,
      description: "an address such as https://api.wangdian.cn/openapi2",
    }),
    sid: Text,
    appKey: Text,
    appSecret: secretText("the interface account's secret"),
    stock: Type.Enum(["warehouse", "shop"]),
    /** Of `shop`: its number in Wangdian. */
    shop: Type.Optional(Text),
    /** Of `warehouse`: how far the first pull goes back, in days; cells that changed before are not seen. */
    firstDays: Type.Optional(Type.Integer({ minimum: 1, maximum: 3_650 })),
    /** Rows that are asked for at once. */
    pageRows: Type.Optional(Type.Integer({ minimum: 1, maximum: 2_000 })),
    lengths: Type.Optional(Type.Enum(["characters", "bytes"])),
  },
  { additionalProperties: false },
);
type Settings = Static<typeof Connection>;
type Row = Record<string, unknown>;

const OP = "source.wangdian";
/** Wangdian's own bounds. */
const SPAN_MS = 30 * DAY_MS;
const CHANGE_ROWS = { least: 100, default: 1_000 };
const PAGE_ROWS = { most: 100, default: 100 };
const FIRST_DAYS = 365;
/** 10 million rows of 100. */
const MAX_PAGES = 100_000;
/** Rows come into a span in its last second: a second reading, which begins later, finds no more of them. */
const MAX_PASSES = 4;
/** A cell that changes while pages are read may be passed over: the next pull looks back so far. */
const OVERLAP_MS = 60_000;
/** By which a clock may have been corrected. */
const AHEAD_MS = 600_000;
/** Words with which Wangdian refuses a request for coming too soon; its code is not documented. */
const TOO_MANY = /频率|频繁|超限|too many|rate limit/i;
const THROTTLED_MS = 60_000;
/** Words of a refusal that another attempt does not change. */
const FOR_GOOD = /签名|sign|appkey|sid|权限|授权|时间戳|timestamp|参数|未开通/i;

export const wangdianKind = defineSourceKind({
  name: "wangdian",
  about: "Wangdian (旺店通), enterprise edition",
  connection: Connection,
  pulls: ["snapshot", "movements"],
  gives: "changes",
  movementSpanMs: SPAN_MS,
  fields: {
    snapshot: { sku: "spec_no", location: "warehouse_no", units: "stock_num" },
    movements: { sku: "spec_no", location: "warehouse_no", units: "units", time: "consign_time", id: "id" },
  },
  timeFormat: "iso",
  // One a second and 60 a minute; the account's own limit may be lower.
  perSecond: 1,
  async open(settings, parts) {
    if (settings.stock === "shop" && settings.shop === undefined)
      throw badInput(OP, "/shop", 'is missing; "stock": "shop" needs the number of the shop');
    if (settings.stock === "warehouse" && settings.shop !== undefined)
      throw badInput(OP, "/shop", 'is allowed only with "stock": "shop"');
    return new WangdianSource(settings, parts);
  },
});

class WangdianSource implements Source {
  readonly #settings: Settings;
  readonly #parts: SourceParts;

  constructor(settings: Settings, parts: SourceParts) {
    this.#settings = settings;
    this.#parts = parts;
  }

  pull(request: PullRequest, signal: AbortSignal): AsyncIterable<SourcePage> {
    if (request.kind === "movements") return this.#outbound(request, signal);
    return this.#settings.stock === "shop" ? this.#shopStock(signal) : this.#warehouseStock(request.cursor, signal);
  }

  /** Sellable stock that the shop has not acknowledged yet: the same rows until it has. */
  async *#shopStock(signal: AbortSignal): AsyncGenerator<SourcePage> {
    const limit = Math.max(CHANGE_ROWS.least, this.#settings.pageRows ?? CHANGE_ROWS.default);
    const parameters = { shop_no: this.#settings.shop as string, limit: String(limit) };
    for (let page = 1; page <= MAX_PAGES; page++) {
      const answer = await this.#ask("api_goods_stock_change_query", parameters, signal);
      const changes = this.#listOf(answer, "stock_change_list", page);
      if (changes.length === 0) return;
      let isAcknowledged = false;
      // The fields of the other query, so that one mapping serves both; a shop's stock has no warehouse.
      const rows = changes.map((change) => ({ ...change, stock_num: change["sync_stock"] }));
      yield {
        rows: this.#rawRows(rows, page),
        acknowledge: async (acknowledging) => {
          await this.#acknowledge(changes, acknowledging);
          isAcknowledged = true;
        },
      };
      if (!isAcknowledged) return;
    }
    throw this.#failed(`gives more than ${MAX_PAGES} pages of changes`);
  }

  /** Only after the rows are stored: what is acknowledged is not given again. */
  async #acknowledge(changes: readonly Row[], signal: AbortSignal): Promise<void> {
    const list = changes.map(({ rec_id, sync_stock, stock_change_count }) => ({
      ...{ rec_id, sync_stock, stock_change_count },
    }));
    await this.#ask("api_goods_stock_change_ack", { stock_sync_list: JSON.stringify(list) }, signal);
  }

  /** Physical stock by warehouse, of the cells that changed since `cursor`, span by span. */
  async *#warehouseStock(cursor: string | undefined, signal: AbortSignal): AsyncGenerator<SourcePage> {
    const { clock, client } = this.#parts;
    const untilMs = wholeSecond(clock.now() + (client.skewMs() ?? 0));
    const firstMs = untilMs - (this.#settings.firstDays ?? FIRST_DAYS) * DAY_MS;
    // A cursor ahead of the time was stored while a clock was wrong.
    const isKnown = cursor !== undefined && Number(cursor) <= untilMs + AHEAD_MS;
    let fromMs = wholeSecond(isKnown ? Math.max(firstMs, Number(cursor) - OVERLAP_MS) : firstMs);
    while (fromMs <= untilMs) {
      const toMs = Math.min(untilMs, fromMs + SPAN_MS - 1_000);
      for await (const rows of this.#paged("stock_query", "stocks", { fromMs, toMs }, {}, signal))
        yield { rows: this.#rawRows(rows.rows, rows.page, `${this.#timeText(fromMs)} `) };
      // Only when all pages of the span have come.
      yield { rows: [], cursor: String(toMs) };
      fromMs = toMs + 1_000;
    }
  }

  /** Goods that have left: each line of an outbound order is a movement. */
  async *#outbound(span: { fromMs: number; toMs: number }, signal: AbortSignal): AsyncGenerator<SourcePage> {
    const fromMs = wholeSecond(span.fromMs);
    // Wangdian's end is inclusive, and its times have whole seconds.
    const toMs = Math.max(fromMs, wholeSecond(span.toMs - 1));
    const names = { status: "55" };
    const known = new Set<unknown>();
    for await (const { rows, page } of this.#paged(
      "stockout_order_query_trade",
      "stockout_list",
      { fromMs, toMs },
      names,
      signal,
    )) {
      const lines = rows.flatMap((order, i) => this.#linesOf(order, `page ${page} row ${i + 1}`));
      const within = lines
        .filter(({ timeMs }) => timeMs >= span.fromMs && timeMs < span.toMs)
        .filter(({ fields: { id } }) => !known.has(id) && known.add(id));
      yield { rows: within.map(({ fields, place }) => ({ fields, place })) };
    }
  }

  #linesOf(order: Row, place: string): { fields: Row; place: string; timeMs: number }[] {
    const details = order["details_list"];
    if (!Array.isArray(details)) throw this.#failed(`${place}: the outbound order has no details_list`);
    const timeMs = chinaTimeMs(order["consign_time"]);
    if (Number.isNaN(timeMs)) throw this.#failed(`${place}: consign_time is ${JSON.stringify(order["consign_time"])}`);
    return (details as Row[]).map((line, i) => ({
      place: `${this.#parts.name} ${place} line ${i + 1}`,
      timeMs,
      fields: {
        ...line,
        warehouse_no: order["warehouse_no"],
        consign_time: new Date(timeMs).toISOString(),
        id: `${String(order["order_no"])}-${String(line["rec_id"] ?? i + 1)}`,
        units: -Number(line["goods_count"]),
      },
    }));
  }

  /**
   * Pages from the last to the first: a row that leaves the span while it is read, because its cell changes again,
   * moves others to pages that are still to come, and so none is passed over; some come twice. Page 0 states how
   * many rows there are.
   */
  async *#paged(
    method: string,
    list: string,
    { fromMs, toMs }: { readonly fromMs: number; readonly toMs: number },
    more: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): AsyncGenerator<{ rows: readonly Row[]; page: number }> {
    const pageRows = Math.min(PAGE_ROWS.most, this.#settings.pageRows ?? PAGE_ROWS.default);
    const span = { start_time: this.#timeText(fromMs), end_time: this.#timeText(toMs) };
    const ask = async (page: number) => {
      const paging = { page_no: String(page), page_size: String(pageRows) };
      const answer = await this.#ask(method, { ...span, ...more, ...paging }, signal);
      return { rows: this.#listOf(answer, list, page), page, total: Number(answer["total_count"]) };
    };
    const first = await ask(0);
    // One page that is not full needs no number.
    let total = Number.isNaN(first.total) && first.rows.length < pageRows ? first.rows.length : first.total;
    if (Number.isNaN(total)) throw this.#failed(`${method}: page 0 has no total_count`);
    if (total > MAX_PAGES * pageRows) throw this.#failed(`${method}: there are more than ${MAX_PAGES} pages`);
    if (total <= pageRows) {
      if (first.rows.length > 0) yield first;
      return;
    }
    for (let pass = 1; pass <= MAX_PASSES; pass++) {
      let last = first;
      for (let page = Math.ceil(total / pageRows) - 1; page >= 0; page--) {
        last = await ask(page);
        if (last.rows.length > 0) yield last;
      }
      // A row that is new in the span may have moved others to pages that had been read.
      if (!(last.total > total)) return;
      total = last.total;
    }
    throw this.#failed(`${method}: the span has more rows each time that it is read`);
  }

  async #ask(method: string, parameters: Readonly<Record<string, string>>, signal: AbortSignal): Promise<Row> {
    const { client } = this.#parts;
    const answer = await client.json(() => this.#request(method, parameters), signal, refusalOf);
    return answer as Row;
  }

  /** Made for each attempt: the timestamp may be 5 minutes old at most. */
  #request(method: string, parameters: Readonly<Record<string, string>>): SourceRequest {
    const { url, sid, appKey, appSecret, lengths = "characters" } = this.#settings;
    const { clock, client } = this.#parts;
    const timestamp = String(Math.floor((clock.now() + (client.skewMs() ?? 0)) / 1_000));
    const all = { ...parameters, sid, appkey: appKey, timestamp };
    const body = new URLSearchParams({ ...all, sign: signatureOf(all, appSecret, lengths) });
    return {
      method: "POST",
      url: `${url.replace(/\/+$/, "")}/${method}.php`,
      headers: { "content-type": "application/x-www-form-urlencoded; charset=utf-8" },
      body: body.toString(),
    };
  }

  #listOf(answer: Row, name: string, page: number): readonly Row[] {
    const list = answer[name] ?? [];
    if (!Array.isArray(list)) throw this.#failed(`page ${page}: ${name} is no list`);
    return list as Row[];
  }

  #rawRows(rows: readonly Row[], page: number, prefix = ""): RawRow[] {
    return rows.map((fields, i) => ({ fields, place: `${this.#parts.name} ${prefix}page ${page} row ${i + 1}` }));
  }

  /** A time as Wangdian writes it, in its zone. */
  #timeText(ms: number): string {
    return new Date(ms + CHINA_OFFSET_MS).toISOString().slice(0, 19).replace("T", " ");
  }

  #failed(message: string): EngineError {
    const { name } = this.#parts;
    return new EngineError(`${name}: ${message}`, { op: OP, code: "bad_answer", retryable: true, input: name });
  }
}

/** Wangdian's servers keep China's time, which has had no summer time since 1991. */
const CHINA_OFFSET_MS = 8 * 3_600_000;

function chinaTimeMs(value: unknown): number {
  const [, date, time] = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)$/.exec(String(value)) ?? [];
  return date === undefined ? Number.NaN : Date.parse(`${date}T${time}+08:00`);
}

const wholeSecond = (ms: number): number => Math.floor(ms / 1_000) * 1_000;

/** Every answer has status 200; its `code` is 0 when it is a success. */
function refusalOf(body: unknown): Refusal | undefined {
  const { code, message } = (typeof body === "object" && body !== null ? body : {}) as {
    code?: unknown;
    message?: unknown;
  };
  if (code === 0 || code === "0") return undefined;
  const text = typeof message === "string" ? message : "";
  const reason = `Wangdian answers code ${String(code)}: ${text}`;
  if (TOO_MANY.test(text)) return { reason, again: "throttled", retryAfterMs: THROTTLED_MS };
  return { reason, again: FOR_GOOD.test(text) ? "final" : "later" };
}
