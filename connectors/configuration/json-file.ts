/**
 * Reads a configuration file as JSON, with the line of each of its values. A file that cannot be read, is too large, is
 * not UTF-8 or is no JSON is rejected at once, with the line of the first character that cannot be where it is. What
 * the values must be is checked by the reader of the configuration.
 */
import { isUtf8 } from "node:buffer";
import { readFile } from "node:fs/promises";
import { badInput, messageOf } from "../../engine/kernel/errors.js";
import { type JsonPlaces, lineOfSyntaxFault, placesOf } from "./json-places.js";

/** 20,000 locations of 100 bytes in each of two sources of stock. */
const MAX_FILE_BYTES = 4 * 1024 * 1024;

/**
 * @param op the operation, for errors
 * @throws EngineError `bad_input`
 */
export async function readJsonFile(op: string, path: string): Promise<{ json: unknown; places: JsonPlaces }> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (thrown) {
    throw badInput(op, path, `cannot be read (${(thrown as NodeJS.ErrnoException).code ?? messageOf(thrown)})`, thrown);
  }
  if (bytes.length > MAX_FILE_BYTES) throw badInput(op, path, `is larger than ${MAX_FILE_BYTES} bytes`);
  if (!isUtf8(bytes)) throw badInput(op, path, "is not valid UTF-8");
  const text = bytes.toString("utf8");
  try {
    return { json: JSON.parse(text), places: placesOf(text) };
  } catch (thrown) {
    throw badInput(op, `${path}:${lineOfSyntaxFault(text)}`, `is not JSON (${messageOf(thrown)})`, thrown);
  }
}
