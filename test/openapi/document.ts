/**
 * The OpenAPI document of the HTTP surface, made without a store: the routes are registered, nothing is asked and
 * nothing listens.
 */

import { createServer, type ServerOptions } from "../../engine/app/server.js";
import { SKU_SETTINGS } from "../../engine/jobs/index.js";

export interface Operation {
  operationId: string;
  summary?: string;
  description?: string;
  tags?: string[];
  security?: Record<string, string[]>[];
  responses: Record<string, unknown>;
}

export interface ApiDocument {
  openapi: string;
  servers: unknown[];
  tags: { name: string }[];
  paths: Record<string, Record<string, Operation>>;
  components: { securitySchemes: Record<string, unknown> };
}

export async function apiDocument(): Promise<ApiDocument> {
  const options: Partial<ServerOptions> = {
    tokens: ["a-token-of-the-tests-0123456789"],
    open: false,
    openParts: [],
    channel: "WB",
    skuSettings: SKU_SETTINGS,
    stopping: () => false,
    onTrouble: (message) => {
      throw new Error(message);
    },
  };
  // Whatever else a route group takes apart when it is registered is an object without a member.
  const parts = new Proxy(options, { get: (given, name) => (name in given ? Reflect.get(given, name) : {}) });
  const server = await createServer(parts as ServerOptions);
  try {
    return server.swagger() as unknown as ApiDocument;
  } finally {
    await server.close();
  }
}
