/**
 * The lines of trades that were paid in a span of time. Youzan finds trades by the time of their last change, which
 * moves on when a trade is shipped or refunded: so all that changed since the span's begin are read, up to now. A
 * window of one page is one answer. One of several pages ends a few seconds ago, so that no trade enters it; those that
 * change meanwhile leave it, and those behind move to earlier pages: it is read from its last page to its first, and
 * followed by the next window. So no trade is passed over, and one that comes twice is given once. What is refunded or
 * closed is not a movement.
 */
import { DAY_MS } from "../../engine/kernel/clock.js";
import type { RawRow } from "../source.js";
import type { Row, YouzanApi } from "./api.js";
import { chinaText, chinaTimeMs } from "./times.js";

const TRADES = { method: "youzan.trades.sold.get", version: "4.0.0" } as const;
/** Youzan's bounds: three months, and 100 pages. */
const WINDOW_MS = 30 * DAY_MS;
const MAX_PAGES = 100;
/** Youzan's clock is known to a second, and its times have whole seconds. */
const SETTLED_MS = 3_000;
/** 10 million trades of 10,000 a window; or a quarter of an hour of pauses. */
const MAX_WINDOWS = 1_000;

interface Window {
  readonly fromMs: number;
  readonly toMs: number;
}

/** Lists of lines, each line once. */
export async function* paidLines(
  api: YouzanApi,
  span: Window,
  pageRows: number,
  signal: AbortSignal,
): AsyncGenerator<readonly RawRow[]> {
  const given = new Set<string>();
  const within = (trades: readonly Row[]) => trades.flatMap((trade) => linesOf(api, trade, span, given));
  let fromMs = wholeSecond(span.fromMs);
  for (let window = 1; window <= MAX_WINDOWS; window++) {
    const nowMs = wholeSecond(api.now());
    const wanted = { fromMs, toMs: Math.min(nowMs, fromMs + WINDOW_MS) };
    const { toMs, total, trades } = await readable(api, wanted, nowMs - SETTLED_MS, pageRows, signal);
    const pages = Math.ceil(total / pageRows);
    if (pages > 1 && toMs === fromMs) {
      // All of it changed in the last seconds.
      await api.pause(signal);
      continue;
    }
    for (let page = pages; page > 1; page--)
      yield within((await tradesOf(api, { fromMs, toMs }, page, pageRows, signal)).trades);
    const first = pages > 1 ? (await tradesOf(api, { fromMs, toMs }, 1, pageRows, signal)).trades : trades;
    yield within(first);
    if (pages <= 1 && toMs >= nowMs) return;
    // Both ends of a window belong to it: the second that both windows have is read twice.
    fromMs = toMs;
  }
  throw api.failed(`trades change faster than they can be read; there is no end after ${MAX_WINDOWS} windows`);
}

/** The window, or as much of its begin as can be read in pages; and its first page. */
async function readable(
  api: YouzanApi,
  { fromMs, toMs }: Window,
  settledMs: number,
  pageRows: number,
  signal: AbortSignal,
): Promise<{ toMs: number; total: number; trades: readonly Row[] }> {
  for (let endMs = toMs; ; ) {
    const { total, trades } = await tradesOf(api, { fromMs, toMs: endMs }, 1, pageRows, signal);
    const lastMs = Math.max(fromMs, settledMs);
    if (total > pageRows && endMs > lastMs) endMs = lastMs;
    else if (total <= MAX_PAGES * pageRows) return { toMs: endMs, total, trades };
    else if (endMs - fromMs >= 2_000) endMs = fromMs + wholeSecond((endMs - fromMs) / 2);
    else throw api.failed(`${total} trades changed at ${chinaText(fromMs)}, more than can be read`);
  }
}

async function tradesOf(
  api: YouzanApi,
  { fromMs, toMs }: Window,
  page: number,
  pageRows: number,
  signal: AbortSignal,
): Promise<{ total: number; trades: readonly Row[] }> {
  const window = { start_update: chinaText(fromMs), end_update: chinaText(toMs) };
  const paging = { page_no: page, page_size: pageRows };
  const answer = await api.call(TRADES.method, TRADES.version, { ...window, ...paging }, signal);
  const { total_results, paginator, full_order_info_list } = answer;
  const total = total_results ?? (paginator as Row | undefined)?.["total_count"];
  const place = `${TRADES.method} page ${page}`;
  return {
    total: api.count(total, `${place}: total_results`),
    trades: api.list(full_order_info_list ?? [], `${place}: full_order_info_list`),
  };
}

function linesOf(api: YouzanApi, trade: Row, span: Window, given: Set<string>): RawRow[] {
  const { order_info: order, orders } = (trade["full_order_info"] ?? {}) as Record<string, Row | undefined>;
  const tid = String(order?.["tid"] ?? "");
  if (tid === "") throw api.failed("a trade has no tid");
  const paid = order?.["pay_time"];
  if (paid === undefined || paid === null || paid === "") return [];
  const paidMs = chinaTimeMs(paid);
  if (Number.isNaN(paidMs)) throw api.failed(`trade ${tid}: pay_time is ${JSON.stringify(paid)}`);
  if (paidMs < span.fromMs || paidMs >= span.toMs) return [];
  return api.list(orders ?? [], `trade ${tid}: orders`).flatMap((line, i) => {
    const id = String(line["oid"] ?? `${tid}-${i + 1}`);
    if (given.has(id)) return [];
    given.add(id);
    const code = line["outer_sku_id"] || line["outer_item_id"] || undefined;
    const units = -api.count(line["num"], `trade ${tid} line ${i + 1}: num`);
    const pay_time = new Date(paidMs).toISOString();
    return [{ place: `trade ${tid} line ${i + 1}`, fields: { ...line, oid: id, code, units, pay_time } }];
  });
}

const wholeSecond = (ms: number): number => Math.floor(ms / 1_000) * 1_000;
