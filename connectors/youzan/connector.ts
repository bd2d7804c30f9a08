/** Youzan as a line of the table of connectors: a kind of source of stock. */
import { defineConnector } from "../connector.js";

export const youzanConnector = defineConnector({
  name: "youzan",
  async sourceKinds() {
    const { youzanKind } = await import("./kind.js");
    return [youzanKind];
  },
});
