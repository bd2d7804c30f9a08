/**
 * Readers of rows that stream in: each is given bytes in pieces of any length and passes on complete rows, one after
 * the other, so that memory is limited by a piece and a row. Values are passed as they are in the body; whoever takes
 * them checks them. A fault of the format ends the reading: what follows it cannot be recognised.
 */

/** The values of a row, in the order of the columns; the same list is used for every row. */
export type Row = unknown[];
/** Takes a row; false: no more rows are taken. */
export type TakeRow = (row: Row) => boolean;

export interface RowReader {
  /** Passes on the rows that are complete with these bytes. Returns the fault of the next row, if it has one. */
  push(bytes: Buffer, take: TakeRow): string | undefined;
  /** The same for what is left at the end of the body. */
  end(take: TakeRow): string | undefined;
}

/** The longest valid row, fully escaped, is below 2 KB. */
export const MAX_ROW_BYTES = 4 * 1024;
export const TOO_LONG = `is longer than ${MAX_ROW_BYTES} bytes`;
