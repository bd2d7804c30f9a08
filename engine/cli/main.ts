/**
 * The `shuiwei` program: it finds the command, reads its options and runs it. An error becomes one clear line and an
 * exit status: 2 when the input or the options are at fault, 1 for anything else, 130 when the user stopped it.
 */
import { readCommandLine } from "../app/config.js";
import { createLog, secretsOf } from "../app/logging.js";
import { releaseVersion } from "../app/release.js";
import { EngineError, messageOf } from "../kernel/errors.js";
import { type OnTrouble, withoutSecrets } from "../kernel/logger.js";
import { type OptionTable, renderOptions } from "../kernel/options.js";
import { explainRedisErrors } from "../stream/redis-errors.js";
import type { Command } from "./command.js";
import { COMMANDS } from "./commands.js";
import { UNEXPECTED_STATUS, watchUnexpected } from "./unexpected-faults.js";

const BAD_INPUT_STATUS = 2;
const STOPPED_STATUS = 130;
const INPUT_CODES = new Set(["bad_input", "bad_option"]);

const ALL_OPTIONS: OptionTable = Object.assign({}, ...COMMANDS.map(({ options }) => options));

const callOf = ({ name, operands }: Command): string => (operands === undefined ? name : `${name} ${operands}`);

function usage(): string {
  const rows = [
    ...COMMANDS.map((command) => [callOf(command), command.about] as const),
    ["version", "print the version"] as const,
  ];
  const width = Math.max(...rows.map(([call]) => call.length));
  const lines = rows.map(([call, about]) => `  shuiwei ${call.padEnd(width)}  ${about}`);
  return `shuiwei (水位): live stock and orders\n\n${lines.join("\n")}\n\n"shuiwei COMMAND --help" lists a command's options.\n`;
}

const helpOf = (command: Command): string =>
  `shuiwei ${callOf(command)} [options]: ${command.about}\n\n${command.more ?? ""}${renderOptions(command.options)}`;

/** The log for unexpected faults; it is made only when there is one. */
function faultLog(command: Command, args: readonly string[]): OnTrouble {
  let onTrouble: OnTrouble | undefined;
  return (message, fields) => {
    onTrouble ??= createLog({ level: "error", secrets: secretsIn(command, args) }).onTrouble;
    onTrouble(message, fields);
  };
}

function secretsIn(command: Command, args: readonly string[]): string[] {
  try {
    return secretsOf(readCommandLine(command, args, ALL_OPTIONS).values);
  } catch {
    // The command itself reports what is wrong with its options.
    return [];
  }
}

async function main([name = "help", ...args]: string[]): Promise<number> {
  if (["help", "--help", "-h"].includes(name)) {
    process.stdout.write(usage());
    return 0;
  }
  if (["version", "--version"].includes(name)) {
    process.stdout.write(`${releaseVersion()}\n`);
    return 0;
  }
  const command = COMMANDS.find((each) => each.name === name);
  if (command === undefined) {
    process.stderr.write(`shuiwei: there is no command "${name}"\n\n${usage()}`);
    return BAD_INPUT_STATUS;
  }
  if (args.includes("--help") || args.includes("-h")) {
    process.stdout.write(helpOf(command));
    return 0;
  }
  return runCommand(command, args);
}

async function runCommand(command: Command, args: readonly string[]): Promise<number> {
  const stop = new AbortController();
  const hasFailed = watchUnexpected({
    stop: () => stop.abort(),
    report: faultLog(command, args),
    exit: (status) => process.exit(status),
  });
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      // A second signal ends the process at once: nothing more is drained.
      if (stop.signal.aborted) process.exit(hasFailed() ? UNEXPECTED_STATUS : STOPPED_STATUS);
      stop.abort(signal);
    });
  }
  try {
    const { values, operands } = readCommandLine(command, args, ALL_OPTIONS);
    await command.run({ values, operands, signal: stop.signal });
    return hasFailed() ? UNEXPECTED_STATUS : 0;
  } catch (thrown) {
    if (stop.signal.aborted && !hasFailed()) return STOPPED_STATUS;
    process.stderr.write(`shuiwei ${command.name}: ${withoutSecrets(explainRedisErrors(messageOf(thrown)))}\n`);
    return thrown instanceof EngineError && INPUT_CODES.has(thrown.code) ? BAD_INPUT_STATUS : 1;
  }
}

process.exitCode = await main(process.argv.slice(2));
