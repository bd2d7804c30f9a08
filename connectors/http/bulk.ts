/**
 * Reads a body of many commands, as NDJSON or msgpack, and checks it to its end before anything is applied: either every command is sound or
 * none is handed on. Faults name their line (`line 17: units must be a whole number`), 20 of them at most. Long bodies are checked in
 * slices with a turn of the event loop between them, so that other requests do not wait for the whole.
 */
import { isUtf8 } from "node:buffer";
import { setImmediate as nextTurn } from "node:timers/promises";
import { EngineError } from "../../engine/kernel/errors.js";
import type { StockCommand } from "../../engine/stock/model.js";
import { type InputFault, MAX_FAULTS } from "./faults.js";
import { parseJson } from "./json.js";
import { MsgpackReader } from "./msgpack.js";
import { badInputFault, HttpFault } from "./problem.js";

export const BULK_LIMIT = 8 * 1024 * 1024;
export const MAX_COMMANDS = 10_000;
/** The longest sound command, all escaped, is about 5 KB. */
const MAX_LINE_BYTES = 16 * 1024;
/** About 2 ms of checking. */
const SLICE = 500;
const NEWLINE = 0x0a;

/** Checks one command; gives the command as the ledger takes it, or its faults. */
export type CommandCheck = (candidate: unknown) => { command: StockCommand } | { faults: InputFault[] };

type Candidate = { place: string } & ({ value: unknown } | { fault: InputFault });

/**
 * Reads and checks a body of lines or of one list.
 * @throws HttpFault 400 with the faults, or 413 when there are too many commands
 */
export async function readCommands(
  body: Buffer,
  format: "ndjson" | "msgpack",
  check: CommandCheck,
): Promise<StockCommand[]> {
  const commands: StockCommand[] = [];
  const faults: InputFault[] = [];
  const note = (place: string, { field, message }: InputFault): void => {
    faults.push({ field: field === "" ? place : `${place}: ${field}`, message });
  };
  let read = 0;
  for (const candidate of format === "ndjson" ? linesOf(body) : entriesOf(body)) {
    if (++read > MAX_COMMANDS) throw tooMany();
    if (read % SLICE === 0) await nextTurn();
    if ("fault" in candidate) note(candidate.place, candidate.fault);
    else {
      const checked = check(candidate.value);
      if ("command" in checked) commands.push(checked.command);
      else for (const fault of checked.faults) note(candidate.place, fault);
    }
    if (faults.length >= MAX_FAULTS) break;
  }
  if (faults.length > 0) throw badInputFault(faults.slice(0, MAX_FAULTS));
  if (read === 0) throw badInputFault([{ field: "", message: "the body holds no command" }]);
  return commands;
}

const tooMany = (): HttpFault => new HttpFault("too_many_commands", `send at most ${MAX_COMMANDS} commands at once`);

/** One JSON document a line; empty lines are passed over but counted. */
function* linesOf(body: Buffer): Generator<Candidate> {
  let number = 0;
  for (let from = 0; from < body.length; ) {
    const newline = body.indexOf(NEWLINE, from);
    const to = newline < 0 ? body.length : newline;
    const bytes = body.subarray(from, to);
    from = to + 1;
    const place = `line ${++number}`;
    if (bytes.length > MAX_LINE_BYTES) {
      yield { place, fault: { field: "", message: `is longer than ${MAX_LINE_BYTES} bytes` } };
      continue;
    }
    if (!isUtf8(bytes)) {
      yield { place, fault: { field: "", message: "is not valid UTF-8" } };
      continue;
    }
    const text = bytes.toString("utf8");
    if (text.trim() === "") continue;
    yield { place, ...parseJson(text) };
  }
}

/** One list of commands. A fault of the format ends the reading: what follows cannot be told apart any more. */
function* entriesOf(body: Buffer): Generator<Candidate> {
  const reader = new MsgpackReader(body);
  let place = "the body";
  try {
    const length = reader.listLength();
    if (length > MAX_COMMANDS) throw tooMany();
    for (let i = 0; i < length; i++) {
      place = `command ${i + 1}`;
      yield { place, value: reader.value() };
    }
    place = "the body";
    if (!reader.atEnd) yield { place, fault: { field: "", message: "goes on after its list" } };
  } catch (thrown) {
    if (!(thrown instanceof EngineError)) throw thrown;
    yield { place, fault: { field: "", message: `is not msgpack as taken here: ${thrown.message}` } };
  }
}
