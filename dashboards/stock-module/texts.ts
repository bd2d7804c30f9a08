/** What the module writes into a page, in both languages; a shop may give texts of its own. */

import type { StockTexts } from "./shuiwei-stock.js";

export const dictionary = {
  zh: { in: "有货 {n} 件", out: "已售罄", checking: "查询中" },
  en: { in: "{n} in stock", out: "Sold out", checking: "Being checked" },
} satisfies Record<string, StockTexts>;
