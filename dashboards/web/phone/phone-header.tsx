/** The top of the phone: the screen, the shop's time, the state of the connection. And the two tabs at the bottom. */
import { ConnectionState, ShopTime } from "../header.js";
import type { LiveState } from "../live-connection.js";
import type { LiveModel } from "../live-model.js";
import { Logo } from "../logo.js";
import { usePage } from "../page-context.js";
import { openList, type Screen } from "./address.js";
import type { PhoneModel } from "./phone-model.js";

export function PhoneHeader({ state, screen }: { state: LiveState<LiveModel>; screen: Screen }) {
  const { text } = usePage();
  const isDetail = screen.name === "alert" || screen.name === "sku";
  return (
    <header class="phone-header">
      {isDetail ? (
        <button type="button" class="back" onClick={openList}>
          <svg viewBox="0 0 24 24" aria-hidden="true">
            <path d="M15 4 7 12l8 8" />
          </svg>
          {text("phoneAlerts")}
        </button>
      ) : (
        <div class="phone-brand">
          <Logo class="logo" />
          <h1>{text(screen.name === "settings" ? "phoneSettings" : "phoneAlerts")}</h1>
        </div>
      )}
      {state.model === undefined ? <span class="clock" /> : <ShopTime state={state} />}
      <ConnectionState phase={state.phase} />
    </header>
  );
}

export function Tabs({ screen, model }: { screen: Screen; model: PhoneModel | undefined }) {
  const { text, format } = usePage();
  const isSettings = screen.name === "settings";
  const unacknowledged = model?.alerts.filter(({ state }) => state === "fired").length ?? 0;
  return (
    <nav class="tabs" aria-label={text("pages")}>
      <a href="#list" aria-current={isSettings ? undefined : "page"}>
        <svg viewBox="0 0 24 24" aria-hidden="true">
          <path d="M12 4 3 20h18z" />
          <path d="M12 10v5m0 2v.5" />
        </svg>
        <span>{text("phoneAlerts")}</span>
        {unacknowledged > 0 && <b class="tab-count">{format.units(unacknowledged)}</b>}
      </a>
      <a href="#settings" aria-current={isSettings ? "page" : undefined}>
        <svg viewBox="0 0 24 24" aria-hidden="true">
          <path d="M4 7h9m5 0h2M4 17h2m5 0h9" />
          <circle cx="15.5" cy="7" r="2.5" />
          <circle cx="8.5" cy="17" r="2.5" />
        </svg>
        <span>{text("phoneSettings")}</span>
      </a>
    </nav>
  );
}
