/**
 * `shuiwei edge`: looks at a CDN or cache from outside. `check` reads through it for some time and says whether it
 * keeps stock answers within 15 s, and which rule is likely at fault. `watch` does not end, and keeps the age of bodies
 * as metrics. Their work is in edge-check.ts, edge-watch.ts and connectors/cdn.
 */
import { badInput } from "../kernel/errors.js";
import { defineCommand } from "./command.js";
import { edgeOptions } from "./edge-options.js";

const OP = "edge";

export const command = defineCommand({
  name: "edge",
  about:
    "a CDN or cache in front of the engine, from outside: check whether it keeps stock answers within 15 s, watch it",
  operands: "ACTION URL…",
  more: `  check URL            reads a stock answer through the edge, again and again: body age, headers, 304, Age, query, collapsed requests, purge, outage
  watch [NAME=]URL …   reads them for ever: ages and how fast the objective's budget is spent as metrics, a line when it begins and ends

URL is a stock answer, such as https://shop.example/v1/stock/TEA-01. check also takes a site that serves the publication, watch also the publication's manifest.
Each finding of check has the rule that is likely behind it, and what to change.

Status 1: a finding.

`,
  options: edgeOptions,
  async run({ values, operands: [action, ...urls], signal }) {
    const [url, ...more] = urls;
    if (action === "check" && url !== undefined && more.length === 0) {
      const { runCheck } = await import("./edge-check.js");
      await runCheck(url, values, signal);
    } else if (action === "watch" && url !== undefined) {
      const { runWatch } = await import("./edge-watch.js");
      await runWatch(urls, values, signal);
    } else throw badInput(OP, "ACTION URL…", "must be check and one address, or watch and one or more");
  },
});
