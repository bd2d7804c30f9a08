/**
 * The stream of stock over real connections: what it begins with, that a page is told at once when a SKU sells out and
 * is back, who may open it, and that a server that stops ends it.
 */
import { once } from "node:events";
import { type ClientRequest, type IncomingMessage, request } from "node:http";
import { afterEach, describe, expect, it } from "vitest";
import { httpBed, send } from "./http-bed.js";

const bed = httpBed();
const opened: ClientRequest[] = [];
afterEach(() => {
  for (const each of opened.splice(0)) each.destroy();
});

interface StockEvent {
  name: string;
  // biome-ignore lint/suspicious/noExplicitAny: a test reads what it expects
  content: any;
}

async function open(query: string, port = bed.port, headers: Record<string, string> = {}) {
  const sent = request({ host: "127.0.0.1", port, path: `/v1/stock/stream?${query}`, headers });
  opened.push(sent);
  sent.on("error", () => {});
  sent.end();
  const [answer] = (await once(sent, "response")) as [IncomingMessage];
  let text = "";
  let ended = false;
  answer.on("data", (bytes: Buffer) => {
    text += bytes.toString();
  });
  answer.on("error", () => {});
  answer.once("close", () => {
    ended = true;
  });
  const events = (): StockEvent[] =>
    [...text.matchAll(/event: (\w+)\ndata: (.*)\n\n/g)].map(([, name = "", data = ""]) => ({
      name,
      content: JSON.parse(data),
    }));
  const states = () => events().flatMap(({ name, content }) => (name === "stock" ? [content] : []));
  return { answer, text: () => text, events, states, ended: () => ended };
}

const sellAll = async (sku: string, units: number) => {
  const { json } = await bed.send("POST", "/v1/orders", { body: { lines: [{ sku, units }] } });
  expect((await bed.send("POST", `/v1/orders/${json.id}/payment`)).status).toBe(200);
};

describe("the stream of stock", () => {
  it("begins with how to come back, the time, and the states of the SKUs that are known", async () => {
    await bed.receive("S1", 4);
    await expect.poll(() => bed.storefrontView.get("S1")?.total.display).toBe(4);
    const stream = await open("sku=S1&sku=nothing&sku=S1");
    expect(stream.answer.statusCode).toBe(200);
    expect(stream.answer.headers).toMatchObject({
      "content-type": "text/event-stream",
      "cache-control": "no-store",
      "access-control-allow-origin": "*",
      "x-accel-buffering": "no",
      "x-content-type-options": "nosniff",
    });
    await expect.poll(() => stream.states()).toHaveLength(1);
    expect(stream.text()).toMatch(/^retry: [1-4]\d{3}\n\nevent: time\n/);
    const [time, state] = stream.events();
    expect(state?.content).toEqual({ sku: "S1", display: 4, available: true, asOf: expect.any(String) });
    const ageMs = Date.parse(time?.content.now) - Date.parse(state?.content.asOf);
    expect(ageMs).toBeGreaterThanOrEqual(0);
    expect(ageMs).toBeLessThanOrEqual(8_000);
  });

  it("tells when a SKU sells out and is back, and nothing of other changes and SKUs", async () => {
    await bed.receive("S2", 3);
    await bed.receive("S3", 3);
    await expect.poll(() => bed.storefrontView.get("S3")?.total.display).toBe(3);
    await expect.poll(() => bed.storefrontView.get("S2")?.total.display).toBe(3);
    const stream = await open("sku=S2");
    await expect.poll(() => stream.states()).toHaveLength(1);
    await sellAll("S3", 3);
    await sellAll("S2", 1);
    await sellAll("S2", 2);
    await expect.poll(() => stream.states()).toHaveLength(2);
    await bed.receive("S2", 5);
    await expect.poll(() => stream.states()).toHaveLength(3);
    expect(stream.states().map(({ sku, display, available }) => [sku, display, available])).toEqual([
      ["S2", 3, true],
      ["S2", 0, false],
      ["S2", 5, true],
    ]);
  });

  it("tells what is known only when it is new enough to be shown, and then at once", async () => {
    await bed.receive("S8", 2);
    await expect.poll(() => bed.storefrontView.get("S8")?.total.display).toBe(2);
    let ageMs = Number.NaN;
    const server = await bed.another({ ageMs: () => ageMs });
    const stream = await open("sku=S8", server.port);
    await expect.poll(() => stream.events()).toHaveLength(1);
    ageMs = 9_000;
    await sellAll("S8", 2);
    await expect.poll(() => bed.storefrontView.get("S8")?.total.display).toBe(0);
    await expect.poll(() => stream.events().length).toBeGreaterThan(1);
    expect(stream.states()).toEqual([]);
    ageMs = 0;
    await expect.poll(() => stream.states()).toMatchObject([{ sku: "S8", display: 0, available: false }]);
  });

  it("tells when a SKU is received for the first time", async () => {
    const stream = await open("sku=S4");
    await expect.poll(() => stream.events()).toHaveLength(1);
    await bed.receive("S4", 2);
    await expect.poll(() => stream.states()).toMatchObject([{ sku: "S4", display: 2 }]);
  });

  it("is refused with more than 100 SKUs, with none, and to a HEAD request", async () => {
    const many = Array.from({ length: 101 }, (_, i) => `sku=N${i}`).join("&");
    expect((await bed.send("GET", `/v1/stock/stream?${many}`, { anonymous: true })).status).toBe(400);
    expect((await bed.send("GET", "/v1/stock/stream", { anonymous: true })).status).toBe(400);
    expect((await bed.send("HEAD", "/v1/stock/stream?sku=a", { anonymous: true })).status).toBe(405);
  });

  it("is counted while it is open, not among the requests under way", async () => {
    const figure = async (name: string) => {
      const { text } = await bed.send("GET", "/metrics");
      return Number(new RegExp(`^${name} (.*)$`, "m").exec(text)?.[1]);
    };
    const before = await figure("shuiwei_stock_streams");
    await open("sku=S5");
    expect(await figure("shuiwei_stock_streams")).toBe(before + 1);
    expect(await figure("shuiwei_http_requests_under_way")).toBe(0);
    for (const each of opened.splice(0)) each.destroy();
    await expect.poll(() => figure("shuiwei_stock_streams")).toBe(0);
  });

  it("ends when its server stops, which then stops without waiting", async () => {
    const server = await bed.another({ closeGraceMs: 60_000 });
    const stream = await open("sku=S6", server.port);
    await expect.poll(() => stream.events()).toHaveLength(1);
    await server.close();
    await expect.poll(() => stream.ended()).toBe(true);
  });

  it("ends when its server begins to drain, with how to come back, while requests are still served", async () => {
    const server = await bed.another({});
    const stream = await open("sku=S6", server.port);
    await expect.poll(() => stream.events()).toHaveLength(1);
    server.drain();
    await expect.poll(() => stream.ended()).toBe(true);
    expect(stream.text()).toMatch(/^retry: \d{4}\n/);
    expect((await send(server.port, "GET", "/v1/stock/S6")).status).toBe(404);
  });

  it("gets the time every 5 s, although its client is never asked for anything again", async () => {
    const server = await bed.another({ connectionLimits: { unreadMs: 2_000, answerMs: 2_000 } });
    const stream = await open("sku=S7", server.port);
    await expect.poll(() => stream.events().filter(({ name }) => name === "time").length).toBeGreaterThan(1);
    expect(stream.ended()).toBe(false);
    expect((await send(server.port, "GET", "/healthz")).status).toBe(200);
  });
});
