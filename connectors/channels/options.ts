/**
 * The options of alerts that leave the engine: the file that names routes and endpoints, and the address under which
 * people open the pages. Both are given to every process of a deployment.
 */
import { defineOptions } from "../../engine/kernel/options.js";

export const channelsOptions = defineOptions({
  alerts: {
    type: "string",
    about:
      "configuration file of alert routes and channels (connectors/channels/README.md); without it alerts reach people's devices only",
  },
  publicUrl: {
    type: "string",
    pattern: /https?:\/\/[^\s/?#@]+(\/[^\s?#]*)?/,
    expects: "http:// or https:// with a host, such as https://stock.example",
    about: "where people reach the pages of this deployment: links in messages lead there",
  },
});
