/**
 * The load's own parts: that latency counts from the instant at which an arrival was due whatever held it up, and
 * that answers are read whole however the network cuts them.
 */
import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { createServer, type Server, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { SKUS, skuOfArrival } from "../../bench/load/assortment.js";
import { cpuSecondsOf } from "../../bench/load/cpu.js";
import { connectionsFor, HttpConnections, readAnswer } from "../../bench/load/http-connections.js";
import { monotonicMs, runOpenLoop } from "../../bench/load/open-loop.js";
import { linesOf, yesPerSecond } from "../../bench/load/side.js";

const spin = (ms: number): void => {
  const untilMs = monotonicMs() + ms;
  while (monotonicMs() < untilMs);
};

describe("an open loop", () => {
  it("begins every arrival once, in order, and counts the answers by status", async () => {
    const begun: number[] = [];
    const report = await runOpenLoop({ rate: 10_000, arrivals: 100, uncounted: 10 }, monotonicMs(), (i, answered) => {
      begun.push(i);
      answered(i % 2 === 0 ? "yes" : "no");
    });
    expect(begun).toEqual(Array.from({ length: 100 }, (_, i) => i));
    expect(report).toMatchObject({
      answers: { yes: 45, no: 45 },
      unanswered: 0,
      reply: { count: 90 },
      behind: { count: 90 },
    });
  });

  it("counts a stall in the latency of every arrival that was due meanwhile", async () => {
    // 50 arrivals are due while the first one holds up the loop for 50 ms: half of them wait for more than 20 ms.
    const report = await runOpenLoop({ rate: 1_000, arrivals: 51 }, monotonicMs(), (i, answered) => {
      if (i === 0) spin(50);
      answered("yes");
    });
    expect(report.reply.p50Ms).toBeGreaterThan(20);
    expect(report.behind.maxMs).toBeGreaterThan(45);
  });
});

describe("an answer", () => {
  it("ends after the length that its head gives", () => {
    const head = "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\ncontent-length: 4\r\n\r\n";
    expect(readAnswer(head.slice(0, -1))).toBeUndefined();
    expect(readAnswer(`${head}{}`)).toEqual({ status: "201", length: head.length + 4 });
    expect(readAnswer("HTTP/1.1 204 No Content\r\n\r\n")).toEqual({ status: "204", length: 27 });
    expect(() => readAnswer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")).toThrow("no length");
  });
});

describe("connections", () => {
  let server: Server | undefined;
  const sockets: Socket[] = [];
  let connections: HttpConnections | undefined;

  afterEach(async () => {
    connections?.close();
    for (const socket of sockets.splice(0)) socket.destroy();
    await new Promise<void>((resolve) => (server ? server.close(() => resolve()) : resolve()));
    server = undefined;
  });

  /** Listens, and opens connections. */
  async function opened(listening: Server, count: number): Promise<HttpConnections> {
    server = listening;
    listening.on("connection", (socket: Socket) => sockets.push(socket));
    await new Promise<void>((resolve) => listening.listen(0, "127.0.0.1", resolve));
    const address = listening.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    connections = new HttpConnections({ host: "127.0.0.1", port });
    await connections.open(count);
    return connections;
  }

  /** Answers every request by `answer`. */
  function served(answer: (socket: Socket, request: number) => void, count = 1): Promise<HttpConnections> {
    let requests = 0;
    const listening = createServer((socket) => {
      socket.on("data", () => answer(socket, requests++));
      socket.on("error", () => {});
    });
    return opened(listening, count);
  }

  const ask = (over: HttpConnections): Promise<string> =>
    new Promise((resolve) => over.send(Buffer.from("GET / HTTP/1.1\r\n\r\n"), resolve));

  it("carry one request at a time, the others wait", async () => {
    const over = await served((socket, request) => {
      socket.write("HTTP/1.1 20");
      setImmediate(() => socket.write(`${request}\r\nContent-Length: 2\r\n\r\nok`));
    });
    expect(await Promise.all([ask(over), ask(over), ask(over)])).toEqual(["200", "201", "202"]);
    expect(over.longestQueue).toBe(2);
  });

  it("report one that breaks before the answer is complete", async () => {
    const over = await served((socket) => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"));
    expect(await ask(over)).toBe("broken");
  });

  it("are used in turn", async () => {
    const ports: (number | undefined)[] = [];
    const over = await served((socket) => {
      ports.push(socket.remotePort);
      socket.write("HTTP/1.1 204 No Content\r\n\r\n");
    }, 3);
    for (let i = 0; i < 6; i++) await ask(over);
    expect(new Set(ports.slice(0, 3)).size).toBe(3);
    expect(ports.slice(3)).toEqual(ports.slice(0, 3));
  });

  it("are replaced, and nothing is counted, when the server closes an idle one", async () => {
    const over = await served((socket) => socket.write("HTTP/1.1 204 No Content\r\n\r\n"), 2);
    const replaced = Promise.all([once(server as Server, "connection"), once(sockets[0] as Socket, "close")]);
    sockets[0]?.end("HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    await replaced;
    for (let i = 0; i < 4; i++) expect(await ask(over)).toBe("204");
  });

  it("are so many that each is used again soon, at any rate", () => {
    expect([1, 100, 500, 8_200].map(connectionsFor)).toEqual([4, 400, 2_000, 2_048]);
  });

  it("at a low rate do not break, although the server closes those that send nothing", async () => {
    const http = createHttpServer(
      { headersTimeout: 1_500, requestTimeout: 30_000, connectionsCheckingInterval: 100 },
      (_, response) => response.writeHead(200, { "content-length": "2" }).end("ok"),
    );
    // Each connection is used after half a second; the load lasts until an unused one would have been closed.
    const over = await opened(http, 50);
    const report = await runOpenLoop({ rate: 100, arrivals: 250 }, monotonicMs(), (_, answered) =>
      over.send(Buffer.from("GET / HTTP/1.1\r\nHost: here\r\n\r\n"), answered),
    );
    expect(report).toMatchObject({ answers: { 200: 250 }, unanswered: 0 });
  });
});

describe("a side", () => {
  it("is printed as text lines", () => {
    const latency = { count: 2, p50Ms: 1, p90Ms: 2, p99Ms: 3, p999Ms: 4, maxMs: 5 };
    const answers = { 201: 1_200, 429: 60 };
    const side = { reply: latency, behind: latency, answers, unanswered: 0, seconds: 60, cores: { engine: 0.5 } };
    expect(yesPerSecond(side, (answer) => answer.startsWith("2"))).toBe(20);
    const lines = linesOf("ours", side);
    expect(lines[0]).toMatch(/^ {2}ours: reply +p50 +1\.0 .* p99 +3\.0 .* max +5\.0 ms$/);
    expect(lines.slice(2)).toEqual(["  answers: 201 1,200, 429 60, unanswered 0", "  cores: engine 0.50"]);
  });

  it("buys every SKU in its turn", () => {
    expect(new Set(Array.from({ length: SKUS }, (_, i) => skuOfArrival(i))).size).toBe(SKUS);
  });

  it.runIf(process.platform === "linux")("measures the processor time that a process has used", () => {
    const before = cpuSecondsOf(process.pid) as number;
    spin(40);
    expect(cpuSecondsOf(process.pid)).toBeGreaterThan(before);
    expect(cpuSecondsOf(2 ** 30)).toBeUndefined();
  });
});
