/**
 * What the OpenAPI document says of the API as a whole: its title, where it is served, its groups of operations and
 * the ways to be let in. What it says of an operation stands beside the operation's route. A name that a route uses
 * (a tag, a security scheme) is declared here.
 */
import type { FastifyDynamicSwaggerOptions } from "@fastify/swagger";
import { COOKIE } from "./sessions.js";

/** Groups of operations; every route names one of them as its tag. */
const TAGS = [
  { name: "orders", description: "Orders: placed, paid, cancelled, sent out, and each step on their way" },
  { name: "stock", description: "Stock: what customers are shown, what the ledger holds, and what changes it" },
  { name: "skus", description: "Settings of SKUs and of their categories" },
  { name: "alerts", description: "Alerts of unusual depletion" },
  { name: "breaker", description: "The breaker that stops new orders" },
  { name: "access", description: "Sessions of browsers, and pairing a browser" },
  { name: "operations", description: "Health, readiness and metrics of a process" },
];

/** Ways to be let in; a route's `security` names one of them, or is empty where everybody is let in. */
const SECURITY_SCHEMES = {
  bearer: { type: "http", scheme: "bearer", description: "Authorization: Bearer <token>" },
  session: { type: "apiKey", in: "cookie", name: COOKIE, description: "The cookie of a paired browser" },
} as const;

export const apiDocument = {
  openapi: {
    openapi: "3.1.0",
    info: {
      title: "Shuiwei 水位",
      version: "1",
      description:
        "Stock and orders of a shop. Whoever reads, orders, operates or administers needs a token, or a session, of that role; what customers are shown is public. Errors are problem details (RFC 9457). Every write carries an id and may be sent again.",
      contact: { name: "Shuiwei" },
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "/", description: "The server that this document came from" }],
    tags: TAGS,
    components: { securitySchemes: SECURITY_SCHEMES },
  },
  refResolver: {
    buildLocalReference: (json, _base, _fragment, i) => (typeof json["$id"] === "string" ? json["$id"] : `schema-${i}`),
  },
} satisfies FastifyDynamicSwaggerOptions;
