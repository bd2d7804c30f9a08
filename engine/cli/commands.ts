/** The commands of `shuiwei`, in the order of the help. A new command is a file and its line here. */
import { command as alerts } from "./alerts.js";
import { command as audit } from "./audit.js";
import { command as backup } from "./backup.js";
import { command as bench } from "./bench.js";
import type { Command } from "./command.js";
import { command as contract } from "./contract.js";
import { command as dashboards } from "./dashboards.js";
import { command as deadLetters } from "./dead-letters.js";
import { command as demo } from "./demo.js";
import { command as edge } from "./edge.js";
import { command as explain } from "./explain.js";
import { command as replay } from "./replay.js";
import { command as restore } from "./restore.js";
import { command as sandbox } from "./sandbox.js";
import { command as serve } from "./serve.js";
import { command as snapshots } from "./snapshots.js";
import { command as sources } from "./sources.js";
import { command as tokens } from "./tokens.js";
import { command as upgrade } from "./upgrade.js";

export const COMMANDS: readonly Command[] = [
  demo,
  serve,
  replay,
  audit,
  explain,
  backup,
  restore,
  upgrade,
  tokens,
  deadLetters,
  snapshots,
  contract,
  sources,
  alerts,
  edge,
  sandbox,
  dashboards,
  bench,
];
