/** The lean client against a server that answers byte by byte, in one piece, out of step, or not at all. */
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { afterEach, expect, it } from "vitest";
import { type Answer, Edge, requestBytes } from "../../bench/618/edge.js";

const OK = "HTTP/1.1 201 Created\r\ncontent-type: text/plain\r\nContent-Length: 5\r\n\r\nHTTP/";
const LATER = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n";

let server: Server | undefined;
let edge: Edge | undefined;
afterEach(async () => {
  edge?.close();
  server?.close();
});

/** Serves each connection with `answer`, which gets what has been read in all. */
async function edgeTo(answer: (socket: Socket, read: string) => void): Promise<Edge> {
  server = createServer((socket) => {
    let read = "";
    socket.on("error", () => {});
    socket.on("data", (bytes) => {
      read += bytes.toString();
      answer(socket, read);
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  edge = new Edge((server.address() as { port: number }).port);
  return edge;
}

const request = (body?: unknown) => requestBytes("shop", "/v1/orders", "t", body);
const requestsIn = (read: string) => read.split("POST ").length - 1;

it("writes a request with its length in bytes", () => {
  expect(request({ a: "水" }).toString()).toBe(
    'POST /v1/orders HTTP/1.1\r\nhost: shop\r\nauthorization: Bearer t\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{"a":"水"}',
  );
  expect(request().toString()).not.toContain("content-type");
});

it("reads answers that come in one piece and answers that come byte by byte, in the order of the requests", async () => {
  const answers: Answer[] = [];
  const lanes = await edgeTo(async (socket, read) => {
    if (requestsIn(read) < 3) return;
    socket.write(OK + LATER);
    for (const byte of OK) {
      socket.write(byte);
      await new Promise((resolve) => setImmediate(resolve));
    }
  });
  const lane = lanes.take();
  await new Promise<void>((resolve) => {
    for (let i = 0; i < 3; i++)
      lane.send(request({ i }), (answer) => {
        answers.push(answer);
        if (answers.length === 3) resolve();
      });
  });
  expect(answers).toEqual([
    { status: 201, retryAfterMs: undefined },
    { status: 429, retryAfterMs: 2_000 },
    { status: 201, retryAfterMs: undefined },
  ]);
});

it("releases a connection when nothing on it is unanswered, and only then", async () => {
  const lanes = await edgeTo((socket) => socket.write(OK));
  await lanes.warm(1);
  const lane = lanes.take();
  const other = lanes.take();
  expect(other).not.toBe(lane);
  await new Promise<void>((resolve) => lane.send(request(), () => resolve()));
  await new Promise((resolve) => setImmediate(resolve));
  expect(lanes.take()).toBe(lane);
});

it("reports 0 when the connection breaks, or when the answer cannot be read", async () => {
  const lanes = await edgeTo((socket, read) => {
    if (read.includes('"break"')) socket.destroy();
    else socket.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
  });
  for (const how of ["break", "chunked"]) {
    const lane = lanes.take();
    const { status } = await new Promise<Answer>((resolve) => lane.send(request({ how }), resolve));
    expect(status).toBe(0);
    expect(lane.isBroken).toBe(true);
    expect(lanes.take()).not.toBe(lane);
  }
});
