/** Which form of a body a client gets. */
import { expect, it } from "vitest";
import { preferredEncoding } from "../../../connectors/http/accept-encoding.js";

it.each([
  ["no header", undefined, "identity"],
  ["an empty one", "", "identity"],
  ["a browser's", "gzip, deflate, br, zstd", "br"],
  ["gzip alone", "gzip", "gzip"],
  ["its old name", "x-gzip", "gzip"],
  ["capitals and spaces", " GZIP ; Q=0.5 , BR ; q = 0.2", "gzip"],
  ["a higher quality of gzip", "br;q=0.5, gzip;q=0.8", "gzip"],
  ["br that is not accepted", "br;q=0, gzip", "gzip"],
  ["anything", "*", "br"],
  ["anything but br", "*, br;q=0", "gzip"],
  ["nothing but plain text", "*;q=0", "identity"],
  ["plain text before gzip", "gzip;q=0.5, identity", "identity"],
  ["plain text refused, and nothing else", "identity;q=0", "identity"],
  ["others only", "zstd, deflate", "identity"],
  ["a quality that cannot be read", "gzip;q=high, br;q=", "identity"],
  ["a quality above 1", "gzip;q=1.9, br", "br"],
  ["other parameters", "gzip;level=9;q=0.3", "gzip"],
])("%s", (_case, header, expected) => expect(preferredEncoding(header)).toBe(expected));
