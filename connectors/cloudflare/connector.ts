/** Cloudflare as a line of the table of connectors: each CDN of the vendor `cloudflare` is a zone. */
import { purgeConnector } from "../purges/sink.js";

export const cloudflareConnector = purgeConnector("cloudflare", async () => (await import("./kind.js")).cloudflareKind);
