/**
 * Dead letters of a sink: which emit each is about, and what is kept of the entry behind it. The letters themselves
 * are as those of a job (stream/dead-letter.ts), under the sink's own keys.
 */

import type { StoredDeadLetter } from "../stream/dead-letter.js";
import type { Emit } from "../stream/job.js";
import { field, type LogEntry } from "../stream/log.js";
import { decodeOut, type OutRecord } from "../stream/out-record.js";
import { encodeState } from "../stream/pack.js";

/**
 * An entry of `out` with one emit at its place and nothing else: views are large and nothing that a sink sends, and
 * other emits may be about other buyers. Older releases find the emit at the same place.
 */
export function onlyEmit(entry: LogEntry, index: number): Buffer[] {
  const record = decodeOut(field(entry, "r") as Buffer);
  const emits = [...new Array<null>(index).fill(null), record.emits[index]];
  const only = { ...record, views: [], emits } as OutRecord;
  return [Buffer.from("m"), field(entry, "m") as Buffer, Buffer.from("r"), encodeState(only)];
}

/** The emit that a letter is about; undefined when its bytes are gone or cannot be read. */
export function emitOf(deadLetter: StoredDeadLetter): Emit | undefined {
  const bytes = field(deadLetter, "r");
  try {
    return (bytes && decodeOut(bytes).emits[deadLetter.index ?? -1]) ?? undefined;
  } catch {
    return undefined;
  }
}
