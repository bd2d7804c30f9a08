/**
 * The OpenAPI document's general part: its title, server, groups of operations and security schemes. Each operation is
 * described beside its route. Every tag and security scheme that a route uses is declared here.
 */
import type { FastifyDynamicSwaggerOptions } from "@fastify/swagger";
import { COOKIE } from "./sessions.js";

/** Groups of operations; every route has one of them as its tag. */
const TAGS = [
  { name: "orders", description: "Orders: place, pay, cancel, send out, and record each step" },
  {
    name: "stock",
    description: "Stock: the levels shown to customers, the ledger's balances, and commands that change them",
  },
  { name: "skus", description: "Settings of SKUs and of their categories" },
  { name: "alerts", description: "Alerts of all rules, their acknowledgement, and silences" },
  { name: "people", description: "People who are notified of alerts, their channels, quiet hours and devices" },
  { name: "breaker", description: "Breakers, which stop new orders" },
  {
    name: "reconciliation",
    description: "What other systems report as their stock, and how far it parts from the ledger's",
  },
  { name: "access", description: "Sessions of browsers, and pairing a browser" },
  { name: "operations", description: "Health, readiness and metrics of a process" },
];

/** Security schemes; a route's `security` names them, or is empty for public routes. */
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
        "Stock and orders of a shop. Reading, ordering, operating and administering need a token, or a session, of that role; the stock levels shown to customers are public. Errors are problem details (RFC 9457). Every write has an id and may be sent again.",
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
