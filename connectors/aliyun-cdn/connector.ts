/** Alibaba Cloud as a line of the table of connectors: each CDN of the vendor `aliyun-cdn` is an account. */
import { purgeConnector } from "../purges/sink.js";

export const aliyunCdnConnector = purgeConnector("aliyun-cdn", async () => (await import("./kind.js")).aliyunCdnKind);
