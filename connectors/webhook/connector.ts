/**
 * Signed webhooks as a line of the table of connectors: each endpoint of the channel `webhook` gets messages as JSON.
 */
import { channelConnector } from "../channels/sink.js";

export const webhookConnector = channelConnector("webhook", async () => (await import("./kind.js")).webhookKind);
