/**
 * The publication over HTTP, where it is in Redis: the manifest, which caches keep for seconds, and the objects that it
 * names, which never change. Public, for pages of any site. A manifest whose lifetime is over is refused, so no reader
 * takes an old one for new, and one of the future: nobody knows how old it is. Objects are served as long as they
 * exist. What one client has read, another gets from memory (engine/publication/publication-reader.ts).
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Static } from "typebox";
import { DEFAULT_CLOCK_BOUND_MS, systemClock } from "../../engine/kernel/clock.js";
import { cacheHeaders } from "../../engine/publication/freshness.js";
import { preferredEncoding } from "./accept-encoding.js";
import { refuse, retryAfter } from "./problem.js";
import { isKnown, setHead, shareWithPages } from "./public-answers.js";
import { NO_TOKEN_NEEDED, type RouteContext, type RouteGroup } from "./route-context.js";
import { problems } from "./schemas/problem.js";
import { ManifestAnswer, PublicationObject, PublicationParams } from "./schemas/publication.js";

const FILE = /^([A-Za-z0-9_-]{16})\.json$/;
const JSON_TYPE = "application/json; charset=utf-8";
const FOREVER = "public, max-age=31536000, immutable";
/** It may be published in the next moment. */
const UNKNOWN = "public, max-age=0, must-revalidate, s-maxage=1";

export const publicationRoutes: RouteGroup = (server, context) => {
  manifestRoute(server, context);
  objectRoute(server, context);
};

function manifestRoute(server: FastifyInstance, { deps, freshness }: RouteContext): void {
  server.get(
    "/v1/publication/manifest.json",
    {
      config: { anyHost: true },
      onRequest: shareWithPages,
      schema: {
        tags: ["stock"],
        operationId: "getPublicationManifest",
        summary: "The newest publication: as of when it is true, and the objects that have the levels",
        description:
          "The levels of all SKUs as shown to customers, published every 5 s by default. A page reads this, then the index object and the leaf of each of its SKUs. 503 `stale_view` when nothing was published for some seconds; 404 `not_served_here` when the deployment publishes elsewhere or not at all.",
        security: NO_TOKEN_NEEDED,
        response: { 200: ManifestAnswer, ...problems },
      },
    },
    async (request, reply) => {
      if (!deps.publication) return refuseElsewhere(reply);
      const manifest = await deps.publication.manifest();
      const nowMs = systemClock.now();
      if (manifest === undefined) return refuseStale(reply, "nothing was published yet");
      if (nowMs >= manifest.asOfMs + freshness.lifetimeMs)
        return refuseStale(reply, `the newest publication is ${Math.round((nowMs - manifest.asOfMs) / 1_000)} s old`);
      if (manifest.asOfMs > nowMs + DEFAULT_CLOCK_BOUND_MS)
        return refuseStale(reply, "the newest publication is as of the future: a clock is wrong or was");
      const etag = `"${manifest.version}"`;
      const headers = { ...cacheHeaders(freshness, manifest.asOfMs, nowMs), etag };
      setHead(reply, Object.entries(headers).flat());
      if (isKnown(request.headers["if-none-match"], etag)) return reply.code(304).send();
      return reply.type(JSON_TYPE).send(manifest.json);
    },
  );
}

function objectRoute(server: FastifyInstance, { deps }: RouteContext): void {
  server.get<{ Params: Static<typeof PublicationParams> }>(
    "/v1/publication/:file",
    {
      config: { anyHost: true },
      onRequest: shareWithPages,
      schema: {
        tags: ["stock"],
        operationId: "getPublicationObject",
        summary: "An object that a manifest names",
        description:
          "Never changes under its name, and exists for at least two minutes after the last manifest that named it. Sent with gzip or Brotli to clients that accept it.",
        security: NO_TOKEN_NEEDED,
        params: PublicationParams,
        response: { 200: PublicationObject, ...problems },
      },
    },
    (request, reply) => {
      if (!deps.publication) return refuseElsewhere(reply);
      const [, name] = FILE.exec(request.params.file) ?? [];
      return name === undefined ? refuseUnknown(reply) : sendObject(name, request, reply, deps.publication);
    },
  );
}

async function sendObject(
  name: string,
  request: FastifyRequest,
  reply: FastifyReply,
  publication: NonNullable<RouteContext["deps"]["publication"]>,
): Promise<FastifyReply> {
  const encoding = preferredEncoding(request.headers["accept-encoding"]);
  const bytes = await publication.object(name, encoding);
  if (bytes === undefined) return refuseUnknown(reply);
  // The forms are different bytes, and a strong ETag is of one of them.
  const etag = encoding === "identity" ? `"${name}"` : `"${name}-${encoding}"`;
  reply.headers({ "cache-control": FOREVER, vary: "Accept-Encoding", etag });
  if (isKnown(request.headers["if-none-match"], etag)) return reply.code(304).send();
  if (encoding !== "identity") reply.header("content-encoding", encoding);
  return reply.type(JSON_TYPE).send(bytes);
}

const refuseElsewhere = (reply: FastifyReply): FastifyReply =>
  refuse(reply, "not_served_here", "this deployment publishes to another place or not at all (--publication)");

const refuseUnknown = (reply: FastifyReply): FastifyReply =>
  refuse(reply, "not_found", "no object of the publication has this name", { headers: { "cache-control": UNKNOWN } });

const refuseStale = (reply: FastifyReply, detail: string): FastifyReply =>
  refuse(reply, "stale_view", detail, { headers: retryAfter(1) });
