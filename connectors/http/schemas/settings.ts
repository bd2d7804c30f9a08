/**
 * Schemas of the settings of SKUs and of categories.
 */
import { Type } from "typebox";
import { MAX_UNITS } from "../../../engine/stock/model.js";
import { Actor, CommandId, closed, Reason, text } from "./common.js";

const DisplayCoefficient = Type.Number({ minimum: 0, maximum: 1 });

const AlertFactor = Type.Number({ exclusiveMinimum: 0, maximum: 1_000 });

const AlertFloorUnits = Type.Integer({ minimum: 0, maximum: MAX_UNITS });

const settings = {
  displayCoefficient: Type.Optional(DisplayCoefficient),
  alertFactor: Type.Optional(AlertFactor),
  alertFloorUnits: Type.Optional(AlertFloorUnits),
};

export const Settings = Type.Object(settings, { ...closed, minProperties: 1 });

const Category = text(64, "a category", "umbrellas");

export const SkuSettingsBody = Type.Object(
  {
    id: Type.Optional(CommandId),
    settings: Type.Optional(Settings),
    category: Type.Optional(Category),
    actor: Type.Optional(Actor),
    reason: Type.Optional(Reason),
  },
  {
    ...closed,
    anyOf: [{ required: ["settings"] }, { required: ["category"] }],
    examples: [{ settings: { displayCoefficient: 0.2 }, category: "umbrellas", actor: "li.wei@purchasing" }],
  },
);

export const CategoryParams = Type.Object({ category: Category });

export const CategorySettingsBody = Type.Object(
  { settings: Type.Object(settings, closed), actor: Type.Optional(Actor), reason: Type.Optional(Reason) },
  { ...closed, examples: [{ settings: { alertFactor: 5 }, actor: "li.wei@purchasing" }] },
);

export const SettingsAnswer = Type.Object({
  id: Type.String(),
  sku: Type.String(),
  settings: Type.Optional(Type.Object(settings)),
  category: Type.Optional(Type.String()),
  repeated: Type.Boolean(),
});

export const CategoryAnswer = Type.Object({
  category: Type.String(),
  settings: Type.Object(settings),
  skus: Type.Integer({ description: "the number of SKUs of the category that were updated" }),
});
