/**
 * A job on the stock log, with a setting of SKUs: emits `low` when a SKU has fewer sellable units than its
 * `lowStockUnits`, once until it has enough again. The default of 0 never emits.
 */
import type { JobEntry } from "../../engine/jobs/index.js";
import { isBreakerEvent } from "../../engine/stock/breaker.js";
import type { StockEvent } from "../../engine/stock/model.js";
import { configured, type SettingsState, type SkuSetting, settingOf } from "../../engine/stock/settings.js";
import type { Job } from "../../engine/stream/job.js";

export const LOW_STOCK_UNITS: SkuSetting = {
  name: "lowStockUnits",
  default: 0,
  min: 0,
  max: 1_000_000,
  integer: true,
  unit: "units",
  about: "with fewer sellable units the SKU is low",
};

export const LOW_EMIT = "low";

interface LowStock {
  units: number;
  isLow: boolean;
  settings: SettingsState | null;
}

const lowStockJob: Job<StockEvent, LowStock> = {
  name: "low-stock.1",
  key: (event) => (isBreakerEvent(event) ? undefined : event.sku),
  initial: () => ({ units: 0, isLow: false, settings: null }),
  onEvent(state, event, context) {
    if (event.type === "SkuConfigured") state.settings = configured(state.settings, event);
    if (event.from === "sellable") state.units -= event.units;
    if (event.to === "sellable") state.units += event.units;
    const wasLow = state.isLow;
    state.isLow = state.units < settingOf(state.settings, LOW_STOCK_UNITS);
    if (state.isLow && !wasLow) context.emit(LOW_EMIT, { units: state.units });
  },
};

export const LOW_STOCK: JobEntry = { topic: "stock", make: () => lowStockJob };
