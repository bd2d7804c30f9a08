/** What the WMS client sends, and what it makes of every kind of answer and of none, against a real HTTP server on loopback. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { verdictOf, type WmsClient, type WmsClientOptions, wmsClient } from "../../../connectors/wms/client.js";

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
  const of = (status: number, headers: Record<string, string> = {}, text = "") =>
    verdictOf(status, headers, text, NOW_MS);

  it.each([200, 201, 202, 204, 409])("of %i means that the WMS has it", (status) => {
    expect(of(status)).toEqual({ outcome: "done", receipt: { status } });
  });

  it.each([429, 503])("of %i asks for less", (status) => {
    expect(of(status)).toEqual({ outcome: "again", reason: `HTTP ${status}`, throttled: true });
  });

  it("of 409 that asks to come again means that it is still at it, and may yet fail", () => {
    const verdict = { outcome: "again", reason: "HTTP 409", throttled: false, retryAfterMs: 1_000 };
    expect(of(409, { "retry-after": "1" })).toEqual(verdict);
  });

  it.each([408, 425, 401, 403, 407, 500, 502, 504, 302])("of %i is tried again", (status) => {
    expect(of(status)).toEqual({ outcome: "again", reason: `HTTP ${status}`, throttled: false });
  });

  it.each([400, 404, 410, 413, 422])("of %i is a refusal, with what was said of it", (status) => {
    const said = `bad address ${"x".repeat(600)}`;
    expect(of(status, {}, said)).toEqual({ outcome: "refused", reason: `HTTP ${status}: ${said.slice(0, 500)}` });
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
  ])("that says Retry-After: %s", (header, ms) => {
    const verdict = of(429, { "retry-after": header });
    expect("retryAfterMs" in verdict ? verdict.retryAfterMs : undefined).toBe(ms);
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
    const verdict = await clientOf(url).post("/", "{}", "k", never);
    expect(verdict).toEqual({ outcome: "refused", reason: `HTTP 400: ${"x".repeat(500)}` });
  });
});

describe("no answer", () => {
  it("within the time limit is tried again, whether headers or the rest are missing", async () => {
    const url = await serve((request, response) => {
      if (request.url === "/half") response.writeHead(200, { "content-length": "10" }).write("half");
    });
    const client = clientOf(url, { timeoutMs: 150 });
    for (const path of ["/none", "/half"]) {
      expect(await client.post(path, "{}", "k", never)).toEqual({
        outcome: "again",
        reason: "no answer within 150 ms",
      });
    }
  });

  it("for want of a server, or because the connection broke, is tried again", async () => {
    const url = await serve((request) => request.socket.destroy());
    expect(await clientOf(url).post("/", "{}", "k", never)).toMatchObject({
      outcome: "again",
      reason: "other side closed",
    });
    const nobody = await clientOf("http://127.0.0.1:9").post("/", "{}", "k", never);
    expect(nobody).toEqual({ outcome: "again", reason: "cannot be reached (ECONNREFUSED)" });
  });

  it("is waited for no longer when the caller gives up, and leaves the connection to others in order", async () => {
    const url = await serve((request, response) => {
      if (request.url === "/ok") response.end();
    });
    const client = clientOf(url, { connections: 1 });
    const caller = new AbortController();
    const posted = client.post("/never", "{}", "k", caller.signal);
    setTimeout(() => caller.abort(), 20);
    expect(await posted).toMatchObject({ outcome: "again" });
    expect(await client.post("/never", "{}", "k", caller.signal)).toMatchObject({ outcome: "again" });
    expect(await client.post("/ok", "{}", "k", never)).toMatchObject({ outcome: "done" });
  });
});
