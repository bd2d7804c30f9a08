/**
 * The short way of frequent requests: the same bytes, counts and limits as the ordinary way, for requests of every
 * form. One server answers by both ways, the other one by the ordinary way only; both have one engine.
 */
import { once } from "node:events";
import { connect } from "node:net";
import { beforeAll, describe, expect, it, vi } from "vitest";
import type { RunningServer } from "../../../engine/app/server.js";
import { httpBed, send } from "./http-bed.js";

const bed = httpBed();

const CLOSE = "Connection: close\r\n";

/** What a server sends on one connection until it closes it, without the time. */
async function exchange(port: number, bytes: string): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  const chunks: Buffer[] = [];
  socket.on("data", (chunk) => chunks.push(chunk));
  socket.on("error", () => {});
  socket.end(Buffer.from(bytes, "latin1"));
  await once(socket, "close");
  return Buffer.concat(chunks)
    .toString("latin1")
    .replace(/\r\nDate: [^\r]*/g, "")
    .replace(/urn:shuiwei:instance:\w+/g, "");
}

const get = (path: string, headers = "", { method = "GET", version = "1.1" } = {}): string =>
  `${method} ${path} HTTP/${version}\r\nHost: shop.example\r\n${headers}\r\n`;

type Pair = Record<"fast" | "ordinary", RunningServer>;

/** Two servers of one engine: one with both ways, one without the short way. */
async function pair(changes: Parameters<typeof bed.another>[0]) {
  const servers: Pair = { fast: await bed.another(changes), ordinary: await bed.another(changes) };
  vi.spyOn(servers.ordinary.server.fastEntry, "answer").mockReturnValue(false);
  return { ...servers, short: vi.spyOn(servers.fast.server.fastEntry, "answer") };
}

/**
 * Both ways answer the same, and as expected; asked again when a second has ended in between.
 * @returns the answer
 */
async function expectSame(
  { fast, ordinary }: Pair,
  bytes: string | (() => Promise<string>),
  expected = /^HTTP/,
): Promise<string> {
  let answer = "";
  await expect
    .poll(async () => {
      const sent = typeof bytes === "string" ? bytes : await bytes();
      const [one = "", other] = await Promise.all([exchange(fast.port, sent), exchange(ordinary.port, sent)]);
      answer = one;
      return one === other && expected.test(one) ? "the same" : [one, other];
    })
    .toBe("the same");
  return answer;
}

const SKUS = ["TEA-01", "A", "a.b~c_d-e", "50%", "茶", "a/b", "a b", "🍵", "x".repeat(64), "stream", "GONE"];

beforeAll(async () => {
  for (const sku of SKUS) await bed.receive(sku, 7);
  const areVisible = () => SKUS.every((sku) => bed.storefrontView.get(sku)?.total.display === 7);
  await vi.waitUntil(areVisible, { timeout: 60_000 });
});

describe("a request by the short way has the same answer as by the ordinary one", () => {
  it("for known SKUs in every spelling", async () => {
    const servers = await pair({});
    for (const sku of SKUS) {
      const expected = sku === "stream" ? /^HTTP\/1\.1 400 / : /^HTTP\/1\.1 200 /;
      const escaped = [...Buffer.from(sku)].map((byte) => `%${byte.toString(16).padStart(2, "0")}`).join("");
      for (const spelling of [encodeURIComponent(sku), escaped])
        await expectSame(servers, get(`/v1/stock/${spelling}`, CLOSE), expected);
    }
    const { calls, results } = servers.short.mock;
    // A route of its own has that name.
    const isRoute = (url = "") => decodeURIComponent(url).endsWith("/stream");
    expect(results.map(({ value }) => value)).toEqual(calls.map(([{ url }]) => !isRoute(url)));
  });

  it("for ETags that it knows, in every form", async () => {
    const servers = await pair({});
    const forms = [
      ...["ETAG", "W/ETAG", '"x", ETAG', "*", "ETAG,"].map((form) => [form, 304] as const),
      ...['"x"', "", "ETAGx", "xETAG"].map((form) => [form, 200] as const),
    ];
    for (const [form, status] of forms) {
      const bytes = async () => {
        const { headers } = await send(servers.fast.port, "GET", "/v1/stock/A");
        return get("/v1/stock/A", `If-None-Match: ${form.replace("ETAG", String(headers.etag))}\r\n${CLOSE}`);
      };
      await expectSame(servers, bytes, new RegExp(`^HTTP/1\\.1 ${status} `));
    }
    const twice = 'If-None-Match: "x"\r\nIf-None-Match: *\r\n';
    await expectSame(servers, get("/v1/stock/A", twice + CLOSE), /^HTTP\/1\.1 304 /);
    expect(servers.short.mock.results.every(({ value }) => value === true)).toBe(true);
  });

  it("for paths, methods and headers that are unusual, which are left to the ordinary way", async () => {
    const servers = await pair({});
    const unusual = [
      ...["/v1/stock/", "/v1/stock", "/v1/stock/A/", "/v1/stock/A/B", "/v1/stock//A", "/v1/stock/A?", "/v1/stock/A;b"],
      ...[
        "/v1/stock/A?by=location",
        "/v1/stock/A?x=1",
        "/v1/stock/A#b",
        "/v1/stock/%FF",
        "/v1/stock/%",
        "/v1/stock/%4",
      ],
      ...[
        "/v1/stock/%00",
        "/v1/stock/none",
        "/v1/stock/%20",
        `/v1/stock/${"y".repeat(65)}`,
        "/v1/stock/\xe9",
        "/V1/stock/A",
      ],
      ...[`/v1/stock/${"z".repeat(1_100)}`, "/v1/stock/..", "/v1/stock/%2e%2e", "http://shop.example/v1/stock/A", "*"],
    ].map((path) => get(path, CLOSE));
    const others = [
      ...["POST", "PUT", "HEAD", "OPTIONS", "DELETE", "TRACE"].map((method) => get("/v1/stock/A", CLOSE, { method })),
      get("/v1/stock/A", `Content-Length: 0\r\n${CLOSE}`),
      `${get("/v1/stock/A", `Content-Length: 2\r\nContent-Type: application/json\r\n${CLOSE}`)}{}`,
      `${get("/v1/stock/A", `Transfer-Encoding: chunked\r\n${CLOSE}`)}0\r\n\r\n`,
      get("/v1/stock/A", `Content-Encoding: gzip\r\n${CLOSE}`),
      get("/v1/stock/A", `Expect: 100-continue\r\n${CLOSE}`),
      get("/v1/stock/A", `Expect: tea\r\n${CLOSE}`),
      get("/v1/stock/A", `${"X-Many: 1\r\n".repeat(1_000)}${CLOSE}`),
    ];
    for (const bytes of [...unusual, ...others]) await expectSame(servers, bytes);
    expect(servers.short.mock.results.some(({ value }) => value === true)).toBe(false);
  });

  it("for connections of every kind: kept, closed, HTTP/1.0, pipelined, with credentials and strange hosts", async () => {
    const servers = await pair({});
    const last = get("/v1/stock/A", CLOSE);
    const requests = [
      get("/v1/stock/A") + last,
      get("/v1/stock/A", "", { version: "1.0" }),
      get("/v1/stock/A", "Connection: keep-alive\r\n", { version: "1.0" }) + last,
      get("/v1/stock/A").repeat(20) + get("/v1/stock/none") + get("/v1/stock/TEA-01") + last,
      "GET /v1/stock/A HTTP/1.1\r\nConnection: close\r\n\r\n",
      "GET /v1/stock/A HTTP/1.0\r\n\r\n",
      "GET /v1/stock/A HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n",
      "GET /v1/stock/A HTTP/1.1\r\nHost: @#!\r\nConnection: close\r\n\r\n",
      get(
        "/v1/stock/A",
        "Authorization: Bearer wrong\r\nCookie: a=b\r\nOrigin: https://evil.example\r\nConnection: close\r\n",
      ),
      get("/v1/stock/A", "Upgrade: h2c\r\nConnection: Upgrade, close\r\n"),
      get("/v1/stock/A", "Accept-Encoding: gzip\r\nRange: bytes=0-1\r\nConnection: close\r\n"),
    ];
    for (const bytes of requests) await expectSame(servers, bytes);
  });

  it("for answers one after the other on a kept connection, with tags and without, in every alphabet", async () => {
    for (const changes of [{}, { tagOf: (sku: string) => `stock-${[...Buffer.from(sku)].join("-").slice(0, 64)}` }]) {
      const servers = await pair(changes);
      const known = SKUS.filter((sku) => sku !== "stream");
      const each = known.map((sku) => get(`/v1/stock/${encodeURIComponent(sku)}`));
      const answer = await expectSame(servers, [...each, ...each, get("/v1/stock/A", CLOSE)].join(""));
      const bodies = known.map((sku) => `"sku":"${Buffer.from(sku).toString("latin1")}"`);
      for (const body of bodies) expect(answer.split(body)).toHaveLength(body === '"sku":"A"' ? 4 : 3);
      expect(answer.match(/\r\nConnection: keep-alive\r\n/g)).toHaveLength(2 * known.length);
      expect(servers.short.mock.results.every(({ value }) => value === true)).toBe(true);
    }
  });

  it("in an open demo, with allowed hosts, with tags, and when it is refused", async () => {
    const hosts = ["localhost", "127.0.0.1:8618", "shop.example", "evil.example"].map(
      (host) => `GET /v1/stock/A HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n`,
    );
    for (const changes of [
      { open: true, tokens: [] },
      { isAllowedHost: () => false },
      { tagOf: (sku: string) => `stock-${sku}` },
      { stopping: () => true },
      { ageMs: () => 9_000 },
      { maxUnderWay: 0 },
    ]) {
      const servers = await pair(changes);
      for (const head of hosts) {
        await expectSame(servers, `${head}\r\n`);
        await expectSame(servers, `${head}Origin: https://evil.example\r\n\r\n`);
      }
    }
  });
});

it("counts like the ordinary way, and closes connections while the server drains", async () => {
  const servers = await pair({});
  const counted = async (port: number): Promise<string[]> => {
    const { text } = await send(port, "GET", "/metrics");
    return text.split("\n").filter((line) => /^shuiwei_http_request_seconds_count.*stock/.test(line));
  };
  for (let n = 0; n < 3; n++) await expectSame(servers, get("/v1/stock/A", CLOSE));
  await expectSame(servers, get("/v1/stock/A", "If-None-Match: *\r\nConnection: close\r\n"));
  await expectSame(servers, get("/v1/stock/none", CLOSE));
  expect(servers.short).toHaveBeenCalled();
  await expect
    .poll(async () => [await counted(servers.fast.port), await counted(servers.ordinary.port)])
    .toSatisfy(([one, other]) => one.length >= 3 && String(one) === String(other));
  for (const server of [servers.fast, servers.ordinary]) server.drain();
  const answer = await expectSame(servers, get("/v1/stock/A"));
  expect(answer).toMatch(/\r\nconnection: close\r\n/i);
});
