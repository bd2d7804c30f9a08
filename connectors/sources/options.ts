/** The option of the sources that are pulled: everything else is in their configuration file. */
import { defineOptions } from "../../engine/kernel/options.js";

export const sourcesOptions = defineOptions({
  sources: {
    type: "string",
    about:
      "configuration file of the sources of stock that are pulled (connectors/sources/README.md); without it none are",
  },
});
