/** Feishu's bots as a line of the table of connectors: each endpoint of the channel `feishu` is a group. */
import { channelConnector } from "../channels/sink.js";

export const feishuConnector = channelConnector("feishu", async () => (await import("./kind.js")).feishuKind);
