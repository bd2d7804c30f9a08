/** The registered settings of SKUs: which definitions and values are allowed, and which value a SKU uses. */
import { expect, it } from "vitest";
import { checkedConfigure, type SkuSetting, settingOf, skuSettings } from "../../engine/stock/settings.js";

const PACK: SkuSetting = { name: "packUnits", default: 6, min: 1, max: 1_000, integer: true, about: "units of a pack" };
const SHARE: SkuSetting = { name: "share", default: 0.5, min: 0, max: 1, isMinExcluded: true, about: "a share" };
const KNOWN = skuSettings([PACK, SHARE]);
const command = { kind: "configure", id: "S101K8Z0Q3M00000000X", sku: "A", location: "B" } as const;

it("rejects a definition with a wrong name, bounds or default, and a name that occurs twice", () => {
  const wrong: [SkuSetting[], string][] = [
    [[PACK, { ...PACK }], "the setting packUnits is defined twice"],
    [[{ ...PACK, name: "pack units" }], "cannot be the name"],
    [[{ ...PACK, name: "constructor" }], "cannot be the name"],
    [[{ ...PACK, min: -1 }], "needs bounds"],
    [[{ ...PACK, min: 3, max: 2 }], "needs bounds"],
    [[{ ...PACK, default: 1.5 }], "the default"],
    [[{ ...SHARE, default: 0 }], "the default"],
    [Array.from({ length: 33 }, (_, i) => ({ ...PACK, name: `pack${i}` })), "at most 32"],
  ];
  for (const [list, message] of wrong) expect(() => skuSettings(list)).toThrow(message);
});

it("rejects a command with a setting that is unknown or not allowed, and names the field", () => {
  expect(checkedConfigure(KNOWN, { ...command, settings: { packUnits: 1, share: 1 } })).toMatchObject({ sku: "A" });
  const wrong: [Record<string, number>, string][] = [
    [{ packUnit: 1 }, "settings.packUnit: is not the name of a setting"],
    [{ packUnits: 1.5 }, "settings.packUnits: must be a whole number"],
    [{ packUnits: 0 }, "settings.packUnits: must be at least 1"],
    [{ share: 0 }, "settings.share: must be greater than 0"],
    [{ share: 1.1 }, "settings.share: must be at most 1"],
    [{ share: Number.NaN }, "settings.share: must be a number"],
  ];
  for (const [settings, message] of wrong)
    expect(() => checkedConfigure(KNOWN, { ...command, settings })).toThrow(message);
  expect(() => checkedConfigure(KNOWN, { ...command, settings: {}, categorySettings: { share: 2 } })).toThrow(
    "categorySettings.share: must be at most 1",
  );
});

it("is the SKU's own, else its category's, else the default", () => {
  const [own, ofCategory] = [{ packUnits: 2 }, { packUnits: 3 }];
  expect(settingOf({ category: "c", own, ofCategory }, PACK)).toBe(2);
  expect(settingOf({ category: "c", own: {}, ofCategory }, PACK)).toBe(3);
  expect(settingOf({ category: "c", own: {}, ofCategory: {} }, PACK)).toBe(6);
  expect(settingOf(null, PACK)).toBe(6);
});
