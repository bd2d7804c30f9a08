/** Oracle E-Business Suite as a line of the table of connectors: a kind of source of stock. */
import { defineConnector } from "../connector.js";

export const oracleEbsConnector = defineConnector({
  name: "oracle-ebs",
  async sourceKinds() {
    const { oracleEbsKind } = await import("./kind.js");
    return [oracleEbsKind];
  },
});
