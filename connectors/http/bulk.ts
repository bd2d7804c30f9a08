/**
 * Reads a body of many commands, as NDJSON or msgpack, and checks it to its end before anything is applied: either
 * every command is sound or none is handed on. Faults name their line (`line 17: units must be a whole number`), 20
 * of them at most. Long bodies are checked in slices, bounded by commands, lines and bytes, with a turn of the event
 * loop between them, so that other requests do not wait for the whole.
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
/** Empty ones included: one after each command. */
const MAX_LINES = 2 * MAX_COMMANDS;
/** The longest sound command, all escaped, is about 5 KB. */
const MAX_COMMAND_BYTES = 16 * 1024;
/** Commands or lines, and bytes: about 2 ms of checking each. */
const SLICE = 500;
const SLICE_BYTES = 128 * 1024;
const NEWLINE = 0x0a;

/** Checks one command; gives the command as the ledger takes it, or its faults. */
export type CommandCheck = (candidate: unknown) => { command: StockCommand } | { faults: InputFault[] };

/** Something of the body: a command, a fault, or nothing (an empty line). */
type Piece = { bytes: number } & ({ place: string; value: unknown } | { place: string; fault: InputFault } | object);

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
  let pieces = 0;
  let bytes = 0;
  for (const piece of format === "ndjson" ? linesOf(body) : entriesOf(body)) {
    pieces++;
    bytes += piece.bytes;
    if (pieces >= SLICE || bytes >= SLICE_BYTES) {
      pieces = 0;
      bytes = 0;
      await nextTurn();
    }
    if (!("place" in piece)) continue;
    if (++read > MAX_COMMANDS) throw tooMany();
    if ("fault" in piece) note(piece.place, piece.fault);
    else {
      const checked = check(piece.value);
      if ("command" in checked) commands.push(checked.command);
      else for (const fault of checked.faults) note(piece.place, fault);
    }
    if (faults.length >= MAX_FAULTS) break;
  }
  if (faults.length > 0) throw badInputFault(faults.slice(0, MAX_FAULTS));
  if (read === 0) throw badInputFault([{ field: "", message: "the body holds no command" }]);
  return commands;
}

const tooMany = (): HttpFault =>
  new HttpFault("too_many_commands", `send at most ${MAX_COMMANDS} commands, on at most ${MAX_LINES} lines, at once`);

/** One JSON document a line; empty lines are passed over but counted. */
function* linesOf(body: Buffer): Generator<Piece> {
  let number = 0;
  for (let from = 0; from < body.length; ) {
    const newline = body.indexOf(NEWLINE, from);
    const to = newline < 0 ? body.length : newline;
    const line = body.subarray(from, to);
    from = to + 1;
    if (++number > MAX_LINES) throw tooMany();
    const piece = { place: `line ${number}`, bytes: line.length };
    if (line.length > MAX_COMMAND_BYTES) {
      yield { ...piece, fault: { field: "", message: `is longer than ${MAX_COMMAND_BYTES} bytes` } };
      continue;
    }
    if (!isUtf8(line)) {
      yield { ...piece, fault: { field: "", message: "is not valid UTF-8" } };
      continue;
    }
    const text = line.toString("utf8");
    if (text.trim() === "") yield { bytes: line.length };
    else yield { ...piece, ...parseJson(text) };
  }
}

/** One list of commands. A fault of the format ends the reading: what follows cannot be told apart any more. */
function* entriesOf(body: Buffer): Generator<Piece> {
  const reader = new MsgpackReader(body);
  let place = "the body";
  try {
    const length = reader.listLength();
    if (length > MAX_COMMANDS) throw tooMany();
    for (let i = 0; i < length; i++) {
      place = `command ${i + 1}`;
      const from = reader.at;
      const value = reader.boundedValue(MAX_COMMAND_BYTES);
      yield { place, value, bytes: reader.at - from };
    }
    place = "the body";
    if (!reader.atEnd) yield { place, bytes: 0, fault: { field: "", message: "goes on after its list" } };
  } catch (thrown) {
    if (!(thrown instanceof EngineError)) throw thrown;
    yield { place, bytes: 0, fault: { field: "", message: `is not msgpack as taken here: ${thrown.message}` } };
  }
}
