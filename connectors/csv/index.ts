/**
 * The CSV history source for `shuiwei replay`: reads a shop's files and maps every row to ledger commands. Files are
 * read one after another, in the order given. Every file's header is checked before the first row is returned, so a
 * wrong mapping fails at once. Rows are not sorted, and nothing is sent to the ledger here.
 */
import type { HistoryReading } from "../../engine/replay/history.js";
import { createMapper } from "../mapping/mapping.js";
import type { Mapping } from "../mapping/mapping.schema.js";
import { openCsv } from "./reader.js";

/**
 * Reads files of history through a mapping.
 * @param files in the order in which they happened; their order is a part of the ids
 * @param options.zone an IANA time zone for times without one
 * @throws EngineError (`bad_input`) at the first fault of a file, after the rows before it have been returned
 */
export async function* readHistory(
  files: readonly string[],
  mapping: Mapping,
  options: { zone?: string | undefined } = {},
): HistoryReading {
  const mapper = createMapper(mapping, options);
  let totalBytes = 0;
  for (const [ordinal, name] of files.entries()) {
    const file = await openCsv(name);
    await file.close();
    mapper.forFile({ name, columns: file.columns, ordinal });
    totalBytes += file.totalBytes;
  }
  let bytesBefore = 0;
  for (const [ordinal, name] of files.entries()) {
    const file = await openCsv(name);
    try {
      const map = mapper.forFile({ name, columns: file.columns, ordinal });
      for await (const rows of file.rows) {
        yield { file: name, rows: rows.map(map), bytesRead: bytesBefore + file.bytesRead(), totalBytes };
      }
    } finally {
      await file.close();
    }
    bytesBefore += file.totalBytes;
  }
}
