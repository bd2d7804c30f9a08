/**
 * Purges of Alibaba Cloud against its sandbox: what is sent, which limits it names, and what its codes mean. What every
 * vendor's connector does is in test/conformance.
 */
import { expect, it } from "vitest";
import { aliyunCdnKind } from "../../../connectors/aliyun-cdn/kind.js";
import {
  ALIYUN_CDN_SANDBOX,
  AliyunCdnSandbox,
  type AliyunCdnSandboxSettings,
} from "../../../connectors/aliyun-cdn/sandbox.js";
import { authorizationOf, hashOf } from "../../../connectors/aliyun-cdn/signature.js";
import { ManualClock } from "../../../engine/kernel/clock.js";
import { MIDNIGHT_MS, NOON_MS, purge, signedVendor, targets } from "../purges/signed-vendor.js";

const { started, opened } = signedVendor(
  aliyunCdnKind,
  ALIYUN_CDN_SANDBOX,
  (settings: AliyunCdnSandboxSettings) => new AliyunCdnSandbox(settings),
);

it.each(["cdn", "dcdn"])("purges URLs of %s with a signature that the vendor's rules verify", async (product) => {
  const clock = new ManualClock(NOON_MS);
  const sandbox = await started({ clock });
  const purger = await opened(sandbox, clock, { product });
  expect(await purge(purger, 1, 100)).toEqual({ outcome: "purged" });
  expect(sandbox.purged.map(({ value }) => value)).toEqual(targets(1, 100).map(({ url }) => url));
});

it("names the limits of the account, and fewer requests than URLs of a minute allow", async () => {
  const sandbox = await started();
  expect((await opened(sandbox)).limits).toEqual({ batch: 100, perSecond: 1_000 / 100 / 60, perDay: 10_000 });
  const larger = await opened(sandbox, undefined, { product: "dcdn", urlsPerMinute: 10_000, urlsPerDay: 50_000 });
  expect(larger.limits).toEqual({ batch: 100, perSecond: 10_000 / 100 / 60, perDay: 50_000 });
});

it("waits a second, a minute, or an hour or until China's next day when the vendor's limits are reached", async () => {
  const clock = new ManualClock(NOON_MS);
  const busy = await opened(await started({ clock }), clock);
  for (let i = 0; i < 50; i++) expect((await purge(busy, i, 1)).outcome).toBe("purged");
  expect(await purge(busy, 1, 1)).toMatchObject({ outcome: "retry", throttled: true, retryAfterMs: 1_000 });

  const sandbox = await started({ clock, urlsPerDay: 1_500 });
  const purger = await opened(sandbox, clock);
  clock.moveTo(NOON_MS + 1_000);
  for (let i = 0; i < 10; i++) expect((await purge(purger, i * 100, 100)).outcome).toBe("purged");
  expect(await purge(purger, 1_000, 1)).toMatchObject({ outcome: "retry", throttled: true, retryAfterMs: 60_000 });
  clock.moveTo(NOON_MS + 61_000);
  for (let i = 0; i < 5; i++) expect((await purge(purger, i * 100, 100)).outcome).toBe("purged");
  expect(await purge(purger, 1, 1)).toMatchObject({ outcome: "retry", retryAfterMs: 3_600_000 });
  clock.moveTo(MIDNIGHT_MS - 1_000);
  expect(await purge(purger, 1, 1)).toMatchObject({ outcome: "retry", retryAfterMs: 1_000 });
  clock.moveTo(MIDNIGHT_MS);
  expect((await purge(purger, 1, 1)).outcome).toBe("purged");
});

it("is refused with another secret, another key and a clock that is wrong by 16 minutes", async () => {
  const clock = new ManualClock(NOON_MS);
  const sandbox = await started({ clock });
  const secret = "a-secret-that-is-wrong";
  const refusedBecause = (code: string) => ({ outcome: "refused", reason: expect.stringContaining(code) });
  expect(await purge(await opened(sandbox, clock, { accessKeySecret: secret }), 1, 1)).toEqual(
    refusedBecause("SignatureDoesNotMatch"),
  );
  expect(await purge(await opened(sandbox, clock, { accessKeyId: "LTAIother" }), 1, 1)).toEqual(
    refusedBecause("InvalidAccessKeyId.NotFound"),
  );
  const wrongClock = new ManualClock(NOON_MS - 16 * 60_000);
  expect(await purge(await opened(sandbox, wrongClock), 1, 1)).toEqual(refusedBecause("InvalidTimeStamp.Expired"));
  expect(sandbox.purged.map(({ value }) => value)).toEqual([]);
});

it("has a sandbox that refuses a request sent twice, one whose body was changed, and an unsigned header", async () => {
  const clock = new ManualClock(NOON_MS);
  const sandbox = await started({ clock });
  const signed = (nonce: string, body: string) => {
    const headers = {
      host: new URL(sandbox.url).host,
      "content-type": "application/x-www-form-urlencoded",
      "x-acs-action": "RefreshObjectCaches",
      "x-acs-version": "2018-05-10",
      "x-acs-date": "2026-06-18T04:00:00Z",
      "x-acs-signature-nonce": nonce,
      "x-acs-content-sha256": hashOf(body),
    };
    const { accessKeyId: keyId, accessKeySecret: secret } = ALIYUN_CDN_SANDBOX;
    return { ...headers, authorization: authorizationOf({ method: "POST", query: "", headers }, { keyId, secret }) };
  };
  const codeOf = async (headers: Record<string, string>, body: string) => {
    const answer = await fetch(sandbox.url, { method: "POST", headers, body });
    return ((await answer.json()) as { Code?: string }).Code;
  };
  const body = "ObjectPath=shop.example%2F1&ObjectType=File";
  expect(await codeOf(signed("a", body), body)).toBeUndefined();
  expect(await codeOf(signed("a", body), body)).toBe("SignatureNonceUsed");
  expect(await codeOf(signed("b", body), body.replace("1", "2"))).toBe("SignatureDoesNotMatch");
  expect(await codeOf({ ...signed("c", body), "x-acs-security-token": "t" }, body)).toBe("SignatureDoesNotMatch");
  const many = `ObjectPath=${Array(1_001).fill("shop.example/1").join("%0A")}`;
  expect(await codeOf(signed("d", many), many)).toBe("SingleRequest.OverLimit");
  expect(sandbox.purged.map(({ value }) => value)).toEqual(["shop.example/1"]);
});

it("names the place of an address that is none", () => {
  const connection = { url: "http://cdn.example", ...ALIYUN_CDN_SANDBOX };
  const open = () => aliyunCdnKind.open({ connection, clock: new ManualClock(NOON_MS) });
  expect(open).toThrow("/connection/url: must begin with https://");
});
