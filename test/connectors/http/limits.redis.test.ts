/**
 * How much may be under way at once: bodies of bulk commands are large, so only some are read at a time, and the
 * others are refused with Retry-After before a byte of theirs is. Capacity is free again however its request ended.
 */
import { EventEmitter, once } from "node:events";
import { type ClientRequest, request } from "node:http";
import { connect } from "node:net";
import { expect, it, vi } from "vitest";
import { ConcurrencyLimit } from "../../../connectors/http/admission.js";
import { freshId, httpBed, send, TOKEN } from "./http-bed.js";

const bed = httpBed();
const BODIES = 8;
const soon = { timeout: 30_000, interval: 20 };

/** A bulk request of which the last byte has not been sent. */
function begin(body: string): { answer: Promise<number>; finish(): void; abort(): void } {
  let sent: ClientRequest | undefined;
  const answer = new Promise<number>((resolve, reject) => {
    sent = request(
      {
        host: "127.0.0.1",
        port: bed.port,
        method: "POST",
        path: "/v1/commands",
        headers: {
          authorization: `Bearer ${TOKEN}`,
          "content-type": "application/x-ndjson",
          "content-length": Buffer.byteLength(body),
        },
      },
      (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      },
    );
    sent.on("error", reject);
    sent.write(body.slice(0, -1));
  });
  answer.catch(() => {});
  return { answer, finish: () => sent?.end(body.slice(-1)), abort: () => sent?.destroy() };
}

const receive = () => `${JSON.stringify({ kind: "receive", id: freshId(), sku: "A", location: "main", units: 1 })}\n`;
const whole = () =>
  bed.send("POST", "/v1/commands", { body: receive(), headers: { "content-type": "application/x-ndjson" } });

it("reads a limited number of bulk bodies at once, and no longer counts those that ended or were aborted", async () => {
  await bed.receive("A", 5);
  const begun = Array.from({ length: BODIES }, () => begin(receive()));
  await expect.poll(async () => (await whole()).status, soon).toBe(429);
  const refused = await whole();
  expect(refused.json).toMatchObject({
    code: "overloaded",
    detail: expect.stringContaining("8 concurrent bulk requests"),
  });
  expect(refused.headers["retry-after"]).toBe("1");
  // Other requests are not limited by it.
  expect((await bed.send("POST", "/v1/orders", { body: { lines: [{ sku: "A", units: 1 }] } })).status).toBe(201);

  begun[0]?.finish();
  expect(await begun[0]?.answer).toBe(200);
  await expect.poll(async () => (await whole()).status, soon).toBe(200);
  for (const { abort } of begun.slice(1, 4)) abort();
  for (const { finish } of begun.slice(4)) finish();
  expect(await Promise.all(begun.slice(4).map(({ answer }) => answer))).toEqual([200, 200, 200, 200]);
  // The whole limit of eight is free again.
  const again = Array.from({ length: BODIES }, () => begin(receive()));
  for (const { finish } of again) finish();
  await expect
    .poll(async () => (await Promise.all(again.map(({ answer }) => answer))).every((status) => status === 200), soon)
    .toBe(true);
});

/** A figure of a server. */
async function figure(port: number, name: string): Promise<number> {
  const { text } = await send(port, "GET", "/metrics");
  return Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1]);
}

it("Capacity is free again when its connection is reset while its answers wait", async () => {
  await bed.receive("RESET", 100);
  const { port } = await bed.another({ maxUnderWay: 8 });
  const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
  for (let i = 0; i < 12; i++) {
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => {});
    socket.pause();
    socket.write(get("/docs/static/swagger-ui-bundle.js").repeat(8) + get("/v1/stock/x").repeat(20));
    await expect.poll(() => figure(port, "shuiwei_http_requests_under_way"), soon).toBeGreaterThan(0);
    socket.resetAndDestroy();
  }
  await expect.poll(() => figure(port, "shuiwei_http_requests_under_way"), soon).toBe(0);
  expect(await figure(port, "shuiwei_http_bulk_requests_under_way")).toBe(0);
  for (let i = 0; i < 10; i++) {
    const placed = await send(port, "POST", "/v1/orders", { body: { lines: [{ sku: "RESET", units: 1 }] } });
    expect(placed.status).toBe(201);
  }
});

it("A server at its limit for long is not ready, and is ready again when a tenth of the limit is free", async () => {
  const limit = new ConcurrencyLimit(10, "requests");
  const ends: (() => void)[] = [];
  let passed = 0;
  const enter = (): void => {
    const raw = new EventEmitter();
    const request = { routeOptions: { config: {} }, raw: { socket: new EventEmitter() } };
    limit.guard.call(bed.running.server, request as never, { raw } as never, () => passed++);
    ends.push(() => raw.emit("close"));
  };
  vi.useFakeTimers({ toFake: ["performance"] });
  try {
    for (let i = 0; i < 10; i++) enter();
    expect([passed, limit.inFlight, limit.problems()]).toEqual([10, 10, []]);
    vi.advanceTimersByTime(6_000);
    expect(limit.problems()).toEqual(["the limit of 10 concurrent requests has been reached for 6 s"]);
    ends.shift()?.();
    expect(limit.problems()).toEqual([]);
    for (const end of ends) {
      end();
      end();
    }
    expect(limit.inFlight).toBe(0);
  } finally {
    vi.useRealTimers();
  }
});

// Elsewhere only 127.0.0.1 is an address of the machine.
it.skipIf(process.platform !== "linux")("accepts other clients when one address has all connections", async () => {
  const { port } = await bed.another({ maxConnections: 8 });
  const idle = Array.from({ length: 8 }, () => connect({ port, host: "127.0.0.1", localAddress: "127.0.0.2" }));
  try {
    await Promise.all(idle.map((socket) => once(socket, "connect")));
    let closed = 0;
    for (const socket of idle) socket.on("error", () => {}).on("close", () => closed++);
    for (let asked = 0; asked < 3; asked++)
      expect((await send(port, "GET", "/healthz", { headers: { connection: "close" } })).status).toBe(200);
    await expect.poll(() => closed, soon).toBeGreaterThan(0);
  } finally {
    for (const socket of idle) socket.destroy();
  }
});
