/**
 * The storefront job (R5, R6): per SKU, all balances by location and the display coefficient, folded from the log. It
 * publishes the levels to views after each commit; the ledger never reads them. What customers see is computed by the
 * reader, from the same numbers.
 */
import { DAY_MS } from "../../kernel/clock.js";
import { isBreakerEvent } from "../../stock/breaker.js";
import { type Balances, emptyBalances, type StockEvent } from "../../stock/model.js";
import { configured, type SettingsState } from "../../stock/settings.js";
import type { Job } from "../../stream/job.js";

export const STOREFRONT_JOB = "storefront.1";

/** Five days longer than the log is kept by default, so that its oldest events have a state to start from. */
export const CLOSINGS_KEPT_MS = 8 * DAY_MS;

export interface StorefrontState {
  /** A list, not an object: a location may have any name, `__proto__` too. */
  locations: [location: string, balances: Balances][];
  settings: SettingsState | null;
}

export const storefrontJob: Job<StockEvent, StorefrontState> = {
  name: STOREFRONT_JOB,

  key: (event) => (isBreakerEvent(event) ? undefined : event.sku),

  initial: () => ({ locations: [], settings: null }),

  onEvent(state, event) {
    if (event.type === "SkuConfigured") {
      state.settings = configured(state.settings, event);
      return;
    }
    if (event.from !== "outside") balancesAt(state, event.location)[event.from] -= event.units;
    if (event.to !== "outside") balancesAt(state, event.toLocation ?? event.location)[event.to] += event.units;
  },

  closings: { periodMs: DAY_MS, keptMs: CLOSINGS_KEPT_MS },

  view: (state): StorefrontState => state,
};

function balancesAt(state: StorefrontState, location: string): Balances {
  for (const each of state.locations) if (each[0] === location) return each[1];
  const balances = emptyBalances();
  state.locations.push([location, balances]);
  return balances;
}
