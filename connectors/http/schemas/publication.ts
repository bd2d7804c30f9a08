/** Schemas of the publication: the manifest, and the objects that it names. */
import { Type } from "typebox";
import { Instant } from "./common.js";

const Name = Type.String({
  description: "of an object: `/v1/publication/<name>.json`",
  examples: ["AbCdEfGh01234_-z"],
});

export const ManifestAnswer = Type.Object({
  v: Type.Integer({ description: "the version of this form; readers refuse others" }),
  asOf: Instant,
  positions: Type.Array(Type.Integer(), {
    description:
      "of each partition's log, the offset up to which everything is contained; empty when there is no room for so many",
  }),
  skus: Type.Integer(),
  leaves: Type.Integer({ description: "how many leaves there are: a power of two" }),
  index: Type.Array(Name),
});

export const PublicationParams = Type.Object({
  file: Type.String({ description: "the name of an object and `.json`", examples: ["AbCdEfGh01234_-z.json"] }),
});

/** Of an index object, or of a leaf. */
export const PublicationObject = Type.Object(
  {},
  {
    additionalProperties: true,
    description:
      "a leaf: units shown by SKU; an index object: `leaves`, names in order, and `changes`, units by SKU that override the leaves, or null for a SKU that does not exist any more",
  },
);
