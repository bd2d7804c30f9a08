/**
 * `shuiwei edge`: `check` finds an address to read, prints each question with its answer, and fails when there is a
 * finding; `watch` says what begins and ends, serves metrics, and ends when it is stopped. The server is a plain one
 * that answers as an edge does; what findings mean is tested in test/connectors/cdn/findings.test.ts, and real caches
 * in test/edge.
 */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { command } from "../../engine/cli/edge.js";
import { systemClock } from "../../engine/kernel/clock.js";
import { runCommand } from "./run-command.js";

let server: Server;
let printed: string[];
let requested: string[];
/** Bodies by path, instead of stock answers. */
let published: Record<string, object>;
/** The status of every answer, if it is not the ordinary one. */
let status: number | undefined;
/** How old bodies are at an instant, at first the test's start; the server does not replace them. */
let ageSeconds: number;
let bornMs: number;

beforeEach(async () => {
  [printed, requested, published, ageSeconds, status] = [[], [], {}, 1, undefined];
  bornMs = systemClock.now();
  vi.spyOn(process.stdout, "write").mockImplementation((text) => printed.push(String(text).trim()) > 0);
  server = createServer((request, reply) => {
    const { method, url = "", headers } = request;
    requested.push(`${method} ${url} ${headers["x-purge-key"] ?? ""}`.trim());
    const asOf = new Date(bornMs - ageSeconds * 1_000).toISOString();
    const body = { sku: "A", display: 1, available: true, asOf, ...(url.includes("by=") ? { locations: [] } : {}) };
    const isKnown = headers["if-none-match"] === `"${asOf}"`;
    reply.writeHead(
      status !== undefined ? status : isKnown ? 304 : url.includes("edge-check-") && !url.includes("?") ? 404 : 200,
      {
        ...{ "content-type": "application/json", etag: `"${asOf}"`, "cache-status": '"a\u0009cache"; hit' },
        "cache-control": "public, max-age=0, must-revalidate",
      },
    );
    reply.end(isKnown ? "" : JSON.stringify(published[url] ?? body));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
});
afterEach(async () => {
  vi.restoreAllMocks();
  server.close();
  server.closeAllConnections();
  await once(server, "close");
});

const site = () => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
const optionsOf = (changes = {}) => ({
  ...{ seconds: 1, origin: undefined, json: false },
  ...{ everyMs: 5_000, objective: 0.999, host: "127.0.0.1", port: 0 },
  ...{ purgeUrl: undefined, purgeMethod: "PURGE", purgeHeader: undefined },
  ...changes,
});

it("prints every question with its answer, and what is behind a finding", async () => {
  ageSeconds = 100;
  await expect(runCommand(command, optionsOf(), ["check", `${site()}/v1/stock/A%2F1`])).rejects.toMatchObject({
    ...{ code: "not_done", message: `1 finding at ${site()}/v1/stock/A%2F1` },
  });
  expect(printed[0]).toBe(`reads ${site()}/v1/stock/A%2F1 for 1 s`);
  expect(printed[1]).toMatch(/^\d reads? through an unknown kind of cache$/);
  expect(printed.find((line) => line.startsWith("finding"))).toMatch(
    /^finding +body age +p50 10\d\.\d s, .* 15\.0 s are allowed/,
  );
  expect(printed.filter((line) => /^(likely|change): /.test(line))).toHaveLength(2);
  expect(printed.find((line) => line.includes("after a pause"))).toMatch(/^untested/);
});

it("finds a SKU in the publication of a site, and prints one line of JSON", async () => {
  published = {
    "/shop/v1/publication/manifest.json": { v: 1, index: ["i1"] },
    "/shop/v1/publication/i1.json": { leaves: ["l1", "l2"], changes: { gone: null } },
    "/shop/v1/publication/l1.json": {},
    "/shop/v1/publication/l2.json": { "TEA/1": 5 },
  };
  ageSeconds = 100;
  await expect(runCommand(command, optionsOf({ json: true }), ["check", `${site()}/shop/`])).rejects.toMatchObject({
    code: "not_done",
  });
  const report = JSON.parse(printed.join("")) as { url: string; checks: { name: string; state: string }[] };
  expect(report).toMatchObject({ url: `${site()}/shop/v1/stock/TEA%2F1`, edge: "unknown", reads: expect.any(Number) });
  expect(report.checks.find(({ name }) => name === "body age")).toMatchObject({
    ...{ state: "finding", finding: "overrides_ttl" },
    advice: { rule: expect.any(String), change: expect.any(String) },
  });
});

it("reads the engine beside the edge, and sends one purge", async () => {
  // From 4 to 8 s it can be seen whether a purge has an effect.
  ageSeconds = 5;
  const changes = {
    origin: site(),
    purgeUrl: `${site()}/v1/stock/A`,
    purgeMethod: "GET",
    purgeHeader: "x-purge-key: 1",
  };
  await expect(runCommand(command, optionsOf(changes), ["check", `${site()}/v1/stock/A`])).rejects.toMatchObject({
    code: "not_done",
  });
  expect(requested.filter((line) => line === "GET /v1/stock/A 1")).toHaveLength(1);
  expect(printed.find((line) => /^finding +purge/.test(line))).toContain("the old answer was still served");
});

it.each([
  [["check"], "ACTION URL"],
  [["watch"], "ACTION URL"],
  [["watch", "shop.example"], "URL: must be an address"],
  [["watch", "http://a/v1/stock/A", "http://a/v1/stock/B"], "a: two edges have this name"],
  [["watch", "no name=http://a/v1/stock/A"], "a name has 1 to 64"],
  [["watch", ...Array.from({ length: 17 }, (_, i) => `e${i}=http://a`)], "at most 16"],
  [["look", "http://127.0.0.1"], "ACTION URL"],
  [["check", "http://a", "http://b"], "ACTION URL"],
  [["check", "shop.example"], "URL: must be an address"],
  [["check", "ftp://shop.example"], "URL: must begin with"],
  [["check", "https://u:p@shop.example"], "URL: must not have a user"],
  [["check", "https://shop.example/v1/stock/A?by=location"], "URL: must have no query"],
])("refuses %j, and names what is wrong", async (operands, message) => {
  await expect(runCommand(command, optionsOf(), operands)).rejects.toMatchObject({
    ...{ code: "bad_input", message: expect.stringContaining(message) },
  });
});

it("asks for an address where a site has no publication", async () => {
  await expect(runCommand(command, optionsOf(), ["check", site()])).rejects.toMatchObject({
    ...{ code: "bad_input", message: expect.stringContaining("name a stock answer") },
  });
});

describe("watch", () => {
  /** Runs until `seen` resolves; then it is stopped. */
  async function watched(operands: string[], seen: (metricsUrl: string) => Promise<void>, changes = {}): Promise<void> {
    const stop = new AbortController();
    const values = optionsOf({ everyMs: 20, ...changes });
    const running = command.run({ values, operands: ["watch", ...operands], signal: stop.signal });
    try {
      await expect.poll(() => printed[0]).toMatch(/metrics at http:.*\/metrics$/);
      await seen(printed[0]?.split(" ").at(-1) ?? "");
    } finally {
      stop.abort("SIGINT");
      await running;
    }
  }
  const textOf = async (url: string) => (await fetch(url)).text();
  const said = (text: string) => expect.poll(() => printed.join("\n")).toContain(text);

  it("keeps the age of bodies as metrics, and ends when it is stopped", async () => {
    const manifest = `other=${site()}/v1/publication/manifest.json`;
    await watched([`${site()}/v1/stock/A`, manifest], async (url) => {
      const host = new URL(site()).host;
      for (const name of [host, "other"])
        await expect
          .poll(() => textOf(url))
          .toMatch(new RegExp(`^shuiwei_edge_reads_total\\{edge="${name}",outcome="fresh"\\} [1-9]`, "m"));
      const text = await textOf(url);
      expect(text).toMatch(new RegExp(`^shuiwei_edge_body_age_seconds_bucket\\{le="13",edge="${host}"\\} [1-9]`, "m"));
      expect(text).toContain(`shuiwei_edge_burn_rate{edge="${host}",window="6h"} 0\n`);
      expect(text).toContain(`shuiwei_edge_reads_total{edge="other",outcome="old"} 0\n`);
      expect(await textOf(url.replace("metrics", "healthz"))).toBe("ok\n");
      expect((await fetch(url.replace("metrics", "other"))).status).toBe(404);
      expect((await fetch(url, { method: "POST" })).status).toBe(405);
    });
    expect(printed).toHaveLength(1);
  });

  it("says once when bodies are too old and the budget burns, and when bodies are right again", async () => {
    ageSeconds = 16;
    await watched(
      [`shop=${site()}/v1/stock/A`],
      async () => {
        await said("shop: a body was 16.");
        await said("shop: too many bodies are older than 13 s: over 1h");
        [bornMs, ageSeconds] = [systemClock.now(), 2];
        await said("shop: bodies are at most 15 s old again");
      },
      // Of 180,000 readings in an hour, 26 burn.
      { objective: 0.99999 },
    );
    expect(printed.filter((line) => line.includes("a body was"))).toHaveLength(1);
  });

  it("says once that there is no body to judge, and when there is one again", async () => {
    status = 503;
    await watched([`shop=${site()}/v1/stock/A`], async (url) => {
      await said("shop: no body to judge: status 503");
      expect(await textOf(url)).toMatch(/outcome="error"\} [3-9]/);
      status = undefined;
      await said("shop: there are bodies again");
    });
  });
});
