/**
 * The out record of a commit: what views and sinks read. It is one MessagePack map in the partition's `out` stream.
 * Views are absolute values, so reading a record twice does no harm. Each record names the record before it, so a
 * reader can detect that one is missing.
 */
import { Unpackr } from "msgpackr";
import type { Emit } from "./job.js";
import { PackWriter } from "./pack.js";

/** What leaves with a commit, as views and sinks read it. */
export interface OutRecord {
  /** The previous commit that has an out record. */
  previous: number;
  watermarkMs: number;
  /** In the order in which they must be applied; a view of null: the key was cleared. */
  views: [job: string, key: string, view: unknown][];
  emits: Emit[];
}

/** A view for the out record; `packed` holds its bytes when the view is the state itself. */
export type ViewUpdate = [job: string, key: string, view: unknown, packed: Buffer | undefined];

/** Fields of an OutRecord. */
const OUT_FIELDS = 4;

const unpackr = new Unpackr({ useRecords: false });

export const decodeOut = (bytes: Buffer): OutRecord => unpackr.unpack(bytes) as OutRecord;

/** Packs out records; a view that is the state itself is not packed twice. */
export class OutRecordWriter {
  readonly #writer = new PackWriter();

  /** @throws whatever msgpackr throws on a value that it cannot write */
  encode(previous: number, watermarkMs: number, views: readonly ViewUpdate[], emits: readonly Emit[]): Buffer {
    const writer = this.#writer;
    writer.begin();
    writer.map(OUT_FIELDS);
    writer.text("previous");
    writer.number(previous);
    writer.text("watermarkMs");
    writer.number(watermarkMs);
    writer.text("views");
    writer.list(views.length);
    for (const [job, key, view, packed] of views) {
      writer.list(3);
      writer.text(job);
      writer.text(key);
      if (packed) writer.packed(packed);
      else writer.value(view);
    }
    writer.text("emits");
    writer.value(emits);
    return writer.take();
  }
}
