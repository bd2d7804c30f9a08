/**
 * Prometheus Alertmanager as a line of the table of connectors: each endpoint of the channel `alertmanager` is one
 * Alertmanager.
 */
import { channelConnector } from "../channels/sink.js";

export const alertmanagerConnector = channelConnector(
  "alertmanager",
  async () => (await import("./kind.js")).alertmanagerKind,
);
