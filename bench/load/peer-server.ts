/**
 * The peer of the HTTP benchmark: the least that a shop can write and still not sell what it has not. A bare Fastify
 * checks the same body by a schema and the same token, and makes one script call: remember the id, check, deduct. It
 * keeps no log and no event, no hold that expires, no breaker, no window; orders of one Redis only.
 */
import { readFileSync } from "node:fs";
import Fastify from "fastify";
import { Redis } from "ioredis";
import { serveLoad } from "./load-process.js";

export interface PeerSettings {
  redisPath: string;
  token: string;
}

const SCRIPT = readFileSync(new URL("./peer-order.lua", import.meta.url), "utf8");
const BODY = {
  type: "object",
  required: ["id", "lines"],
  additionalProperties: false,
  properties: {
    id: { type: "string", minLength: 1, maxLength: 64 },
    lines: {
      type: "array",
      minItems: 1,
      maxItems: 100,
      items: {
        type: "object",
        required: ["sku", "units"],
        additionalProperties: false,
        properties: { sku: { type: "string", minLength: 1, maxLength: 64 }, units: { type: "integer", minimum: 1 } },
      },
    },
  },
};
const ANSWER = { type: "object", properties: { id: { type: "string" }, outcome: { type: "string" } } };

interface PeerOrder {
  id: string;
  lines: { sku: string; units: number }[];
}

/** Serves until the process is ended; reports its address as soon as it listens. */
async function run({ redisPath, token }: PeerSettings): Promise<{ port: number }> {
  const redis = new Redis(redisPath);
  const sha = (await redis.call("SCRIPT", "LOAD", SCRIPT)) as string;
  const server = Fastify({ logger: false });
  const wanted = `Bearer ${token}`;
  server.post<{ Body: PeerOrder }>(
    "/v1/orders",
    { schema: { body: BODY, response: { 201: ANSWER, 409: ANSWER } } },
    async (request, reply) => {
      if (request.headers.authorization !== wanted) return reply.code(401).send({ outcome: "unauthorized" });
      const { id, lines } = request.body;
      const keys = ["orders", ...lines.map(({ sku }) => `stock:${sku}`)];
      const done = await redis.evalsha(sha, keys.length, ...keys, id, ...lines.map(({ units }) => units));
      return done === 0
        ? reply.code(409).send({ id, outcome: "refused" })
        : reply.code(201).send({ id, outcome: "accepted" });
    },
  );
  await server.listen({ host: "127.0.0.1", port: 0 });
  const address = server.server.address();
  return { port: typeof address === "object" && address !== null ? address.port : 0 };
}

serveLoad(async (settings: PeerSettings, started: () => Promise<number>) => {
  await started();
  return run(settings);
});
