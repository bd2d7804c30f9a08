/** Object storage as a line of the table of connectors: of objects, and of publications. */
import { defineConnector } from "../connector.js";
import { objectsOptions } from "./options.js";

export const objectsConnector = defineConnector({
  name: "objects",
  options: objectsOptions,
  async objectStore(values, dir) {
    const { openObjectStore } = await import("./index.js");
    return openObjectStore({ ...values, dir });
  },
  async publicationStore(values, url) {
    const { openPublicationStore } = await import("./index.js");
    return openPublicationStore(url, values);
  },
});
