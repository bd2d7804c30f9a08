/** What only Cloudflare has: tags and URLs, plans, its envelope, and a sandbox that refuses as it does. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { cloudflareKind } from "../../../connectors/cloudflare/kind.js";
import { CLOUDFLARE_SANDBOX, CloudflareSandbox } from "../../../connectors/cloudflare/sandbox.js";
import { ManualClock, systemClock } from "../../../engine/kernel/clock.js";
import { messageOf } from "../../../engine/kernel/errors.js";
import { targetOf } from "../purges/bed.js";

const { zone, token } = CLOUDFLARE_SANDBOX;
const signal = new AbortController().signal;
const clock = new ManualClock(Date.UTC(2026, 5, 18));
let sandbox: CloudflareSandbox;
beforeEach(async () => {
  sandbox = new CloudflareSandbox({ plan: "free", clock });
  await sandbox.start();
});
afterEach(() => sandbox.stop());

const open = (more: object = {}) =>
  cloudflareKind.open({ connection: { url: sandbox.url, zone, token, plan: "free", ...more }, clock: systemClock });
const targets = (skus: number) => Array.from({ length: skus }, (_, i) => targetOf(`SKU-${i}`));
const post = async (body: unknown, path = `/client/v4/zones/${zone}/purge_cache`) => {
  const headers = { authorization: `Bearer ${token}` };
  const answer = await fetch(sandbox.url + path, { method: "POST", headers, body: JSON.stringify(body) });
  return { status: answer.status, json: (await answer.json()) as object };
};

it("purges by tag, or by the address of each SKU's answer", async () => {
  for (const by of ["tag", "url"] as const) {
    const purger = await open({ by });
    expect(await purger.purge(targets(2), signal)).toEqual({ outcome: "purged" });
    await purger.close?.();
  }
  const [first, second] = targets(2);
  expect(sandbox.purged.map(({ value }) => value)).toEqual([first?.tag, second?.tag, first?.url, second?.url]);
});

it("has the limits of the plan, and of what it purges by", async () => {
  const limitsOf = async (more: object) => {
    const purger = await open(more);
    await purger.close?.();
    return purger.limits;
  };
  expect(await limitsOf({})).toEqual({ batch: 100, perSecond: 5 / 60, burst: 25 });
  expect(await limitsOf({ plan: "enterprise", by: "url" })).toEqual({ batch: 500, perSecond: 6 });
});

it("quotes Cloudflare's own words when it is refused", async () => {
  const purger = await open();
  expect(await purger.purge(targets(101), signal)).toEqual({
    outcome: "refused",
    reason: "HTTP 400: 1094 Too many operations in one request",
  });
  await purger.close?.();
});

it("refuses in the sandbox what Cloudflare refuses, with its envelope", async () => {
  for (const [body, path] of [
    [{}],
    [{ tags: [] }],
    [{ tags: [7] }],
    [{ tags: ["a"], files: ["b"] }],
    [{ tags: ["a"] }, "/client/v4/zones/ffff/purge_cache"],
  ] as const) {
    const { status, json } = await post(body, path);
    expect([status >= 400, json]).toEqual([true, expect.objectContaining({ success: false, result: null })]);
  }
  expect(sandbox.purged).toEqual([]);
});

it("takes a burst of requests in the sandbox, then those that come in time", async () => {
  const statusOf = async () => (await post({ tags: ["a"] })).status;
  const statuses: number[] = [];
  for (let i = 0; i < 26; i++) statuses.push(await statusOf());
  expect(statuses).toEqual([...new Array<number>(25).fill(200), 429]);
  clock.moveTo(clock.now() + 12_000);
  expect([await statusOf(), await statusOf()]).toEqual([200, 429]);
  expect(sandbox.figures.throttled).toBe(2);
});

it.each([
  [
    "another machine without TLS",
    { url: "http://api.cloudflare.example" },
    "/connection/url: must begin with https://",
  ],
  ["a token that a header cannot contain", { token: "two words" }, "/connection/token"],
])("is not opened with %s", async (_what, more, message) => {
  const fault = await Promise.resolve()
    .then(() => open(more))
    .then(() => "", messageOf);
  expect(fault).toContain(message);
  expect(fault).not.toContain("two words");
});
