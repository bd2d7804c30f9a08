/**
 * The sources of stock that are pulled, as a line of the table of connectors: its option names the configuration file.
 * Every process checks the file at its start; those that run jobs pull.
 */
import { defineConnector } from "../connector.js";
import { sourcesOptions } from "./options.js";

export const sourcesConnector = defineConnector({
  name: "sources",
  options: sourcesOptions,
  async sourceKinds() {
    const [{ httpKind }, { fileKind }] = await Promise.all([import("./http-kind.js"), import("./file-kind.js")]);
    return [httpKind, fileKind];
  },
  async open({ sources }, parts) {
    if (sources === undefined) return undefined;
    const { openSources } = await import("./index.js");
    return openSources(sources, parts);
  },
});
