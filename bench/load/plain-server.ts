/**
 * The peer of stock answers at their origin: a bare Fastify that sends one text, made before, under every path of one
 * part, with headers that are always the same. It looks nothing up, states no time, counts nothing and limits nothing.
 */
import Fastify from "fastify";
import { serveLoad } from "./load-process.js";

export interface PlainSettings {
  readonly body: string;
  /** Beside those that Fastify and Node send. */
  readonly headers: Readonly<Record<string, string>>;
}

/** Serves until the process is ended; reports its address as soon as it listens. */
serveLoad(async ({ body, headers }: PlainSettings, started: () => Promise<number>): Promise<{ port: number }> => {
  await started();
  const server = Fastify({ logger: false });
  const type = "application/json; charset=utf-8";
  const hasHeaders = Object.keys(headers).length > 0;
  server.get("/v1/stock/:sku", (_request, reply) => {
    if (hasHeaders) reply.headers(headers);
    return reply.type(type).send(body);
  });
  await server.listen({ host: "127.0.0.1", port: 0 });
  const address = server.server.address();
  return { port: typeof address === "object" && address !== null ? address.port : 0 };
});
