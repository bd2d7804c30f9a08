/**
 * Purges of Tencent Cloud against its sandbox: what is sent, which limits it names, and what its codes mean. What every
 * vendor's connector does is in test/conformance.
 */
import { expect, it } from "vitest";
import type { Purger } from "../../../connectors/purger.js";
import { tencentCdnKind } from "../../../connectors/tencent-cdn/kind.js";
import {
  TENCENT_CDN_SANDBOX,
  TencentCdnSandbox,
  type TencentCdnSandboxSettings,
} from "../../../connectors/tencent-cdn/sandbox.js";
import { authorizationOf } from "../../../connectors/tencent-cdn/signature.js";
import { ManualClock } from "../../../engine/kernel/clock.js";
import { MIDNIGHT_MS, NOON_MS, purge, signedVendor, targets } from "../purges/signed-vendor.js";

const { started, opened } = signedVendor(
  tencentCdnKind,
  TENCENT_CDN_SANDBOX,
  (settings: TencentCdnSandboxSettings) => new TencentCdnSandbox(settings),
);

it("purges a thousand URLs with one request whose signature the vendor's rules verify", async () => {
  const clock = new ManualClock(NOON_MS);
  const sandbox = await started({ clock });
  expect(await purge(await opened(sandbox, clock), 1, 1_000)).toEqual({ outcome: "purged" });
  expect(sandbox.purged.map(({ value }) => value)).toEqual(targets(1, 1_000).map(({ url }) => url));
});

it("names the limits of the account", async () => {
  const sandbox = await started();
  expect((await opened(sandbox)).limits).toEqual({ batch: 1_000, perSecond: 20, perDay: 10_000 });
  expect((await opened(sandbox, undefined, { urlsPerDay: 50_000 })).limits.perDay).toBe(50_000);
});

it("waits a second, or an hour or until China's next day when the vendor's limits are reached", async () => {
  const clock = new ManualClock(NOON_MS);
  const busy = await opened(await started({ clock }), clock);
  for (let i = 0; i < 20; i++) expect((await purge(busy, i, 1)).outcome).toBe("purged");
  expect(await purge(busy, 1, 1)).toMatchObject({ outcome: "retry", throttled: true, retryAfterMs: 1_000 });

  const sandbox = await started({ clock, urlsPerDay: 1_500 });
  const purger = await opened(sandbox, clock);
  expect((await purge(purger, 1, 1_000)).outcome).toBe("purged");
  expect(await purge(purger, 1, 501)).toMatchObject({ outcome: "retry", retryAfterMs: 3_600_000 });
  clock.moveTo(MIDNIGHT_MS - 1_000);
  expect(await purge(purger, 1, 501)).toMatchObject({ outcome: "retry", retryAfterMs: 1_000 });
  expect((await purge(purger, 1, 500)).outcome).toBe("purged");
  clock.moveTo(MIDNIGHT_MS);
  expect((await purge(purger, 1, 501)).outcome).toBe("purged");
});

it("counts a region's quota apart from the other's", async () => {
  const clock = new ManualClock(NOON_MS);
  const sandbox = await started({ clock, urlsPerDay: 10 });
  const [mainland, overseas, both] = await Promise.all(
    ["mainland", "overseas", undefined].map((area) => opened(sandbox, clock, area === undefined ? {} : { area })),
  );
  expect((await purge(mainland as Purger, 1, 10)).outcome).toBe("purged");
  expect((await purge(mainland as Purger, 1, 1)).outcome).toBe("retry");
  expect((await purge(both as Purger, 1, 1)).outcome).toBe("retry");
  expect((await purge(overseas as Purger, 1, 10)).outcome).toBe("purged");
});

it("is refused with another secret, another id and a clock that is wrong by 6 minutes", async () => {
  const clock = new ManualClock(NOON_MS);
  const sandbox = await started({ clock });
  const refusedBecause = (code: string) => ({ outcome: "refused", reason: expect.stringContaining(code) });
  expect(await purge(await opened(sandbox, clock, { secretKey: "a-key-that-is-wrong" }), 1, 1)).toEqual(
    refusedBecause("AuthFailure.SignatureFailure"),
  );
  expect(await purge(await opened(sandbox, clock, { secretId: "AKIDother" }), 1, 1)).toEqual(
    refusedBecause("AuthFailure.SecretIdNotFound"),
  );
  const wrongClock = new ManualClock(NOON_MS + 6 * 60_000);
  expect(await purge(await opened(sandbox, wrongClock), 1, 1)).toEqual(refusedBecause("AuthFailure.SignatureExpire"));
  expect(sandbox.purged.map(({ value }) => value)).toEqual([]);
});

it("has a sandbox that refuses a changed body, too many URLs, and a URL without a scheme", async () => {
  const clock = new ManualClock(NOON_MS);
  const sandbox = await started({ clock });
  const codeOf = async (body: string, sent = body) => {
    const timestamp = NOON_MS / 1_000;
    const headers = { "content-type": "application/json; charset=utf-8", host: new URL(sandbox.url).host };
    const authorization = authorizationOf({ service: "cdn", headers, body, timestamp }, TENCENT_CDN_SANDBOX);
    const action = { "x-tc-action": "PurgeUrlsCache", "x-tc-version": "2018-06-06" };
    const answer = await fetch(sandbox.url, {
      method: "POST",
      headers: { ...headers, ...action, "x-tc-timestamp": String(timestamp), authorization },
      body: sent,
    });
    return ((await answer.json()) as { Response: { Error?: { Code: string } } }).Response.Error?.Code;
  };
  const one = JSON.stringify({ Urls: ["https://shop.example/1"] });
  expect(await codeOf(one)).toBeUndefined();
  expect(await codeOf(one, one.replace("1", "2"))).toBe("AuthFailure.SignatureFailure");
  const many = JSON.stringify({ Urls: Array(1_001).fill("https://shop.example/1") });
  expect(await codeOf(many)).toBe("LimitExceeded.CdnPurgeExceedBatchLimit");
  expect(await codeOf(JSON.stringify({ Urls: ["shop.example/1"] }))).toMatch(/^InvalidParameter/);
  expect(sandbox.purged.map(({ value }) => value)).toEqual(["https://shop.example/1"]);
});

it("names the place of an address that is none", () => {
  const connection = { url: "cdn.tencentcloudapi.com", ...TENCENT_CDN_SANDBOX };
  const open = () => tencentCdnKind.open({ connection, clock: new ManualClock(NOON_MS) });
  expect(open).toThrow("/connection/url: must be an address");
});
