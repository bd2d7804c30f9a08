/**
 * The option of CDNs whose copies are purged: the file that names them. It is given to every process of a deployment:
 * those that run jobs purge, those that serve send the tags that a purge names.
 */
import { defineOptions } from "../../engine/kernel/options.js";

export const purgesOptions = defineOptions({
  cdn: {
    type: "string",
    about:
      "configuration file of CDNs whose copies are purged when a SKU sells out or is back (connectors/purges/README.md)",
  },
});
