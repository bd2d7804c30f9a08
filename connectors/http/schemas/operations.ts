/**
 * Schemas of health and readiness.
 */
import { Type } from "typebox";

export const Status = Type.Object({ status: Type.String() });

export const Readiness = Type.Object({
  status: Type.String(),
  freshness: Type.Optional(
    Type.String({
      description: "how the 15 s of stock answers are divided among caches, the way to them and browsers",
    }),
  ),
  warnings: Type.Optional(Type.Array(Type.String())),
});
