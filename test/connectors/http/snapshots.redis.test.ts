/**
 * Snapshots and movements over HTTP: parts that stream in every format, plain and compressed; and that bodies which
 * break off, stop, never end, inflate without end or are wrong leave nothing, and name what is at fault.
 */
import { request as httpRequest } from "node:http";
import { gzipSync } from "node:zlib";
import { Packr } from "msgpackr";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { sleep } from "../../../engine/kernel/clock.js";
import { primaries } from "../../../engine/stream/redis.js";
import { httpBed, send, TOKEN } from "./http-bed.js";

const bed = httpBed();
const NDJSON = "application/x-ndjson";
const packr = new Packr({ useRecords: false });
let number = 0;
const freshSource = (): string => `s${++number}`;

beforeAll(async () => {
  await bed.receive("TEA-1", 5);
  await bed.receive("TEA-1", 5, "W-1");
  while (bed.storefrontView.cells < 2) await sleep(10);
});

type Rows = readonly (readonly [sku: string, location: string, units: unknown])[];
const rowsOf = (count: number): Rows =>
  Array.from({ length: count }, (_, i) => [`SKU-${i >> 1}`, i % 2 === 0 ? "main" : "W-1", i % 90] as const);
const ndjson = (rows: Rows): string =>
  rows.map(([sku, location, units]) => `${JSON.stringify({ sku, location, units })}\n`).join("");

const pathOf = (source: string, changes: Record<string, string | number> = {}): string => {
  const whole = { id: "s1", asOf: new Date().toISOString(), measure: "on_hand", rows: 2, ...changes };
  const query = Object.entries(whole).map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
  return `/v1/snapshots/${source}?${query.join("&")}`;
};
const post = (path: string, body: string | Buffer, type = NDJSON, headers: Record<string, string> = {}) =>
  bed.send("POST", path, { body, headers: { "content-type": type, ...headers } });
const listed = async (source: string) =>
  (await bed.send("GET", "/v1/snapshots")).json.snapshots.filter((each: { source: string }) => each.source === source);
describe("a snapshot", () => {
  const rows = rowsOf(5_000);
  const csv = `sku,location,units\n${rows.map((row) => row.join(",")).join("\n")}\n`;
  const bodies: [name: string, type: string, body: string | Buffer][] = [
    ["NDJSON", NDJSON, ndjson(rows)],
    ["CSV", "text/csv; charset=utf-8", csv],
    ["msgpack", "application/msgpack", Buffer.concat(rows.map((row) => packr.pack(row)))],
  ];
  for (const [name, type, body] of bodies)
    for (const compressed of [false, true])
      it(`is complete after its only part as ${name}${compressed ? " with gzip" : ""}`, async () => {
        const source = freshSource();
        const answer = await post(
          pathOf(source, { rows: 5_000 }),
          compressed ? gzipSync(body) : body,
          type,
          compressed ? { "content-encoding": "gzip" } : {},
        );
        expect(answer.json).toEqual({
          ...{ outcome: "complete", source, id: "s1", part: 1, parts: 1, partsReceived: 1, rows: 5_000 },
        });
        expect(answer.status).toBe(200);
        const one = await bed.send("GET", `/v1/snapshots/${source}/s1`);
        expect(one.json).toMatchObject({ state: "complete", rows: 5_000, rowsReceived: 5_000, measure: "on_hand" });
      });

  it("shows its progress until its last part has come", async () => {
    const source = freshSource();
    const asOf = new Date().toISOString();
    const first = await post(pathOf(source, { asOf, parts: 2, rows: 4 }), ndjson(rowsOf(2)));
    expect([first.status, first.json.outcome, first.json.partsReceived]).toEqual([202, "received", 1]);
    expect(await listed(source)).toMatchObject([{ state: "receiving", parts: 2, partsReceived: 1, rowsReceived: 2 }]);
    const last = await post(pathOf(source, { asOf, parts: 2, part: 2, rows: 4 }), ndjson(rowsOf(4).slice(2)));
    expect([last.status, last.json.outcome]).toEqual([200, "complete"]);
  });

  it("has the skew of the source's clock, and its instant is corrected by it", async () => {
    const source = freshSource();
    const ahead = Date.now() + 60_000;
    const sentAt = new Date(ahead).toISOString();
    expect((await post(pathOf(source, { asOf: sentAt, sentAt }), ndjson(rowsOf(2)))).status).toBe(200);
    const [{ skewMs, asOf, statedAsOf }] = await listed(source);
    expect(skewMs).toBeGreaterThan(50_000);
    expect(Date.parse(statedAsOf) - Date.parse(asOf)).toBe(skewMs);
  });

  it("gets the same answer when a part is repeated", async () => {
    const source = freshSource();
    const path = pathOf(source);
    const first = await post(path, ndjson(rowsOf(2)));
    expect((await post(path, gzipSync(ndjson(rowsOf(2))), NDJSON, { "content-encoding": "gzip" })).json).toEqual(
      first.json,
    );
    const other = await post(
      path,
      ndjson([
        ["X", "main", 1],
        ["Y", "main", 1],
      ]),
    );
    expect([other.status, other.json.code]).toEqual([409, "part_differs"]);
    expect(await listed(source)).toMatchObject([{ state: "complete" }]);
  });
});

describe("a wrong part is refused, listed, and named by its row:", () => {
  const cases: [status: number, code: string, rows: string, query: Record<string, string | number>, detail: string][] =
    [
      [
        422,
        "wrong_unit",
        ndjson([
          ["A", "main", 1],
          ["B", "main", -4],
        ]),
        {},
        "row 2 of part 1",
      ],
      [422, "wrong_unit", ndjson([["A", "main", "5"]]), {}, "row 1 of part 1"],
      [422, "wrong_unit", ndjson(rowsOf(2)), { unit: "kg" }, '"kg"'],
      [422, "unknown_location", ndjson([["A", "moon", 1]]), {}, 'no location "moon"'],
      [
        422,
        "duplicate_row",
        ndjson([
          ["A", "main", 1],
          ["A", "main", 1],
        ]),
        {},
        "SKU A at main comes twice",
      ],
      [422, "row_total", ndjson(rowsOf(3)), {}, "row 3 of part 1"],
      [422, "row_total", ndjson(rowsOf(1)), {}, "1 rows together, and 2"],
      [400, "malformed_row", `${ndjson(rowsOf(1))}{"sku":"A"`, {}, "row 2 of part 1"],
      [422, "future", ndjson(rowsOf(2)), { asOf: "2100-01-01T00:00:00Z" }, "ahead of the engine's clock"],
      [422, "clock_skew", ndjson(rowsOf(2)), { sentAt: "2020-01-01T00:00:00Z" }, "behind the engine's"],
      [413, "too_many_rows", ndjson(rowsOf(2)), { rows: 900_000_000 }, "900000000 rows"],
    ];
  for (const [status, code, body, query, detail] of cases)
    it(`${code}: ${detail}`, async () => {
      const source = freshSource();
      const answer = await post(pathOf(source, query), body);
      expect(answer.json).toMatchObject({ status, code, detail: expect.stringContaining(detail) });
      expect(answer.headers["content-type"]).toMatch(/^application\/problem\+json/);
      expect(await listed(source)).toMatchObject([{ state: "refused", refusal: { code } }]);
    });

  it("before the rest of a large body was sent", async () => {
    const source = freshSource();
    const answer = await post(pathOf(source, { rows: 1_000_000 }), `{"sku":1}\n${ndjson(rowsOf(60_000))}`);
    expect(answer.json).toMatchObject({ status: 400, code: "malformed_row" });
  });
});

describe("a request that is wrong begins nothing:", () => {
  const body = ndjson(rowsOf(2));
  const cases: [
    name: string,
    status: number,
    code: string,
    path: string,
    type: string,
    headers?: Record<string, string>,
  ][] = [
    ["another content type", 415, "unsupported_media_type", pathOf("bad"), "application/xml"],
    ["JSON, which does not stream", 415, "unsupported_media_type", pathOf("bad"), "application/json"],
    ["another encoding", 415, "unsupported_encoding", pathOf("bad"), NDJSON, { "content-encoding": "br" }],
    ["a body that is not gzip", 400, "malformed_body", pathOf("bad"), NDJSON, { "content-encoding": "gzip" }],
    ["no number of rows", 400, "bad_input", pathOf("bad").replace("rows=2", "x=2"), NDJSON],
    ["a part beyond the last", 400, "bad_input", pathOf("bad", { part: 3, parts: 2 }), NDJSON],
    ["the ledger's name", 400, "bad_input", pathOf("ledger"), NDJSON],
    ["the name of what the engine publishes", 400, "bad_input", pathOf("published"), NDJSON],
    ["an impossible id", 400, "bad_input", pathOf("bad", { id: "a/b" }), NDJSON],
    ["no instant", 400, "bad_input", pathOf("bad", { asOf: "2026-02-30T00:00:00Z" }), NDJSON],
    ["another measure", 400, "bad_input", pathOf("bad", { measure: "all" }), NDJSON],
  ];
  for (const [name, status, code, path, type, headers = {}] of cases)
    it(name, async () => {
      const answer = await post(path, body, type, headers);
      expect(answer.json).toMatchObject({ status, code });
      expect(await listed("bad")).toEqual([]);
    });

  it("no token, or one that may not operate", async () => {
    expect((await bed.send("POST", pathOf("bad"), { body, anonymous: true })).status).toBe(401);
    expect((await bed.send("GET", "/v1/snapshots/bad/none")).json.code).toBe("unknown_snapshot");
  });
});

describe("nothing is left of a body that", () => {
  const stored = async (): Promise<number> => {
    const found = await Promise.all(primaries(bed.redis).map((node) => node.keys("t:{snapshots:*:rows:*")));
    return found.flat().length;
  };
  let before: number;
  beforeEach(async () => {
    before = await stored();
  });
  afterEach(async () => {
    while ((await stored()) > before) await sleep(20);
  });
  const begin = (source: string, query: Record<string, string | number> = {}) => {
    const request = httpRequest({
      ...{ host: "127.0.0.1", port: bed.port, method: "POST", path: pathOf(source, { rows: 4_000_000, ...query }) },
      headers: { authorization: `Bearer ${TOKEN}`, "content-type": NDJSON, "transfer-encoding": "chunked" },
    });
    request.on("error", () => {});
    return request;
  };
  const answered = (request: ReturnType<typeof begin>) =>
    new Promise<string>((resolve, reject) =>
      request.on("error", reject).on("response", (response) => {
        let text = "";
        response.on("data", (chunk) => (text += chunk)).on("end", () => resolve(text));
      }),
    );

  it("breaks off", async () => {
    const source = freshSource();
    const request = begin(source);
    request.write(ndjson(rowsOf(60_000)));
    while ((await stored()) === before) await sleep(10);
    request.destroy();
    while ((await stored()) > before) await sleep(10);
    expect(await listed(source)).toEqual([]);
  });

  it("never ends: it has more rows than were announced", async () => {
    const source = freshSource();
    const request = begin(source, { rows: 10_000 });
    const done = answered(request);
    const piece = ndjson(rowsOf(2_000));
    const endless = setInterval(() => request.writable && request.write(piece), 1);
    const text = await done;
    clearInterval(endless);
    request.destroy();
    expect(JSON.parse(text)).toMatchObject({ code: "row_total", detail: expect.stringContaining("row 10001") });
  });

  it("inflates without end", async () => {
    const bomb = gzipSync(Buffer.alloc(16 * 1024 * 1024, "\n"));
    const answer = await post(pathOf(freshSource()), bomb, NDJSON, { "content-encoding": "gzip" });
    expect(answer.json).toMatchObject({ status: 413, code: "body_too_large" });
  });

  it("is cut inside its gzip data", async () => {
    const source = freshSource();
    const whole = gzipSync(ndjson(rowsOf(40_000)));
    const cut = whole.subarray(0, whole.length - 20);
    const answer = await post(pathOf(source, { rows: 40_000 }), cut, NDJSON, { "content-encoding": "gzip" });
    expect(answer.json).toMatchObject({ status: 400, code: "malformed_body" });
    expect(await listed(source)).toEqual([]);
  });
});

describe("movements", () => {
  const at = Date.now() - 60_000;
  const query = new URLSearchParams({
    ...{ id: "b1", rows: "2", from: new Date(at).toISOString(), to: new Date(at + 60_000).toISOString() },
  });
  const movement = (changes: object) =>
    JSON.stringify({ id: "m1", sku: "A", location: "main", units: -2, at, ...changes });

  it("are received, listed, and refused by the same rules", async () => {
    const body = `${movement({})}\n${movement({ id: "m2", at: new Date(at + 1).toISOString() })}\n`;
    const answer = await post(`/v1/movements/wms?${query}`, body);
    expect(answer.json).toMatchObject({ outcome: "complete", rows: 2 });
    const { movements } = (await bed.send("GET", "/v1/movements")).json;
    expect(movements).toMatchObject([{ source: "wms", id: "b1", state: "complete", from: new Date(at).toISOString() }]);
    const outside = `${movement({})}\n${movement({ id: "m2", at: at + 60_000 })}\n`;
    const refused = await post(`/v1/movements/erp?${query}`, outside);
    expect(refused.json).toMatchObject({ status: 422, code: "outside_span", errors: [{ field: "row 2" }] });
    const wrong = await post(`/v1/movements/pos?${query}`, `${movement({ at: "yesterday" })}\n`);
    expect(wrong.json).toMatchObject({ status: 400, code: "malformed_row" });
  });

  it("as CSV have their times as instants or milliseconds", async () => {
    const csv = `id,sku,location,units,at\nm1,A,main,5,${at}\nm2,A,main,-5,${new Date(at + 5).toISOString()}\n`;
    expect((await post(`/v1/movements/csv?${query}`, csv, "text/csv")).json).toMatchObject({ outcome: "complete" });
  });
});

it("at most 8 bodies stream at a time; the next gets 429", async () => {
  const another = await bed.another({});
  const requests = Array.from({ length: 8 }, () => {
    const request = httpRequest({
      ...{ host: "127.0.0.1", port: another.port, method: "POST", path: pathOf(freshSource()) },
      headers: { authorization: `Bearer ${TOKEN}`, "content-type": NDJSON, "transfer-encoding": "chunked" },
    });
    request.on("error", () => {});
    request.write("\n");
    return request;
  });
  let refused = { status: 0 };
  while (refused.status !== 429) {
    refused = await send(another.port, "POST", pathOf(freshSource()), {
      body: ndjson(rowsOf(2)),
      headers: { "content-type": NDJSON },
    });
  }
  for (const request of requests) request.destroy();
});
