/** Schemas of histories of figures: points of a SKU or of an engine figure in one resolution. */
import { Type } from "typebox";
import { FIGURE_NAMES } from "../../../engine/history/series/figures.js";
import { MAX_POINTS } from "../../../engine/history/series/series-reader.js";
import { RESOLUTIONS } from "../../../engine/history/series/series-store.js";
import { Count, closed, Instant } from "./common.js";

const InstantQuery = (description: string) =>
  Type.Optional(Type.String({ maxLength: 40, description, examples: ["2026-06-18T20:00:00+08:00"] }));

export const SeriesQuerySchema = Type.Object(
  {
    resolution: Type.Optional(
      Type.Enum([...RESOLUTIONS], { description: "left out: the finest that is kept for the whole span" }),
    ),
    from: InstantQuery("an instant with its offset from UTC; left out: an hour before `to`"),
    to: InstantQuery("an instant with its offset from UTC; left out: the end of the last recorded minute"),
  },
  closed,
);

export const FigureParams = Type.Object({ name: Type.Enum([...FIGURE_NAMES], { description: "a figure" }) });

const span = {
  resolution: Type.Enum([...RESOLUTIONS]),
  from: Type.String({ format: "date-time", description: "when the first bucket begins" }),
  to: Instant,
};

const recorded = {
  recordedTo: Type.Optional(
    Type.String({ format: "date-time", description: "the end of the last recorded minute; absent: none was" }),
  ),
  complete: Type.Boolean({ description: "all of the span was recorded, up to the last three minutes" }),
  gaps: Type.Array(
    Type.Object({
      from: Instant,
      to: Instant,
      missing: Type.Enum(["all", "stock"], { description: "what was not recorded" }),
    }),
  ),
  store: Type.Enum(["redis", "time-series"], { description: "what stores the points" }),
};

const At = Type.String({ format: "date-time", description: "when the bucket begins" });

export const SkuSeriesAnswer = Type.Object({
  sku: Type.String(),
  ...span,
  unit: Type.Enum(["units"]),
  openingStock: Type.Optional(
    Type.Integer({ minimum: 0, description: "sellable units when the span begins; absent: unknown" }),
  ),
  points: Type.Array(
    Type.Object({
      at: At,
      units: Type.Optional(Type.Integer({ minimum: 0, description: "depleted in the bucket; absent: none" })),
      stock: Type.Optional(
        Type.Integer({ minimum: 0, description: "sellable units at the bucket's end; absent: as before" }),
      ),
    }),
    { maxItems: MAX_POINTS },
  ),
  ...recorded,
});

export const FigureSeriesAnswer = Type.Object({
  name: Type.String(),
  ...span,
  unit: Type.String(),
  points: Type.Array(Type.Object({ at: At, value: Count }), { maxItems: MAX_POINTS }),
  ...recorded,
});
