/**
 * `shuiwei edge`: looks at a CDN or cache from outside. `check` reads through it for some time and says whether it
 * keeps stock answers within 15 s, and which rule is likely at fault. Its work is in edge-check.ts and connectors/cdn.
 */
import { badInput } from "../kernel/errors.js";
import { defineCommand } from "./command.js";
import { edgeOptions } from "./edge-options.js";

const OP = "edge";

export const command = defineCommand({
  name: "edge",
  about: "a CDN or cache in front of the engine, from outside: check whether it keeps stock answers within 15 s",
  operands: "ACTION URL",
  more: `  check URL    reads a stock answer through the edge, again and again: body age, headers, 304, Age, query, collapsed requests, purge, outage

URL is a stock answer, such as https://shop.example/v1/stock/TEA-01, or a site that serves the publication.
Each finding has the rule that is likely behind it, and what to change.

Status 1: a finding.

`,
  options: edgeOptions,
  async run({ values, operands: [action, ...urls], signal }) {
    const [url, ...more] = urls;
    if (action !== "check" || url === undefined || more.length > 0)
      throw badInput(OP, "ACTION URL", "must be check and one address");
    const { runCheck } = await import("./edge-check.js");
    await runCheck(url, values, signal);
  },
});
