/**
 * The storefront job (R5, R6): per SKU, all balances by location and the display coefficient, folded from the log. It
 * publishes the levels to views after each commit; the ledger never reads them. What customers see is computed by the
 * reader, from the same numbers. It emits when a SKU sells out and when it is back in stock, in the commit that has the
 * levels, so that what depends on it, such as copies in a CDN, can be renewed.
 */
import { DAY_MS } from "../../kernel/clock.js";
import { isBreakerEvent } from "../../stock/breaker.js";
import { type Balances, displayUnits, emptyBalances, type StockEvent } from "../../stock/model.js";
import { configured, DISPLAY_COEFFICIENT, type SettingsState, settingOf } from "../../stock/settings.js";
import type { Job } from "../../stream/job.js";

export const STOREFRONT_JOB = "storefront.1";

/** Five days longer than the log is kept by default, so that its oldest events have a state to start from. */
export const CLOSINGS_KEPT_MS = 8 * DAY_MS;

/** The kind of emit of a SKU that sells out or is back in stock, over all locations. */
export const AVAILABILITY_EMIT = "availability";

export interface AvailabilityChange {
  /** Whether units are displayed now. */
  readonly available: boolean;
}

export interface StorefrontState {
  /** A list, not an object: a location may have any name, `__proto__` too. */
  locations: [location: string, balances: Balances][];
  settings: SettingsState | null;
}

export const storefrontJob: Job<StockEvent, StorefrontState> = {
  name: STOREFRONT_JOB,

  key: (event) => (isBreakerEvent(event) ? undefined : event.sku),

  initial: () => ({ locations: [], settings: null }),

  onEvent(state, event, context) {
    const before = mayChangeAvailability(state, event) ? isAvailable(state) : undefined;
    apply(state, event);
    if (before === undefined) return;
    const available = isAvailable(state);
    if (available !== before) context.emit(AVAILABILITY_EMIT, { available } satisfies AvailabilityChange);
  },

  closings: { periodMs: DAY_MS, keptMs: CLOSINGS_KEPT_MS },

  view: (state): StorefrontState => state,
};

function apply(state: StorefrontState, event: StockEvent): void {
  if (event.type === "SkuConfigured") {
    state.settings = configured(state.settings, event);
    return;
  }
  if (event.from !== "outside") balancesAt(state, event.location)[event.from] -= event.units;
  if (event.to !== "outside") balancesAt(state, event.toLocation ?? event.location)[event.to] += event.units;
}

/**
 * False for most events, without a look at other locations: units stay sellable where the event is, or it moves none
 * that are displayed. A new SKU is not back in stock: nothing was shown of it, and a catalogue of a million SKUs that
 * is loaded would emit a million times.
 */
function mayChangeAvailability({ locations }: StorefrontState, event: StockEvent): boolean {
  if (locations.length === 0) return false;
  if (event.type === "SkuConfigured") return true;
  const { from, to, units } = event;
  if (!isDisplayed(from) && !isDisplayed(to)) return false;
  const sellable = knownBalancesAt(locations, event.location)?.sellable ?? 0;
  return sellable <= (from === "sellable" ? units : 0);
}

const isDisplayed = (account: StockEvent["from"]): boolean => account === "sellable" || account === "reserved";

/** Whether units are displayed, computed once over all locations, as the view does. */
function isAvailable({ locations, settings }: StorefrontState): boolean {
  let reserved = 0;
  for (const [, balances] of locations) {
    if (balances.sellable > 0) return true;
    reserved += balances.reserved;
  }
  return reserved > 0 && displayUnits(0, reserved, settingOf(settings, DISPLAY_COEFFICIENT)) > 0;
}

function balancesAt(state: StorefrontState, location: string): Balances {
  const known = knownBalancesAt(state.locations, location);
  if (known) return known;
  const balances = emptyBalances();
  state.locations.push([location, balances]);
  return balances;
}

function knownBalancesAt(locations: StorefrontState["locations"], location: string): Balances | undefined {
  for (const each of locations) if (each[0] === location) return each[1];
  return undefined;
}
