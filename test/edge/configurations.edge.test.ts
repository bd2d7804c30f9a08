/**
 * What the configurations of connectors/cdn promise, each program alone and two tiers of them, in front of a stand-in
 * for the engine: what is kept, until when, what is never kept, what is passed on, and what a reader sees.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sleep, stopwatch, systemClock } from "../../engine/kernel/clock.js";
import { MAX_AGE_MS } from "../../engine/publication/freshness.js";
import { type CacheProgram, type CacheServer, HAS, startCacheServer, syntaxFaults } from "./cache-servers.js";
import { OBJECT, StockOrigin, UNKNOWN } from "./stock-origin.js";

const PROGRAMS: readonly CacheProgram[] = ["nginx", "varnish"];
const TAGS = ["x-accel-expires", "cache-tag", "surrogate-key"];
/** Longer than any copy may be served. */
const OUTAGE_MS = MAX_AGE_MS + 2_000;
/** A copy ends in it, whenever it begins. */
const READING_MS = 14_000;

const asOfIn = async (response: Response): Promise<number> =>
  Date.parse(((await response.json()) as { asOf: string }).asOf);
const get = (url: string, headers: Record<string, string> = {}): Promise<Response> => fetch(url, { headers });
let numbered = 0;
/** A SKU that no test has read. */
const newSku = (): string => `SKU-${++numbered}`;

describe.each(PROGRAMS)("%s", (program) => {
  describe.skipIf(!HAS[program])("in front of an engine", () => {
    let origin: StockOrigin;
    let edge: CacheServer;

    beforeAll(async () => {
      origin = await StockOrigin.start();
      edge = await startCacheServer(program, { role: "edge", origin: origin.address });
    });
    afterAll(async () => {
      await edge?.stop();
      await origin?.stop();
    });

    it.each(["edge", "shield"] as const)("finds no fault in the configuration of the %s", async (role) => {
      expect(await syntaxFaults(program, { role, origin: "127.0.0.1:8618" })).toBe("");
    });

    it("keeps an answer, also about a SKU that is not known", async () => {
      for (const [sku, status] of [
        [newSku(), 200],
        [UNKNOWN, 404],
      ] as const) {
        const url = `${edge.url}/v1/stock/${sku}`;
        const first = await get(url);
        const second = await get(url);
        expect([first.status, second.status]).toEqual([status, status]);
        expect(await second.text()).toBe(await first.text());
        expect(first.headers.get("cache-status")).toMatch(/^shuiwei-edge; fwd=/);
        expect(second.headers.get("cache-status")).toMatch(/^shuiwei-edge; hit/);
        expect(origin.requestsOf(sku)).toBe(1);
      }
    });

    it("tells a page the time by Date and Age, and nothing that only caches need", async () => {
      const url = `${edge.url}/v1/stock/${newSku()}`;
      await get(url);
      await sleep(2_500);
      const { headers } = await get(url);
      const nowMs = Date.parse(headers.get("date") ?? "") + Number(headers.get("age") ?? 0) * 1_000;
      expect(Math.abs(systemClock.now() - nowMs)).toBeLessThan(2_500);
      for (const name of TAGS) expect(headers.get(name)).toBeNull();
      // A lifetime that another cache would begin with a copy.
      expect(headers.get("cdn-cache-control")).toBeNull();
      expect(headers.get("cache-control")).toBe("public, max-age=0, must-revalidate");
    });

    it("answers 304 to a reader who has the answer", async () => {
      const url = `${edge.url}/v1/stock/${newSku()}`;
      const { headers } = await get(url);
      expect((await get(url, { "if-none-match": headers.get("etag") ?? "" })).status).toBe(304);
    });

    it("does not keep a refusal, nor an answer whose end has passed", async () => {
      const sku = newSku();
      origin.isStale = true;
      for (let i = 0; i < 2; i++) {
        expect((await get(`${edge.url}/v1/stock/${sku}`)).status).toBe(503);
        await sleep(200);
      }
      origin.isStale = false;
      origin.lagMs = 13_000;
      for (let i = 0; i < 2; i++) {
        expect((await get(`${edge.url}/v1/stock/${sku}`)).status).toBe(200);
        await sleep(200);
      }
      origin.lagMs = 0;
      expect(origin.requestsOf(sku)).toBe(4);
    });

    it("keeps answers of different addresses apart", async () => {
      const sku = newSku();
      for (const path of [`${sku}?by=location`, `${sku}%3Fby=location`, sku]) await get(`${edge.url}/v1/stock/${path}`);
      expect(origin.requestsOf(sku)).toBe(3);
    });

    it("accepts 100 SKUs in one address", async () => {
      const query = Array.from({ length: 100 }, (_, i) => `sku=A-SKU-OF-FORTY-CHARACTERS-${i}-0123456789ab`).join("&");
      expect((await get(`${edge.url}/v1/stock?${query}`)).status).toBe(200);
    });

    it("asks without the credentials of the first reader, and passes on what it does not keep as it is", async () => {
      const sku = newSku();
      const credentials = { authorization: "Bearer t", cookie: "session=s" };
      await get(`${edge.url}/v1/stock/${sku}`, credentials);
      const asked = origin.received.find(({ url }) => url.includes(sku));
      expect(asked?.headers).not.toMatchObject({ authorization: expect.anything() });
      expect(asked?.headers).not.toMatchObject({ cookie: expect.anything() });
      for (let i = 0; i < 2; i++) {
        const passed = await fetch(`${edge.url}/v1/orders`, { method: "POST", headers: credentials, body: "{}" });
        expect(await passed.json()).toEqual({ method: "POST", authorization: "Bearer t" });
        expect(await (await get(`${edge.url}/v1/ledger/${sku}`, credentials)).json()).toMatchObject({
          authorization: "Bearer t",
        });
      }
      expect(origin.requestsOf(`/v1/ledger/${sku}`)).toBe(2);
    });

    it("tells the engine who asks, and what the browser speaks", async () => {
      const url = `${edge.url}/v1/orders/${newSku()}`;
      await get(url, { host: "shop.example", "x-forwarded-for": "192.0.2.7", "x-forwarded-proto": "https" });
      expect(origin.received.at(-1)?.headers).toMatchObject({
        "x-forwarded-for": "192.0.2.7, 127.0.0.1",
        "x-forwarded-proto": "https",
      });
    });

    it("keeps published objects in at most three forms", async () => {
      const forms = ["identity", "gzip", "gzip, br", "br;q=0, gzip", "deflate", "x-1", "GZIP;q=0.5"];
      for (const accepted of [...forms, ...forms])
        expect((await get(edge.url + OBJECT, { "accept-encoding": accepted })).status).toBe(200);
      expect(origin.requestsOf(OBJECT)).toBeLessThanOrEqual(3);
    });

    it("passes events on while the answer lasts, to each reader its own", async () => {
      const ends = new AbortController();
      for (let i = 0; i < 2; i++) {
        const response = await fetch(`${edge.url}/v1/stock/stream`, { signal: ends.signal });
        const first = await response.body?.getReader().read();
        expect(new TextDecoder().decode(first?.value)).toContain("event: time");
      }
      ends.abort();
      expect(origin.requestsOf("/v1/stock/stream")).toBe(2);
    });

    it("renews a copy for operators, not for readers", async () => {
      const [sku, other] = [newSku(), newSku()];
      for (const each of [sku, other]) await get(`${edge.url}/v1/stock/${each}`);
      const banned = { method: "BAN", headers: { "surrogate-key": `stock-${other}` } };
      if (program === "varnish") expect((await fetch(edge.url, banned)).status).toBe(403);
      if (program === "nginx") await get(`${edge.operatorsUrl}/v1/stock/${sku}`);
      else await fetch(edge.operatorsUrl, { method: "BAN", headers: { "surrogate-key": `stock-${sku}` } });
      for (const each of [sku, other]) await get(`${edge.url}/v1/stock/${each}`);
      expect([origin.requestsOf(sku), origin.requestsOf(`/${other}`)]).toEqual([2, 1]);
    });
  });
});

const TIERS: readonly (readonly [outer: CacheProgram, inner: CacheProgram | undefined])[] = [
  ["nginx", undefined],
  ["varnish", undefined],
  ["nginx", "nginx"],
  ["varnish", "nginx"],
  ["nginx", "varnish"],
  ["varnish", "varnish"],
];

it.skipIf(!HAS.nginx || !HAS.varnish)("passes on to outer caches the end of every copy, and its tags", async () => {
  const origin = await StockOrigin.start();
  for (const program of PROGRAMS) {
    const shield = await startCacheServer(program, { role: "shield", origin: origin.address });
    const { headers } = await get(`${shield.url}/v1/stock/A`);
    for (const name of TAGS) expect(`${name}: ${headers.get(name)}`).not.toContain("null");
    await shield.stop();
  }
  await origin.stop();
});

it.for(TIERS.filter(([, inner]) => inner !== undefined))(
  "tells the engine the reader's address, not an outer cache's: %s before %s",
  async ([outer, inner], { skip }) => {
    skip(!HAS[outer] || !HAS[inner as CacheProgram]);
    const origin = await StockOrigin.start();
    const shield = await startCacheServer(inner as CacheProgram, { role: "shield", origin: origin.address });
    const edge = await startCacheServer(outer, { role: "edge", origin: shield.address });
    for (const path of ["/v1/stock/A", "/v1/orders/1"]) await get(edge.url + path, { "x-forwarded-for": "192.0.2.7" });
    const addresses = origin.received.map(({ headers }) => headers["x-forwarded-for"]);
    expect(addresses).toEqual(["192.0.2.7, 127.0.0.1", "192.0.2.7, 127.0.0.1"]);
    for (const each of [edge, shield, origin]) await each.stop();
  },
);

it.concurrent.for(PROGRAMS)(
  "has one reader fetch a copy that has ended, while the others wait: %s",
  async (program, { skip }) => {
    skip(!HAS[program]);
    const origin = await StockOrigin.start();
    const edge = await startCacheServer(program, { role: "edge", origin: origin.address });
    origin.delayMs = 300;
    const elapsed = stopwatch();
    let answers = 0;
    const reader = async () => {
      for (; elapsed() < READING_MS; answers++) {
        const response = await get(`${edge.url}/v1/stock/A`);
        expect(response.status).toBe(200);
        await response.text();
      }
    };
    await Promise.all(Array.from({ length: 20 }, reader));
    process.stdout.write(`${program}: ${origin.received.length} requests to the origin for ${answers} answers\n`);
    // Two or three copies, and a few more where one has ended within nginx' period.
    expect(origin.received.length).toBeLessThan(20);
    await edge.stop();
    await origin.stop();
  },
);

it.concurrent("shows nothing older than 15 s when the origin has gone, in one tier or two", async ({ skip }) => {
  skip(!HAS.nginx || !HAS.varnish);
  const origin = await StockOrigin.start();
  const servers: CacheServer[] = [];
  const start = async (...args: Parameters<typeof startCacheServer>): Promise<CacheServer> => {
    const server = await startCacheServer(...args);
    servers.push(server);
    return server;
  };
  try {
    const edges = await Promise.all(
      TIERS.map(async ([outer, inner]) => {
        const { address } = inner ? await start(inner, { role: "shield", origin: origin.address }) : origin;
        return start(outer, { role: "edge", origin: address });
      }),
    );
    for (const { url } of edges) expect((await get(`${url}/v1/stock/A`)).status).toBe(200);
    await origin.stop();
    const oldest = await Promise.all(edges.map(({ url }) => oldestDuringOutage(`${url}/v1/stock/A`)));
    for (const [i, [outer, inner]] of TIERS.entries())
      process.stdout.write(`${outer}${inner ? ` before ${inner}` : ""}: oldest body ${oldest[i]} ms\n`);
    expect(Math.max(...oldest)).toBeLessThanOrEqual(MAX_AGE_MS);
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
  }
});

/** Reads until the outage is over, and expects that it ends in refusals. */
async function oldestDuringOutage(url: string): Promise<number> {
  const elapsed = stopwatch();
  let oldestMs = 0;
  let status = 0;
  while (elapsed() < OUTAGE_MS) {
    const response = await get(url);
    ({ status } = response);
    if (status === 200) oldestMs = Math.max(oldestMs, systemClock.now() - (await asOfIn(response)));
    else await response.body?.cancel();
    await sleep(20);
  }
  expect([502, 503, 504]).toContain(status);
  return oldestMs;
}
