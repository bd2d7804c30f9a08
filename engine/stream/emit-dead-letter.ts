/**
 * Dead letters of a sink: which emits each is about, and what is kept of its log entry. They are stored like those of a
 * job (`dead-letter.ts`), under the sink's own keys.
 */
import type { StoredDeadLetter } from "./dead-letter.js";
import type { Emit } from "./job.js";
import { field, type LogEntry } from "./log.js";
import { decodeOut } from "./out-record.js";
import { decodeState, encodeState } from "./pack.js";

/** The field with the indexes of the emits in their entry. Without it an emit's place in the list is its index. */
const INDEXES = "i";
/** The field that only entries of the stream of emits have (format 3). */
const TOTAL_BYTES = "b";

/**
 * Of an entry, the emits at given indexes and nothing else: views are large and not sent by a sink, and other emits may
 * name other buyers. Emits of the old form keep their places in a list with gaps, as older releases read them. The
 * entry is decoded once, however often the returned function is called: all emits of a large entry may fail.
 */
export function emitPicker({ fields }: Pick<LogEntry, "fields">): (indexes: readonly number[]) => Buffer[] {
  const entry = { offset: 0, fields };
  const record = decodeOut(field(entry, "r") as Buffer);
  const committed = field(entry, "m") as Buffer;
  const known = field(entry, INDEXES);
  const all = emitsByIndex(record.emits, known);
  const hasIndexes = known !== undefined || field(entry, TOTAL_BYTES) !== undefined;
  return (indexes) => {
    const found = indexes.flatMap((index): [number, Emit][] => {
      const emit = all.get(index);
      return emit ? [[index, emit]] : [];
    });
    const emits: (Emit | null)[] = [];
    for (const [index, emit] of found) {
      while (!hasIndexes && emits.length < index) emits.push(null);
      if (hasIndexes) emits.push(emit);
      else emits[index] = emit;
    }
    const only = { previous: record.previous, watermarkMs: record.watermarkMs, views: [], emits };
    const picked = [Buffer.from("m"), committed, Buffer.from("r"), encodeState(only)];
    if (hasIndexes) picked.push(Buffer.from(INDEXES), encodeState(found.map(([index]) => index)));
    return picked;
  };
}

/** The same for one call. */
export const onlyEmits = (entry: LogEntry, indexes: readonly number[]): Buffer[] => emitPicker(entry)(indexes);

/** @param packed the field of indexes; undefined: an emit's place is its index */
function emitsByIndex(emits: readonly (Emit | null)[], packed: Buffer | undefined): Map<number, Emit> {
  const indexes = packed && (decodeState(packed) as number[]);
  const byIndex = new Map<number, Emit>();
  for (const [place, emit] of emits.entries()) if (emit) byIndex.set(indexes?.[place] ?? place, emit);
  return byIndex;
}

/** The emits that a dead letter is about, each with its index; none when its bytes were removed or are not valid. */
export function emitsOf(deadLetter: StoredDeadLetter): [index: number, emit: Emit][] {
  const bytes = field(deadLetter, "r");
  const { index: only } = deadLetter;
  try {
    const found = [...emitsByIndex(bytes ? decodeOut(bytes).emits : [], field(deadLetter, INDEXES))];
    return only === undefined ? found : found.filter(([index]) => index === only);
  } catch {
    return [];
  }
}

/** The emit of a dead letter that is about one; otherwise undefined. */
export function emitOf(deadLetter: StoredDeadLetter): Emit | undefined {
  return deadLetter.index === undefined ? undefined : emitsOf(deadLetter)[0]?.[1];
}
