/** The head of the storefront: name, how the stock is, and the language; and what is wrong, when something is. */
import { Logo } from "../logo.js";
import { usePage } from "../page-context.js";

export type Health = "live" | "waiting" | "stalled" | "offline";

const TEXTS = { live: "shopLive", waiting: "shopWaiting", stalled: "shopStalled", offline: "shopOffline" } as const;

export function ShopHeader({ health, onLanguage }: { health: Health; onLanguage(): void }) {
  const { text } = usePage();
  return (
    <header class="shop-head">
      <div class="shop-head-row">
        <Logo class="logo" />
        <strong class="shop-name">{text("shopTitle")}</strong>
        <span class="health" data-health={health} data-testid="health" role="status">
          <span class="health-dot" />
          {text(TEXTS[health])}
        </span>
        <button class="language" type="button" aria-label={text("switchLanguage")} onClick={onLanguage}>
          {text("otherLanguage")}
        </button>
      </div>
      {(health === "offline" || health === "stalled") && (
        <p class="trouble" data-testid="trouble">
          {text(health === "offline" ? "shopOfflineNote" : "shopStalledNote")}
        </p>
      )}
    </header>
  );
}
