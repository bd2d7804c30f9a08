/**
 * The `shuiwei` command: thin. It reads a command's options, runs it, and turns what goes wrong into one clear line
 * and an exit status: 2 when the input or the options are at fault, 1 for anything else, 130 when the user stopped
 * it.
 */
import { type COMMAND_OPTIONS, describeOptions, OPERANDS, readCommandOptions } from "../app/config.js";
import { createLog, secretsOf } from "../app/logging.js";
import { EngineError, messageOf } from "../kernel/errors.js";
import { type OnTrouble, withoutSecrets } from "../kernel/logger.js";
import { explainRedisErrors } from "../stream/redis.js";
import { UNEXPECTED_STATUS, watchUnexpected } from "./unexpected-faults.js";

type CommandName = keyof typeof COMMAND_OPTIONS;

const ABOUT: Record<CommandName, string> = {
  demo: "a shop's traffic on this machine, with live screens: nothing to configure",
  serve: "the engine for a real shop",
  replay: "history from CSV files through the ledger and the jobs",
  audit: "proof that balances, log and jobs tell the same units; status 1 if they do not",
  backup: "the whole Redis of a deployment, one Redis or a Cluster, beside a running engine, into a folder",
  restore: "a backup to a Redis, a Cluster or a private folder where the deployment is not",
  upgrade: "the end of a rollout: which format is written, which processes are there, and to go over to the latest",
  tokens: "who may do what: tokens in a file, pairing browsers, ending their sessions",
  "dead-letters": "records that could not be processed: list them, show one, replay or remove them",
  contract: "which fields of collected payloads do not fit a contract, and the bytes they cost; status 1 if any",
  bench:
    "speed beside the usual way, in one run: ledger, http, pipeline; the hour of 18 June, as it was and as it is: 618; memory over many days of a shop: soak",
};

/** What the help says beside the options. */
const MORE: Partial<Record<CommandName, string>> = {
  "dead-letters": `  list              every letter: id, when, job, event or timer, key, tries, reason
  show ID…          all that is known: reason, event, the log entry's bytes
  replay ID… | all  the partition's worker tries them once more, each on the job that failed: at most once, and what that gives out
                    leaves with it. An event whose window is over by now counts as late. One that fails again stays, under a new id.
  remove ID… | all  for good
  history           who has had letters tried again or removed, the newest last

Letters are kept for 30 days. Status 1: a letter is not there, failed again, or was not tried in time.

`,
  backup: `Needs redis-cli, and a user that may replicate. Every file is one moment of its primary; those of a Cluster are seconds apart. Objects that
--objects-url keeps are not in it. What it holds concerns buyers: it can be read by its owner only.

`,
  restore: `Verifies every byte first, and never replaces a deployment. Start nothing on it before "shuiwei audit" has agreed. What was answered after the
backup is lost: warehouse and shop have to be compared with it (an order that they know and it does not can be placed again under its id).

`,
  upgrade: `Old and new processes may run at once. Replace them one by one; when all are new, "shuiwei upgrade --finish". Until then the new ones write what
the old ones can read, and going back is possible; afterwards the old release is refused. A process of the first release that serves is found
by the library that it calls; a frozen one is not.

`,
  tokens: `  add NAME     a new token with --role into --tokens-file; its secret is printed once
  list         the file's tokens: name, role, when it was made
  remove NAME  takes a token out of the file; serve knows within a second
  pair         a link and a QR code that pair one browser, once, within 10 minutes: asks the running serve
  sessions     browsers that are paired, by id
  revoke ID    ends a session

`,
  contract: `  check FILE  FILE has one payload a line (NDJSON), a JSON array of them, or one object

`,
};

const BAD_INPUT_STATUS = 2;
const STOPPED_STATUS = 130;
const INPUT_CODES = new Set(["bad_input", "bad_option"]);

/** The longest of the table's first column, and a blank. */
const USAGE_WIDTH = "dead-letters ACTION [ID…] ".length;

const usage = (): string =>
  `shuiwei (水位): live stock and orders\n\n${Object.entries(ABOUT)
    .map(([name, about]) => `  shuiwei ${(name + operandOf(name as CommandName)).padEnd(USAGE_WIDTH)} ${about}`)
    .join("\n")}\n\n  shuiwei COMMAND --help tells a command's options.\n`;

const commands: Record<CommandName, (args: string[], signal: AbortSignal) => Promise<void>> = {
  async demo(args, signal) {
    const { values } = readCommandOptions("demo", args);
    const { runDemo } = await import("../app/demo.js");
    await runDemo(values, signal);
  },
  async serve(args, signal) {
    const { values } = readCommandOptions("serve", args);
    const { runServe } = await import("../app/serve.js");
    await runServe(values, signal);
  },
  async replay(args, signal) {
    const { values, operands } = readCommandOptions("replay", args);
    const { runReplay } = await import("./replay.js");
    await runReplay(operands, values, signal);
  },
  async audit(args, signal) {
    const { values } = readCommandOptions("audit", args);
    const { runAudit } = await import("./audit.js");
    await runAudit(values, signal);
  },
  async backup(args) {
    const { values } = readCommandOptions("backup", args);
    const { runBackup } = await import("./backup.js");
    await runBackup(values);
  },
  async restore(args) {
    const { values, operands } = readCommandOptions("restore", args);
    const { runRestore } = await import("./backup.js");
    await runRestore(operands, values);
  },
  async upgrade(args) {
    const { values } = readCommandOptions("upgrade", args);
    const { runUpgrade } = await import("./upgrade.js");
    await runUpgrade(values);
  },
  async tokens(args, signal) {
    const { values, operands } = readCommandOptions("tokens", args);
    const { runTokens } = await import("./tokens.js");
    await runTokens(operands, values, signal);
  },
  async "dead-letters"(args, signal) {
    const { values, operands } = readCommandOptions("dead-letters", args);
    const { runDeadLetters } = await import("./dead-letters.js");
    await runDeadLetters(operands, values, signal);
  },
  async contract(args, signal) {
    const { values, operands } = readCommandOptions("contract", args);
    const { runContract } = await import("./contract.js");
    await runContract(operands, values, signal);
  },
  async bench(args, signal) {
    const { values, operands } = readCommandOptions("bench", args);
    const { runBench } = await import("./bench.js");
    await runBench(operands, values, signal);
  },
};

const operandOf = (name: CommandName): string => (OPERANDS[name] === undefined ? "" : ` ${OPERANDS[name]}`);

const isCommand = (name: string | undefined): name is CommandName =>
  name !== undefined && Object.hasOwn(commands, name);

/** Tells of unexpected faults in the command's log, which is made when there is one. */
function lastWords(name: CommandName, args: readonly string[]): OnTrouble {
  let onTrouble: OnTrouble | undefined;
  return (message, fields) => {
    onTrouble ??= createLog({ level: "error", secrets: secretsIn(name, args) }).onTrouble;
    onTrouble(message, fields);
  };
}

function secretsIn(name: CommandName, args: readonly string[]): string[] {
  try {
    return secretsOf(readCommandOptions(name, args).values);
  } catch {
    // The command itself tells what is wrong with its options.
    return [];
  }
}

async function main([name, ...args]: string[]): Promise<number> {
  if (name === undefined || name === "help" || name === "--help" || name === "-h") {
    process.stdout.write(usage());
    return 0;
  }
  if (!isCommand(name)) {
    process.stderr.write(`shuiwei: there is no command "${name}"\n\n${usage()}`);
    return BAD_INPUT_STATUS;
  }
  if (args.includes("--help") || args.includes("-h")) {
    process.stdout.write(
      `shuiwei ${name}${operandOf(name)} [options]: ${ABOUT[name]}\n\n${MORE[name] ?? ""}${describeOptions(name)}`,
    );
    return 0;
  }
  const stop = new AbortController();
  const hasFailed = watchUnexpected({
    stop: () => stop.abort(),
    tell: lastWords(name, args),
    exit: (status) => process.exit(status),
  });
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      // The second time the user means it: nothing more is drained.
      if (stop.signal.aborted) process.exit(hasFailed() ? UNEXPECTED_STATUS : STOPPED_STATUS);
      stop.abort(signal);
    });
  }
  try {
    await commands[name](args, stop.signal);
    return hasFailed() ? UNEXPECTED_STATUS : 0;
  } catch (thrown) {
    if (stop.signal.aborted && !hasFailed()) return STOPPED_STATUS;
    process.stderr.write(`shuiwei ${name}: ${withoutSecrets(explainRedisErrors(messageOf(thrown)))}\n`);
    return thrown instanceof EngineError && INPUT_CODES.has(thrown.code) ? BAD_INPUT_STATUS : 1;
  }
}

process.exitCode = await main(process.argv.slice(2));
