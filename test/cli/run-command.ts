/** Runs a command in this process, as `shuiwei` would with these options and operands. */
import type { Command } from "../../engine/cli/command.js";
import type { OptionTable, OptionValues } from "../../engine/kernel/options.js";

export const runCommand = <Table extends OptionTable>(
  command: Command<Table>,
  values: OptionValues<Table>,
  operands: readonly string[] = [],
): Promise<void> => command.run({ values, operands, signal: new AbortController().signal });

/** Values of the object storage's options when none is given. */
export const NO_OBJECTS = {
  objectsUrl: undefined,
  objectsKeyId: undefined,
  objectsSecret: undefined,
  objectsTimeoutMs: 5_000,
};
