/**
 * Dead letters of a sink: which emit each is about, and what is kept of its log entry. They are stored like those of a
 * job (`dead-letter.ts`), under the sink's own keys.
 */
import type { StoredDeadLetter } from "./dead-letter.js";
import type { Emit } from "./job.js";
import { field, type LogEntry } from "./log.js";
import { decodeOut } from "./out-record.js";
import { encodeState } from "./pack.js";

/**
 * An entry with one emit at its index and nothing else: views are large and not sent by a sink, and other
 * emits may name other buyers. Older releases read the emit at the same index.
 */
export function onlyEmit(entry: LogEntry, index: number): Buffer[] {
  const { previous, watermarkMs, emits: all } = decodeOut(field(entry, "r") as Buffer);
  const emits = [...new Array<null>(index).fill(null), all[index]];
  const only = { previous, watermarkMs, views: [], emits };
  return [Buffer.from("m"), field(entry, "m") as Buffer, Buffer.from("r"), encodeState(only)];
}

/** The emit that a dead letter is about; undefined when its bytes were removed or are not valid. */
export function emitOf(deadLetter: StoredDeadLetter): Emit | undefined {
  const bytes = field(deadLetter, "r");
  try {
    return (bytes && decodeOut(bytes).emits[deadLetter.index ?? -1]) ?? undefined;
  } catch {
    return undefined;
  }
}

/** The emits that a dead letter holds, by index in the commit; none when its bytes were removed or are not valid. */
export function emitsOf(deadLetter: StoredDeadLetter): [index: number, emit: Emit][] {
  const { index } = deadLetter;
  if (index !== undefined) {
    const emit = emitOf(deadLetter);
    return emit ? [[index, emit]] : [];
  }
  const bytes = field(deadLetter, "r");
  try {
    const emits: (Emit | null)[] = bytes ? decodeOut(bytes).emits : [];
    return emits.flatMap((emit, i): [number, Emit][] => (emit ? [[i, emit]] : []));
  } catch {
    return [];
  }
}
