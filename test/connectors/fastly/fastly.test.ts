/** What only Fastly has: surrogate keys, hard purges, its texts, and a sandbox that refuses as it does. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { fastlyKind } from "../../../connectors/fastly/kind.js";
import { FASTLY_SANDBOX, FastlySandbox } from "../../../connectors/fastly/sandbox.js";
import type { Purger } from "../../../connectors/purger.js";
import { systemClock } from "../../../engine/kernel/clock.js";
import { targetOf } from "../purges/bed.js";

const signal = new AbortController().signal;
let sandbox: FastlySandbox;
let purger: Purger;
beforeEach(async () => {
  sandbox = new FastlySandbox();
  await sandbox.start();
  purger = await fastlyKind.open({ connection: { url: sandbox.url, ...FASTLY_SANDBOX }, clock: systemClock });
});
afterEach(async () => {
  await purger.close?.();
  await sandbox.stop();
});
const targets = (skus: number) => Array.from({ length: skus }, (_, i) => targetOf(`SKU-${i}`));
const post = async (body: unknown, headers: Readonly<Record<string, string>> = {}) => {
  const answer = await fetch(`${sandbox.url}/service/${FASTLY_SANDBOX.service}/purge`, {
    method: "POST",
    headers: { "fastly-key": FASTLY_SANDBOX.token, ...headers },
    body: JSON.stringify(body),
  });
  return { status: answer.status, json: await answer.json() };
};

it("is purged a second time after 2 s: a shield may have its old copy", () => {
  expect(fastlyKind.repeatAfterMs).toBe(2_000);
});

it("quotes Fastly's own words when it is refused", async () => {
  expect(await purger.purge(targets(257), signal)).toEqual({
    outcome: "refused",
    reason: "HTTP 400: Bad request: more than 256 keys",
  });
});

it("refuses in the sandbox what Fastly refuses, and soft purges", async () => {
  for (const body of [{}, { surrogate_keys: [] }, { surrogate_keys: [7] }]) expect((await post(body)).status).toBe(400);
  expect((await post({ surrogate_keys: ["a"] }, { "fastly-soft-purge": "1" })).status).toBe(400);
  expect(sandbox.purged).toEqual([]);
  expect((await post({ surrogate_keys: ["a"] })).json).toEqual({ a: expect.any(String) });
});

it("throttles in the sandbox more requests than it takes in a second", async () => {
  const statuses = await Promise.all(
    Array.from({ length: 30 }, async () => (await post({ surrogate_keys: ["a"] })).status),
  );
  expect(statuses.filter((status) => status === 429).length).toBeGreaterThan(0);
  expect(statuses.filter((status) => status === 200).length).toBeGreaterThanOrEqual(10);
});
