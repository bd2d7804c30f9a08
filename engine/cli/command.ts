/**
 * What a command of `shuiwei` is: its help, its options and what it runs. A command file is loaded at every start, so
 * it imports what is slow to load (a server, a job, a validator) only inside `run`.
 */
import type { OptionTable, OptionValues } from "../kernel/options.js";

export interface CommandInput<Table extends OptionTable> {
  readonly values: OptionValues<Table>;
  /** Arguments that are no options. */
  readonly operands: readonly string[];
  /** Aborted when the user stops the command; the reason is the signal's name. */
  readonly signal: AbortSignal;
}

export interface Command<Table extends OptionTable = OptionTable> {
  readonly name: string;
  /** One line of help. */
  readonly about: string;
  /** What the operands are, for example `FILE`; left out: none are accepted. */
  readonly operands?: string;
  /** Help between the first line and the options; ends with an empty line. */
  readonly more?: string;
  readonly options: Table;
  /**
   * @throws EngineError `bad_input` or `bad_option` for a mistake of the user (status 2); any other error is status 1
   */
  run(input: CommandInput<Table>): Promise<void>;
}

/** Infers the options' types for `run`. */
export const defineCommand = <const Table extends OptionTable>(command: Command<Table>): Command<Table> => command;
