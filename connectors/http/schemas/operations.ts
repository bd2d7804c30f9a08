/**
 * Schemas of health and readiness.
 */
import { Type } from "typebox";

export const Status = Type.Object({ status: Type.String() });

export const Readiness = Type.Object({ status: Type.String(), warnings: Type.Optional(Type.Array(Type.String())) });
