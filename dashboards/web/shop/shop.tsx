/**
 * The demo's storefront: the goods of 18 June with the stock that `shuiwei-stock.js` shows, and how that is: live,
 * being checked, out of reach, or offline.
 */
import { useEffect, useState } from "preact/hooks";
import { PageContext } from "../page-context.js";
import { usePageState } from "../use-page.js";
import { GoodCard } from "./good-card.js";
import { type Good, useGoods } from "./goods.js";
import { Hero } from "./hero.js";
import { type Health, ShopHeader } from "./shop-header.js";
import { type Stock, useStock } from "./use-stock.js";

const SECTIONS = [
  ["limited", "shopLimited", "shopLimitedNote"],
  ["flash", "shopFlash", "shopFlashNote"],
  ["deal", "shopDeals", "shopDealsNote"],
  ["popular", "shopPopular", "shopPopularNote"],
] as const;
/** How long a card is marked after it has come back. */
const BACK_MS = 8_000;
/** Longer than a first answer takes. */
const LOST_AFTER_MS = 4_000;
const PLACEHOLDERS = Array.from({ length: 12 }, (_, i) => i);

export function Shop() {
  const { page, switchLanguage } = usePageState("shopTitle");
  const goods = useGoods();
  const isReady = goods !== undefined && goods.length > 0;
  const stock = useStock(isReady, page.language, page.text);
  const health = useHealth(stock);
  return (
    <PageContext.Provider value={page}>
      <ShopHeader health={health} onLanguage={switchLanguage} />
      <main class="shop" data-health={health}>
        <Hero news={stock.news} goods={goods ?? []} />
        {isReady
          ? SECTIONS.map(([section, title, note]) => (
              <section key={section} class="shelf" data-section={section}>
                <div class="shelf-head">
                  <h2>{page.text(title)}</h2>
                  <p>{page.text(note)}</p>
                </div>
                <Goods goods={goods.filter((each) => each.section === section)} stock={stock} />
              </section>
            ))
          : goods !== undefined && <p class="failed">{page.text("shopFailed")}</p>}
        {goods === undefined && (
          <ul class="goods" aria-hidden="true">
            {PLACEHOLDERS.map((i) => (
              <li key={i} class="good good-loading" />
            ))}
          </ul>
        )}
      </main>
      <footer class="shop-foot">{page.text("shopFoot")}</footer>
    </PageContext.Provider>
  );
}

function Goods({ goods, stock }: { goods: readonly Good[]; stock: Stock }) {
  const sinceMs = performance.now() - BACK_MS;
  const back = new Set(stock.news.flatMap(({ sku, state, atMs }) => (state === "in" && atMs > sinceMs ? [sku] : [])));
  return (
    <ul class="goods">
      {goods.map((good) => (
        <GoodCard key={good.sku} good={good} stock={stock.skus.get(good.sku)} isBack={back.has(good.sku)} />
      ))}
    </ul>
  );
}

/** When nothing is known for a while, something is wrong. */
function useHealth({ skus }: Stock): Health {
  const [isOnline, setOnline] = useState(navigator.onLine);
  const [isLost, setLost] = useState(false);
  useEffect(() => {
    const update = (): void => setOnline(navigator.onLine);
    addEventListener("online", update);
    addEventListener("offline", update);
    return () => {
      removeEventListener("online", update);
      removeEventListener("offline", update);
    };
  }, []);
  const isLive = [...skus.values()].some(({ state }) => state !== "checking");
  useEffect(() => {
    if (isLive) {
      setLost(false);
      return;
    }
    // While the page is hidden nothing is read, and that is right.
    const wait = (): void => {
      clearTimeout(timer);
      setLost(false);
      if (!document.hidden) timer = setTimeout(() => setLost(true), LOST_AFTER_MS);
    };
    let timer: ReturnType<typeof setTimeout> | undefined;
    wait();
    document.addEventListener("visibilitychange", wait);
    return () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", wait);
    };
  }, [isLive]);
  if (!isOnline) return "offline";
  return isLive ? "live" : isLost ? "stalled" : "waiting";
}
