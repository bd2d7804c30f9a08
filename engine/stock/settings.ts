/**
 * The settings of a SKU: its own, its category's, or the defaults, in this order (R5, R10). Settings come with the log
 * as `SkuConfigured`, so a replay uses them from the same point on. A job keeps a SettingsState in its own state;
 * nothing here is stored or read.
 */
import { DEFAULT_DISPLAY_COEFFICIENT, type SkuSettings, type StockEvent } from "./model.js";

export interface SettingsState {
  category: string | null;
  own: SkuSettings;
  ofCategory: SkuSettings;
}

/** R5 and R10. */
export const DEFAULT_SETTINGS: Required<SkuSettings> = {
  displayCoefficient: DEFAULT_DISPLAY_COEFFICIENT,
  alertFactor: 3.0,
  alertFloorUnits: 50,
};

/** The detail of an event of type `SkuConfigured`. */
export interface SettingsDetail {
  settings?: SkuSettings;
  category?: string;
  categorySettings?: SkuSettings;
}

/** The state after a `SkuConfigured`: own settings are merged, the category's are replaced. */
export function configured(before: SettingsState | null, event: StockEvent): SettingsState {
  const { settings, category, categorySettings } = (event.detail ?? {}) as SettingsDetail;
  return {
    category: category ?? before?.category ?? null,
    own: { ...before?.own, ...settings },
    ofCategory: categorySettings ?? before?.ofCategory ?? {},
  };
}

/** The value that a SKU uses. */
export const settingOf = (state: SettingsState | null, name: keyof SkuSettings): number =>
  state?.own[name] ?? state?.ofCategory[name] ?? DEFAULT_SETTINGS[name];
