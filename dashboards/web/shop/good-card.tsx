/**
 * One good: its drawing, name, price, and the stock that the module writes. The state of the stock changes how the
 * card looks; few units, a sell-out and a return are marked.
 */
import { usePage } from "../page-context.js";
import { Art } from "./art.js";
import { type Good, tintOf } from "./goods.js";
import type { SkuStock } from "./use-stock.js";

/** From here on a card says how few there are. */
const FEW_UNITS = 20;

interface Props {
  good: Good;
  stock: SkuStock | undefined;
  /** It has just come back. */
  isBack: boolean;
}

export function GoodCard({ good, stock, isBack }: Props) {
  const { language, text } = usePage();
  const { state = "checking", display = 0 } = stock ?? {};
  const isFew = state === "in" && display <= FEW_UNITS;
  const time = `00:${String(good.startMinute).padStart(2, "0")}`;
  return (
    <li class="good" data-testid="good" data-sku={good.sku} data-state={state} data-few={isFew} data-back={isBack}>
      <div class="art" style={{ "--tint": tintOf(good) }}>
        <Art sku={good.sku} />
        {(good.section === "flash" || good.section === "deal") && (
          <span class="session">{text("shopSession", { time })}</span>
        )}
        <span class="ribbon">{isBack ? text("shopBack") : text("shopOut")}</span>
      </div>
      <h3 class="good-name">{good.name[language]}</h3>
      <p class="price">
        <span class="price-now">
          <small>¥</small>
          {good.price}
        </span>
        {good.before > good.price && <s class="price-before">¥{good.before}</s>}
      </p>
      <p class="stock">
        <span class="stock-dot" />
        {/* Its text is the module's: nothing is rendered into it. A page of goods would be read out all the time. */}
        <span class="stock-text" data-shuiwei-sku={good.sku} aria-live="off" data-testid="stock" />
        {isFew && <span class="few">{text("shopLow", { n: String(display) })}</span>}
      </p>
    </li>
  );
}
