/**
 * The web pages at / (the wall), /desk, /phone and in the demo /shop, and the API's documentation at /docs, with their
 * security headers. Without a session a page is answered by the page for pairing; the module for the shop's own pages
 * needs none. All have limits of their own, so that clients who request them and do not read the answers never use the
 * capacity that orders need.
 */
import { existsSync } from "node:fs";
import fastifyStatic from "@fastify/static";
import fastifySwaggerUi from "@fastify/swagger-ui";
import type { FastifyInstance, onRequestHookHandler } from "fastify";
import { ConcurrencyLimit, pairingPage, problemOf, sendProblem } from "../../connectors/http/index.js";

const MAX_PAGES = 256;
/** Everybody may read the documentation, so it has a limit beside that of the pages. */
const MAX_DOCS = 64;

/** A page may load and connect only here, and no other page may frame it. */
const PAGE_POLICY =
  "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/** The documentation's own script sets styles inline. */
const DOCS_POLICY =
  "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const PAGE_HEADERS = {
  "content-security-policy": PAGE_POLICY,
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "permissions-policy": "camera=(), geolocation=(), microphone=()",
  "x-frame-options": "DENY",
};
const PAGE_PATH = /^\/(index\.html|desk(\.html)?|phone(\.html)?)?(\?|$)/;
/** Browsers fetch these without the session's cookie: what installs the phone page, and its service worker. */
const INSTALLATION = /^\/(phone\.webmanifest|phone-sw\.js|favicon\.svg|icons\/[a-z0-9-]+\.png)(\?|$)/;
/** For the pages of shops, which are elsewhere: everybody gets it, under any name of this server. */
const STOCK_MODULE = "/shuiwei-stock.js";
const MODULE_PATH = /^\/shuiwei-stock\.js(\?|$)/;
const MODULE_HEADERS = {
  "access-control-allow-origin": "*",
  "cross-origin-resource-policy": "cross-origin",
  "cache-control": "public, max-age=300",
};
/** Built files carry a hash of their content in their name. */
const HASHED_FILE = /[\\/]assets[\\/][^\\/]+-[\w-]{8,}\.\w+$/;

export interface PageOptions {
  /** Folder of the built pages; without it, or when it does not exist, only the documentation is served. */
  readonly webRoot?: string;
  /** Whether the demo's storefront is served. */
  readonly storefrontPage?: boolean;
}

export async function registerPages(
  scope: FastifyInstance,
  { webRoot, storefrontPage = false }: PageOptions,
): Promise<void> {
  await scope.register(async (docs) => {
    docs.addHook("onRequest", new ConcurrencyLimit(MAX_DOCS, "pages of the documentation").guard);
    await docs.register(fastifySwaggerUi, {
      routePrefix: "/docs",
      staticCSP: DOCS_POLICY,
      uiConfig: { validatorUrl: null },
    });
  });
  if (webRoot === undefined || !existsSync(webRoot)) return;
  await scope.register(async (pages) => {
    if (!scope.access.isOpen("screens")) pages.addHook("onRequest", sessionGuard(scope));
    // After the guard: a refused request does not count.
    pages.addHook("onRequest", new ConcurrencyLimit(MAX_PAGES, "pages").guard);
    await pages.register(fastifyStatic, {
      root: webRoot,
      dotfiles: "ignore",
      allowedPath: (path) => storefrontPage || !path.startsWith("/shop."),
      cacheControl: false,
      setHeaders: (reply, path) => {
        const cacheControl = HASHED_FILE.test(path) ? "public, max-age=31536000, immutable" : "no-cache";
        reply.headers(
          path.endsWith(STOCK_MODULE) ? MODULE_HEADERS : { ...PAGE_HEADERS, "cache-control": cacheControl },
        );
      },
    });
    pages.get(STOCK_MODULE, { schema: { hide: true }, config: { anyHost: true } }, (_request, reply) =>
      reply.sendFile(STOCK_MODULE.slice(1)),
    );
    for (const page of ["desk", "phone", ...(storefrontPage ? ["shop"] : [])])
      pages.get(`/${page}`, { schema: { hide: true } }, (_request, reply) => reply.sendFile(`${page}.html`));
  });
}

/**
 * Serves pages to callers with the role read; a browser without a session gets the page for pairing. What a browser
 * needs to install the phone page has nothing of the shop and is for everybody.
 */
function sessionGuard({ access }: FastifyInstance): onRequestHookHandler {
  return (request, reply, done) => {
    if (INSTALLATION.test(request.url) || MODULE_PATH.test(request.url)) return done();
    access.authenticate(request.raw).then((caller) => {
      if (!("code" in caller)) done();
      else if (caller.code === "unauthorized" && PAGE_PATH.test(request.url))
        reply.code(401).headers(pairingPage.headers).send(pairingPage.html);
      else sendProblem(reply, problemOf(caller.code, caller.detail), caller.headers);
    }, done);
  };
}
