/**
 * Around the routes: authorization, health and metrics, closing, unexpected faults, documentation and pages.
 */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { Agent, request as httpRequest } from "node:http";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { httpConnector } from "../../../connectors/http/index.js";
import { sleep } from "../../../engine/kernel/clock.js";
import { EngineError } from "../../../engine/kernel/errors.js";
import type { LogFields } from "../../../engine/kernel/logger.js";
import { httpBed, send, TOKEN } from "./http-bed.js";

const bed = httpBed();
const loopback = { host: "127.0.0.1" };

/** Asks for an upgrade and gives the status of the answer. */
const upgrade = (port: number, headers: Record<string, string> = {}): Promise<number> =>
  new Promise((resolve, reject) => {
    const request = httpRequest({
      ...loopback,
      port,
      path: "/v1/live",
      headers: { connection: "Upgrade", upgrade: "websocket", ...headers },
    });
    request.on("response", (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    request.on("upgrade", (response, socket) => {
      socket.destroy();
      resolve(response.statusCode ?? 0);
    });
    request.on("error", reject);
    request.end();
  });

describe("tokens", () => {
  it("are needed for writing and operating, not for what customers and monitoring read", async () => {
    for (const [method, path] of [
      ["POST", "/v1/orders"],
      ["POST", "/v1/orders/x/payment"],
      ["GET", "/v1/orders/x"],
      ["POST", "/v1/commands"],
      ["GET", "/v1/ledger/A"],
      ["PUT", "/v1/skus/A/settings"],
      ["GET", "/v1/alerts"],
      ["POST", "/v1/alerts/A%231/acknowledgement"],
      ["GET", "/v1/breaker"],
      ["POST", "/v1/breaker"],
      ["GET", "/v1/comparisons"],
      ["POST", "/v1/comparisons"],
      ["GET", "/v1/divergence"],
      ["POST", "/v1/ids"],
      ["GET", "/metrics"],
      ["GET", "/v1/sessions"],
    ] as const) {
      const none = await bed.send(method, path, { anonymous: true });
      expect(none.json, path).toMatchObject({ status: 401, code: "unauthorized" });
      expect(none.headers["www-authenticate"]).toBe('Bearer realm="shuiwei"');
      const wrong = await bed.send(method, path, { headers: { authorization: `Bearer ${TOKEN}x` } });
      expect(wrong.status).toBe(401);
      expect(wrong.headers["www-authenticate"]).toContain("invalid_token");
      expect((await bed.send(method, path)).status).not.toBe(401);
    }
    for (const path of ["/v1/stock?sku=A", "/healthz", "/readyz", "/docs/json", "/pair"]) {
      expect((await bed.send("GET", path, { anonymous: true })).status, path).toBe(200);
    }
  });

  it("are accepted in any case of the scheme and refused in any other form", async () => {
    const status = async (authorization: string) =>
      (await bed.send("GET", "/v1/breaker", { headers: { authorization } })).status;
    expect(await status(`bearer ${TOKEN}`)).toBe(200);
    for (const value of [TOKEN, `Basic ${TOKEN}`, "Bearer ", `Bearer ${TOKEN},x`, `Bearer ${TOKEN.slice(0, -1)}`])
      expect(await status(value)).toBe(401);
  });

  it("must be set, long and sendable, or the server does not start", async () => {
    for (const tokens of [[], ["short"], ["a token with blanks in it"]]) {
      await expect(bed.another({ tokens })).rejects.toMatchObject({ code: "bad_option", input: "tokens" });
    }
    expect(httpConnector({ ...bed.deps(), open: true, tokens: [] })).toBeTypeOf("function");
  });
});

describe("an open demo", () => {
  it("needs no token, answers loopback names only, and no other site's pages", async () => {
    const { port } = await bed.another({ open: true, tokens: [] });
    const status = async (headers: Record<string, string>) =>
      (await send(port, "GET", "/v1/breaker", { anonymous: true, headers })).status;
    for (const host of [`127.0.0.1:${port}`, `localhost:${port}`, "LOCALHOST", `[::1]:${port}`])
      expect(await status({ host })).toBe(200);
    for (const host of [
      "evil.example",
      `evil.example:${port}`,
      "127.0.0.1.evil.example",
      "localhost.evil.example",
      "localhost:1@evil",
    ]) {
      expect(await status({ host }), host).toBe(421);
    }
    expect(await status({ host: `localhost:${port}`, origin: `http://localhost:${port}` })).toBe(200);
    for (const origin of ["http://evil.example", "null", "http://localhost:1"])
      expect(await status({ host: `localhost:${port}`, origin })).toBe(403);
    expect(await upgrade(port, { host: "evil.example" })).toBe(421);
    expect(await upgrade(port, { origin: "http://evil.example" })).toBe(403);
    expect(await upgrade(port)).toBe(404);
  });

  it("is not served on any other address", async () => {
    await expect(bed.another({ open: true, tokens: [], host: "0.0.0.0" })).rejects.toMatchObject({
      code: "not_loopback",
    });
  });
});

describe("a request that asks for an upgrade", () => {
  const h2c = { connection: "Upgrade, HTTP2-Settings", upgrade: "h2c", "http2-settings": "AAMAAABkAAQAoAAAAAIAAAAA" };

  it("to something that is not served is answered as any other", async () => {
    await bed.receive("H2C", 5);
    expect((await send(bed.port, "GET", "/v1/stock?sku=H2C", { headers: h2c })).status).toBe(200);
    const body = { lines: [{ sku: "H2C", units: 1 }] };
    expect((await send(bed.port, "POST", "/v1/orders", { body, headers: h2c })).status).toBe(201);
    expect((await send(bed.port, "POST", "/v1/orders", { body, headers: h2c, anonymous: true })).status).toBe(401);
    expect((await send(bed.port, "GET", "/no/such/path", { headers: h2c })).status).toBe(404);
    const webSocket = { connection: "Upgrade", upgrade: "websocket" };
    expect((await send(bed.port, "GET", "/healthz", { headers: webSocket })).status).toBe(200);
  });
});

it("A head of 1,000 headers is refused, because Node keeps no more of them", async () => {
  const status = (headers: string): Promise<string> =>
    new Promise((resolve, reject) => {
      let received = "";
      const socket = connect(bed.port, loopback.host);
      socket.on("error", reject);
      socket.on("close", () => resolve(received.slice(0, "HTTP/1.1 431".length)));
      socket.on("data", (bytes: Buffer) => {
        received += bytes.toString();
      });
      socket.write(`GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${headers}\r\n`);
    });
  expect(await status("a:b\r\n".repeat(900))).toBe("HTTP/1.1 200");
  expect(await status("a:b\r\n".repeat(1_100))).toBe("HTTP/1.1 431");
  expect(await status(`${"a:b\r\n".repeat(1_100)}Connection: Upgrade\r\nUpgrade: h2c\r\n`)).toBe("HTTP/1.1 431");
});

describe("a connection that was taken from the HTTP parser", () => {
  const soon = { timeout: 30_000, interval: 20 };
  const head = `GET /v1/live HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`;
  type Gateway = NonNullable<Parameters<typeof bed.another>[0]["gateway"]>;
  const gatewayWith = (handleUpgrade: Gateway["handleUpgrade"]): Gateway => ({ handleUpgrade, close: async () => {} });
  /** Never closes its half by itself. */
  const openHalf = (port: number, text: string) => {
    const socket = connect({ ...loopback, port, allowHalfOpen: true }, () => socket.write(text));
    socket.on("error", () => {});
    return socket;
  };

  it("and refused is closed, although its client keeps it", async () => {
    const { port, server } = await bed.another({ gateway: gatewayWith(() => {}) });
    const count = () =>
      new Promise<number>((resolve) => server.server.getConnections((_error, connections) => resolve(connections)));
    for (const text of [head, "no request\r\n\r\n"]) {
      let received = "";
      const socket = openHalf(port, text);
      socket.on("data", (bytes: Buffer) => {
        received += bytes.toString();
      });
      await expect.poll(() => received, soon).toMatch(/^HTTP\/1.1 40[01] /);
      await expect.poll(count, soon).toBe(0);
      socket.destroy();
    }
  });

  it("does not keep the server from ending", async () => {
    let taken = false;
    const gateway = gatewayWith(() => {
      taken = true;
    });
    const running = await bed.another({ gateway, closeGraceMs: 200, openParts: ["screens"] });
    const socket = openHalf(running.port, head);
    await expect.poll(() => taken, soon).toBe(true);
    await running.close();
    socket.destroy();
  });

  it("does not become a screen when it has closed before its token was checked", async () => {
    let asked = (): void => {};
    let taken = 0;
    const { port, server } = await bed.another({ gateway: gatewayWith(() => taken++) });
    const { access } = server;
    const authenticate = access.authenticate.bind(access);
    access.authenticate = async (...given) => {
      await new Promise<void>((resolve) => {
        asked = resolve;
      });
      return authenticate(...given);
    };
    const closed = new Promise((resolve) => server.server.once("connection", (socket) => socket.on("close", resolve)));
    let came = false;
    server.server.once("upgrade", () => {
      came = true;
    });
    const socket = openHalf(port, head.replace("Host", `Authorization: Bearer ${TOKEN}\r\nHost`));
    await expect.poll(() => came, soon).toBe(true);
    socket.resetAndDestroy();
    await closed;
    asked();
    await sleep(0);
    expect(taken).toBe(0);
  });
});

describe("a client that waits for 100 Continue before it sends its body", () => {
  /**
   * What comes back for a head that announces a body, before any of it is sent; then the body, when it is asked for.
   */
  const ask = (method: string, path: string, headers: string, body = ""): Promise<string> =>
    new Promise((resolve, reject) => {
      let received = "";
      const socket = connect(bed.port, loopback.host);
      socket.on("data", (bytes: Buffer) => {
        if (received === "" && bytes.includes("100 Continue")) socket.write(body);
        received += bytes.toString();
      });
      socket.on("error", reject);
      socket.on("close", () => resolve(received));
      socket.write(
        `${method} ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nExpect: 100-continue\r\n${headers}\r\n`,
      );
    });
  const token = `Authorization: Bearer ${TOKEN}\r\nContent-Type: application/json\r\n`;

  it("gets 100 Continue when its body is accepted", async () => {
    await bed.receive("ASKED", 5);
    const body = JSON.stringify({ lines: [{ sku: "ASKED", units: 1 }] });
    const answer = await ask("POST", "/v1/orders", `${token}Content-Length: ${body.length}\r\n`, body);
    expect(answer).toMatch(/^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 201 /);
  });

  it("gets a refusal instead, and its connection is closed", async () => {
    for (const [status, path, headers] of [
      [401, "/v1/orders", "Content-Type: application/json\r\nContent-Length: 10\r\n"],
      [413, "/v1/orders", `${token}Content-Length: 200000\r\n`],
      [404, "/no/such/path", `${token}Content-Length: 10\r\n`],
    ] as const) {
      const answer = await ask("POST", path, headers);
      expect(answer, path).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
      expect(answer, path).not.toContain("100 Continue");
      expect(answer.toLowerCase(), path).toContain("connection: close");
    }
  });
});

describe("operating", () => {
  it("reports whether the process is alive and ready, in words", async () => {
    let wrong: string[] = [];
    const { port } = await bed.another({ readiness: () => wrong });
    expect((await send(port, "GET", "/readyz")).json).toEqual({ status: "ready", freshness: expect.any(String) });
    wrong = ["views are 9 s behind", "Redis is away"];
    expect((await send(port, "GET", "/readyz")).json).toMatchObject({
      status: 503,
      code: "not_ready",
      detail: "views are 9 s behind; Redis is away",
    });
    expect((await send(port, "GET", "/healthz")).json).toEqual({ status: "alive" });
  });

  it("reports to clients without a token whether it is ready, but not the reasons", async () => {
    let wrong: string[] = [];
    const { port } = await bed.another({ readiness: () => wrong, warnings: () => ["views are slow"] });
    const readiness = async (headers: Record<string, string> = {}) =>
      (await send(port, "GET", "/readyz", { anonymous: true, headers })).json;
    expect(await readiness()).toEqual({ status: "ready" });
    wrong = ["Redis is away"];
    expect(await readiness()).toMatchObject({
      status: 503,
      detail: "the reason is shown to clients with the role read",
    });
    expect(await readiness({ authorization: `Bearer ${TOKEN}` })).toMatchObject({ detail: "Redis is away" });
    expect(await readiness({ authorization: `Bearer ${TOKEN}x` })).toMatchObject({ status: 401 });
  });

  it("serves metrics and screens without a token when the operator allows it", async () => {
    const { port } = await bed.another({ openParts: ["metrics"], readiness: () => ["Redis is away"] });
    expect((await send(port, "GET", "/metrics", { anonymous: true })).status).toBe(200);
    expect((await send(port, "GET", "/readyz", { anonymous: true })).json.detail).toBe("Redis is away");
    expect((await send(port, "GET", "/v1/breaker", { anonymous: true })).status).toBe(401);
  });

  it("counts requests by pattern, method and class, never by URL", async () => {
    await bed.send("GET", "/v1/ledger/some-secret-sku");
    await bed.send("GET", "/no/such/path");
    await bed.send("DELETE", "/v1/breaker");
    const { text, headers } = await bed.send("GET", "/metrics");
    expect(headers["content-type"]).toContain("text/plain");
    expect(text).toMatch(
      /shuiwei_http_request_seconds_count\{method="GET",route="\/v1\/ledger\/:sku",status="4xx"\} \d+/,
    );
    expect(text).toMatch(/_count\{method="any",route="none",status="4xx"\} \d+/);
    expect(text).toMatch(/_count\{method="other",route="\/v1\/breaker",status="4xx"\} 1/);
    expect(text).toContain("shuiwei_test_figure 1");
    expect(text).not.toContain("secret");
  });

  it("refuses new requests while stopping, but for health", async () => {
    let stopping = false;
    const { port } = await bed.another({ stopping: () => stopping });
    stopping = true;
    const refused = await send(port, "GET", "/v1/stock?sku=A");
    expect(refused.json).toMatchObject({ status: 503, code: "stopping" });
    expect([refused.headers.connection, refused.headers["retry-after"]]).toEqual(["close", "1"]);
    expect((await send(port, "GET", "/no/such/path")).status).toBe(503);
    expect((await send(port, "GET", "/healthz")).status).toBe(200);
    expect((await send(port, "GET", "/readyz")).json).toMatchObject({ status: 503, detail: "stopping" });
    expect(await upgrade(port)).toBe(503);
  });

  it("answers requests under way when it closes, and does not wait for idle connections", async () => {
    let release = (): void => {};
    const slow = await bed.another({
      closeGraceMs: 5_000,
      metrics: () =>
        new Promise((resolve) => {
          release = () => resolve("late 1\n");
        }),
    });
    const agent = new Agent({ keepAlive: true });
    await send(slow.port, "GET", "/healthz", { agent });
    const asked = send(slow.port, "GET", "/metrics");
    await sleep(50);
    const closed = slow.close();
    await sleep(50);
    release();
    expect((await asked).text).toContain("late 1");
    await closed;
    agent.destroy();
    await expect(send(slow.port, "GET", "/healthz")).rejects.toThrow(/ECONNREFUSED|hang up|ECONNRESET/);
  });

  it("reports that its port is taken", async () => {
    await expect(bed.another({ port: bed.port })).rejects.toMatchObject({ code: "port_in_use" });
  });
});

describe("trouble", () => {
  it("that was not foreseen is a 500 with an instance that the operator finds, and nothing of the cause", async () => {
    const reported: [message: string, fields?: LogFields | undefined][] = [];
    const { port } = await bed.another({
      onTrouble: (...line) => reported.push(line),
      readiness: () => {
        throw new TypeError("secret inside");
      },
    });
    const answer = await send(port, "GET", "/readyz");
    expect(answer.json).toEqual({
      type: "urn:shuiwei:internal_error",
      title: "An unexpected error occurred",
      status: 500,
      detail: "the operator finds the cause under this instance",
      code: "internal_error",
      instance: expect.stringMatching(/^urn:shuiwei:instance:[0-9a-f]{16}$/),
    });
    expect(reported).toHaveLength(1);
    expect(reported[0]?.[0]).toContain("secret inside");
    expect(reported[0]?.[1]).toEqual({ level: "error", instance: answer.json.instance });
  });

  it("of the store is 429 when too much waits, and 503 when it cannot be reached", async () => {
    const failing = (error: unknown) => ({
      ...bed.deps(),
      ledger: { balances: () => Promise.reject(error), applyMany: () => Promise.reject(error) } as never,
      onTrouble: () => {},
    });
    const detail = { op: "ledger.apply", retryable: true };
    const overloaded = await bed.another(
      failing(new EngineError("full", { ...detail, code: "overloaded", retryAfterMs: 2_500 })),
    );
    const refused = await send(overloaded.port, "GET", "/v1/ledger/A");
    expect([refused.json.status, refused.json.code, refused.headers["retry-after"]]).toEqual([429, "overloaded", "3"]);
    for (const error of [
      new EngineError("away", { ...detail, code: "unavailable" }),
      new Error("Connection is closed."),
    ]) {
      const away = await bed.another(failing(error));
      const answer = await send(away.port, "GET", "/v1/ledger/A");
      expect([answer.json.status, answer.json.code, answer.headers["retry-after"]]).toEqual([503, "unavailable", "1"]);
      expect(answer.text).not.toContain("closed");
    }
  });
});

describe("documentation", () => {
  it("is OpenAPI 3.1 with the problem, the token and an example of an order", async () => {
    const { json } = await bed.send("GET", "/docs/json");
    expect(json.openapi).toBe("3.1.0");
    expect(json.components.securitySchemes.bearer).toMatchObject({ type: "http", scheme: "bearer" });
    expect(json.components.schemas.Problem.properties).toHaveProperty("errors");
    const place = json.paths["/v1/orders"].post;
    expect(place.security).toEqual([{ bearer: [] }, { session: [] }]);
    expect(place.requestBody.content["application/json"].example).toMatchObject({
      lines: [{ sku: "TEA-0042", units: 2 }],
      amount: 25_900,
      currency: "CNY",
    });
    expect(place.responses["4XX"].content["application/problem+json"].schema).toEqual({
      $ref: "#/components/schemas/Problem",
    });
    expect(Object.keys(json.paths["/v1/commands"].post.requestBody.content)).toEqual([
      "application/x-ndjson",
      "application/msgpack",
      "application/x-msgpack",
    ]);
    expect(Object.keys(json.paths).sort()).toEqual([
      "/healthz",
      "/metrics",
      "/readyz",
      "/v1/alerts",
      "/v1/alerts/{id}",
      "/v1/alerts/{id}/acknowledgement",
      "/v1/breaker",
      "/v1/breaker/history",
      "/v1/categories/{category}/settings",
      "/v1/commands",
      "/v1/comparisons",
      "/v1/comparisons/{id}",
      "/v1/comparisons/{id}/differences",
      "/v1/divergence",
      "/v1/divergence/{sku}",
      "/v1/endpoints",
      "/v1/exceptions",
      "/v1/figures/{name}/history",
      "/v1/ids",
      "/v1/inbound",
      "/v1/inbound/{id}",
      "/v1/inbound/{id}/arrival",
      "/v1/ledger/{sku}",
      "/v1/ledger/{sku}/history",
      "/v1/movements",
      "/v1/movements/{source}",
      "/v1/movements/{source}/divergence",
      "/v1/notification-tests",
      "/v1/notification-tests/{testId}",
      "/v1/notifications",
      "/v1/notifications/{messageId}/displayed",
      "/v1/orders",
      "/v1/orders/{id}",
      "/v1/orders/{id}/cancellation",
      "/v1/orders/{id}/count",
      "/v1/orders/{id}/history",
      "/v1/orders/{id}/label",
      "/v1/orders/{id}/logistics",
      "/v1/orders/{id}/outbound",
      "/v1/orders/{id}/payment",
      "/v1/orders/{id}/personal-data",
      "/v1/orders/{id}/picking",
      "/v1/orders/{id}/waybill",
      "/v1/orders/{id}/withdrawal",
      "/v1/people",
      "/v1/people/me",
      "/v1/people/me/devices",
      "/v1/people/me/devices/{id}",
      "/v1/people/{id}",
      "/v1/people/{id}/pairings",
      "/v1/publication/manifest.json",
      "/v1/publication/{file}",
      "/v1/push/key",
      "/v1/push/subscriptions",
      "/v1/replenishment",
      "/v1/replenishment/{sku}",
      "/v1/sessions",
      "/v1/sessions/current",
      "/v1/sessions/pairings",
      "/v1/sessions/{id}",
      "/v1/settlements",
      "/v1/settlements/approval",
      "/v1/settlements/decisions",
      "/v1/settlements/rejection",
      "/v1/silences",
      "/v1/silences/{id}",
      "/v1/skus/{sku}/history",
      "/v1/skus/{sku}/settings",
      "/v1/snapshots",
      "/v1/snapshots/{source}",
      "/v1/snapshots/{source}/{id}",
      "/v1/sources",
      "/v1/sources/{name}/pull",
      "/v1/stock",
      "/v1/stock/stream",
      "/v1/stock/{sku}",
    ]);
    const page = await bed.send("GET", "/docs/");
    expect(page.status).toBe(200);
    expect(page.headers["content-security-policy"]).toContain("style-src 'self' 'unsafe-inline'");
  });
});

describe("pages", () => {
  let dir: string;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "shuiwei-web-"));
    await mkdir(join(dir, "assets"));
    await writeFile(join(dir, "index.html"), "<!doctype html><title>page</title>");
    await writeFile(join(dir, "assets/index-C6itXqyZ.js"), "1;");
    await writeFile(join(dir, ".secret"), "x");
    await writeFile(join(dir, "shuiwei-stock.js"), "module");
    await writeFile(join(dir, "shop.html"), "shop");
  });
  afterAll(() => rm(dir, { recursive: true }));

  it("are served at / with a policy of their own, never outside their folder", async () => {
    const { port } = await bed.another({ webRoot: dir });
    const page = await send(port, "GET", "/");
    expect(page.text).toContain("<title>page</title>");
    expect(page.headers["content-security-policy"]).toContain("connect-src 'self' ws: wss:");
    expect(page.headers["content-security-policy"]).toContain("frame-ancestors 'none'");
    expect(page.headers["cache-control"]).toBe("no-cache");
    expect((await send(port, "GET", "/assets/index-C6itXqyZ.js")).headers["cache-control"]).toContain("immutable");
    for (const path of [
      "/.secret",
      "/nothing.js",
      "/../package.json",
      "/%2e%2e/package.json",
      "/assets/",
      "/v1/nothing",
    ]) {
      const answer = await send(port, "GET", path);
      expect([400, 403, 404], path).toContain(answer.status);
      expect(answer.headers["content-type"]).toMatch(/^application\/problem\+json/);
    }
    expect((await send(port, "GET", "/docs/json")).status).toBe(200);
    expect((await send(port, "DELETE", "/v1/orders")).status).toBe(405);
  });

  it("are shown while the documentation is asked for and not read", async () => {
    const { port } = await bed.another({ webRoot: dir });
    const unread: Socket[] = [];
    const large = "GET /docs/static/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n";
    const status = async (path: string, anonymous = false) => (await send(port, "GET", path, { anonymous })).status;
    while (unread.length < 300 && (await status("/docs/json")) !== 429) {
      const socket = connect(port, loopback.host);
      socket.on("error", () => {});
      socket.pause();
      socket.write(large.repeat(8));
      unread.push(socket);
    }
    expect([await status("/docs/json"), await status("/"), await status("/", true)]).toEqual([429, 200, 401]);
    for (const socket of unread) socket.destroy();
  });

  it("have the module for the pages of shops, for everybody under any name", async () => {
    const { port } = await bed.another({ webRoot: dir, isAllowedHost: (host) => host === "localhost" });
    const headers = { host: "shop.example", origin: "https://shop.example" };
    const module = await send(port, "GET", "/shuiwei-stock.js?v=1", { anonymous: true, headers });
    expect([module.status, module.text]).toEqual([200, "module"]);
    expect(module.headers).toMatchObject({
      "access-control-allow-origin": "*",
      "cross-origin-resource-policy": "cross-origin",
      "cache-control": "public, max-age=300",
    });
  });

  it("have a storefront in the demo only", async () => {
    const { port } = await bed.another({ webRoot: dir });
    for (const path of ["/shop", "/shop.html"]) expect((await send(port, "GET", path)).status, path).toBe(404);
    const demo = await bed.another({ webRoot: dir, storefrontPage: true });
    for (const path of ["/shop", "/shop.html"]) expect((await send(demo.port, "GET", path)).text, path).toBe("shop");
  });

  it("may be missing", async () => {
    const { port } = await bed.another({ webRoot: join(dir, "not-there") });
    expect((await send(port, "GET", "/")).json).toMatchObject({ status: 404, code: "not_found" });
  });
});

it("headers of API answers forbid sniffing, framing and storing", async () => {
  const { headers } = await bed.send("GET", "/v1/breaker");
  expect(headers).toMatchObject({
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
  });
});
