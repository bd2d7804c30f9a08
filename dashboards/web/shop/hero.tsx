/** The storefront's first screen: what the sale is, what its stock figures promise, and what has just sold out. */
import { useTicks } from "../environment.js";
import { usePage } from "../page-context.js";
import { Art } from "./art.js";
import { type Good, tintOf } from "./goods.js";
import type { News } from "./use-stock.js";

const PROMISES = [
  ["shopPromiseAge", "shopPromiseAgeNote"],
  ["shopPromisePush", "shopPromisePushNote"],
  ["shopPromiseSize", "shopPromiseSizeNote"],
] as const;

export function Hero({ news, goods }: { news: readonly News[]; goods: readonly Good[] }) {
  const { text } = usePage();
  return (
    <section class="hero">
      <div class="hero-words">
        <h1>{text("shopHeadline")}</h1>
        <p class="hero-lead">{text("shopLead")}</p>
        <dl class="promises">
          {PROMISES.map(([figure, note]) => (
            <div key={figure}>
              <dt>{text(note)}</dt>
              <dd>{text(figure)}</dd>
            </div>
          ))}
        </dl>
      </div>
      <NewsList news={news} goods={goods} />
    </section>
  );
}

function NewsList({ news, goods }: { news: readonly News[]; goods: readonly Good[] }) {
  const { language, text } = usePage();
  useTicks(1_000, news.length > 0);
  return (
    <div class="news" aria-live="polite">
      <h2>{text("shopNews")}</h2>
      {news.length === 0 && <p class="news-none">{text("shopNewsNone")}</p>}
      <ul>
        {news.map(({ sku, state, atMs }) => {
          const good = goods.find((each) => each.sku === sku);
          if (good === undefined) return null;
          const seconds = Math.max(0, Math.floor((performance.now() - atMs) / 1_000));
          return (
            <li key={`${sku} ${atMs}`} class="news-item" data-state={state} data-testid="news">
              <span class="news-art" style={{ "--tint": tintOf(good) }}>
                <Art sku={sku} />
              </span>
              <span class="news-name">{good.name[language]}</span>
              <span class="news-state">{text(state === "in" ? "shopBack" : "shopOut")}</span>
              <span class="news-ago" aria-hidden="true">
                {text("shopNewsAgo", { seconds: String(seconds) })}
              </span>
            </li>
          );
        })}
      </ul>
    </div>
  );
}
