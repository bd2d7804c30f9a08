/** Wangdian as a line of the table of connectors: a kind of source of stock. */
import { defineConnector } from "../connector.js";

export const wangdianConnector = defineConnector({
  name: "wangdian",
  async sourceKinds() {
    const { wangdianKind } = await import("./kind.js");
    return [wangdianKind];
  },
});
