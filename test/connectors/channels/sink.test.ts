/** The line of a channel in the table of connectors: when its sink is opened. */
import { expect, it } from "vitest";
import { noChannels } from "../../../connectors/channels/configuration.js";
import type { ConnectorParts } from "../../../connectors/connector.js";
import { webhookConnector } from "../../../connectors/webhook/connector.js";
import { assert } from "../../../engine/kernel/errors.js";

const [sink] = webhookConnector.sinks ?? [];
assert(sink, "the connector has a sink");

it("is opened only where a configuration file is named", () => {
  expect(sink.isConfigured({ alerts: undefined, publicUrl: "https://stock.example" })).toBe(false);
  expect(sink.isConfigured({ alerts: "alerts.json", publicUrl: undefined })).toBe(true);
});

it("is not opened without an endpoint of its channel", async () => {
  const parts = { channels: noChannels(undefined) } as ConnectorParts;
  expect(await sink.open({ alerts: "alerts.json" }, parts)).toBeUndefined();
});
