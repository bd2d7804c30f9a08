/**
 * What leaves with a commit, as MessagePack maps in two streams of the partition: the views in `out`, the emits in
 * `emits`. Until the deployment's format allows two streams, both are one record in `out`. Views are absolute values,
 * so reading a record twice does no harm. Each record names the record before it, so a reader can detect that one is
 * missing.
 */
import { Unpackr } from "msgpackr";
import type { Emit } from "./job.js";
import { PackWriter } from "./pack.js";

/** A record of `out`. */
export interface OutRecord {
  /** The previous commit that has such a record. */
  previous: number;
  watermarkMs: number;
  /** In the order in which they must be applied; a view of null: the key was cleared. */
  views: [job: string, key: string, view: unknown][];
  /** All emits of the commit; those that views get, too, when the others are in a stream of their own. */
  emits: Emit[];
  /** Whether the commit's emits are in a stream of their own. */
  isSplit: boolean;
}

/** A record of `emits`. */
export interface EmitRecord {
  /** The previous commit with emits; for the first one in this stream, the last record of `out` before it. */
  previous: number;
  watermarkMs: number;
  emits: Emit[];
}

/** A view for the out record; `packed` holds its bytes when the view is the state itself. */
export type ViewUpdate = [job: string, key: string, view: unknown, packed: Buffer | undefined];

/** Fields of a record of `out`, and of one of `emits`. */
const OUT_FIELDS = 4;
const EMIT_FIELDS = 3;

const unpackr = new Unpackr({ useRecords: false });

export function decodeOut(bytes: Buffer): OutRecord {
  const record = unpackr.unpack(bytes) as Partial<OutRecord> & EmitRecord & { viewedEmits?: Emit[] };
  const { previous, watermarkMs, views = [], viewedEmits, emits = viewedEmits ?? [] } = record;
  return { previous, watermarkMs, views, emits, isSplit: viewedEmits !== undefined };
}

export const decodeEmits = (bytes: Buffer): EmitRecord => unpackr.unpack(bytes) as EmitRecord;

/** Packs the records; a view that is the state itself is not packed twice. */
export class OutRecordWriter {
  readonly #writer = new PackWriter();

  /**
   * Packs views and emits as one record, or with the emits that views get.
   * @throws whatever msgpackr throws on a value that it cannot write
   */
  encode(
    previous: number,
    watermarkMs: number,
    views: readonly ViewUpdate[],
    emits: readonly Emit[],
    emitsName: "emits" | "viewedEmits" = "emits",
  ): Buffer {
    const writer = this.#begin(OUT_FIELDS, previous, watermarkMs);
    writer.text("views");
    writer.list(views.length);
    for (const [job, key, view, packed] of views) {
      writer.list(3);
      writer.text(job);
      writer.text(key);
      if (packed) writer.packed(packed);
      else writer.value(view);
    }
    writer.text(emitsName);
    writer.value(emits);
    return writer.take();
  }

  /** Packs a record of `emits`. Throws as above. */
  encodeEmits(previous: number, watermarkMs: number, emits: readonly Emit[]): Buffer {
    const writer = this.#begin(EMIT_FIELDS, previous, watermarkMs);
    writer.text("emits");
    writer.value(emits);
    return writer.take();
  }

  #begin(fields: number, previous: number, watermarkMs: number): PackWriter {
    const writer = this.#writer;
    writer.begin();
    writer.map(fields);
    writer.text("previous");
    writer.number(previous);
    writer.text("watermarkMs");
    writer.number(watermarkMs);
    return writer;
  }
}
