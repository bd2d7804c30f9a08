/**
 * The actions of `shuiwei dead-letters`: list, show, replay, remove and the history of the last two. It changes no
 * state of a job.
 */
import { type Deployment, withDeployment } from "../app/deployment.js";
import { PRODUCT_TABLES, type Tables } from "../app/tables.js";
import { badInput } from "../kernel/errors.js";
import { readDeadLetters } from "../stream/dead-letter.js";
import { newestDeadLetterActions } from "../stream/dead-letter-actions.js";
import type { DeadLetterOptions } from "./dead-letter-options.js";
import { type Outcome, remove, replay } from "./dead-letter-replay.js";
import {
  deadLettersOf,
  type Group,
  groupsOf,
  idOf,
  OP,
  partitionsOf,
  type Selection,
  selectionOf,
} from "./dead-letter-selection.js";
import { detailOf, HEADING, pageOf, rowOf, summaryOf, timeOf } from "./dead-letter-text.js";
import { escapeControls, notDone, printLine } from "./text.js";

const ACTIONS = ["list", "show", "replay", "remove", "history"] as const;
/** Actions shown of each partition. */
const HISTORY_SHOWN = 1_000;
const IDS_SHOWN = 5;

export async function runDeadLetters(
  operands: readonly string[],
  options: DeadLetterOptions,
  signal: AbortSignal,
  tables: Tables = PRODUCT_TABLES,
): Promise<void> {
  const [action, ...ids] = operands;
  if (!ACTIONS.some((known) => known === action)) throw badInput(OP, "ACTION", `must be one of ${ACTIONS.join(", ")}`);
  const isOverview = action === "list" || action === "history";
  if (isOverview && ids.length > 0) throw badInput(OP, "ID", `${action} takes none; use show for one dead letter`);
  if (!isOverview && ids.length === 0) throw badInput(OP, "ID", `name the dead letters to ${action}`);
  const selection = selectionOf(options, tables);
  await withDeployment(OP, options, async (reached) => {
    if (action === "list") return list(reached, selection);
    if (action === "history") return history(reached, selection);
    const groups = await groupsOf(reached, ids, selection);
    if (action === "show") return show(reached, groups, selection);
    report(
      action === "replay" ? await replay(reached, groups, selection, signal) : await remove(reached, groups, selection),
      selection,
    );
  });
}

async function list(reached: Deployment, selection: Selection): Promise<void> {
  let deadLetters = 0;
  for (const { partition, keys } of partitionsOf(reached, selection)) {
    for await (const deadLetter of deadLettersOf(reached, keys, selection)) {
      if (deadLetters++ === 0 && !selection.json) printLine(HEADING);
      printLine(
        selection.json ? JSON.stringify(summaryOf(partition, deadLetter)) : rowOf(partition, deadLetter, selection),
      );
    }
  }
  if (!selection.json) printLine(deadLetters === 0 ? "no dead letters" : `${deadLetters} dead letters`);
}

/** What the engine removed to make room: its record has the ids of the first and the last only. */
function droppedText(ids: readonly string[]): string {
  const [first, last = first] = ids;
  if (first === undefined) return "new ones of emits that waited too long, which were not stored";
  return `those of emits that waited too long, from ${first} to ${last}`;
}

async function history(reached: Deployment, selection: Selection): Promise<void> {
  const lines: { atMs: number; line: string }[] = [];
  for (const { partition, keys } of partitionsOf(reached, selection)) {
    for (const { atMs, action, actor, deadLetters } of await newestDeadLetterActions(
      reached.redis,
      keys,
      HISTORY_SHOWN,
    )) {
      const ids = deadLetters.map((id) => idOf(partition, id));
      const entry = { when: timeOf(atMs), actor, action, deadLetters: ids };
      const several = ids.length > IDS_SHOWN ? `${ids.length} dead letters from ${ids[0]} on` : ids.join(", ");
      const shown = action === "drop" ? droppedText(ids) : several;
      lines.push({
        atMs,
        line: selection.json ? JSON.stringify(entry) : `${entry.when}  ${escapeControls(actor)}  ${action}  ${shown}`,
      });
    }
  }
  for (const { line } of lines.sort((a, b) => a.atMs - b.atMs)) printLine(line);
  if (!selection.json && lines.length === 0) printLine("no dead letter has been replayed or removed");
}

async function show({ redis }: Deployment, groups: Group[], selection: Selection): Promise<void> {
  const missing: string[] = [];
  for (const { partition, keys, ids } of groups) {
    for (const id of ids) {
      const [deadLetter] = await readDeadLetters(redis, keys, [id]);
      if (!deadLetter) missing.push(idOf(partition, id));
      else
        printLine(
          selection.json
            ? JSON.stringify(detailOf(partition, deadLetter, selection))
            : pageOf(partition, deadLetter, selection),
        );
    }
  }
  if (missing.length > 0) throw notDone(OP, `${missing.join(", ")}: there is no such dead letter`);
}

const WORDS: Record<Outcome["outcome"], string> = {
  replayed: "replayed",
  failed: "failed again",
  waiting: "not done yet",
  asked: "requested",
  removed: "removed",
  missing: "does not exist",
};
const DONE: readonly Outcome["outcome"][] = ["replayed", "asked", "removed"];

/** @throws EngineError with a summary when not everything was done */
function report(outcomes: Outcome[], { json }: Selection): void {
  for (const each of outcomes) {
    const { id, outcome, reason, now } = each;
    const place = now ? ` (now ${now.join(", ")})` : "";
    printLine(
      json ? JSON.stringify(each) : `${id}  ${WORDS[outcome]}${reason ? `: ${escapeControls(reason)}` : ""}${place}`,
    );
  }
  if (!json && outcomes.length === 0) printLine("no dead letters");
  const undone = outcomes.filter(({ outcome }) => !DONE.includes(outcome));
  if (undone.length > 0) throw notDone(OP, `${undone.length} of ${outcomes.length} dead letters: not done`);
}
