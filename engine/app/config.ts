/**
 * The options of `serve` and `demo`, joined from the folders' tables, and the only reader of the environment. Every
 * fault is found before anything starts, and all of them are listed at once.
 */

import type { Connector } from "../../connectors/connector.js";
import { httpOptions } from "../../connectors/http/options.js";
import { CONNECTORS } from "../../connectors/index.js";
import { historyOptions } from "../history/options.js";
import { consistencyOptions } from "../jobs/consistency/options.js";
import { defineOptions, joinOptions, type OptionReading, type OptionTable, readOptions } from "../kernel/options.js";
import { orderOptions } from "../orders/options.js";
import { publicationOptions } from "../publication/options.js";
import { reconciliationOptions } from "../reconciliation/options.js";
import { redisOptions } from "../redis/options.js";
import { stockOptions } from "../stock/options.js";
import { streamOptions } from "../stream/options.js";
import { intakeOptions } from "./intake.js";
import { loggingOptions } from "./logging.js";

const { partitions } = streamOptions;
const { port } = httpOptions;
const { dir, appendfsync } = redisOptions;

const partOptions = joinOptions(
  httpOptions,
  publicationOptions,
  redisOptions,
  streamOptions,
  stockOptions,
  orderOptions,
  reconciliationOptions,
  historyOptions,
  consistencyOptions,
  intakeOptions,
);
const processOptions = joinOptions(
  loggingOptions,
  defineOptions({
    roles: {
      type: "list",
      choices: ["api", "worker"],
      default: ["api", "worker"],
      about: "what this process does: api takes commands and serves, worker runs the jobs",
    },
    acceptSettings: {
      type: "boolean",
      about:
        "run the deployment with this process's zone, deadlines and the like from now on; no other process may run",
    },
  }),
);

/** The options of `serve` itself. Those of connectors are read by the connectors. */
export type ServeOptions = typeof partOptions & typeof processOptions;

/** All options of `serve` with these connectors. */
export const serveOptionsWith = (connectors: readonly Connector[]): ServeOptions => {
  const tables = connectors.map(({ options = {} }) => options);
  return joinOptions(partOptions, ...tables, processOptions) as unknown as ServeOptions;
};

export const serveOptions = serveOptionsWith(CONNECTORS);

export const demoOptions = joinOptions(
  { port, dir, appendfsync, partitions } satisfies OptionTable,
  loggingOptions,
  defineOptions({
    seed: { type: "integer", default: 618, min: 0, max: 2 ** 31 - 1, about: "the same seed gives the same traffic" },
    speed: { type: "number", default: 60, min: 1, max: 600, unit: "times", about: "how fast the shop's clock runs" },
  }),
);

/** How a command is read: its options, and what its operands are. */
export interface CommandLine<Table extends OptionTable> {
  readonly options: Table;
  readonly operands?: string;
}

/**
 * Reads a command's options from its arguments and the environment.
 * @param elsewhere options of other commands: their variables may be set, too
 */
export const readCommandLine = <Table extends OptionTable>(
  { options, operands }: CommandLine<Table>,
  args: readonly string[],
  elsewhere: OptionTable,
): OptionReading<Table> =>
  readOptions(options, { env: process.env, args, elsewhere, ...(operands === undefined ? {} : { operands }) });

/** A variable of the environment, which a configuration file names for a secret. */
export const environmentVariable = (name: string): string | undefined => process.env[name];

/** The environment for a program that is started, with more in it. */
export const environmentWith = (more: Record<string, string>): Record<string, string | undefined> => ({
  ...process.env,
  ...more,
});
