/**
 * The types of `shuiwei-stock.js`, as an installed package has them (`import { showStock } from "shuiwei/stock"`). What
 * the module does is in README.md beside this file.
 */

/** What the module writes into an element. */
export interface StockTexts {
  /** `{n}`: the displayed units. */
  readonly in: string;
  readonly out: string;
  readonly checking: string;
}

export interface StockOptions {
  /** Where the shop's edge serves the engine, for example `https://shop.example`; left out: this page's origin. */
  readonly base?: string;
  /** What is read; `query` when left out. */
  readonly mode?: "publication" | "query";
  /** Whether to listen for SKUs that sell out or are back; true when left out. */
  readonly push?: boolean;
  /** Left out: the document's language. */
  readonly lang?: "zh" | "en";
  readonly texts?: Partial<StockTexts>;
}

/** The `detail` of the event `shuiwei-stock`, which an element sends when what it shows has changed. */
export interface StockDetail {
  readonly sku: string;
  readonly state: "in" | "out" | "checking";
  /** `null`: no unit was ever received; undefined while it is being checked. */
  readonly display: number | null | undefined;
}

/** Shows stock on this page until it is stopped; then the elements say that it is being checked. */
export declare function showStock(options?: StockOptions): { stop(): void };
