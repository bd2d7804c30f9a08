/**
 * WeCom as lines of the table of connectors: robots of groups, and an application that reaches people. With a callback
 * in its configuration the application's connector also serves the address that WeCom calls when somebody presses a
 * card's button.
 */
import { channelConnector } from "../channels/sink.js";
import { type Connector, defineConnector } from "../connector.js";
import type { WecomSettings } from "./application-kind.js";

const CHANNEL = "wecom";

export const wecomConnector: Connector = defineConnector({
  ...channelConnector(CHANNEL, async () => (await import("./application-kind.js")).wecomKind),
  async open(_values, parts) {
    const [endpoint] = parts.channels.connections.get(CHANNEL) ?? [];
    const settings = endpoint?.settings as WecomSettings | undefined;
    if (!settings?.callback) return undefined;
    const { openCallback } = await import("./callback-routes.js");
    return openCallback(settings, settings.callback, parts);
  },
});

export const wecomRobotConnector = channelConnector(
  "wecom-robot",
  async () => (await import("./robot-kind.js")).wecomRobotKind,
);
