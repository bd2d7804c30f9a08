/**
 * Files of collected payloads, in the forms they come in and cut into chunks of any size: every payload with its
 * line, every unreadable one with its line and reason, and none of a buyer's text in a reason.
 */
import { Readable } from "node:stream";
import { describe, expect, it } from "vitest";
import { MAX_PAYLOAD_BYTES, payloadsIn, readPayloads } from "../../../connectors/wms/payload-file.js";

async function all(content: string | Buffer, chunkBytes: number): Promise<unknown[]> {
  const bytes = Buffer.from(content);
  const chunks = Array.from({ length: Math.ceil(bytes.length / chunkBytes) }, (_, i) =>
    bytes.subarray(i * chunkBytes, (i + 1) * chunkBytes),
  );
  const payloads: unknown[] = [];
  for await (const payload of payloadsIn(Readable.from(chunks)))
    payloads.push([payload.line, "fault" in payload ? payload.fault : payload.value]);
  return payloads;
}

describe.each([1, 2, 7, 65_536])("a file read %i bytes at a time", (chunkBytes) => {
  it.each<[string, string, unknown[]]>([
    [
      "one a line",
      '{"a":1}\n{"a":2}\r\n\n  {"a":"}\\""}',
      [
        [1, { a: 1 }],
        [2, { a: 2 }],
        [4, { a: '}"' }],
      ],
    ],
    ["one line", ' {"a":[1,"\\n"]}', [[1, { a: [1, "\n"] }]]],
    ["one object over lines", '{\n  "a": "}{",\n  "b": [1, {"c": "\\""}]\n}\n', [[1, { a: "}{", b: [1, { c: '"' }] }]]],
    [
      "objects over lines",
      '{ "a":\n 1}\n\n{"b":2} {\n"c":3}',
      [
        [1, { a: 1 }],
        [4, { b: 2 }],
        [4, { c: 3 }],
      ],
    ],
    [
      "a list",
      '\ufeff[{"a":"[,]"},\n 3,\n{"b":[{}]} ]\n',
      [
        [1, { a: "[,]" }],
        [2, 3],
        [3, { b: [{}] }],
      ],
    ],
    ["an empty list", "[ ]", []],
    ["nothing", " \n\n", []],
    [
      "a bad line among good ones",
      '{"a":1}\n{"a":\n{"b":2}\nx\n',
      [
        [1, { a: 1 }],
        [2, "is not JSON: Unexpected end of JSON input"],
        [3, { b: 2 }],
        [4, "is not JSON: Unexpected token 'x'"],
      ],
    ],
    [
      "a bad item of a list",
      '[{"a":1},\n{"a" 1},\n2]',
      [
        [1, { a: 1 }],
        [2, expect.stringMatching(/^is not JSON: /)],
        [3, 2],
      ],
    ],
    [
      "a list that is cut off in an item",
      '[{"a":1},\n{"a":"',
      [
        [1, { a: 1 }],
        [2, expect.stringMatching(/^is not JSON: /)],
      ],
    ],
    [
      "a list that is cut off between items",
      '[{"a":1}\n',
      [
        [1, { a: 1 }],
        [2, "is not JSON: Unexpected end of JSON input"],
      ],
    ],
    [
      "a list with something behind it",
      "[1]\nx",
      [
        [1, 1],
        [2, "is not JSON: Unexpected token 'x'"],
      ],
    ],
  ])("has its payloads: %s", async (_, content, expected) => expect(await all(content, chunkBytes)).toEqual(expected));
});

describe("a payload that cannot be read", () => {
  it("is not held in memory when it is too long, in a line or in a list", async () => {
    const long = `{"a":"${"x".repeat(MAX_PAYLOAD_BYTES)}"}`;
    expect(await all(`${long}\n{"b":1}`, 65_536)).toEqual([
      [1, "is longer than 1 MiB"],
      [2, { b: 1 }],
    ]);
    expect(await all(`[${long},\n{"b":1}]`, 65_536)).toEqual([
      [1, "is longer than 1 MiB"],
      [2, { b: 1 }],
    ]);
  });

  it("is reported when it is not UTF-8, without quoting its text", async () => {
    const latin = Buffer.concat([
      Buffer.from('{"a":"'),
      Buffer.from([0xe9]),
      Buffer.from('"}\n{"phone":"13800001111", oops}'),
    ]);
    const [first, second] = (await all(latin, 65_536)) as [number, string][];
    expect(first).toEqual([1, "is not UTF-8"]);
    expect(second?.[1]).toMatch(/^is not JSON/);
    expect(second?.[1]).not.toContain("138");
  });

  it("may be the whole file", async () => {
    await expect(readPayloads("nowhere.ndjson").next()).rejects.toThrow("nowhere.ndjson: there is no such file");
    await expect(readPayloads(".").next()).rejects.toThrow("is a folder");
  });
});
