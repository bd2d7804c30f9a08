/**
 * `shuiwei edge check` through real caches: it finds each of six configurations of nginx that break the promise of 15 s
 * or load the engine, names the rule behind it, and has no finding about the configurations of connectors/cdn, alone
 * and in two tiers. All are checked at the same time, because a check lasts as long as an answer needs to become too
 * old.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checkEdge, type EdgeReport } from "../../connectors/cdn/probe/check.js";
import type { PurgeRequest } from "../../connectors/cdn/probe/observation.js";
import { sleep } from "../../engine/kernel/clock.js";
import { type CacheProgram, type CacheServer, HAS, startCacheServer } from "./cache-servers.js";
import { StockOrigin } from "./stock-origin.js";

const SKU = "TEA-01";
const PATH = `/v1/stock/${SKU}`;
/** One lifetime of 11 s, and an answer after it until it is older than 15 s. */
const CHECK_MS = 30_000;
/** The second answer is stored, and then its origin fails. */
const OUTAGE_AFTER_MS = 14_000;
/** Half of a lifetime: an outer tier that begins another whole one exceeds 15 s. */
const OFFSET_MS = 6_000;

/** A shop's own configuration, with what breaks it. */
const nginxWith = (...directives: string[]) => ({
  "edge.conf": `
    proxy_cache_path CACHE_DIR keys_zone=own:1m;
    server {
      listen LISTEN;
      proxy_http_version 1.1;
      location / {
        proxy_pass http://ORIGIN;
        proxy_cache own;
        add_header X-Cache-Status $upstream_cache_status always;
        ${directives.join("\n        ")}
      }
    }`,
});
const OVERRIDES = ["proxy_ignore_headers X-Accel-Expires Cache-Control Expires;", "proxy_cache_valid 200 60s;"];
const RESTARTS = ["proxy_ignore_headers X-Accel-Expires Cache-Control Expires;", "proxy_cache_valid 200 12s;"];
const STRIPS = ["proxy_hide_header Cache-Control;", "proxy_hide_header ETag;"];
const UPDATES_LATER = ["proxy_cache_use_stale updating;", "proxy_cache_background_update on;"];
const LOCKS = ["proxy_cache_lock on;"];
const SERVES_STALE = ["proxy_cache_use_stale error timeout http_502 http_503 http_504;"];

const stops: (() => Promise<void>)[] = [];
const reports = new Map<string, EdgeReport>();

afterAll(async () => {
  for (const stop of stops.reverse()) await stop();
});

async function origin(): Promise<StockOrigin> {
  const started = await StockOrigin.start();
  stops.push(() => started.stop());
  return started;
}

async function tier(program: CacheProgram, settings: Parameters<typeof startCacheServer>[1]): Promise<CacheServer> {
  const started = await startCacheServer(program, settings);
  stops.push(() => started.stop());
  return started;
}

async function check(name: string, edge: CacheServer, purge?: Omit<PurgeRequest, "url">): Promise<void> {
  const url = new URL(PATH, edge.url);
  const purgeUrl = new URL(PATH, edge.operatorsUrl);
  const settings = { url, durationMs: CHECK_MS, origin: undefined, purge: purge && { ...purge, url: purgeUrl } };
  const isOver = new AbortController();
  stops.push(async () => isOver.abort());
  reports.set(name, await checkEdge(settings, isOver.signal));
}

const ownNginx = async (...directives: string[]) =>
  tier("nginx", { role: "edge", origin: (await origin()).address, files: nginxWith(...directives) });

const BROKEN = {
  "overrides the TTL": async (name: string) => check(name, await ownNginx(...LOCKS, ...OVERRIDES)),
  "strips the headers": async (name: string) => check(name, await ownNginx(...LOCKS, ...STRIPS)),
  "sends every reader of a new address to the engine": async (name: string) => check(name, await ownNginx()),
  "gives the first reader after a pause the old answer": async (name: string) =>
    check(name, await ownNginx(...LOCKS, ...UPDATES_LATER)),
  "adds age": async (name: string) => {
    const inner = await ownNginx(...LOCKS);
    const files = nginxWith(...LOCKS, ...RESTARTS);
    const outer = await tier("nginx", { role: "edge", origin: inner.address, files });
    // Other readers of the inner tier: its answers are not new when the outer one asks.
    const isOver = new AbortController();
    const readers = (async () => {
      for (; !isOver.signal.aborted; await sleep(200, isOver.signal)) await (await fetch(inner.url + PATH)).text();
    })();
    await sleep(OFFSET_MS);
    await check(name, outer);
    isOver.abort();
    await readers;
  },
  "serves stale answers on errors": async (name: string) => {
    const fails = await StockOrigin.start();
    const edge = await tier("nginx", {
      role: "edge",
      origin: fails.address,
      files: nginxWith(...LOCKS, ...SERVES_STALE),
    });
    await Promise.all([check(name, edge), sleep(OUTAGE_AFTER_MS).then(() => fails.stop())]);
  },
};

const refreshed = { method: "GET", headers: {} };
const banned = { method: "BAN", headers: { "surrogate-key": `stock-${SKU}` } };
const GOOD: Readonly<Record<string, { needs: CacheProgram[]; run(name: string): Promise<void> }>> = {
  nginx: {
    needs: ["nginx"],
    run: async (name) =>
      check(name, await tier("nginx", { role: "edge", origin: (await origin()).address }), refreshed),
  },
  Varnish: {
    needs: ["varnish"],
    run: async (name) => check(name, await tier("varnish", { role: "edge", origin: (await origin()).address }), banned),
  },
  "nginx → nginx": { needs: ["nginx"], run: (name) => twoTiers(name, "nginx", "nginx") },
  "nginx → Varnish": { needs: ["nginx", "varnish"], run: (name) => twoTiers(name, "nginx", "varnish") },
  "Varnish → nginx": { needs: ["nginx", "varnish"], run: (name) => twoTiers(name, "varnish", "nginx") },
};

async function twoTiers(name: string, outer: CacheProgram, inner: CacheProgram): Promise<void> {
  const shield = await tier(inner, { role: "shield", origin: (await origin()).address });
  await check(name, await tier(outer, { role: "edge", origin: shield.address }));
}

beforeAll(async () => {
  const runs = Object.entries(GOOD).filter(([, { needs }]) => needs.every((program) => HAS[program]));
  await Promise.all([
    ...(HAS.nginx ? Object.entries(BROKEN).map(([name, run]) => run(name)) : []),
    ...runs.map(([name, { run }]) => run(name)),
  ]);
});

const findingsOf = (name: string) => reports.get(name)?.checks.filter(({ state }) => state === "finding") ?? [];

describe.skipIf(!HAS.nginx)("finds an nginx that", () => {
  it.each([
    ["overrides the TTL", "overrides_ttl", "proxy_cache_valid"],
    ["strips the headers", "headers", "proxy_hide_header"],
    ["adds age", "adds_age", "lifetimes add up"],
    ["serves stale answers on errors", "serves_stale", "proxy_cache_use_stale"],
    ["gives the first reader after a pause the old answer", "idle_stale", "proxy_cache_background_update"],
    ["sends every reader of a new address to the engine", "not_collapsed", "proxy_cache_lock"],
  ])("%s", (name, finding, rule) => {
    expect(reports.get(name)?.edge).toBe("nginx");
    expect(findingsOf(name)).toMatchObject([{ finding, advice: { rule: expect.stringContaining(rule) } }]);
  });
});

describe("has no finding about", () => {
  for (const [name, { needs }] of Object.entries(GOOD))
    it.skipIf(!needs.every((program) => HAS[program]))(name, () => {
      expect(findingsOf(name)).toEqual([]);
      const states = new Map(reports.get(name)?.checks.map(({ name, state }) => [name, state]));
      for (const tested of ["clock", "body age", "after a pause", "cached", "headers", "304", "query", "collapsed"])
        expect([tested, states.get(tested)]).toEqual([tested, "ok"]);
    });

  it.skipIf(!HAS.nginx)("nginx, whose answer is refreshed when it is told to", () => {
    expect(reports.get("nginx")?.checks.find(({ name }) => name === "purge")).toMatchObject({ state: "ok" });
  });

  it.skipIf(!HAS.varnish)("Varnish, whose answer is deleted when it is told to", () => {
    expect(reports.get("Varnish")?.checks.find(({ name }) => name === "purge")).toMatchObject({ state: "ok" });
  });
});
