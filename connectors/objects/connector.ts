/** Object storage as a line of the table of connectors. */
import { defineConnector } from "../connector.js";
import { objectsOptions } from "./options.js";

export const objectsConnector = defineConnector({
  name: "objects",
  options: objectsOptions,
  async objectStore(values, dir) {
    const { openObjectStore } = await import("./index.js");
    return openObjectStore({ ...values, dir });
  },
});
