/**
 * The page's files in the browser's cache, so that it opens without a network. The build gives their list and a
 * version; another version has its own cache and replaces the earlier one as a whole. The page itself comes from the
 * network when there is one, because the server refuses it to a browser that is not paired any more.
 */

/** Filled in by the build. */
declare const __PHONE_FILES__: { version: string; files: readonly string[] };

const { version, files } = __PHONE_FILES__;
const PREFIX = "phone-files-";
const NAME = PREFIX + version;
const PAGE = "/phone";
/** On a slow network the stored page is shown after this time. */
const NETWORK_MS = 4_000;

const known = new Set(files);

/** Stores all of them, or none. */
export async function storeFiles(caches: CacheStorage): Promise<void> {
  const cache = await caches.open(NAME);
  await cache.addAll([new Request(PAGE, { cache: "reload" }), ...files]);
}

export async function deleteOldFiles(caches: CacheStorage): Promise<void> {
  const names = await caches.keys();
  await Promise.all(
    names.filter((name) => name.startsWith(PREFIX) && name !== NAME).map((name) => caches.delete(name)),
  );
}

/** The answer to a request of the page; undefined for what the worker does not handle. */
export function fileOf(request: Request, caches: CacheStorage): Promise<Response> | undefined {
  if (request.method !== "GET") return undefined;
  const { origin, pathname } = new URL(request.url);
  if (origin !== location.origin) return undefined;
  if (request.mode === "navigate" && pathname === PAGE) return pageOf(request, caches);
  return known.has(pathname) ? storedOf(pathname, request, caches) : undefined;
}

async function pageOf(request: Request, caches: CacheStorage): Promise<Response> {
  try {
    return await fetch(request, { signal: AbortSignal.timeout(NETWORK_MS) });
  } catch (error) {
    const stored = await (await caches.open(NAME)).match(PAGE);
    if (stored === undefined) throw error;
    return stored;
  }
}

async function storedOf(path: string, request: Request, caches: CacheStorage): Promise<Response> {
  return (await (await caches.open(NAME)).match(path)) ?? fetch(request);
}
