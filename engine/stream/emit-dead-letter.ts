/**
 * Dead letters of a sink: which emits each is about, and what is kept of its log entry. They are stored like those of a
 * job (`dead-letter.ts`), under the sink's own keys.
 */
import type { StoredDeadLetter } from "./dead-letter.js";
import type { Emit } from "./job.js";
import { field, type LogEntry } from "./log.js";
import { decodeOut } from "./out-record.js";
import { encodeState } from "./pack.js";

/**
 * Of an entry, the emits at given indexes and nothing else: views are large and not sent by a sink, and other emits may
 * name other buyers. Older releases read one emit at the same index. The entry is decoded once, however often the
 * returned function is called: all emits of a large entry may fail.
 */
export function emitPicker({ fields }: Pick<LogEntry, "fields">): (indexes: readonly number[]) => Buffer[] {
  const entry = { offset: 0, fields };
  const { previous, watermarkMs, emits: all } = decodeOut(field(entry, "r") as Buffer);
  const committed = field(entry, "m") as Buffer;
  return (indexes) => {
    const emits = new Array<Emit | null>(Math.max(...indexes) + 1).fill(null);
    for (const index of indexes) emits[index] = all[index] ?? null;
    const only = { previous, watermarkMs, views: [], emits };
    return [Buffer.from("m"), committed, Buffer.from("r"), encodeState(only)];
  };
}

/** The same for one call. */
export const onlyEmits = (entry: LogEntry, indexes: readonly number[]): Buffer[] => emitPicker(entry)(indexes);

/** The emits that a dead letter is about, each with its index; none when its bytes were removed or are not valid. */
export function emitsOf(deadLetter: StoredDeadLetter): [index: number, emit: Emit][] {
  const bytes = field(deadLetter, "r");
  const { index: only } = deadLetter;
  try {
    const emits: readonly (Emit | null)[] = bytes ? decodeOut(bytes).emits : [];
    return [...emits.entries()].flatMap(([index, emit]): [number, Emit][] =>
      emit && (only === undefined || index === only) ? [[index, emit]] : [],
    );
  } catch {
    return [];
  }
}

/** The emit of a dead letter that is about one; otherwise undefined. */
export function emitOf(deadLetter: StoredDeadLetter): Emit | undefined {
  return deadLetter.index === undefined ? undefined : emitsOf(deadLetter)[0]?.[1];
}
