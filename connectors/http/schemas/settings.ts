/**
 * Schemas of the settings of SKUs and of categories, built from the registered settings.
 */
import { type Static, Type } from "typebox";
import type { SkuSettings } from "../../../engine/stock/model.js";
import type { SkuSetting } from "../../../engine/stock/settings.js";
import { Actor, CommandId, closed, Reason, text } from "./common.js";

function valueSchema({ min, max, isMinExcluded, integer, unit, about, default: value }: SkuSetting) {
  const bounds = isMinExcluded ? { exclusiveMinimum: min, maximum: max } : { minimum: min, maximum: max };
  const description = `${about}; ${value}${unit === undefined ? "" : ` ${unit}`} by default`;
  return integer ? Type.Integer({ ...bounds, description }) : Type.Number({ ...bounds, description });
}

/** An object with any of the settings; closed, so that an unknown name is a fault. */
const settingsObject = (settings: readonly SkuSetting[], options: { minProperties?: number } = {}) =>
  Type.Unsafe<SkuSettings>(
    Type.Object(Object.fromEntries(settings.map((setting) => [setting.name, Type.Optional(valueSchema(setting))])), {
      ...closed,
      ...options,
    }),
  );

/** At least one setting. */
export const settingsSchema = (settings: readonly SkuSetting[]) => settingsObject(settings, { minProperties: 1 });

const Category = text(64, "a category", "umbrellas");

/** The bodies and the answers of the routes of settings. */
export const settingsSchemas = (settings: readonly SkuSetting[]) => ({
  skuBody: Type.Object(
    {
      id: Type.Optional(CommandId),
      settings: Type.Optional(settingsSchema(settings)),
      category: Type.Optional(Category),
      actor: Type.Optional(Actor),
      reason: Type.Optional(Reason),
    },
    {
      ...closed,
      anyOf: [{ required: ["settings"] }, { required: ["category"] }],
      examples: [{ settings: { displayCoefficient: 0.2 }, category: "umbrellas", actor: "li.wei@purchasing" }],
    },
  ),
  skuAnswer: Type.Object({
    id: Type.String(),
    sku: Type.String(),
    settings: Type.Optional(settingsObject(settings)),
    category: Type.Optional(Type.String()),
    repeated: Type.Boolean(),
  }),
  categoryBody: Type.Object(
    { settings: settingsObject(settings), actor: Type.Optional(Actor), reason: Type.Optional(Reason) },
    { ...closed, examples: [{ settings: { alertFactor: 5 }, actor: "li.wei@purchasing" }] },
  ),
  categoryAnswer: Type.Object({
    category: Type.String(),
    settings: settingsObject(settings),
    skus: Type.Integer({ description: "the number of SKUs of the category that were updated" }),
  }),
});

type Schemas = ReturnType<typeof settingsSchemas>;
export type SkuSettingsBody = Static<Schemas["skuBody"]>;
export type CategorySettingsBody = Static<Schemas["categoryBody"]>;

export const CategoryParams = Type.Object({ category: Category });
