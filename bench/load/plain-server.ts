/**
 * The peer of stock answers at their origin: a bare Fastify that sends one text, made before, under every path of one
 * part. It looks nothing up, states no time, counts nothing and limits nothing.
 */
import Fastify from "fastify";
import { serveLoad } from "./load-process.js";

export interface PlainSettings {
  readonly body: string;
}

/** Serves until the process is ended; reports its address as soon as it listens. */
serveLoad(async ({ body }: PlainSettings, started: () => Promise<number>): Promise<{ port: number }> => {
  await started();
  const server = Fastify({ logger: false });
  server.get("/v1/stock/:sku", (_request, reply) => reply.type("application/json; charset=utf-8").send(body));
  await server.listen({ host: "127.0.0.1", port: 0 });
  const address = server.server.address();
  return { port: typeof address === "object" && address !== null ? address.port : 0 };
});
