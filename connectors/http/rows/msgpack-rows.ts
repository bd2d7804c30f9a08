/**
 * Rows as msgpack values, one after the other: lists in the order of the columns, or maps with their names. A value
 * that is not complete waits for the next bytes. Only the types of JSON are accepted (connectors/http/msgpack.ts).
 */
import { EngineError } from "../../../engine/kernel/errors.js";
import { MsgpackReader } from "../msgpack.js";
import { MAX_ROW_BYTES, type Row, type RowReader, type TakeRow } from "./row-reader.js";

/** The place in the piece that was read, which is not the place in the body. */
const PLACE = /^byte \d+: /;

export class MsgpackRows implements RowReader {
  readonly #columns: readonly string[];
  readonly #row: Row = [];
  #rest: Buffer = Buffer.alloc(0);

  constructor(columns: readonly string[]) {
    this.#columns = columns;
  }

  push(bytes: Buffer, take: TakeRow): string | undefined {
    const all = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    const reader = new MsgpackReader(all);
    let from = 0;
    try {
      while (!reader.atEnd) {
        from = reader.at;
        const read = this.#place(reader.boundedValue(MAX_ROW_BYTES));
        if (read !== undefined) return read;
        if (!take(this.#row)) return undefined;
        from = reader.at;
      }
    } catch (thrown) {
      if (!(thrown instanceof EngineError)) throw thrown;
      if (!reader.isCutOff) return `is not accepted as msgpack: ${thrown.message.replace(PLACE, "")}`;
    }
    this.#rest = Buffer.from(all.subarray(from));
    return undefined;
  }

  end(): string | undefined {
    return this.#rest.length === 0 ? undefined : "ends too early";
  }

  /** Puts a value into the row, or returns what is wrong with it. */
  #place(value: unknown): string | undefined {
    const columns = this.#columns;
    if (Array.isArray(value)) {
      if (value.length !== columns.length) return `is a list of ${value.length}; expected ${columns.join(", ")}`;
      for (let i = 0; i < columns.length; i++) this.#row[i] = value[i];
      return undefined;
    }
    if (typeof value !== "object" || value === null) return "must be a list or a map";
    const fields = value as Record<string, unknown>;
    for (const name in fields)
      if (!columns.includes(name)) return `${JSON.stringify(name.slice(0, 64))} is not a known field`;
    for (let i = 0; i < columns.length; i++) {
      const column = columns[i] as string;
      if (!(column in fields)) return `${column} is missing`;
      this.#row[i] = fields[column];
    }
    return undefined;
  }
}
