/** Limits of the module: what it asks in one request, and what it remembers. */

/** The server's limit of SKUs in a request. */
export const MAX_SKUS = 100;
/** What every cache and proxy accepts as a URL. */
export const MAX_CHARACTERS = 4_000;
/** SKUs, of a page that is open for days and shows ever other goods. Past it the memory begins anew. */
export const MAX_REMEMBERED = 10_000;
