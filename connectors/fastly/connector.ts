/** Fastly as a line of the table of connectors: each CDN of the vendor `fastly` is a service. */
import { purgeConnector } from "../purges/sink.js";

export const fastlyConnector = purgeConnector("fastly", async () => (await import("./kind.js")).fastlyKind);
