/**
 * What the WMS client sends, and what it makes of every kind of answer and of none, against a real HTTP server on
 * loopback.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import {
  type KnownRefusal,
  outcomeOf,
  type WmsClient,
  type WmsClientOptions,
  wmsClient,
} from "../../../connectors/wms/client.js";

const NOW_MS = Date.UTC(2026, 5, 18);
const never = new AbortController().signal;
const ends: (() => unknown)[] = [];

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function serve(
  answer: (request: IncomingMessage, response: ServerResponse, body: string) => void,
): Promise<string> {
  const server: Server = createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8").on("data", (part: string) => {
      body += part;
    });
    request.on("end", () => answer(request, response, body));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  ends.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function clientOf(url: string, more: Partial<WmsClientOptions> = {}): WmsClient {
  const client = wmsClient({ url, timeoutMs: 2_000, connections: 4, clock: { now: () => NOW_MS }, ...more });
  ends.push(() => client.close());
  return client;
}

describe("a request", () => {
  it("goes to the path below the URL, with key, token and body as they were given, on connections that are kept", async () => {
    const sockets = new Set<unknown>();
    const requests: unknown[] = [];
    const url = await serve((request, response, body) => {
      const { method, url: path, headers } = request;
      sockets.add(request.socket);
      requests.push({ method, path, body, key: headers["idempotency-key"], token: headers.authorization });
      response.end("{}");
    });
    const client = clientOf(`${url}/api/`, { token: "secret", connections: 1 });
    for (const body of ['{"order":"水"}', Buffer.from("{}")]) {
      expect(await client.post("/v1/picks", body, "WB-1/pick", never)).toEqual({
        outcome: "done",
        receipt: { status: 200 },
      });
    }
    const request = { method: "POST", path: "/api/v1/picks", key: "WB-1/pick", token: "Bearer secret" };
    expect(requests).toEqual([
      { ...request, body: '{"order":"水"}' },
      { ...request, body: "{}" },
    ]);
    expect(sockets.size).toBe(1);
  });
});

describe("an answer", () => {
  const of = (status: number, headers: Record<string, string> = {}, text = "", done: readonly KnownRefusal[] = []) =>
    outcomeOf(status, headers, text, NOW_MS, done);
  const HTML = { "content-type": "text/html; charset=utf-8" };

  it.each([200, 201, 202, 204])("of %i means that the WMS has accepted the request", (status) => {
    expect(of(status)).toEqual({ outcome: "done", receipt: { status } });
  });

  it.each([
    [429, {}],
    [503, { mayHaveArrived: true }],
  ])("of %i asks for fewer requests", (status, more) => {
    const outcome = { outcome: "retry", reason: `HTTP ${status}`, brief: `HTTP ${status}`, throttled: true, ...more };
    expect(of(status)).toEqual(outcome);
  });

  it("of 409 with Retry-After means that the request is still in progress, and may fail", () => {
    const answer = { reason: "HTTP 409", brief: "HTTP 409", throttled: false, retryAfterMs: 1_000 };
    expect(of(409, { "retry-after": "1" })).toEqual({ outcome: "retry", ...answer });
  });

  it.each([408, 425])("of %i is sent again", (status) => {
    const answer = { reason: `HTTP ${status}`, brief: `HTTP ${status}`, throttled: false };
    expect(of(status)).toEqual({ outcome: "retry", ...answer });
  });

  it.each([500, 502, 504])("of %i is sent again, and the order may have arrived", (status) => {
    expect(of(status, HTML)).toMatchObject({ outcome: "retry", throttled: false, mayHaveArrived: true });
  });

  it.each([
    [401, "denies access (HTTP 401)"],
    [403, "denies access (HTTP 403)"],
    [407, "denies access (HTTP 407)"],
    [302, "may be wrong (HTTP 302)"],
    [404, "may be wrong (HTTP 404)"],
    [405, "may be wrong (HTTP 405)"],
  ])("of %i, with a page or without, does not refuse an order: its fault says what to check", (status, fault) => {
    for (const headers of [HTML, {}]) {
      expect(of(status, headers, "<html>")).toMatchObject({ outcome: "retry", fault: expect.stringContaining(fault) });
    }
  });

  it("of 200 with a web page is not an answer of the WMS", () => {
    const fault = "a web page answers in its place (HTTP 200): check its URL";
    expect(of(200, HTML, "<html>please log in")).toMatchObject({ outcome: "retry", fault });
  });

  it.each([400, 409, 413, 422])("of %i without the WMS's own code does not refuse the order", (status) => {
    const reasons = { reason: `HTTP ${status}: {"error":"no"}`, brief: `HTTP ${status}` };
    const fault = `it rejects the request (HTTP ${status})`;
    expect(of(status, {}, '{"error":"no"}')).toEqual({ outcome: "retry", ...reasons, throttled: false, fault });
    expect(of(status, HTML, '{"code":"invalid_order"}')).toMatchObject({ outcome: "retry" });
  });

  it.each([400, 409, 413, 422])("of %i with invalid_order is a refusal, with its reason", (status) => {
    const answer = `{"code":"invalid_order","message":"${"x".repeat(600)}"}`;
    expect(of(status, {}, answer)).toEqual({
      outcome: "refused",
      reason: `HTTP ${status}: ${answer.slice(0, 500)}`,
      brief: `HTTP ${status} invalid_order`,
    });
  });

  it("of the WMS that ends a request ends it; the same answer of another server does not", () => {
    const ends = ["404 unknown_order", "409 already_picked"] as const;
    const answer = '{"code":"unknown_order"}';
    const receipt = { status: 404, code: "unknown_order" };
    expect(of(404, {}, answer, ends)).toEqual({ outcome: "done", receipt });
    for (const outcome of [
      of(404, {}, answer),
      of(404, HTML, answer, ends),
      of(409, {}, answer, ends),
      of(404, {}, "", ends),
    ])
      expect(outcome).toMatchObject({ outcome: "retry" });
  });

  it.each([
    ["2", 2_000],
    ["0", 0],
    [new Date(NOW_MS + 7_000).toUTCString(), 7_000],
    [new Date(NOW_MS - 7_000).toUTCString(), 0],
    ["999999999", 300_000],
    ["soon", undefined],
    ["-1", undefined],
    ["", undefined],
  ])("with Retry-After: %s", (header, ms) => {
    const outcome = of(429, { "retry-after": header });
    expect("retryAfterMs" in outcome ? outcome.retryAfterMs : undefined).toBe(ms);
  });

  it("is read up to a limit only", async () => {
    const url = await serve((_, response) => {
      response.writeHead(400);
      const more = () => {
        while (response.write("x".repeat(64 * 1024)));
      };
      response.on("drain", more);
      more();
    });
    const outcome = await clientOf(url).post("/", "{}", "k", never);
    expect(outcome).toMatchObject({ outcome: "retry", reason: `HTTP 400: ${"x".repeat(500)}` });
  });
});

describe("no answer", () => {
  it("within the time limit is retried, whether headers or the rest are missing", async () => {
    const url = await serve((request, response) => {
      if (request.url === "/half") response.writeHead(200, { "content-length": "10" }).write("half");
    });
    const client = clientOf(url, { timeoutMs: 150 });
    for (const path of ["/none", "/half"]) {
      expect(await client.post(path, "{}", "k", never)).toEqual({
        outcome: "retry",
        reason: "no answer within 150 ms",
        mayHaveArrived: true,
      });
    }
  });

  it("because there is no server, or the connection breaks, is retried", async () => {
    const url = await serve((request) => request.socket.destroy());
    expect(await clientOf(url).post("/", "{}", "k", never)).toMatchObject({
      outcome: "retry",
      reason: "other side closed",
    });
    const unreachable = await clientOf("http://127.0.0.1:9").post("/", "{}", "k", never);
    expect(unreachable).toEqual({
      outcome: "retry",
      reason: "cannot be reached (ECONNREFUSED)",
      mayHaveArrived: false,
    });
  });

  it("is not awaited after the caller aborts, and the connection remains usable", async () => {
    const url = await serve((request, response) => {
      if (request.url === "/ok") response.end();
    });
    const client = clientOf(url, { connections: 1 });
    const caller = new AbortController();
    const posted = client.post("/never", "{}", "k", caller.signal);
    setTimeout(() => caller.abort(), 20);
    expect(await posted).toMatchObject({ outcome: "retry" });
    expect(await client.post("/never", "{}", "k", caller.signal)).toMatchObject({ outcome: "retry" });
    expect(await client.post("/ok", "{}", "k", never)).toMatchObject({ outcome: "done" });
  });
});
