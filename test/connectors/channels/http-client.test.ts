/**
 * The HTTP client of channels: which addresses it connects to, how long it waits, what it reads, and what its reasons
 * say.
 */
import { once } from "node:events";
import { createServer, type Server, type ServerResponse } from "node:http";
import { type AddressInfo, createServer as createTcpServer, type LookupFunction } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  ChannelHttp,
  type ChannelHttpOptions,
  outcomeOfStatus,
  urlFault,
} from "../../../connectors/channels/http-client.js";
import { isPublicAddress } from "../../../connectors/channels/public-address.js";
import { ManualClock } from "../../../engine/kernel/clock.js";

let server: Server;
let port: number;
let requests: string[];
let answer: (reply: ServerResponse) => void;
const open: ChannelHttp[] = [];
const clientOf = (options: Partial<ChannelHttpOptions> = {}): ChannelHttp => {
  const client = new ChannelHttp({ reach: "any", connections: 2, timeoutMs: 2_000, ...options });
  open.push(client);
  return client;
};
const never = new AbortController().signal;

beforeEach(async () => {
  requests = [];
  answer = (reply) => reply.end("{}");
  server = createServer((request, reply) => {
    requests.push(request.url ?? "");
    answer(reply);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  port = (server.address() as AddressInfo).port;
});
afterEach(async () => {
  for (const client of open.splice(0)) await client.close();
  server.close();
  server.closeAllConnections();
  await once(server, "close");
});

/** A resolver in which every name has these addresses. */
const resolverOf =
  (...addresses: string[]): LookupFunction =>
  (_name, _options, callback) =>
    (callback as unknown as (error: null, all: unknown[]) => void)(
      null,
      addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 })),
    );

describe("addresses that others have chosen", () => {
  it.each([
    "http://127.0.0.1",
    "http://localhost",
    "http://0x7f000001",
    "http://2130706433",
    "http://0177.0.0.1",
    "http://127.1",
    "http://[::1]",
    "http://[::ffff:127.0.0.1]",
    "http://0.0.0.0",
    "http://169.254.169.254",
    "http://10.0.0.1",
    "http://[fd00::1]",
    "http://[fe80::1]",
    "http://[64:ff9b::7f00:1]",
    "http://[2002:7f00:1::]",
  ])("are refused when they are not public: %s", async (origin) => {
    const outcome = await clientOf({ reach: "public" }).send({ url: `${origin}:${port}/` }, never);
    expect(outcome).toMatchObject({ outcome: "refused", reason: expect.stringContaining("not public") });
    expect(requests).toEqual([]);
  });

  it("are refused when a name resolves to private addresses only", async () => {
    const client = clientOf({ reach: "public", lookup: resolverOf("127.0.0.1", "::1", "10.1.2.3") });
    const outcome = await client.send({ url: `http://push.example:${port}/` }, never);
    expect([outcome, requests]).toMatchObject([{ outcome: "refused" }, []]);
  });

  it("are connected to at their public addresses only", async () => {
    // 127.0.0.1 would answer; the documentation's public-looking address does not.
    const client = clientOf({ reach: "public", lookup: resolverOf("127.0.0.1", "1.1.1.1"), timeoutMs: 200 });
    const outcome = await client.send({ url: `http://push.example:${port}/` }, never);
    expect([outcome, requests]).toMatchObject([{ outcome: "retry" }, []]);
  });

  it("may be anywhere when they are trusted, and only with their port", async () => {
    const client = clientOf({ reach: "public", trustedHosts: [`127.0.0.1:${port}`] });
    expect(await client.send({ url: `http://127.0.0.1:${port}/a` }, never)).toMatchObject({ status: 200 });
    expect(await client.send({ url: "http://127.0.0.1:1/" }, never)).toMatchObject({ outcome: "refused" });
  });

  it("are public when IANA says so", () => {
    const isPublic = ["1.1.1.1", "223.5.5.5", "2400:3200::1", "2606:4700::1111"];
    const isNot = ["", "example.com", "100.64.0.1", "192.168.1.1", "224.0.0.1", "255.255.255.255", "::", "ff02::1"];
    expect(isPublic.filter((address) => !isPublicAddress(address))).toEqual([]);
    expect([...isNot, "2001:db8::1", "fe80::1%eth0"].filter(isPublicAddress)).toEqual([]);
  });
});

describe("a request", () => {
  it("reads an answer up to 64 KiB and does not wait for the rest", async () => {
    answer = (reply) => {
      reply.on("error", () => {});
      reply.write("x".repeat(70_000));
    };
    const found = await clientOf().send({ url: `http://127.0.0.1:${port}/` }, never);
    expect(found).toMatchObject({ status: 200, isCut: true });
    expect("text" in found && found.text.length).toBe(65_536);
  });

  it("ends at its time limit, also when the answer drips", async () => {
    answer = (reply) => reply.write("x");
    const outcome = await clientOf({ timeoutMs: 100 }).send({ url: `http://127.0.0.1:${port}/` }, never);
    expect(outcome).toEqual({ outcome: "retry", reason: "no answer within 100 ms", mayHaveArrived: true });
  });

  it.each<[what: string, bytes: string, then: "ends" | "stays" | "floods", outcome: object]>([
    ["informational answers without end", "HTTP/1.1 102 Processing\r\n\r\n", "floods", { outcome: "retry" }],
    ["headers without end", "HTTP/1.1 200 OK\r\nx: ", "floods", { outcome: "retry" }],
    ["another protocol", "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", "stays", { outcome: "retry" }],
    ["no HTTP", "SSH-2.0-OpenSSH_9.6\r\n", "stays", { outcome: "retry" }],
    ["a body that breaks off", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{", "ends", { outcome: "retry" }],
    ["a length that is none", "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n{}", "ends", { outcome: "retry" }],
    ["HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\n{}", "ends", { status: 200, text: "{}", isCut: false }],
    [
      "a body that is said to be compressed, which is not expanded",
      "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}",
      "stays",
      { status: 200, text: "{}", isCut: false },
    ],
  ])("ends in time when the answer is %s", async (_, bytes, then, expected) => {
    const raw = createTcpServer((socket) => {
      socket.on("error", () => {});
      socket.on("data", () => {
        if (then === "ends") socket.end(bytes);
        else socket.write(bytes);
        const flood = then === "floods" ? setInterval(() => socket.write(bytes.repeat(100)), 5) : undefined;
        socket.on("close", () => clearInterval(flood));
      });
    });
    raw.listen(0, "127.0.0.1");
    await once(raw, "listening");
    const client = clientOf({ timeoutMs: 1_000 });
    const { port: rawPort } = raw.address() as AddressInfo;
    expect(await client.send({ url: `http://127.0.0.1:${rawPort}/` }, never)).toMatchObject(expected);
    await client.close();
    raw.close();
    await once(raw, "close");
  });

  it("names neither path nor query in its reasons", async () => {
    answer = (reply) => reply.destroy();
    const outcomes = [
      await clientOf().send({ url: `http://127.0.0.1:${port}/secret-path?key=secret` }, never),
      await clientOf().send({ url: "http://no-such-host.invalid/secret-path?key=secret" }, never),
      await clientOf().send({ url: `http://127.0.0.1:${port}/secret-path` }, AbortSignal.abort()),
    ];
    for (const outcome of outcomes) {
      expect(outcome).toMatchObject({ outcome: "retry" });
      expect("reason" in outcome && outcome.reason).not.toContain("secret");
    }
  });
});

it("takes https, and http only for this machine unless it is allowed", () => {
  const fault = "must begin with https://";
  expect(urlFault("https://a.example/hooks?x=1")).toBeUndefined();
  expect(urlFault("http://localhost:8080/")).toBeUndefined();
  expect(urlFault("http://[::1]/")).toBeUndefined();
  expect(urlFault("http://a.example/")).toBe(fault);
  expect(urlFault("http://127.0.0.1.a.example/")).toBe(fault);
  expect(urlFault("http://a.example/", { allowsHttp: true })).toBeUndefined();
  expect(urlFault("ftp://a.example/")).toBe(fault);
  expect(urlFault("https://user:password@a.example/")).toBe("must not have a user or a password");
  expect(urlFault("a.example")).toContain("must be an address");
});

it("reads what a status means", () => {
  const clock = new ManualClock(1_000);
  const outcomeOf = (status: number, headers = {}) =>
    outcomeOfStatus({ status, headers, text: "", isCut: false }, clock);
  expect([200, 201, 204].map((status) => outcomeOf(status).outcome)).toEqual(["accepted", "accepted", "accepted"]);
  expect([302, 400, 401, 404, 410].map((status) => outcomeOf(status).outcome)).toEqual(Array(5).fill("refused"));
  expect(outcomeOf(429, { "retry-after": "3" })).toMatchObject({ throttled: true, retryAfterMs: 3_000 });
  expect(outcomeOf(503)).toMatchObject({ outcome: "retry", throttled: false, mayHaveArrived: true });
  expect(outcomeOf(503, { "retry-after": "3" })).toMatchObject({ throttled: true });
  expect(outcomeOf(408)).toMatchObject({ outcome: "retry", mayHaveArrived: false });
});
