/**
 * What one connection may do, over real sockets: pipelined requests are served one after the other, a client that
 * sends too many at once or does not read is closed, and a request for an upgrade that the server does not offer is
 * served as if it had not asked.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { Registry } from "prom-client";
import { afterEach, describe, expect, it, vi } from "vitest";
import {
  Connections,
  EVENT_STREAM,
  type PerConnectionLimits,
  serveWithoutUpgrade,
} from "../../../connectors/http/connections.js";

const soon = { timeout: 30_000, interval: 10 };
const opened: (Server | Socket)[] = [];
afterEach(async () => {
  for (const each of opened.splice(0).reverse()) {
    if ("listen" in each) await new Promise((resolve) => each.close(resolve));
    else each.destroy();
  }
});

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

async function serve(handler: Handler, limits: PerConnectionLimits = {}) {
  const registry = new Registry();
  const connections = new Connections(registry, limits);
  const server = createServer();
  connections.guard(server, handler);
  let parsed = 0;
  server.on("request", () => parsed++);
  server.on("upgrade", (request, socket, head) =>
    connections.handOver(socket, () => {
      if (!serveWithoutUpgrade(server, request, socket, head)) socket.destroy();
    }),
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  opened.push(server);
  const { port } = server.address() as AddressInfo;
  /** How many connections were closed, by the reason; reasons that have not occurred are left out. */
  const cuts = async () =>
    Object.fromEntries(
      ((await registry.getMetricsAsJSON())[0]?.values ?? []).flatMap(({ labels, value }) =>
        value === 0 ? [] : [[labels["reason"], value]],
      ),
    );
  return { port, cuts, connections, parsed: () => parsed };
}

interface Peer {
  socket: Socket;
  received(): string;
  closed(): boolean;
}

function open(port: number, { reads = true } = {}): Peer {
  let received = "";
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => {});
  const note = (bytes: Buffer): void => {
    received += bytes.toString();
  };
  if (reads) socket.on("data", note);
  opened.push(socket);
  return { socket, received: () => received, closed: () => socket.closed };
}

const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;

describe("pipelined requests", () => {
  it("are served one after the other, each when the answer before it has left", async () => {
    const answers = new Map<string, () => void>();
    const { port } = await serve(({ url = "" }, response) => answers.set(url, () => response.end(`<${url}>`)));
    const { socket, received } = open(port);
    socket.write(["/1", "/2", "/3"].map(get).join(""));
    for (const path of ["/1", "/2", "/3"]) {
      await expect.poll(() => [...answers.keys()].at(-1), soon).toBe(path);
      answers.get(path)?.();
    }
    await expect.poll(() => received().match(/<[^>]*>/g), soon).toEqual(["</1>", "</2>", "</3>"]);
  });

  it("without an answer are limited: a connection with more is closed", async () => {
    let begun = 0;
    const { port, cuts, parsed } = await serve(() => begun++, { maxUnanswered: 32 });
    const allowed = open(port);
    allowed.socket.write(get("/").repeat(32));
    await expect.poll(() => begun, soon).toBe(1);
    const greedy = open(port);
    greedy.socket.write(get("/").repeat(1_000));
    await expect.poll(() => greedy.closed(), soon).toBe(true);
    expect([begun, allowed.closed(), await cuts()]).toEqual([2, false, { pipelined: 1 }]);
    // What else came in the same read is not even parsed.
    expect(parsed()).toBe(32 + 33);
  });

  it("of a client that has disconnected are not begun", async () => {
    const begun: ServerResponse[] = [];
    const closed: string[] = [];
    const { port } = await serve(({ url = "" }, response) => {
      begun.push(response);
      response.once("close", () => closed.push(url));
    });
    const { socket } = open(port);
    socket.write(get("/1") + get("/2"));
    await expect.poll(() => begun.length, soon).toBe(1);
    socket.resetAndDestroy();
    await expect.poll(() => closed, soon).toEqual(["/1"]);
    expect(begun).toHaveLength(1);
  });
});

describe("a connection whose client does not read", () => {
  const large = Buffer.alloc(64 * 1024 * 1024);

  it("is closed in time", async () => {
    const { port, cuts } = await serve((_, response) => response.end(large), { unreadMs: 100 });
    const { socket, closed } = open(port, { reads: false });
    socket.write(get("/"));
    socket.pause();
    await expect.poll(cuts, soon).toEqual({ unread: 1 });
    socket.resume();
    await expect.poll(closed, soon).toBe(true);
  });

  it("is not closed while it reads, nor for the time that its answer took to make", async () => {
    const { port, cuts } = await serve((_, response) => setTimeout(() => response.end("late"), 400), { unreadMs: 100 });
    const { socket, received } = open(port);
    socket.write(get("/"));
    await expect.poll(received, soon).toContain("late");
    expect(await cuts()).toEqual({});
  });

  it("is not closed while it takes parts of one large write", async () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    try {
      const limits = { unreadMs: 10_000, answerMs: 1_000_000 };
      const { port, cuts, connections } = await serve((_, response) => response.end(large), limits);
      const { socket } = open(port, { reads: false });
      socket.write(get("/"));
      let read = 0;
      // More at a time than the system holds for both sides.
      for (let step = 1; step <= 3; step++) {
        socket.on("data", (bytes: Buffer) => {
          read += bytes.length;
          if (read < step * 16 * 1024 * 1024) return;
          socket.pause();
          socket.removeAllListeners("data");
        });
        socket.resume();
        await expect.poll(() => read, soon).toBeGreaterThanOrEqual(step * 16 * 1024 * 1024);
        connections.sweep();
        vi.advanceTimersByTime(6_000);
        connections.sweep();
        expect(await cuts()).toEqual({});
      }
      vi.advanceTimersByTime(20_000);
      connections.sweep();
      expect(await cuts()).toEqual({ unread: 1 });
    } finally {
      vi.useRealTimers();
    }
  });

  it("is closed when one answer takes too long in all", async () => {
    const { port, cuts } = await serve((_, response) => response.end(large), { unreadMs: 20_000, answerMs: 100 });
    const { socket } = open(port, { reads: false });
    socket.write(get("/"));
    socket.pause();
    await expect.poll(cuts, soon).toEqual({ unread: 1 });
  });

  it("is not closed for the length of a stream of events that it has read in between", async () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    try {
      const answers: ServerResponse[] = [];
      const limits = { unreadMs: 10_000, answerMs: 60_000 };
      const { port, cuts, connections } = await serve((_, response) => {
        response.setHeader("content-type", EVENT_STREAM);
        answers.push(response);
        response.write("event");
      }, limits);
      const { socket, received } = open(port);
      socket.write(get("/"));
      await expect.poll(received, soon).toContain("event");
      for (let part = 0; part < 3; part++) {
        socket.pause();
        answers[0]?.write(large);
        connections.sweep();
        socket.resume();
        await expect.poll(() => answers[0]?.writableLength, soon).toBe(0);
        vi.advanceTimersByTime(50_000);
        connections.sweep();
      }
      expect(await cuts()).toEqual({});
    } finally {
      vi.useRealTimers();
    }
  });
});

describe("a request for an upgrade that the server does not offer", () => {
  const h2c = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n";
  const echo: Handler = (request, response) => {
    let body = "";
    request.on("data", (bytes: Buffer) => {
      body += bytes.toString();
    });
    request.on("end", () => response.end(`<${request.method} ${request.url} ${body} ${request.headers.upgrade}>`));
  };

  it("is served as if it had not asked, with its body, and so are those that follow", async () => {
    const { port } = await serve(echo);
    const { socket, received, closed } = open(port);
    socket.write(`GET /a HTTP/1.1\r\nHost: localhost\r\n${h2c}\r\n`);
    await expect.poll(received, soon).toContain("<GET /a  undefined>");
    socket.write(`POST /b HTTP/1.1\r\nHost: localhost\r\n${h2c}Content-Length: 5\r\n\r\nhe`);
    socket.write("llo");
    await expect.poll(received, soon).toContain("<POST /b hello undefined>");
    socket.write(
      `POST /c HTTP/1.1\r\nHost: localhost\r\n${h2c}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n${get("/d")}`,
    );
    await expect.poll(received, soon).toContain("<POST /c abc undefined>");
    await expect.poll(received, soon).toContain("<GET /d  undefined>");
    expect(closed()).toBe(false);
  });

  it("waits for its turn behind what came before it", async () => {
    const { port } = await serve((request, response) => {
      if (request.url === "/slow") setTimeout(() => echo(request, response), 100);
      else echo(request, response);
    });
    const { socket, received } = open(port);
    socket.write(`${get("/slow")}GET /after HTTP/1.1\r\nHost: localhost\r\n${h2c}\r\n`);
    await expect.poll(received, soon).toContain("/after");
    expect(received().match(/<GET [^ ]*/g)).toEqual(["<GET /slow", "<GET /after"]);
  });

  it("keeps what else its connection asks for", async () => {
    const { port } = await serve(echo);
    const { socket, received, closed } = open(port);
    socket.write(`GET /last HTTP/1.1\r\nHost: localhost\r\nConnection: close, upgrade\r\nUpgrade: websocket\r\n\r\n`);
    await expect.poll(closed, soon).toBe(true);
    expect(received()).toContain("<GET /last  undefined>");
  });

  it("is not served when some of its head was dropped: the body would be read as requests", async () => {
    const served: string[] = [];
    const { port } = await serve((request, response) => {
      served.push(request.url as string);
      request.resume().on("end", () => response.end("served"));
    });
    const smuggled = get("/smuggled");
    const { socket, received, closed } = open(port);
    socket.write(
      `POST /outer HTTP/1.1\r\nHost: localhost\r\n${h2c}${"a:b\r\n".repeat(1_100)}Content-Length: ${smuggled.length}\r\n\r\n${smuggled}`,
    );
    await expect.poll(() => closed() || received().includes("served"), soon).toBe(true);
    expect([closed(), served]).toEqual([true, []]);
  });

  it("may ask again and again without leaving anything behind", async () => {
    const { port } = await serve(echo);
    const { socket, received } = open(port);
    const warnings: Error[] = [];
    const note = (warning: Error) => warnings.push(warning);
    process.on("warning", note);
    for (let i = 1; i <= 30; i++) {
      socket.write(`GET /${i} HTTP/1.1\r\nHost: localhost\r\n${h2c}\r\n`);
      await expect.poll(received, soon).toContain(`<GET /${i} `);
    }
    process.off("warning", note);
    expect(warnings).toEqual([]);
  });
});
