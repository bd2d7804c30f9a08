/**
 * Dead letters as text and as JSON. Text of a record is printed with its control characters escaped; bytes as base64,
 * and as text where they are printable. Events are decoded where that is possible.
 */
import { messageOf } from "../kernel/errors.js";
import { deadLetterTimeMs, type StoredDeadLetter } from "../stream/dead-letter.js";
import { emitOf, emitsOf } from "../stream/emit-dead-letter.js";
import { idOf, type Selection } from "./dead-letter-selection.js";
import { escapeControls } from "./text.js";

const REASON_SHOWN = 60;

export function summaryOf(partition: number, deadLetter: StoredDeadLetter) {
  const { id, fields: _, was: __, digest: ___, first, ...rest } = deadLetter;
  return { id: idOf(partition, id), when: whenOf(first ?? id), ...rest };
}

export function detailOf(partition: number, deadLetter: StoredDeadLetter, selection: Selection) {
  const fields = [];
  for (let i = 0; i < deadLetter.fields.length; i += 2) {
    const bytes = deadLetter.fields[i + 1] ?? Buffer.alloc(0);
    fields.push({ name: (deadLetter.fields[i] as Buffer).toString("latin1"), base64: bytes.toString("base64") });
  }
  return { ...summaryOf(partition, deadLetter), ...decodedOf(deadLetter, selection), fields };
}

function decodedOf(deadLetter: StoredDeadLetter, { source }: Selection): object {
  if (deadLetter.fields.length === 0) return {};
  const { topic, sink } = source;
  if (sink !== undefined) {
    return deadLetter.index === undefined
      ? { emits: emitsOf(deadLetter).map(([, emit]) => emit) }
      : { emit: emitOf(deadLetter) };
  }
  try {
    const { events } = topic.decode(deadLetter);
    return deadLetter.index === undefined
      ? { events }
      : { event: events.find(({ index }) => index === deadLetter.index) };
  } catch (thrown) {
    return { undecodable: messageOf(thrown) };
  }
}

export function pageOf(partition: number, deadLetter: StoredDeadLetter, selection: Selection): string {
  const { fields, ...rest } = detailOf(partition, deadLetter, selection);
  const lines: [string, string][] = Object.entries(rest).map(([name, value]) => [
    name,
    typeof value === "object" ? JSON.stringify(value) : escapeControls(String(value)),
  ]);
  for (const { name, base64 } of fields) {
    const text = Buffer.from(base64, "base64").toString("latin1");
    lines.push([`field ${escapeControls(name)}`, /^[ -~]{0,40}$/.test(text) ? text : `base64 ${base64}`]);
  }
  return `${lines.map(([name, value]) => `${name.padEnd(10)} ${value}`).join("\n")}\n`;
}

export function rowOf(partition: number, deadLetter: StoredDeadLetter, { source }: Selection): string {
  const { id, first, job, index, offset, timer, timerMs, key, tries, reason, deliveries } = deadLetter;
  const part = source.sink === undefined ? "event" : "emit";
  const within = deliveries === undefined ? "" : `, ${deliveries} deliveries`;
  const event = index === undefined ? `entry ${offset}${within}` : `entry ${offset} ${part} ${index}`;
  const what = timerMs === undefined ? event : `timer ${timer === undefined ? "" : `${timer} `}${timeOf(timerMs)}`;
  const cut = reason.length > REASON_SHOWN ? `${reason.slice(0, REASON_SHOWN)}…` : reason;
  return padded([
    idOf(partition, id),
    whenOf(first ?? id),
    job ?? "-",
    what,
    escapeControls(key ?? "-"),
    String(tries),
    escapeControls(cut),
  ]);
}

const WIDTHS = [21, 24, 13, 30, 20, 5, 0];
const padded = (cells: string[]): string =>
  cells
    .map((cell, i) => cell.padEnd(WIDTHS[i] ?? 0))
    .join("  ")
    .trimEnd();

const whenOf = (id: string): string => timeOf(deadLetterTimeMs(id));
/** A bad record may have any time. */
export const timeOf = (ms: number): string => (Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString() : `${ms} ms`);

export const HEADING = padded(["ID", "WHEN", "JOB", "WHAT", "KEY", "TRIES", "REASON"]);
