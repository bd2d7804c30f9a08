/**
 * Everything a client can get wrong, one by one, against a real server: each is refused with a status and a problem
 * that names the place.
 */
import { connect as connectSocket } from "node:net";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { freshId, httpBed } from "./http-bed.js";

const bed = httpBed();

const line = { sku: "A", units: 1 };
const place = (body: unknown, headers?: Record<string, string>) =>
  bed.send("POST", "/v1/orders", headers ? { body, headers } : { body });
const raw = (text: string | Buffer, headers: Record<string, string> = {}) =>
  bed.send("POST", "/v1/orders", { body: text, headers: { "content-type": "application/json", ...headers } });

describe("a body that does not fit is refused with its place", () => {
  it.each<[string, unknown, string, string]>([
    ["an unknown field", { lines: [line], coupon: "X" }, "coupon", "is not a known field"],
    ["an unknown field of a line", { lines: [line, { ...line, price: 3 }] }, "lines[1].price", "is not a known field"],
    ["a missing field", { lines: [line, line, { sku: "A" }] }, "lines[2].units", "is missing"],
    ["no lines", {}, "lines", "is missing"],
    ["an empty list of lines", { lines: [] }, "lines", "must have at least 1 entry"],
    ["too many lines", { lines: new Array(101).fill(line) }, "lines", "must have at most 100 entries"],
    ["a text for units", { lines: [{ sku: "A", units: "3" }] }, "lines[0].units", "must be a whole number"],
    ["true for units", { lines: [{ sku: "A", units: true }] }, "lines[0].units", "must be a whole number"],
    ["null for units", { lines: [{ sku: "A", units: null }] }, "lines[0].units", "must be a whole number"],
    ["negative units", { lines: [{ sku: "A", units: -1 }] }, "lines[0].units", "must be at least 1"],
    ["no units", { lines: [{ sku: "A", units: 0 }] }, "lines[0].units", "must be at least 1"],
    ["a fraction", { lines: [{ sku: "A", units: 1.5 }] }, "lines[0].units", "must be a whole number"],
    ["units of 2^53", { lines: [{ sku: "A", units: 2 ** 53 }] }, "lines[0].units", "must be at most 9007199254740991"],
    ["a number for a SKU", { lines: [{ sku: 7, units: 1 }] }, "lines[0].sku", "must be a text"],
    ["an empty SKU", { lines: [{ sku: "", units: 1 }] }, "lines[0].sku", "must be a SKU of 1 to 64"],
    ["a blank SKU", { lines: [{ sku: " \u3000", units: 1 }] }, "lines[0].sku", "must be a SKU of 1 to 64"],
    [
      "a SKU of 65 characters",
      { lines: [{ sku: "x".repeat(65), units: 1 }] },
      "lines[0].sku",
      "must be a SKU of 1 to 64",
    ],
    [
      "the cell separator in a SKU",
      { lines: [{ sku: "A\u001fmain", units: 1 }] },
      "lines[0].sku",
      "must be a SKU of 1 to 64",
    ],
    [
      "a lone surrogate in a SKU",
      { lines: [{ sku: "A\ud800", units: 1 }] },
      "lines[0].sku",
      "must be a SKU of 1 to 64",
    ],
    ["a location with a slash", { lines: [{ ...line, location: "a/b" }] }, "lines[0].location", "must be a location"],
    [
      "a pool that no order takes from",
      { lines: [{ ...line, pool: "safety" }] },
      "lines[0].pool",
      "must be one of sellable, presale",
    ],
    ["a hold beyond 72 hours", { lines: [line], holdMs: 72 * 3_600_000 + 1 }, "holdMs", "must be at most 259200000"],
    ["an id that is none", { id: "order-1", lines: [line] }, "id", "must be a chain id"],
    ["a line's id", { id: `${freshId()}-1`, lines: [line] }, "id", "must be a chain id"],
    [
      "another channel than the id's",
      { id: freshId("T1"), channel: "T2", lines: [line] },
      "channel",
      "differs from the channel of the id",
    ],
    ["a fraction of a fen", { lines: [line], amount: 1.5, currency: "CNY" }, "amount", "must be a whole number"],
    ["an amount of 2^53", { lines: [line], amount: 2 ** 53, currency: "CNY" }, "amount", "must be at most 9007199254"],
    ["a negative amount", { lines: [line], amount: -1, currency: "CNY" }, "amount", "must be at least 0"],
    ["an amount alone", { lines: [line], amount: 1 }, "currency", "is missing: an amount needs its currency"],
    ["a currency alone", { lines: [line], currency: "CNY" }, "amount", "is missing: a currency belongs to an amount"],
    [
      "a currency in words",
      { lines: [line], amount: 1, currency: "yuan" },
      "currency",
      "must be a currency of ISO 4217",
    ],
    [
      "a kind of payment with blanks",
      { lines: [line], paymentKind: "a b" },
      "paymentKind",
      "must be a kind of payment",
    ],
    ["a buyer's name", { lines: [line], buyer: "李伟" }, "buyer", "must be your reference to the buyer"],
    ["a list of attributes", { lines: [line], attributes: [] }, "attributes", "must be an object"],
    [
      "a list as an attribute",
      { lines: [line], attributes: { a: [1] } },
      "attributes.a",
      "must be a text of at most 200",
    ],
    [
      "null as an attribute",
      { lines: [line], attributes: { a: null } },
      "attributes.a",
      "must be a text of at most 200",
    ],
    [
      "an attribute of 201 characters",
      { lines: [line], attributes: { a: "x".repeat(201) } },
      "attributes.a",
      "must be a text of at most 200 characters",
    ],
    [
      "a control character in an attribute",
      { lines: [line], attributes: { a: "x\u0007" } },
      "attributes.a",
      "without control characters",
    ],
    [
      "a capital letter in an attribute's name",
      { lines: [line], attributes: { aB: 1 } },
      "attributes.aB",
      "has a name that is not a letter a-z",
    ],
    [
      "__proto__ as an attribute's name",
      { lines: [line], attributes: JSON.parse('{"__proto__":1}') },
      "attributes.__proto__",
      "has a name that is not a letter a-z",
    ],
    [
      "33 attributes",
      { lines: [line], attributes: Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`a${i}`, i])) },
      "attributes",
      "must have at most 32 values",
    ],
    [
      "attributes of more than 4 KiB",
      {
        lines: [line],
        attributes: Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`a${i}`, "茶".repeat(200)])),
      },
      "attributes",
      "must be at most 4096 bytes as JSON",
    ],
    ["a list for the body", [line], "", "must be an object"],
    ["null for the body", null, "", "must be an object"],
  ])("%s", async (_what, body, field, message) => {
    const answer = await place(body);
    expect(answer.status).toBe(400);
    expect(answer.headers["content-type"]).toMatch(/^application\/problem\+json/);
    expect(answer.json).toMatchObject({ type: "urn:shuiwei:bad_input", code: "bad_input", status: 400 });
    expect(answer.json.errors).toContainEqual({ field, message: expect.stringContaining(message) });
  });

  it("a wrong check character in an id", async () => {
    const id = freshId();
    const answer = await place({ id: id.slice(0, -1) + (id.endsWith("0") ? "1" : "0"), lines: [line] });
    expect(answer.json).toMatchObject({
      status: 400,
      errors: [{ field: "id", message: "has a wrong check character" }],
    });
  });

  it.each(["1e400", "9007199254740993", "1.00000000000000000001", "-1e400"])(
    "units of %s, which JavaScript would round",
    async (units) => {
      const answer = await raw(`{"lines":[{"sku":"A","units":${units}}]}`);
      expect(answer.json).toMatchObject({ status: 400, errors: [{ field: "lines[0].units" }] });
    },
  );

  it.each(["__proto__", "constructor", "prototype"])("the name %s, and no prototype is touched", async (name) => {
    const answer = await raw(`{"lines":[{"sku":"A","units":1}],"${name}":{"units":5,"polluted":true}}`);
    expect(answer.json).toMatchObject({ status: 400, errors: [{ field: name, message: "is not a known field" }] });
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
  });

  it("at most 20 faults are listed, with the number of the others", async () => {
    const answer = await place({ lines: new Array(50).fill({}) });
    expect(answer.json.errors).toHaveLength(20);
    expect(answer.json.detail).toMatch(/and 97 more$/);
  });

  it("an unknown SKU is 404, for an order and for the ledger", async () => {
    expect((await place({ lines: [{ sku: "unknown-sku", units: 1 }] })).json).toMatchObject({
      status: 404,
      code: "unknown_sku",
    });
    expect((await bed.send("GET", "/v1/ledger/unknown-sku")).json).toMatchObject({ status: 404, code: "unknown_sku" });
  });
});

describe("a body that cannot be read", () => {
  it("broken JSON is 400 with the position", async () => {
    expect((await raw('{"lines":[{"sku":"A",]}')).json).toMatchObject({
      status: 400,
      code: "malformed_body",
      detail: expect.stringContaining("position 21"),
    });
    expect((await raw('{"lines":')).json).toMatchObject({
      status: 400,
      detail: expect.stringContaining("ends too early, at position 9"),
    });
  });

  it("invalid UTF-8 is 400, not a replaced character", async () => {
    const bytes = Buffer.concat([
      Buffer.from('{"lines":[{"units":1,"sku":"'),
      Buffer.from([0xc3, 0x28]),
      Buffer.from('"}]}'),
    ]);
    expect((await raw(bytes)).json).toMatchObject({
      status: 400,
      code: "malformed_body",
      detail: "the body is not valid UTF-8",
    });
  });

  it("10 MB is 413, for an order and for bulk", async () => {
    const body = Buffer.alloc(10 * 1024 * 1024, 0x20);
    expect((await raw(body)).json).toMatchObject({ status: 413, code: "body_too_large" });
    const bulk = await bed.send("POST", "/v1/commands", { body, headers: { "content-type": "application/x-ndjson" } });
    expect(bulk.json).toMatchObject({ status: 413, code: "body_too_large" });
  });

  it("10 MB of unknown length is 413", async () => {
    const body = Buffer.alloc(10 * 1024 * 1024, 0x20);
    const answer = await bed.send("POST", "/v1/orders", {
      body,
      headers: { "content-type": "application/json", "transfer-encoding": "chunked" },
    });
    expect(answer.json).toMatchObject({ status: 413, code: "body_too_large" });
  });

  it("truncated gzip, and whole gzip, are 415", async () => {
    const whole = gzipSync(JSON.stringify({ lines: [line] }));
    for (const bytes of [whole, whole.subarray(0, 10)]) {
      const answer = await raw(bytes, { "content-encoding": "gzip" });
      expect(answer.json).toMatchObject({ status: 415, code: "unsupported_encoding" });
      expect(answer.headers["accept-encoding"]).toBe("identity");
    }
  });

  it("another content type, or another charset, is 415", async () => {
    for (const type of [
      "text/plain",
      "application/x-www-form-urlencoded",
      "application/jsonx",
      "application/json; charset=gbk",
      "nonsense",
    ]) {
      expect((await raw("{}", { "content-type": type })).json).toMatchObject({
        status: 415,
        code: "unsupported_media_type",
      });
    }
    expect((await raw("{}", { "content-type": "application/json; charset=UTF-8" })).status).toBe(400);
  });

  it("no body at all is 400", async () => {
    expect((await bed.send("POST", "/v1/orders")).json).toMatchObject({ status: 400, detail: "must be an object" });
  });
});

describe("a request that cannot be understood", () => {
  it("a broken percent escape is 400, in the path and in the query", async () => {
    expect((await bed.send("GET", "/v1/stock/%FF")).json).toMatchObject({ status: 400, code: "bad_request" });
    expect((await bed.send("GET", "/v1/stock?sku=%FF")).json).toMatchObject({ status: 400, code: "bad_request" });
  });

  it("an unknown, doubled or unfit query field is 400 with its name", async () => {
    for (const [path, field] of [
      ["/v1/stock?sku=A&sort=up", "sort"],
      ["/v1/stock?sku=A&by=location&by=location", "by"],
      ["/v1/stock", "sku"],
      [
        `/v1/stock?${new Array(101)
          .fill(0)
          .map((_, i) => `sku=S${i}`)
          .join("&")}`,
        "sku",
      ],
      ["/v1/stock?sku=A&sku=", "sku[1]"],
      ["/v1/alerts?state=wrong", "state"],
      ["/v1/alerts?limit=1e3", "limit"],
      ["/v1/alerts?limit=0", "limit"],
    ] as const) {
      expect((await bed.send("GET", path)).json, path).toMatchObject({
        status: 400,
        code: "bad_input",
        errors: [{ field }],
      });
    }
    for (const count of ["0", "1001", "1.5", "", "x", "1&count=2"]) {
      expect((await bed.send("POST", `/v1/ids?count=${count}`)).json, count).toMatchObject({
        status: 400,
        errors: [{ field: "count" }],
      });
    }
  });

  it("an unknown path is 404, a method that is not allowed is 405 with Allow", async () => {
    for (const path of ["/v1/nothing", "/v1/orders/x/y/z"]) {
      expect((await bed.send("GET", path)).json, path).toMatchObject({ status: 404, code: "not_found" });
    }
    expect((await bed.send("PROPFIND", "/v1/orders")).status).toBe(404);
    const wrong = await bed.send("DELETE", "/v1/orders");
    expect(wrong.json).toMatchObject({ status: 405, code: "method_not_allowed" });
    expect(wrong.headers.allow).toBe("POST");
    expect(
      (await bed.send("POST", "/v1/stock/A", { body: "text", headers: { "content-type": "text/plain" } })).json,
    ).toMatchObject({ status: 405 });
    expect((await bed.send("GET", "/v1/commands")).json).toMatchObject({ status: 405 });
  });

  it("a part of the path beyond 1,024 characters is 414", async () => {
    expect((await bed.send("GET", `/v1/stock/${"x".repeat(5_000)}`)).json).toMatchObject({
      status: 414,
      code: "path_too_long",
    });
  });

  it("a URL beyond 16 KiB is 431", async () => {
    expect((await bed.send("GET", `/v1/stock?sku=${"x".repeat(20_000)}`)).json).toMatchObject({
      status: 431,
      code: "headers_too_large",
    });
  });

  it("a query of more than 128 parameters is 400, before any is checked", async () => {
    const skus = (count: number) => `/v1/stock?${new Array(count).fill("sku=A").join("&")}`;
    expect((await bed.send("GET", skus(128))).json.detail).toContain("sku must have at most 100 entries");
    expect((await bed.send("GET", skus(129))).json).toMatchObject({
      status: 400,
      code: "bad_request",
      detail: "the query has more than 128 parameters",
    });
  });

  it("a request that is not HTTP is answered with a 400 problem", async () => {
    const text = await new Promise<string>((resolve, reject) => {
      let answer = "";
      const socket = connectSocket(bed.port, "127.0.0.1", () => socket.write("HELLO\r\n\r\n"));
      socket.on("data", (bytes) => {
        answer += bytes.toString();
      });
      socket.on("close", () => resolve(answer));
      socket.on("error", reject);
    });
    expect(text).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
    expect(text).toContain('"code":"bad_request"');
  });
});

it("no request caused an unexpected fault", () => {
  expect(bed.troubles).toEqual([]);
});
