/**
 * The schema of problem details (RFC 9457), and the faults that routes may answer.
 */
import { Type } from "typebox";

/** RFC 9457. */
export const ProblemSchema = Type.Object(
  {
    type: Type.String({ examples: ["urn:shuiwei:insufficient_sellable"] }),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String(),
    code: Type.String({ description: "the outcome or the fault; the same as the last part of type" }),
    id: Type.Optional(Type.String()),
    instance: Type.Optional(Type.String()),
    errors: Type.Optional(Type.Array(Type.Object({ field: Type.String(), message: Type.String() }))),
  },
  {
    $id: "Problem",
    examples: [
      {
        type: "urn:shuiwei:bad_input",
        title: "The input is invalid",
        status: 400,
        detail: "lines[2].units must be a whole number",
        code: "bad_input",
        errors: [{ field: "lines[2].units", message: "must be a whole number" }],
      },
    ],
  },
);

const problem = (description: string) => ({
  description,
  content: { "application/problem+json": { schema: { $ref: "Problem#" } } },
});

/** Faults of routes that do not use the store. */
export const requestFaults = { "4xx": problem("The request is invalid, or the ledger refused it; see `code`") };

/** Faults of all other routes. */
export const problems = {
  ...requestFaults,
  "5xx": problem("Temporarily unavailable; see `Retry-After`. A request sent again with the same ids is applied once"),
};
