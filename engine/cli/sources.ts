/**
 * `shuiwei sources`: explains the faults of a configuration of sources and shows what its rows become, pulls without
 * storing anything, asks the running deployment for a pull, and lists how the pulls went. Its work is in
 * source-commands.ts.
 */
import { serveOptions } from "../app/config.js";
import { joinOptions } from "../kernel/options.js";
import { defineCommand } from "./command.js";
import { deploymentOptions } from "./deployment-options.js";
import { sourcesCommandOptions } from "./source-options.js";

const { zone } = serveOptions;

export const command = defineCommand({
  name: "sources",
  about: "sources of stock: check a configuration file, pull once, list what was pulled",
  operands: "ACTION [FILE]",
  more: `  check FILE                explains each fault with its line, and shows three mapped rows of each source; --offline asks no source
  run FILE --once --dry-run pulls everything, and says what would be stored; nothing is stored, and no rows are acknowledged to a source
  run --once                asks the running deployment to pull now, and waits until it has
  list                      each source: last success, lag, rows, faults

Status 1: a fault was found, or a pull failed.

`,
  options: joinOptions(deploymentOptions, { zone }, sourcesCommandOptions),
  async run({ values, operands, signal }) {
    const { runSources } = await import("./source-commands.js");
    await runSources(operands, values, signal);
  },
});
