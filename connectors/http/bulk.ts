/**
 * Reads a body of many commands, as NDJSON or msgpack, and checks all of it before anything is applied: it returns all
 * commands, or throws when one is invalid. Faults name their text line (`line 17: units must be a whole number`), at
 * most 20 of them. Long bodies are checked in slices, limited by commands, text lines and bytes, with a turn of the
 * event loop between them, so that other requests are not blocked.
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
/** Text lines; room for one empty line after each command. */
const MAX_LINES = 2 * MAX_COMMANDS;
/** The longest valid command, fully escaped, is about 5 KB. */
const MAX_COMMAND_BYTES = 16 * 1024;
/** Commands or text lines, and bytes: about 2 ms of checking each. */
const SLICE = 500;
const SLICE_BYTES = 128 * 1024;
const NEWLINE = 0x0a;

/** Checks one command; returns the ledger's command, or its faults. */
export type CommandCheck = (candidate: unknown) => { command: StockCommand } | { faults: InputFault[] };

/** A part of the body: a command, a fault, or nothing (an empty text line). */
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
  const addFault = (place: string, { field, message }: InputFault): void => {
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
    if ("fault" in piece) addFault(piece.place, piece.fault);
    else {
      const checked = check(piece.value);
      if ("command" in checked) commands.push(checked.command);
      else for (const fault of checked.faults) addFault(piece.place, fault);
    }
    if (faults.length >= MAX_FAULTS) break;
  }
  if (faults.length > 0) throw badInputFault(faults.slice(0, MAX_FAULTS));
  if (read === 0) throw badInputFault([{ field: "", message: "the body has no command" }]);
  return commands;
}

const tooMany = (): HttpFault =>
  new HttpFault("too_many_commands", `send at most ${MAX_COMMANDS} commands and ${MAX_LINES} text lines in one body`);

/** One JSON document in each text line; empty lines are skipped but counted. */
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

/** One list of commands. A fault of the format ends the reading: the parts after it cannot be recognised. */
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
    if (!reader.atEnd) yield { place, bytes: 0, fault: { field: "", message: "has bytes after its list" } };
  } catch (thrown) {
    if (!(thrown instanceof EngineError)) throw thrown;
    yield { place, bytes: 0, fault: { field: "", message: `is not accepted as msgpack: ${thrown.message}` } };
  }
}
