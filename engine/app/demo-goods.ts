/**
 * The goods on the demo's storefront page (/shop): the limited editions, which sell out and come back while one looks,
 * all that are promoted on 18 June, and some that are popular. Names, prices and times only; the page reads the stock
 * as any shop's page would. Prices are made up.
 */
import type { DemoShop, DemoSku, Name } from "../../connectors/demo-shop/index.js";
import { LIMITED_GOODS } from "../../connectors/demo-shop/limited-goods.js";
import type { RouteGroup } from "../../connectors/http/index.js";

/** One article on the page. */
export interface DemoGood {
  readonly sku: string;
  readonly name: Name;
  readonly section: "limited" | "flash" | "deal" | "popular";
  /** Minute of the rush hour at which its promotion begins; 0 without one. */
  readonly startMinute: number;
  /** In yuan; `before`: without the promotion. */
  readonly price: number;
  readonly before: number;
}

/** With the others 53, of 100 that a stream may have. */
const POPULAR_GOODS = 21;
/** A variant of the same article is as popular, but looks alike. */
const ARTICLE_LENGTH = "UMB-01".length;
const FLASH_PRICE = 0.68;
const DEAL_PRICE = 0.85;

/** In yuan, of a category's first article; the others cost more. */
const PRICES: Readonly<Record<string, number>> = {
  ...{ UMB: 59, MUG: 39, TEA: 36, SNK: 29, BAG: 159, TEE: 79, PNT: 129, SHO: 169, SOX: 25, BED: 199 },
  ...{ TWL: 35, KIT: 119, LMP: 109, EAR: 199, PHN: 49, KEY: 179, TOY: 69, PEN: 19, PET: 69, OUT: 129 },
  ...{ FIT: 79, CAP: 49, FAN: 89, ORG: 39, NUT: 45 },
};
const DEAREST_ARTICLE = 0.4;

/** The goods of the page, in the order in which it shows them. */
function demoGoods({ skus, promotions }: DemoShop["catalogue"]): DemoGood[] {
  const limited = LIMITED_GOODS.map(
    ({ code, name, price }): DemoGood => ({
      ...{ sku: code, name, section: "limited", startMinute: 0 },
      ...{ price, before: price },
    }),
  );
  const promoted = promotions.map(({ sku, startMinute, unitsPerMinute }): DemoGood => {
    const isFlash = unitsPerMinute === 0;
    const good = skus[sku] as DemoSku;
    const before = priceOf(good);
    const price = Math.round(before * (isFlash ? FLASH_PRICE : DEAL_PRICE));
    return { sku: good.code, name: good.name, section: isFlash ? "flash" : "deal", startMinute, price, before };
  });
  const shown = new Set(promoted.map(({ sku }) => sku.slice(0, ARTICLE_LENGTH)));
  const popular: DemoGood[] = [];
  for (const good of [...skus].sort((a, b) => a.rank - b.rank)) {
    const article = good.code.slice(0, ARTICLE_LENGTH);
    if (popular.length === POPULAR_GOODS) break;
    if (shown.has(article)) continue;
    shown.add(article);
    const price = priceOf(good);
    popular.push({ sku: good.code, name: good.name, section: "popular", startMinute: 0, price, before: price });
  }
  return [...limited, ...promoted, ...popular];
}

function priceOf({ code, categoryId }: DemoSku): number {
  const article = Number(code.slice(ARTICLE_LENGTH - 2, ARTICLE_LENGTH)) - 1;
  return Math.round((PRICES[categoryId] ?? 0) * (1 + DEAREST_ARTICLE * (article / 4)));
}

/** `GET /shop/goods.json`, for the page. */
export const demoGoodsRoutes =
  ({ catalogue }: DemoShop): RouteGroup =>
  (server) => {
    const goods = demoGoods(catalogue);
    server.get("/shop/goods.json", { schema: { hide: true } }, (_request, reply) => reply.send({ goods }));
  };
