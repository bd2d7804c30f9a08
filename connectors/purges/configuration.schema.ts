/**
 * The schema of the configuration of CDNs: one JSON file that states where the storefront's answers are served, and
 * which vendors' copies of them are purged. What a schema cannot state is checked in configuration.ts. The part
 * `connection` of a CDN belongs to its vendor.
 */
import { type Static, Type } from "typebox";

/** A shop has one CDN, or a few for parts of the world; a metric has one series for each. */
const MAX_CDNS = 8;

const closed = { additionalProperties: false } as const;

const Cdn = Type.Object(
  {
    name: Type.String({
      pattern: "^[a-z0-9][a-z0-9-]{0,31}$",
      description: "1 to 32 lower-case letters, digits and hyphens",
    }),
    about: Type.Optional(Type.String({ maxLength: 200 })),
    vendor: Type.String({ minLength: 1, maxLength: 32 }),
    connection: Type.Object({}),
  },
  closed,
);

export const CdnFile = Type.Object(
  {
    /** Without `/v1/stock`. */
    publicUrl: Type.String({
      pattern: "^https?://[^\\s/?#@]+(/[^\\s?#]*)?$",
      maxLength: 1_024,
      description: "where shoppers' browsers reach the engine through the CDN, such as https://stock.shop.example",
    }),
    cdns: Type.Array(Cdn, { minItems: 1, maxItems: MAX_CDNS }),
  },
  closed,
);

export type CdnFileJson = Static<typeof CdnFile>;
export type CdnJson = CdnFileJson["cdns"][number];
