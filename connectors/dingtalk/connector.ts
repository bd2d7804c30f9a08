/** DingTalk's robots as a line of the table of connectors: each endpoint of the channel `dingtalk` is a group. */
import { channelConnector } from "../channels/sink.js";

export const dingTalkConnector = channelConnector("dingtalk", async () => (await import("./kind.js")).dingTalkKind);
