/**
 * The forms of published objects: gzip, which everything reads, and Brotli, which web servers send to browsers. Both
 * take a third of such texts, about 0.1 ms of a processor each; higher levels take longer and save nothing. They are
 * made by the threads of zlib, a few at a time, so that the event loop goes on and file access has threads left.
 */
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";
import { eachAtOnce } from "../kernel/at-once.js";
import type { NamedText } from "./content.js";
import type { PublishedObject } from "./publication-store.js";

const GZIP_LEVEL = 6;
const BROTLI_QUALITY = 4;
/** Node has four threads for these and for files. */
const OBJECTS_AT_ONCE = 3;

const toGzip = promisify(gzip);
const toBrotli = promisify(brotliCompress);

/** In the order of the texts. */
export async function compressed(texts: readonly NamedText[]): Promise<PublishedObject[]> {
  const objects: PublishedObject[] = [];
  await eachAtOnce([...texts.entries()], OBJECTS_AT_ONCE, undefined, async ([i, text]) => {
    objects[i] = await compress(text);
  });
  return objects;
}

async function compress({ name, text }: NamedText): Promise<PublishedObject> {
  const identity = Buffer.from(text);
  const params = {
    [constants.BROTLI_PARAM_QUALITY]: BROTLI_QUALITY,
    [constants.BROTLI_PARAM_SIZE_HINT]: identity.length,
  };
  return {
    name,
    identity,
    gzip: await toGzip(identity, { level: GZIP_LEVEL }),
    br: await toBrotli(identity, { params }),
  };
}
