/**
 * Loads `shuiwei-stock.js` as any shop's page does, and follows by its events what it shows: the state of each SKU, and
 * what has just sold out or come back.
 */
import { useEffect, useState } from "preact/hooks";
import type { Language, Translate } from "../dictionary.js";

type Module = { showStock: typeof import("../../stock-module/shuiwei-stock.js").showStock };

export type StockState = "in" | "out" | "checking";

export interface SkuStock {
  readonly state: StockState;
  readonly display: number | undefined;
}

/** A SKU that has sold out or is back. */
export interface News {
  readonly sku: string;
  readonly state: "in" | "out";
  /** By the monotonic clock. */
  readonly atMs: number;
}

export interface Stock {
  readonly skus: ReadonlyMap<string, SkuStock>;
  /** The newest first. */
  readonly news: readonly News[];
}

const MODULE = "/shuiwei-stock.js";
const NEWS_KEPT = 4;

/** `?read=publication` shows the published files instead of the query. */
const mode = () =>
  new URLSearchParams(location.search).get("read") === "publication" ? ("publication" as const) : ("query" as const);

/** @param isReady the elements are on the page */
export function useStock(isReady: boolean, language: Language, text: Translate): Stock {
  const [stock, setStock] = useState<Stock>({ skus: new Map(), news: [] });

  useEffect(() => {
    if (!isReady) return;
    const follow = (event: Event): void => {
      const { sku, state, display } = (event as CustomEvent<SkuStock & { sku: string }>).detail;
      setStock((before) => next(before, sku, { state, display }));
    };
    document.addEventListener("shuiwei-stock", follow);
    return () => document.removeEventListener("shuiwei-stock", follow);
  }, [isReady]);

  useEffect(() => {
    if (!isReady) return;
    let shown: { stop(): void } | undefined;
    let isOver = false;
    const start = async (): Promise<void> => {
      // Not bundled: this is the file that shops load.
      const { showStock } = (await import(/* @vite-ignore */ MODULE)) as Module;
      const texts = { in: text("shopIn", { n: "{n}" }), out: text("shopOut"), checking: text("shopChecking") };
      if (!isOver) shown = showStock({ mode: mode(), lang: language, texts });
    };
    void start();
    return () => {
      isOver = true;
      shown?.stop();
    };
  }, [isReady, language, text]);

  return stock;
}

/** What was known of a SKU before it was checked counts: only a change of that is news. */
const lastKnown = new Map<string, "in" | "out">();

function next({ skus, news }: Stock, sku: string, now: SkuStock): Stock {
  const changed = new Map(skus).set(sku, now);
  if (now.state === "checking") return { skus: changed, news };
  const before = lastKnown.get(sku);
  lastKnown.set(sku, now.state);
  if (before === undefined || before === now.state) return { skus: changed, news };
  const item: News = { sku, state: now.state, atMs: performance.now() };
  return { skus: changed, news: [item, ...news.filter((each) => each.sku !== sku)].slice(0, NEWS_KEPT) };
}
