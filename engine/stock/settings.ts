/**
 * The settings of a SKU (R5, R10): what a setting is, which values it may have, and the value that a SKU uses. Settings
 * come with the log as `SkuConfigured`, so a replay uses them from the same point on. A setting is defined beside the
 * code that reads it and registered in one list; commands, log and states hold settings by name, and need no change.
 * A job keeps a SettingsState in its own state; nothing here is stored or read.
 */
import { assert, badInput } from "../kernel/errors.js";
import {
  type ConfigureSku,
  DEFAULT_DISPLAY_COEFFICIENT,
  MAX_UNITS,
  type SkuSettings,
  type StockEvent,
} from "./model.js";

/** A setting that every SKU and every category may have. Its name is stored data: it does not change. */
export interface SkuSetting {
  readonly name: string;
  /** Of a SKU that has neither a value of its own nor one of its category. */
  readonly default: number;
  /** Bounds, both allowed, except `min` with `isMinExcluded`. */
  readonly min: number;
  readonly max: number;
  readonly isMinExcluded?: true;
  /** Whole numbers only. */
  readonly integer?: true;
  readonly unit?: string;
  /** One sentence, for the documentation. */
  readonly about: string;
}

/** R5. */
export const DISPLAY_COEFFICIENT: SkuSetting = {
  name: "displayCoefficient",
  default: DEFAULT_DISPLAY_COEFFICIENT,
  min: 0,
  max: 1,
  about: "the share of reserved units that is shown to customers (R5)",
};

/**
 * Settings at most: a configure command may carry each twice, a SKU's and its category's. 32 × 2 × (a name of 40
 * characters and a number of 9 bytes) is 3.2 KB.
 */
const MAX_SETTINGS = 32;
const NAME = /^[a-z][A-Za-z0-9]{0,39}$/;
/** Names that every object has are no names of settings. */
const EMPTY: object = {};

/**
 * Checks a list of settings when it is put together.
 * @throws AssertionError when a definition is wrong, or a name occurs twice
 */
export function skuSettings(list: readonly SkuSetting[]): readonly SkuSetting[] {
  assert(list.length <= MAX_SETTINGS, `there are ${list.length} settings of SKUs; at most ${MAX_SETTINGS} are allowed`);
  for (const setting of list) {
    const { name, min, max } = setting;
    assert(NAME.test(name) && !(name in EMPTY), `${JSON.stringify(name)} cannot be the name of a setting`);
    assert(list.filter((each) => each.name === name).length === 1, `the setting ${name} is defined twice`);
    assert(min >= 0 && max <= MAX_UNITS && min <= max, `the setting ${name} needs bounds from 0 to ${MAX_UNITS}`);
    assert(faultOf(setting, setting.default) === undefined, `the default of the setting ${name} is not allowed`);
  }
  return list;
}

/**
 * Checks a configure command, and returns it.
 * @param known the registered settings
 * @throws EngineError `bad_input` that names the setting when it is unknown or its value is not allowed
 */
export function checkedConfigure(known: readonly SkuSetting[], command: ConfigureSku): ConfigureSku {
  for (const field of ["settings", "categorySettings"] as const) {
    for (const [name, value] of Object.entries(command[field] ?? {})) {
      const setting = known.find((each) => each.name === name);
      const fault = setting ? faultOf(setting, value) : "is not the name of a setting";
      if (fault !== undefined) throw badInput("ledger.configure", `${field}.${name}`, fault);
    }
  }
  return command;
}

function faultOf({ min, max, isMinExcluded, integer }: SkuSetting, value: number): string | undefined {
  if (!Number.isFinite(value)) return "must be a number";
  if (integer && !Number.isInteger(value)) return "must be a whole number";
  if (value < min || (isMinExcluded && value === min))
    return `must be ${isMinExcluded ? "greater than" : "at least"} ${min}`;
  return value > max ? `must be at most ${max}` : undefined;
}

export interface SettingsState {
  category: string | null;
  own: SkuSettings;
  ofCategory: SkuSettings;
}

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

/** The value that a SKU uses: its own, its category's, or the default. */
export const settingOf = (state: SettingsState | null, setting: SkuSetting): number =>
  state?.own[setting.name] ?? state?.ofCategory[setting.name] ?? setting.default;
