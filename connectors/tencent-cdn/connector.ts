/** Tencent Cloud as a line of the table of connectors: each CDN of the vendor `tencent-cdn` is an account. */
import { purgeConnector } from "../purges/sink.js";

export const tencentCdnConnector = purgeConnector(
  "tencent-cdn",
  async () => (await import("./kind.js")).tencentCdnKind,
);
