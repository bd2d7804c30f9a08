/** The client of sources: answers that are not read to their end, and what messages show. */
import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { afterEach, expect, it } from "vitest";
import type { SourcePage } from "../../../connectors/source.js";
import { sourceClient } from "../../../connectors/sources/client.js";
import { httpKind } from "../../../connectors/sources/http-kind.js";
import { systemClock } from "../../../engine/kernel/clock.js";
import { zoneOf } from "../../../engine/kernel/zone.js";

const never = new AbortController().signal;
const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function serve(answer: RequestListener): Promise<string> {
  const server: Server = createServer(answer).listen(0, "127.0.0.1");
  await once(server, "listening");
  ends.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const OPTIONS = { perSecond: 10_000, timeoutMs: 10_000, retries: 0, clock: systemClock, secrets: [] };

const clientOf = (secrets: readonly string[] = []) => {
  const client = sourceClient({ ...OPTIONS, secrets });
  ends.push(() => client.close());
  return client;
};

const opened = (url: string, more: object) =>
  httpKind.open({ url, ...more } as never, {
    ...{ name: "erp", client: clientOf(), clock: systemClock, zone: zoneOf("UTC"), folder: "." },
    timeMs: (value) => Date.parse(String(value)),
  });

const LARGE = 4 * 1024 * 1024;

it.each([
  ["states another instant", "csv", () => `sku,units\n${"A,1\n".repeat(LARGE / 4)}`, /another asOfMs/],
  ["is no CSV", "csv", () => `<html>\n"${"x".repeat(LARGE)}`, /line 2/],
  ["is no NDJSON", "ndjson", () => `<html>\n${"x".repeat(LARGE)}`, /line 1/],
])("asks again after an answer that %s and was not read to its end", async (_, format, body, why) => {
  let asked = 0;
  const url = await serve((request, reply) => {
    asked++;
    const isFirst = !request.url?.includes("page=2");
    const small = format === "csv" ? "sku,units\nA,1\n" : '{"sku":"A","units":1}\n';
    const isOther = !isFirst && String(why).includes("another");
    reply.writeHead(200, { "x-as-of": `2026-11-30T00:00:0${isOther ? 1 : 0}Z` });
    reply.end(isFirst ? small : body());
  });
  const source = await opened(url, { format, asOf: "x-as-of", paging: { page: { parameter: "page", size: 1 } } });
  for (let attempt = 1; attempt <= 2; attempt++) {
    const pages: SourcePage[] = [];
    const pull = async () => {
      for await (const page of source.pull({ kind: "snapshot" }, never)) pages.push(page);
    };
    await expect(pull()).rejects.toThrow(why);
    expect(asked).toBe(2 * attempt);
  }
});

it("ends while a connection is still being made", async () => {
  const silent = createTcpServer().listen(0, "127.0.0.1");
  await once(silent, "listening");
  ends.push(() => silent.close());
  const stop = new AbortController();
  // Its handshake never ends.
  const url = `https://127.0.0.1:${(silent.address() as AddressInfo).port}/`;
  const asked = sourceClient({ ...OPTIONS, timeoutMs: 3_600_000 });
  ends.push(() => asked.close());
  const answer = asked.json(() => ({ url }), stop.signal);
  silent.once("connection", () => stop.abort(new Error("stopped")));
  await expect(answer).rejects.toThrow("stopped");
});

it("shows no part of a secret at the place where a refusal is cut", async () => {
  const secret = "secret-of-this-test-0123456789";
  const url = await serve((_, reply) => reply.writeHead(403).end(`${"x".repeat(185)}${secret}`));
  const error = await clientOf([secret])
    .json(() => ({ url }), never)
    .catch((thrown: unknown) => thrown);
  expect(String(error)).toMatch(/HTTP 403/);
  expect(String(error)).not.toContain("secret-of");
});

it("waits for one turn when the clock is set back", async () => {
  let nowMs = 1_000_000;
  const waits: number[] = [];
  const clock = { now: () => nowMs, sleep: async (ms: number) => void waits.push(ms) };
  const url = await serve((_, reply) => reply.end("{}"));
  const client = sourceClient({ ...OPTIONS, perSecond: 1, clock });
  ends.push(() => client.close());
  await client.json(() => ({ url }), never);
  nowMs -= 500_000;
  await client.json(() => ({ url }), never);
  expect(waits).toEqual([1_040]);
});

it("keeps the rate also where the first request reaches the source late", async () => {
  let nowMs = 0;
  const left: number[] = [];
  const sleep = async (ms: number) => {
    nowMs += ms;
  };
  const clock = { now: () => nowMs, sleep };
  const url = await serve((_, reply) => {
    if (left.length === 1) nowMs += 500;
    reply.end("{}");
  });
  const client = sourceClient({ ...OPTIONS, perSecond: 2, clock });
  ends.push(() => client.close());
  const request = () => {
    left.push(nowMs);
    return { url };
  };
  for (let i = 0; i < 4; i++) await client.json(request, never);
  // The first may have reached it at 500: in the second from then on, the second one only.
  expect(left).toEqual([0, 520, 1_500, 2_020]);
});

it.each([
  ["has a user and password", { url: "http://anna:hunter2@127.0.0.1/" }, /\/url: has a user or password/],
  ["for movements has a password", { movements: { url: "http://:x@127.0.0.1/" } }, /\/movements\/url: has a user/],
])("opens no source whose address %s", async (_, change, why) => {
  await expect(opened("http://127.0.0.1/", { format: "csv", ...change })).rejects.toThrow(why);
});

it("takes null for what the answer does not state, and refuses what is no text", async () => {
  let id: unknown = null;
  const url = await serve((_, reply) => reply.end(JSON.stringify({ id, next: null, rows: [{ sku: "A" }] })));
  const places = { format: "json", rows: "/rows", id: "/id", paging: { cursor: { parameter: "c", next: "/next" } } };
  const source = await opened(url, places);
  const pull = async (): Promise<SourcePage[]> => {
    const pages: SourcePage[] = [];
    for await (const page of source.pull({ kind: "snapshot" }, never)) pages.push(page);
    return pages;
  };
  expect(await pull()).toEqual([{ rows: [{ fields: { sku: "A" }, place: "erp page 1 row 1" }] }]);
  id = ["1"];
  await expect(pull()).rejects.toThrow("page 1: /id is no text and no number");
});

it("ends at a page that has the rows of the page before", async () => {
  let asked = 0;
  const url = await serve((_, reply) => {
    asked++;
    reply.end("sku,units\nA,1\nB,2\n");
  });
  const source = await opened(url, { format: "csv", paging: { page: { parameter: "page", size: 2 } } });
  const pull = async () => {
    for await (const _ of source.pull({ kind: "snapshot" }, never));
  };
  await expect(pull()).rejects.toThrow("erp: page 2 has the same rows as the page before");
  expect(asked).toBe(2);
});
